#pragma once

#include "core/interrupt.h"
#include "sim/game_driver.h"
#include "sim/pack_actions.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

// The matrix game in vectors, 4 to 10 times as fast as the loop over environments that serves every
// game (rollouts of given actions; memory-1 players: 2.5 times). Lane 2e + p is player p of
// environment e, `seen` is a lane's observation index. Bytes may alias anything, so pointers that a
// loop reads through are taken out of the job first: otherwise the compiler does not vectorise it.
// Included by game_cpu.cpp alone.

namespace loqa::LOQA_ISA {
namespace {

constexpr int64_t kMatrixBlock = 1024;  // environments whose rows of bytes stay in the first cache
constexpr int64_t kDrawnBlock = 256;    // of those whose players are drawn
constexpr int64_t kBetweenLooks = 32;   // steps of a block, which may be small; one has no look

int64_t block_of(int64_t first, int64_t end, int64_t most) {
  return end - first < most ? end - first : most;
}

// From last or played actions, int8_t or uint8_t.
template <typename T>
void see(const T* actions, int64_t lanes, int num_actions, uint8_t* seen) {
  for (int64_t i = 0; i < lanes; i += 2) {
    const int a = actions[i], b = actions[i + 1];
    seen[i] = static_cast<uint8_t>(MatrixGame::seen_index(a, b, num_actions));
    seen[i + 1] = static_cast<uint8_t>(MatrixGame::seen_index(b, a, num_actions));
  }
}

template <typename Index>
void write_index(const uint8_t* seen, int64_t lanes, void* obs, int64_t lane) {
  Index* to = static_cast<Index*>(obs) + lane;
  for (int64_t i = 0; i < lanes; ++i) to[i] = static_cast<Index>(seen[i]);
}

// Of a game of two actions: the rows of both players are one move of constant size.
template <int kWidth>
void write_pairs(const float* table, const uint8_t* seen, int64_t lanes, float* obs) {
  constexpr int kIndices = 5;
  constexpr int kSwapped[kIndices] = {0, 1, 3, 2, 4};  // what the other player sees
  float pairs[kIndices][2 * kWidth];
  for (int index = 0; index < kIndices; ++index) {
    for (int k = 0; k < kWidth; ++k) {
      pairs[index][k] = table[index * kWidth + k];
      pairs[index][kWidth + k] = table[kSwapped[index] * kWidth + k];
    }
  }
  for (int64_t i = 0; i < lanes; i += 2) {
    __builtin_memcpy(obs + i * kWidth, pairs[seen[i]], sizeof(pairs[0]));
  }
}

void write_rows(const MatrixGame::Rules& rules, const uint8_t* seen, int64_t lanes, float* obs) {
  const float* table = rules.table + MatrixGame::num_payoffs(rules);
  const int64_t width = rules.obs_width;
  if (rules.num_actions == 2 && width == 4) return write_pairs<4>(table, seen, lanes, obs);
  if (rules.num_actions == 2 && width == 5) return write_pairs<5>(table, seen, lanes, obs);
  if (rules.num_actions == 2 && width == 6) return write_pairs<6>(table, seen, lanes, obs);
  for (int64_t i = 0; i < lanes; ++i) {
    for (int64_t k = 0; k < width; ++k) obs[i * width + k] = table[seen[i] * width + k];
  }
}

// The observations of `lanes` players, which begin `lane` players after job.obs.
void write_seen(const GameJob& job, const MatrixGame::Rules& rules, const uint8_t* seen,
                int64_t lanes, int64_t lane) {
  switch (job.obs_type) {
    case ObsType::kInt8:
      return write_index<int8_t>(seen, lanes, job.obs, lane);
    case ObsType::kInt64:
      return write_index<int64_t>(seen, lanes, job.obs, lane);
    default:
      return write_rows(rules, seen, lanes, static_cast<float*>(job.obs) + lane * job.obs_width);
  }
}

// Payoff of joint action 0..3, without a memory access so that it vectorises.
LOQA_HD float payoff_of_four(int joint, float p0, float p1, float p2, float p3) {
  const float if_first = (joint & 1) != 0 ? p1 : p0;
  const float if_second = (joint & 1) != 0 ? p3 : p2;
  return (joint & 2) != 0 ? if_second : if_first;
}

// Of a game of two actions; `seen` is not the start's.
void pay_of_four(const float* payoff, const uint8_t* seen, int64_t lanes, float* rewards) {
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

void pay(const MatrixGame::Rules& rules, const uint8_t* seen, int64_t lanes, float* rewards) {
  const float* payoff = rules.table;
  if (rules.num_actions == 2) return pay_of_four(payoff, seen, lanes, rewards);
  const int size = rules.num_actions * rules.num_actions;
  for (int64_t i = 0; i < lanes; ++i) rewards[i] = payoff[(i & 1) * size + seen[i] - 1];
}

// Draws what both players of each environment do; `step` is added to each environment's own t.
void draw_played(const GameJob& job, int64_t first, int64_t count, int64_t step,
                 const uint8_t* __restrict seen, uint8_t* __restrict played) {
  uint32_t words[2][kDrawnBlock];
  const uint64_t seed = *job.seed;
  const uint32_t first_env = job.first_env + static_cast<uint32_t>(first);
  const int32_t* t = job.t + first;
  const uint32_t* episode = job.episode + first;
  for (int64_t i = 0; i < count; ++i) {
    const PhiloxBlock random = philox(seed, first_env + static_cast<uint32_t>(i), episode[i],
                                      static_cast<uint32_t>(t[i] + step), MatrixGame::kDrawPlayers);
    words[0][i] = random.word[0];
    words[1][i] = random.word[1];
  }
  constexpr int kActions = 2, kSeen = 1 + kActions * kActions;
  const float exploration = job.exploration;
  const int64_t stride = job.env_stride;
  const float* tables = job.probabilities + first * stride;
  for (int64_t i = 0; i < count; ++i) {
    const float* table = tables + i * stride;
    for (int p = 0; p < 2; ++p) {
      const float* row = table + p * kSeen + seen[2 * i + p];
      played[2 * i + p] = memory1_action(row, kActions, exploration, words[p][i]);
    }
  }
}

// Replaces actions by noise, if there is any; `step` is added to each environment's own t.
void play_noise(const GameJob& job, const MatrixGame::Rules& rules, int64_t first, int64_t count,
                int64_t step, uint8_t* played) {
  if (!(rules.noise > 0)) return;
  const uint64_t seed = *job.seed;
  const uint32_t first_env = job.first_env + static_cast<uint32_t>(first);
  const int32_t* t = job.t + first;
  const uint32_t* episode = job.episode + first;
  const int num_actions = rules.num_actions;
  const float noise = rules.noise;
  for (int64_t i = 0; i < count; ++i) {
    const GameRandom random = {seed, first_env + static_cast<uint32_t>(i), episode[i],
                               static_cast<uint32_t>(t[i] + step)};
    MatrixGame::play_noisily(num_actions, noise, random, played + 2 * i);
  }
}

// The rest of step `step` of a block.
void finish_step(const GameJob& job, const MatrixGame::Rules& rules, int64_t first, int64_t count,
                 int64_t step, const uint8_t* played, uint8_t* seen) {
  const int64_t at = 2 * (step * job.num_envs + first);
  see(played, 2 * count, rules.num_actions, seen);
  write_seen(job, rules, seen, 2 * count, at + (job.observe_first ? 2 * job.num_envs : 0));
  pay(rules, seen, 2 * count, job.rewards + at);
  if (step + 1 < job.steps) return;
  uint8_t* terminated = job.terminated;
  if (terminated != nullptr && rules.end_probability > 0) {
    for (int64_t env = first; env < first + count; ++env) {
      const GameRandom random =
          random_of(job, env, job.episode[env], job.t[env] + static_cast<int32_t>(step));
      terminated[env] = MatrixGame::ends(rules, random) ? 1 : 0;
    }
  } else if (terminated != nullptr) {
    __builtin_memset(terminated + first, 0, static_cast<size_t>(count));
  }
  __builtin_memcpy(static_cast<uint8_t*>(job.states) + 2 * first, played,
                   static_cast<size_t>(2 * count));
  int32_t* t = job.t + first;
  const int32_t steps = static_cast<int32_t>(job.steps);
  for (int64_t i = 0; i < count; ++i) t[i] += steps;
  uint8_t* truncated = job.truncated;
  if (truncated == nullptr) return;
  const int32_t length = job.episode_length;
  for (int64_t i = 0; i < count; ++i) truncated[first + i] = t[i] >= length ? 1 : 0;
}

void observe_matrix(const GameJob& job, const MatrixGame::Rules& rules, int64_t begin,
                    int64_t end) {
  const int8_t* last = static_cast<const int8_t*>(job.states);
  uint8_t seen[2 * kMatrixBlock];
  for (int64_t first = begin; first < end; first += kMatrixBlock) {
    const int64_t count = block_of(first, end, kMatrixBlock);
    see(last + 2 * first, 2 * count, rules.num_actions, seen);
    write_seen(job, rules, seen, 2 * count, 2 * first);
  }
}

// Given actions; whether all are legal.
bool step_matrix(const GameJob& job, const MatrixGame::Rules& rules, int64_t begin, int64_t end) {
  uint8_t played[2 * kMatrixBlock];
  uint8_t seen[2 * kMatrixBlock];
  for (int64_t step = 0; step < job.steps; ++step) {
    if ((step + 1) % kBetweenLooks == 0 && interrupted()) return true;
    for (int64_t first = begin; first < end; first += kMatrixBlock) {
      const int64_t count = block_of(first, end, kMatrixBlock);
      const int64_t at = 2 * (step * job.num_envs + first);
      const uint8_t* actions = played;
      if (job.taken && !(rules.noise > 0)) {
        actions = static_cast<const uint8_t*>(job.actions) + at;
      } else {
        const uint8_t largest = pack_any(job.actions, job.action_type, at, 2 * count, played);
        if (!MatrixGame::legal(rules, largest)) return false;
        play_noise(job, rules, first, count, step, played);
      }
      finish_step(job, rules, first, count, step, actions, seen);
    }
  }
  return true;
}

void play_matrix(const GameJob& job, const MatrixGame::Rules& rules, int64_t begin, int64_t end) {
  uint8_t played[2 * kDrawnBlock];
  uint8_t seen[2 * kDrawnBlock];
  for (int64_t first = begin; first < end; first += kDrawnBlock) {
    const int64_t count = block_of(first, end, kDrawnBlock);
    see(static_cast<const int8_t*>(job.states) + 2 * first, 2 * count, 2, seen);
    for (int64_t step = 0; step < job.steps; ++step) {
      if (step % kBetweenLooks == 0 && interrupted()) return;
      draw_played(job, first, count, step, seen, played);
      const int64_t at = 2 * (step * job.num_envs + first);
      __builtin_memcpy(static_cast<uint8_t*>(job.chosen) + at, played,
                       static_cast<size_t>(2 * count));
      play_noise(job, rules, first, count, step, played);
      finish_step(job, rules, first, count, step, played, seen);
    }
  }
}

// Whether this driver does the job: given actions, or two actions that both players draw from the
// first one's probability after what they saw; no episode starts.
bool by_lanes(const GameJob& job, const MatrixGame::Rules& rules) {
  if (job.restart != nullptr || job.only_choose) return false;
  return job.chosen == nullptr || (rules.num_actions == 2 && job.row == 1 &&
                                   job.player[0] == kMemory1 && job.player[1] == kMemory1);
}

// Whether all actions are legal.
bool play_lanes(const GameJob& job, const MatrixGame::Rules& rules, int64_t begin, int64_t end) {
  if (job.observe_first) observe_matrix(job, rules, begin, end);
  if (job.chosen == nullptr) return step_matrix(job, rules, begin, end);
  play_matrix(job, rules, begin, end);
  return true;
}

}  // namespace
}  // namespace loqa::LOQA_ISA
