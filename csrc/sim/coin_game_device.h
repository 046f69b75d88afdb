#pragma once

#include <cstdint>

#include "sim/autoreset.h"
#include "sim/coin_game_batch.h"

namespace loqa {

// What one launch does to a batch whose arrays are in a device's memory. Nothing else decides what
// comes out, so that a captured graph goes on with new numbers each time it is replayed.
struct CoinJob {
  CoinGameBatch batch;   // its seed, words and tag are not looked at
  const uint64_t* seed;  // of the device too
  int32_t* bad_action;   // set to 1 by an action out of range, which stays put; null: unchecked
  Autoreset autoreset;
  CoinPlayers players;
  void* actions;  // [steps, B, A]; those of scripted players are written (uint8)
  ActionType action_type;
  int64_t steps;
  bool observe_first;  // obs begins with what is seen before the first step
  void* obs;           // [steps (+ 1), B, A, size]
  void* final_obs;     // [B, A, size] of episodes that end, with kSameStep
  float* rewards;      // [steps, B, A]
  uint8_t* truncated;  // [B], or null
};

// The same work by threads of the device, or (for tests on machines without one) by a loop over
// those threads on the host. `mask` may be null. Throws std::runtime_error if a launch fails.
void coin_reset_host(const CoinJob& job, const uint8_t* mask);
void coin_play_host(const CoinJob& job);
void coin_choose_host(const CoinJob& job);
#if defined(LOQA_WITH_CUDA)
void coin_reset_cuda(const CoinJob& job, const uint8_t* mask, void* stream);
void coin_play_cuda(const CoinJob& job, void* stream);
void coin_choose_cuda(const CoinJob& job, void* stream);
#endif

}  // namespace loqa
