#include "games/matrix_game.h"
#include "sim/matrix_game_batch.h"

// The rows below are written lane by lane: lane 2e + p is player p of environment e.

namespace loqa::LOQA_ISA {
namespace {

constexpr int64_t kLanes = 32;    // of one vector block
constexpr int64_t kBlock = 1024;  // environments whose packed actions stay in the first-level cache

// Joint action seen by each lane, for bytes below 128 / K.
inline void joint_lanes(const uint8_t* actions, int64_t lanes, int num_actions, uint8_t* joint) {
  for (int64_t i = 0; i < lanes; i += 2) {
    joint[i] = static_cast<uint8_t>(joint_action(actions[i], actions[i + 1], num_actions));
    joint[i + 1] = static_cast<uint8_t>(joint_action(actions[i + 1], actions[i], num_actions));
  }
}

template <typename Index>
inline void write_index(const uint8_t* joint, int64_t lanes, Index* obs) {
  for (int64_t i = 0; i < lanes; ++i) obs[i] = static_cast<Index>(1 + joint[i]);
}

inline void copy_row(const float* from, int64_t width, float* to) {
  for (int64_t k = 0; k < width; ++k) to[k] = from[k];
}

inline void write_table(const float* table, int64_t width, const uint8_t* joint, int64_t lanes,
                        float* obs) {
  if (width == 4) {  // a constant width turns a row into one 16-byte move
    for (int64_t i = 0; i < lanes; ++i) copy_row(table + (1 + joint[i]) * 4, 4, obs + i * 4);
  } else {
    for (int64_t i = 0; i < lanes; ++i) {
      copy_row(table + (1 + joint[i]) * width, width, obs + i * width);
    }
  }
}

// Advances a pointer to observations of unknown type by `lanes` players.
inline void* obs_at(const MatrixGameBatch& batch, void* obs, int64_t lanes) {
  switch (batch.obs_type) {
    case MatrixObs::kIndexInt8:
      return static_cast<int8_t*>(obs) + lanes;
    case MatrixObs::kIndexInt64:
      return static_cast<int64_t*>(obs) + lanes;
    default:
      return static_cast<float*>(obs) + lanes * batch.obs_width;
  }
}

inline void write_obs(const MatrixGameBatch& batch, const uint8_t* joint, int64_t lanes,
                      void* obs) {
  switch (batch.obs_type) {
    case MatrixObs::kIndexInt8:
      return write_index(joint, lanes, static_cast<int8_t*>(obs));
    case MatrixObs::kIndexInt64:
      return write_index(joint, lanes, static_cast<int64_t*>(obs));
    default:
      return write_table(batch.obs_table, batch.obs_width, joint, lanes, static_cast<float*>(obs));
  }
}

void write_rewards(const MatrixGameBatch& batch, const uint8_t* joint, int64_t lanes,
                   float* rewards) {
  const int size = batch.num_actions * batch.num_actions;
  if (batch.num_actions != 2) {
    for (int64_t i = 0; i < lanes; ++i) rewards[i] = batch.payoff[(i & 1) * size + joint[i]];
    return;
  }
  float payoff[4][kLanes];
  for (int joint_index = 0; joint_index < 4; ++joint_index) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      payoff[joint_index][lane] = batch.payoff[(lane & 1) * 4 + joint_index];
    }
  }
  int64_t i = 0;
  for (; i + kLanes <= lanes; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      rewards[i + lane] = payoff_of_four(joint[i + lane], payoff[0][lane], payoff[1][lane],
                                         payoff[2][lane], payoff[3][lane]);
    }
  }
  for (int64_t lane = 0; i < lanes; ++i, ++lane) {
    rewards[i] = payoff_of_four(joint[i], payoff[0][lane], payoff[1][lane], payoff[2][lane],
                                payoff[3][lane]);
  }
}

// Replaces actions by noise; `step` is added to each environment's own t.
void apply_noise(const MatrixGameBatch& batch, int64_t begin, int64_t count, int64_t step,
                 uint8_t* actions) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t env = begin + i;
    const PhiloxBlock random =
        philox(batch.seed, batch.first_env + static_cast<uint32_t>(env), batch.episode[env],
               static_cast<uint32_t>(batch.t[env] + step), kDrawNoise);
    for (int player = 0; player < kMatrixPlayers; ++player) {
      uint8_t& action = actions[2 * i + player];
      action = static_cast<uint8_t>(noisy_action(action, batch.num_actions, batch.noise,
                                                 random.word[player], random.word[2 + player]));
    }
  }
}

template <typename T>
uint8_t pack(const T* actions, int64_t count, uint8_t* packed) {
  uint8_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const T value = actions[i];
    const uint8_t byte = value < 0 || value > 254 ? 255 : static_cast<uint8_t>(value);
    packed[i] = byte;
    largest = byte > largest ? byte : largest;
  }
  return largest;
}

}  // namespace

uint8_t pack_actions(const void* actions, ActionType type, int64_t begin, int64_t end,
                     uint8_t* packed) {
  const int64_t first = 2 * begin;
  const int64_t count = 2 * (end - begin);
  switch (type) {
    case ActionType::kUint8:
      return pack(static_cast<const uint8_t*>(actions) + first, count, packed);
    case ActionType::kInt8:
      return pack(static_cast<const int8_t*>(actions) + first, count, packed);
    case ActionType::kInt16:
      return pack(static_cast<const int16_t*>(actions) + first, count, packed);
    case ActionType::kInt32:
      return pack(static_cast<const int32_t*>(actions) + first, count, packed);
    default:
      return pack(static_cast<const int64_t*>(actions) + first, count, packed);
  }
}

void matrix_observe(const MatrixGameBatch& batch, void* obs, int64_t begin, int64_t end) {
  for (int64_t env = begin; env < end; ++env) {
    for (int player = 0; player < kMatrixPlayers; ++player) {
      const int64_t lane = 2 * env + player;
      const int index = joint_observation(batch.last_actions[lane], batch.last_actions[lane ^ 1],
                                          batch.num_actions);
      switch (batch.obs_type) {
        case MatrixObs::kIndexInt8:
          static_cast<int8_t*>(obs)[lane] = static_cast<int8_t>(index);
          break;
        case MatrixObs::kIndexInt64:
          static_cast<int64_t*>(obs)[lane] = index;
          break;
        default:
          copy_row(batch.obs_table + index * batch.obs_width, batch.obs_width,
                   static_cast<float*>(obs) + lane * batch.obs_width);
      }
    }
  }
}

void matrix_step(const MatrixGameBatch& batch, const uint8_t* actions, void* obs, float* rewards,
                 uint8_t* terminated, uint8_t* truncated, int64_t begin, int64_t end) {
  uint8_t played[2 * kBlock];
  uint8_t joint[2 * kBlock];
  for (int64_t first = begin; first < end; first += kBlock) {
    const int64_t count = end - first < kBlock ? end - first : kBlock;
    for (int64_t i = 0; i < 2 * count; ++i) played[i] = actions[2 * first + i];
    if (batch.noise > 0) apply_noise(batch, first, count, 0, played);
    joint_lanes(played, 2 * count, batch.num_actions, joint);
    write_obs(batch, joint, 2 * count, obs_at(batch, obs, 2 * first));
    write_rewards(batch, joint, 2 * count, rewards + 2 * first);
    for (int64_t i = 0; i < 2 * count; ++i) {
      batch.last_actions[2 * first + i] = static_cast<int8_t>(played[i]);
    }
    if (batch.end_probability > 0) {
      for (int64_t env = first; env < first + count; ++env) {
        const PhiloxBlock random = philox(batch.seed, batch.first_env + static_cast<uint32_t>(env),
                                          batch.episode[env], batch.t[env], kDrawEnd);
        terminated[env] = uniform(random.word[0]) < batch.end_probability;
      }
    }
    for (int64_t env = first; env < first + count; ++env) {
      batch.t[env] += 1;
      truncated[env] = batch.t[env] >= batch.episode_length;
    }
  }
}

uint8_t matrix_rollout(const MatrixGameBatch& batch, const void* actions, ActionType type,
                       int64_t steps, void* obs, float* rewards, int64_t begin, int64_t end) {
  uint8_t played[2 * kBlock];
  uint8_t joint[2 * kBlock];
  uint8_t largest = 0;
  for (int64_t step = 0; step < steps; ++step) {
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t count = end - first < kBlock ? end - first : kBlock;
      const int64_t at = step * batch.num_envs + first;
      const uint8_t packed = pack_actions(actions, type, at, at + count, played);
      largest = packed > largest ? packed : largest;
      if (packed >= batch.num_actions) return largest;
      if (batch.noise > 0) apply_noise(batch, first, count, step, played);
      joint_lanes(played, 2 * count, batch.num_actions, joint);
      write_obs(batch, joint, 2 * count, obs_at(batch, obs, 2 * (at + batch.num_envs)));
      write_rewards(batch, joint, 2 * count, rewards + 2 * at);
    }
  }
  return largest;
}

void matrix_advance(const MatrixGameBatch& batch, const void* actions, ActionType type,
                    int64_t steps, int64_t begin, int64_t end) {
  uint8_t played[2 * kBlock];
  for (int64_t first = begin; first < end; first += kBlock) {
    const int64_t count = end - first < kBlock ? end - first : kBlock;
    const int64_t at = (steps - 1) * batch.num_envs + first;
    pack_actions(actions, type, at, at + count, played);
    if (batch.noise > 0) apply_noise(batch, first, count, steps - 1, played);
    for (int64_t i = 0; i < 2 * count; ++i) {
      batch.last_actions[2 * first + i] = static_cast<int8_t>(played[i]);
    }
    for (int64_t env = first; env < first + count; ++env) {
      batch.t[env] += static_cast<int32_t>(steps);
    }
  }
}

void matrix_memory1_rollout(const MatrixGameBatch& batch, const float* probabilities,
                            int64_t env_stride, float exploration, int64_t steps, void* obs,
                            int8_t* actions, float* rewards, int64_t begin, int64_t end) {
  constexpr int kObservations = 5;
  constexpr int64_t kEnvs = 256;
  uint32_t words[kMatrixPlayers][kEnvs];
  uint8_t seen[2 * kEnvs];  // observation index of each lane
  uint8_t played[2 * kEnvs];
  uint8_t joint[2 * kEnvs];
  for (int64_t first = begin; first < end; first += kEnvs) {
    const int64_t count = end - first < kEnvs ? end - first : kEnvs;
    for (int64_t i = 0; i < 2 * count; ++i) {
      const int8_t* last = batch.last_actions + 2 * first;
      seen[i] = static_cast<uint8_t>(joint_observation(last[i], last[i ^ 1], 2));
    }
    for (int64_t step = 0; step < steps; ++step) {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t env = first + i;
        const PhiloxBlock random =
            philox(batch.seed, batch.first_env + static_cast<uint32_t>(env), batch.episode[env],
                   static_cast<uint32_t>(batch.t[env] + step), kDrawPolicy);
        words[0][i] = random.word[0];
        words[1][i] = random.word[1];
      }
      for (int64_t i = 0; i < count; ++i) {
        const float* p = probabilities + (first + i) * env_stride;
        for (int player = 0; player < kMatrixPlayers; ++player) {
          const float first_action =
              explored_probability(p[player * kObservations + seen[2 * i + player]], exploration);
          played[2 * i + player] = uniform(words[player][i]) < first_action ? 0 : 1;
        }
      }
      const int64_t at = step * batch.num_envs + first;
      for (int64_t i = 0; i < 2 * count; ++i) actions[2 * at + i] = static_cast<int8_t>(played[i]);
      if (batch.noise > 0) apply_noise(batch, first, count, step, played);
      joint_lanes(played, 2 * count, 2, joint);
      write_obs(batch, joint, 2 * count, obs_at(batch, obs, 2 * (at + batch.num_envs)));
      write_rewards(batch, joint, 2 * count, rewards + 2 * at);
      for (int64_t i = 0; i < 2 * count; ++i) seen[i] = static_cast<uint8_t>(1 + joint[i]);
    }
    if (steps == 0) continue;
    for (int64_t i = 0; i < 2 * count; ++i) {
      batch.last_actions[2 * first + i] = static_cast<int8_t>(played[i]);
    }
    for (int64_t env = first; env < first + count; ++env) {
      batch.t[env] += static_cast<int32_t>(steps);
    }
  }
}

}  // namespace loqa::LOQA_ISA
