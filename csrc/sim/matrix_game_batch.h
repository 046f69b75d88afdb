#pragma once

#include <cstdint>

#include "core/isa.h"
#include "sim/actions.h"

namespace loqa {

// Types of the observation: the joint-action index itself, or a row of a float table for each
// index.
enum class MatrixObs : int { kIndexInt8, kIndexInt64, kTable };

// A batch of repeated matrix games. Arrays belong to the caller and outlive this.
struct MatrixGameBatch {
  int64_t num_envs;
  int num_actions;      // K in 2..11
  const float* payoff;  // [2, K, K]: player, own action, other's action
  uint64_t seed;
  uint32_t first_env;     // number of environment 0 in the random counters
  float noise;            // probability that an action is replaced by another one
  float end_probability;  // of each step being the last
  int32_t episode_length;
  MatrixObs obs_type;
  const float* obs_table;  // [1 + K * K, obs_width] for kTable
  int64_t obs_width;
  int8_t* last_actions;  // [B, 2], -1 before the first step
  int32_t* t;            // [B]
  uint32_t* episode;     // [B]
};

// Every function below works on environments [begin, end) and touches nothing of the others.
LOQA_DECLARE_ISA(

    // Packs actions [rows, stride, 2] (columns begin..end) to bytes. Returns the largest of them,
    // or 255 if an action is not in 0..255.
    uint8_t pack_actions(const void* actions, ActionType type, int64_t begin, int64_t end,
                         uint8_t* packed);

    // One step. actions: [B, 2] bytes below K. obs [B, 2, width], rewards [B, 2], terminated [B],
    // truncated [B].
    void matrix_step(const MatrixGameBatch& batch, const uint8_t* actions, void* obs,
                     float* rewards, uint8_t* terminated, uint8_t* truncated, int64_t begin,
                     int64_t end);

    // T steps. actions [T, B, 2] of any type; writes obs [T+1, B, 2, width] and rewards [T, B, 2].
    // Returns the largest action met (255: outside 0..255) and stops early if it is not
    // below K. The state stays: matrix_advance moves it, once every part has proved good.
    uint8_t matrix_rollout(const MatrixGameBatch& batch, const void* actions, ActionType type,
                           int64_t steps, void* obs, float* rewards, int64_t begin, int64_t end);
    void matrix_advance(const MatrixGameBatch& batch, const void* actions, ActionType type,
                        int64_t steps, int64_t begin, int64_t end);

    // Writes what each player sees now: obs [B, 2, width].
    void matrix_observe(const MatrixGameBatch& batch, void* obs, int64_t begin, int64_t end);

    // T steps of two memory-1 players (K = 2). probabilities of action 0 after each observation:
    // [2, 5] (env_stride 0) or [B, 2, 5] (env_stride 10). actions [T, B, 2] as chosen, before
    // noise. Writes obs [T+1, B, 2, width] and moves the state.
    void matrix_memory1_rollout(const MatrixGameBatch& batch, const float* probabilities,
                                int64_t env_stride, float exploration, int64_t steps, void* obs,
                                int8_t* actions, float* rewards, int64_t begin, int64_t end);)

}  // namespace loqa
