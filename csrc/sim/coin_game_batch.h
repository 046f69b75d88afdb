#pragma once

#include "sim/game_driver.h"

// The Coin Game has drivers of its own, which do the job of every game: on the CPU in vectors
// (coin_game_cpu.cpp), on a device with what a block of threads shares (coin_game_threads.h).

namespace loqa {

inline constexpr int64_t kCoinBlock = CoinGame::kBlock;

// A job's environments as these drivers look at them.
struct CoinGameBatch {
  CoinRules rules;
  int64_t num_envs;
  int64_t stride;
  uint32_t first_env;
  int32_t episode_length;
  ObsType obs_type;
  int64_t obs_size;    // elements of one player's observation
  int64_t obs_bytes;   // of all players
  uint32_t values[5];  // -2 .. 2 as elements of the planes
  // [S, stride], see CoinGame; lanes beyond num_envs hold states like any other.
  uint8_t* state;
  int32_t* t;
  uint32_t* episode;

  // A number in -2 .. 2 as an element of the planes.
  LOQA_HD uint32_t element_of(int number) const { return values[2 + number]; }
};

namespace {

inline CoinGameBatch coin_batch(const GameJob& job) {
  CoinGameBatch batch = {};
  batch.rules = rules_of<CoinGame>(job);
  batch.num_envs = job.num_envs;
  batch.stride = CoinGame::stride(job.num_envs);
  batch.first_env = job.first_env;
  batch.episode_length = job.episode_length;
  batch.obs_type = job.obs_type;
  batch.obs_size = job.obs_width;
  batch.obs_bytes = job.num_players * job.obs_width * bytes_of_type(job.obs_type);
  // The bits of 1 and of 2; a negative float has the highest one set too.
  const auto set = [&](uint32_t one, uint32_t two, uint32_t sign) {
    const uint32_t values[] = {two | sign, one | sign, 0, one, two};
    __builtin_memcpy(batch.values, values, sizeof(values));
  };
  switch (job.obs_type) {
    case ObsType::kFloat32:
      set(0x3F800000, 0x40000000, 0x80000000);
      break;
    case ObsType::kFloat16:
      set(0x3C00, 0x4000, 0x8000);
      break;
    case ObsType::kBfloat16:
      set(0x3F80, 0x4000, 0x8000);
      break;
    default:  // planes of bytes have no negative numbers
      set(1, 2, 0);
  }
  batch.state = static_cast<uint8_t*>(job.states);
  batch.t = job.t;
  batch.episode = job.episode;
  return batch;
}

}  // namespace

LOQA_DECLARE_ISA(
    // As game_play; begin is a multiple of kCoinBlock.
    bool coin_play(const GameJob& job, int64_t begin, int64_t end);)

// As game_play_host and game_play_cuda.
void coin_play_host(const GameJob& job);
void coin_play_cuda(const GameJob& job, void* stream);

}  // namespace loqa
