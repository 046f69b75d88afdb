#pragma once

#include <vector>

#include "bindings/memory.h"
#include "games/matrix_game.h"
#include "sim/matrix_game_batch.h"

namespace loqa {

// A batch of matrix games and the memory that it is in.
struct MatrixSetup {
  MatrixGameBatch batch;
  std::vector<MemoryPtr> kept;

  // The start of results of `steps` steps, of the right size.
  void* obs(const MemoryPtr& memory, int64_t steps) const {
    const bool table = batch.obs_type == MatrixObs::kTable;
    const int64_t element = table ? 4 : (batch.obs_type == MatrixObs::kIndexInt8 ? 1 : 8);
    return bytes_of(memory, "obs",
                    {steps, batch.num_envs, kMatrixPlayers, table ? batch.obs_width : 1}, element);
  }
  float* rewards(const MemoryPtr& memory, int64_t steps) const {
    return array_of<float>(memory, "rewards", {steps, batch.num_envs, kMatrixPlayers});
  }
  // Probabilities of memory-1 players: [2, 5], or [B, 2, 5] if env_stride is not 0.
  const float* probabilities(const MemoryPtr& memory, int64_t env_stride) const {
    constexpr int64_t kEach = kMatrixPlayers * kMemory1States;
    if (batch.num_actions != 2 || (env_stride != 0 && env_stride != kEach)) {
      throw std::invalid_argument("memory1_rollout needs a game of 2 actions, this one has " +
                                  std::to_string(batch.num_actions));
    }
    return array_of<float>(memory, "probabilities", {env_stride == 0 ? 1 : batch.num_envs, kEach});
  }
};

}  // namespace loqa
