#pragma once

#include <cstdint>

#include "core/isa.h"
#include "kernels/gru_policy.h"
#include "sim/coin_game_batch.h"

// Whole episodes of two-player Coin Games between recurrent policies. A block of a few episodes is
// played from its first step to its last before the next one begins, so that the parameter sets
// that it needs stay in the cache for all of its steps.

namespace loqa {

struct CoinRollout {
  GameJob game;  // obs [T+1, B, 2, ...], chosen and rewards [T, B, 2]; no states are read
  const GruSets* actor[2];  // of each seat; null: the job's player says which script
  const GruSets* critic;    // of seat 1, or null
  bool canonical[2];        // whether the networks of a seat see boards in their canonical image
  const float* draws;       // [T, 2, B] uniform: actions are drawn by inversion
  float* log_probs;         // [T+1, B, K] of seat 1, with a critic
  float* q_values;          // [T+1, B, K]
};

inline constexpr int64_t kMaxRolloutRows = kCoinBlock;  // episodes in a block

LOQA_DECLARE_ISA(
    // Bytes of scratch for blocks of `rows` episodes.
    int64_t coin_rollout_scratch(const CoinRollout& job, int64_t rows);

    // Blocks [begin, end) of `rows` <= kMaxRolloutRows episodes each. `scratch` is aligned to a
    // line of the cache.
    void coin_rollout(const CoinRollout& job, int64_t rows, int64_t begin, int64_t end,
                      void* scratch);)

}  // namespace loqa
