#pragma once

#include "sim/coin_game_lanes.h"
#include "sim/philox_lanes.h"

// Time and random words of a block of lanes, which are kept for four steps. Included by
// coin_game_cpu.cpp alone.

namespace loqa::LOQA_ISA {
namespace {

constexpr int kLanes = static_cast<int>(kCoinBlock);

// With what the CPU's driver keeps between jobs.
struct CoinMemory : CoinGameBatch {
  uint64_t seed;
  uint32_t* words;  // [coins, 4, stride]: random words of steps 4 tag .. 4 tag + 3
  int32_t* tag;     // [stride], -1: none

  explicit CoinMemory(const GameJob& job)
      : CoinGameBatch(coin_batch(job)),
        seed(*job.seed),
        words(static_cast<uint32_t*>(job.cache)),
        tag(static_cast<int32_t*>(job.cache) + 4 * rules.num_coins * stride) {}
};

// t of each lane; lanes beyond `count` take the first one's.
inline void load_times(const CoinGameBatch& batch, int64_t first, int64_t count, int64_t step,
                       int32_t* now) {
  const int32_t* t = batch.t + first;
  const int32_t offset = static_cast<int32_t>(step);
  if (count == kLanes) {
    for (int l = 0; l < kLanes; ++l) now[l] = t[l] + offset;
  } else {
    for (int l = 0; l < kLanes; ++l) now[l] = t[l < count ? l : 0] + offset;
  }
}

// Computes the random words of steps 4 (t / 4) .. 4 (t / 4) + 3.
template <int kCoins>
inline void refresh_words(const CoinMemory& batch, int64_t first, int64_t count,
                          const int32_t* now) {
  alignas(64) uint32_t env[kLanes];
  alignas(64) uint32_t episode[kLanes];
  alignas(64) uint32_t quarter[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    env[l] = batch.first_env + static_cast<uint32_t>(first) + static_cast<uint32_t>(l);
    quarter[l] = static_cast<uint32_t>(now[l]) >> 2;
  }
  for (int l = 0; l < kLanes; ++l) episode[l] = batch.episode[first + (l < count ? l : 0)];
  for (uint32_t c = 0; c < kCoins; ++c) {
    alignas(64) uint32_t words[4][kLanes];
    philox_lanes<kLanes>(batch.seed, env, episode, quarter, kDrawRespawn + c, words);
    uint32_t* to = batch.words + 4 * c * batch.stride + first;
    for (int i = 0; i < 4; ++i) __builtin_memcpy(to + i * batch.stride, words[i], sizeof(words[i]));
  }
  for (int l = 0; l < kLanes; ++l) batch.tag[first + l] = now[l] >> 2;
}

// The word of this step for each lane and coin.
template <int kCoins>
inline void load_words(const CoinMemory& batch, int64_t first, int64_t count, const int32_t* now,
                       uint32_t (&words)[kCoins][kLanes]) {
  int32_t stale = 0;
  int32_t apart = 0;
  for (int l = 0; l < kLanes; ++l) {
    stale |= batch.tag[first + l] ^ (now[l] >> 2);
    apart |= now[l] ^ now[0];
  }
  if (stale != 0) refresh_words<kCoins>(batch, first, count, now);
  for (int c = 0; c < kCoins; ++c) {
    const uint32_t* from = batch.words + 4 * c * batch.stride + first;
    if ((apart & 3) == 0) {
      __builtin_memcpy(words[c], from + (now[0] & 3) * batch.stride, sizeof(words[c]));
    } else {
      for (int l = 0; l < kLanes; ++l) words[c][l] = from[(now[l] & 3) * batch.stride + l];
    }
  }
}

}  // namespace
}  // namespace loqa::LOQA_ISA
