#pragma once

#include <cstdint>

#include "sim/autoreset.h"
#include "sim/matrix_game_batch.h"

namespace loqa {

// What one launch does to a batch whose arrays are in a device's memory; see CoinJob.
struct MatrixJob {
  MatrixGameBatch batch;  // its seed is not looked at
  const uint64_t* seed;
  int32_t* bad_action;  // set to 1 by an action out of range, which is taken for 0
  Autoreset autoreset;
  const float*
      probabilities;  // of memory-1 players, see matrix_memory1_rollout; null: actions given
  int64_t env_stride;
  float exploration;
  void* actions;  // [steps, B, 2]; of memory-1 players written (int8)
  ActionType action_type;
  int64_t steps;
  bool observe_first;   // obs begins with what is seen before the first step
  void* obs;            // [steps (+ 1), B, 2, width]
  void* final_obs;      // [B, 2, width] of episodes that end, with kSameStep
  float* rewards;       // [steps, B, 2]
  uint8_t* terminated;  // [B], or null
  uint8_t* truncated;   // [B], or null
};

// By threads of the device, or (for tests on machines without one) by a loop over those threads on
// the host. Throws std::runtime_error if the launch fails.
void matrix_play_host(const MatrixJob& job);
#if defined(LOQA_WITH_CUDA)
void matrix_play_cuda(const MatrixJob& job, void* stream);
#endif

}  // namespace loqa
