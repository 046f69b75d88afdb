#include "core/interrupt.h"
#include "games/matrix_game.h"
#include "sim/matrix_game_batch.h"
#include "sim/pack_actions.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

// The rows below are written lane by lane: lane 2e + p is player p of environment e. `seen` is a
// lane's observation index. Bytes may alias anything, so pointers that a loop reads through are
// taken out of the batch first: otherwise the compiler does not vectorise it.

namespace loqa::LOQA_ISA {
namespace {

constexpr int64_t kBlock = 1024;  // environments whose rows of bytes stay in the first-level cache
constexpr int64_t kBetweenLooks = 32;  // steps of a block, which may be small

void seen_after(const uint8_t* played, int64_t lanes, int num_actions, uint8_t* seen) {
  for (int64_t i = 0; i < lanes; i += 2) {
    seen[i] = static_cast<uint8_t>(joint_observation(played[i], played[i + 1], num_actions));
    seen[i + 1] = static_cast<uint8_t>(joint_observation(played[i + 1], played[i], num_actions));
  }
}

void seen_now(const MatrixGameBatch& batch, int64_t first, int64_t count, uint8_t* seen) {
  const int8_t* last = batch.last_actions + 2 * first;
  const int num_actions = batch.num_actions;
  for (int64_t i = 0; i < 2 * count; i += 2) {
    seen[i] = static_cast<uint8_t>(joint_observation(last[i], last[i + 1], num_actions));
    seen[i + 1] = static_cast<uint8_t>(joint_observation(last[i + 1], last[i], num_actions));
  }
}

template <typename Index>
void write_index(const uint8_t* seen, int64_t lanes, Index* obs) {
  for (int64_t i = 0; i < lanes; ++i) obs[i] = static_cast<Index>(seen[i]);
}

// A game of two actions: the rows of both players are one move of constant size.
template <int width>
void write_pairs(const float* table, const uint8_t* seen, int64_t lanes, float* obs) {
  constexpr int kIndices = 5;
  constexpr int kSwapped[kIndices] = {0, 1, 3, 2, 4};  // what the other player sees
  float pairs[kIndices][2 * width];
  for (int index = 0; index < kIndices; ++index) {
    for (int k = 0; k < width; ++k) {
      pairs[index][k] = table[index * width + k];
      pairs[index][width + k] = table[kSwapped[index] * width + k];
    }
  }
  for (int64_t i = 0; i < lanes; i += 2) {
    __builtin_memcpy(obs + i * width, pairs[seen[i]], sizeof(pairs[0]));
  }
}

void write_table(const MatrixGameBatch& batch, const uint8_t* seen, int64_t lanes, float* obs) {
  const float* table = batch.obs_table;
  const int64_t width = batch.obs_width;
  if (batch.num_actions == 2 && width == 4) return write_pairs<4>(table, seen, lanes, obs);
  if (batch.num_actions == 2 && width == 5) return write_pairs<5>(table, seen, lanes, obs);
  if (batch.num_actions == 2 && width == 6) return write_pairs<6>(table, seen, lanes, obs);
  for (int64_t i = 0; i < lanes; ++i) {
    for (int64_t k = 0; k < width; ++k) obs[i * width + k] = table[seen[i] * width + k];
  }
}

// Writes the observations of `lanes` players, which begin `lane` players after `obs`.
void write_obs(const MatrixGameBatch& batch, const uint8_t* seen, int64_t lanes, void* obs,
               int64_t lane) {
  switch (batch.obs_type) {
    case MatrixObs::kIndexInt8:
      return write_index(seen, lanes, static_cast<int8_t*>(obs) + lane);
    case MatrixObs::kIndexInt64:
      return write_index(seen, lanes, static_cast<int64_t*>(obs) + lane);
    default:
      return write_table(batch, seen, lanes, static_cast<float*>(obs) + lane * batch.obs_width);
  }
}

// Rewards of a game of two actions; `seen` is not the start's.
void write_rewards_of_four(const float* payoff, const uint8_t* seen, int64_t lanes,
                           float* rewards) {
  int64_t i = 0;
#if defined(__AVX2__)
  // Four environments at a time: look up payoff[player][joint], all of which fit one register.
  const __m256 table = _mm256_loadu_ps(payoff);
  const __m256i row = _mm256_setr_epi32(-1, 3, -1, 3, -1, 3, -1, 3);
  for (; i + 8 <= lanes; i += 8) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(seen + i));
    const __m256i at = _mm256_add_epi32(_mm256_cvtepu8_epi32(bytes), row);
    _mm256_storeu_ps(rewards + i, _mm256_permutevar8x32_ps(table, at));
  }
#endif
  const float p0 = payoff[0], p1 = payoff[1], p2 = payoff[2], p3 = payoff[3];
  const float q0 = payoff[4], q1 = payoff[5], q2 = payoff[6], q3 = payoff[7];
  for (; i < lanes; i += 2) {
    rewards[i] = payoff_of_four(seen[i] - 1, p0, p1, p2, p3);
    rewards[i + 1] = payoff_of_four(seen[i + 1] - 1, q0, q1, q2, q3);
  }
}

void write_rewards(const MatrixGameBatch& batch, const uint8_t* seen, int64_t lanes,
                   float* rewards) {
  const float* payoff = batch.payoff;
  if (batch.num_actions == 2) return write_rewards_of_four(payoff, seen, lanes, rewards);
  const int size = batch.num_actions * batch.num_actions;
  for (int64_t i = 0; i < lanes; ++i) rewards[i] = payoff[(i & 1) * size + seen[i] - 1];
}

// Replaces actions by noise; `step` is added to each environment's own t.
void apply_noise(const MatrixGameBatch& batch, int64_t begin, int64_t count, int64_t step,
                 uint8_t* actions) {
  const int32_t* t = batch.t;
  const uint32_t* episode = batch.episode;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t env = begin + i;
    play_noisily(batch.seed, batch.first_env + static_cast<uint32_t>(env), episode[env],
                 static_cast<uint32_t>(t[env] + step), batch.num_actions, batch.noise,
                 actions + 2 * i);
  }
}

// The state after a step in which `played` was played and which was the `steps`th from here.
void advance(const MatrixGameBatch& batch, int64_t first, int64_t count, int64_t steps,
             const uint8_t* played) {
  int8_t* last = batch.last_actions + 2 * first;
  int32_t* t = batch.t + first;
  for (int64_t i = 0; i < 2 * count; ++i) last[i] = static_cast<int8_t>(played[i]);
  for (int64_t i = 0; i < count; ++i) t[i] += static_cast<int32_t>(steps);
}

}  // namespace

uint8_t pack_actions(const void* actions, ActionType type, int64_t begin, int64_t end,
                     uint8_t* packed) {
  return pack_any(actions, type, 2 * begin, 2 * (end - begin), packed);
}

void matrix_observe(const MatrixGameBatch& batch, void* obs, int64_t begin, int64_t end) {
  uint8_t seen[2 * kBlock];
  for (int64_t first = begin; first < end; first += kBlock) {
    const int64_t count = end - first < kBlock ? end - first : kBlock;
    seen_now(batch, first, count, seen);
    write_obs(batch, seen, 2 * count, obs, 2 * first);
  }
}

void matrix_step(const MatrixGameBatch& batch, const uint8_t* actions, void* obs, float* rewards,
                 uint8_t* terminated, uint8_t* truncated, int64_t begin, int64_t end) {
  uint8_t played[2 * kBlock];
  uint8_t seen[2 * kBlock];
  for (int64_t first = begin; first < end; first += kBlock) {
    const int64_t count = end - first < kBlock ? end - first : kBlock;
    for (int64_t i = 0; i < 2 * count; ++i) played[i] = actions[2 * first + i];
    if (batch.noise > 0) apply_noise(batch, first, count, 0, played);
    seen_after(played, 2 * count, batch.num_actions, seen);
    write_obs(batch, seen, 2 * count, obs, 2 * first);
    write_rewards(batch, seen, 2 * count, rewards + 2 * first);
    if (batch.end_probability > 0) {
      for (int64_t env = first; env < first + count; ++env) {
        terminated[env] = ends_at_random(batch.seed, batch.first_env + static_cast<uint32_t>(env),
                                         batch.episode[env], static_cast<uint32_t>(batch.t[env]),
                                         batch.end_probability);
      }
    } else {  // the caller may have written to it
      __builtin_memset(terminated + first, 0, static_cast<size_t>(count));
    }
    advance(batch, first, count, 1, played);
    const int32_t* t = batch.t + first;
    const int32_t length = batch.episode_length;
    for (int64_t i = 0; i < count; ++i) truncated[first + i] = t[i] >= length;
  }
}

uint8_t matrix_rollout(const MatrixGameBatch& batch, const void* actions, ActionType type,
                       int64_t steps, void* obs, float* rewards, int64_t begin, int64_t end) {
  uint8_t played[2 * kBlock];
  uint8_t seen[2 * kBlock];
  uint8_t largest = 0;
  matrix_observe(batch, obs, begin, end);
  for (int64_t step = 0; step < steps; ++step) {
    if (step % kBetweenLooks == 0 && interrupted()) return largest;
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t count = end - first < kBlock ? end - first : kBlock;
      const int64_t at = step * batch.num_envs + first;
      const uint8_t packed = pack_actions(actions, type, at, at + count, played);
      largest = packed > largest ? packed : largest;
      if (packed >= batch.num_actions) return largest;
      if (batch.noise > 0) apply_noise(batch, first, count, step, played);
      seen_after(played, 2 * count, batch.num_actions, seen);
      write_obs(batch, seen, 2 * count, obs, 2 * (at + batch.num_envs));
      write_rewards(batch, seen, 2 * count, rewards + 2 * at);
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
    for (int64_t i = 0; i < 2 * count; ++i) {  // another thread of Python may write to them
      played[i] = played[i] < batch.num_actions ? played[i] : static_cast<uint8_t>(0);
    }
    if (batch.noise > 0) apply_noise(batch, first, count, steps - 1, played);
    advance(batch, first, count, steps, played);
  }
}

void matrix_memory1_rollout(const MatrixGameBatch& batch, const float* probabilities,
                            int64_t env_stride, float exploration, int64_t steps, void* obs,
                            int8_t* actions, float* rewards, int64_t begin, int64_t end) {
  constexpr int64_t kEnvs = 256;
  uint32_t words[kMatrixPlayers][kEnvs];
  uint8_t played[2 * kEnvs];
  uint8_t seen[2 * kEnvs];
  matrix_observe(batch, obs, begin, end);
  for (int64_t first = begin; first < end; first += kEnvs) {
    const int64_t count = end - first < kEnvs ? end - first : kEnvs;
    seen_now(batch, first, count, seen);
    const uint32_t first_env = batch.first_env + static_cast<uint32_t>(first);
    const int32_t* t = batch.t + first;
    const uint32_t* episode = batch.episode + first;
    for (int64_t step = 0; step < steps; ++step) {
      if (step % kBetweenLooks == 0 && interrupted()) return;
      for (int64_t i = 0; i < count; ++i) {
        const PhiloxBlock random =
            philox(batch.seed, first_env + static_cast<uint32_t>(i), episode[i],
                   static_cast<uint32_t>(t[i] + step), kDrawPolicy);
        words[0][i] = random.word[0];
        words[1][i] = random.word[1];
      }
      for (int64_t i = 0; i < count; ++i) {
        const float* p = probabilities + (first + i) * env_stride;
        for (int player = 0; player < kMatrixPlayers; ++player) {
          const float first_action = p[player * kMemory1States + seen[2 * i + player]];
          played[2 * i + player] = memory1_action(first_action, exploration, words[player][i]);
        }
      }
      const int64_t at = step * batch.num_envs + first;
      for (int64_t i = 0; i < 2 * count; ++i) actions[2 * at + i] = static_cast<int8_t>(played[i]);
      if (batch.noise > 0) apply_noise(batch, first, count, step, played);
      seen_after(played, 2 * count, 2, seen);
      write_obs(batch, seen, 2 * count, obs, 2 * (at + batch.num_envs));
      write_rewards(batch, seen, 2 * count, rewards + 2 * at);
    }
    if (steps > 0) advance(batch, first, count, steps, played);
  }
}

}  // namespace loqa::LOQA_ISA
