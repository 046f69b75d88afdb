#pragma once

#include "games/matrix_game.h"
#include "sim/block_steps.h"
#include "sim/matrix_game_device.h"

// What a block of threads does, one environment a thread: the kernel of matrix_game_cuda.cu and the
// loop of matrix_game_host.cpp, which alone include this.

namespace loqa::threads {
namespace {

struct MatrixThread {
  int8_t last[kMatrixPlayers];
  int32_t now;  // t
  uint64_t seed;
  uint32_t number;  // of the environment in the random counters
  uint32_t episode;
  int64_t env;  // in the batch
  bool live;    // there is such an environment
  bool ended;
};

// What a block shares.
struct MatrixRows {
  uint8_t* seen;    // [kBlockThreads, 2]: observation indices
  uint8_t* chosen;  // [kBlockThreads]: whose observations are written
};

inline constexpr int kMatrixSharedWords = (kMatrixPlayers + 1) * kBlockThreads / 4;

LOQA_HD MatrixRows matrix_rows(uint32_t* shared) {
  uint8_t* bytes = reinterpret_cast<uint8_t*>(shared);
  return {bytes, bytes + kMatrixPlayers * kBlockThreads};
}

LOQA_HD int seen_by(const MatrixJob& job, const MatrixThread& me, int player) {
  return joint_observation(me.last[player], me.last[1 - player], job.batch.num_actions);
}

LOQA_BLOCK void begin_thread(const MatrixJob& job, int64_t env, MatrixThread& me) {
  const MatrixGameBatch& batch = job.batch;
  me.env = env;
  me.live = env < batch.num_envs;
  me.ended = false;
  if (!me.live) return;
  me.seed = *job.seed;
  me.number = batch.first_env + static_cast<uint32_t>(env);
  me.episode = batch.episode[env];
  me.now = batch.t[env];
  for (int p = 0; p < kMatrixPlayers; ++p) me.last[p] = batch.last_actions[2 * env + p];
}

LOQA_BLOCK void next_episode(const MatrixJob& job, MatrixThread& me) {
  me.episode += 1;
  job.batch.episode[me.env] = me.episode;
  me.now = 0;
  for (int p = 0; p < kMatrixPlayers; ++p) me.last[p] = kNoAction;
}

// The actions of a step, as chosen.
template <bool kSampled>
LOQA_BLOCK void choose_thread(const MatrixJob& job, int64_t at, const MatrixThread& me,
                              uint8_t (&actions)[kMatrixPlayers]) {
  if constexpr (kSampled) {
    const PhiloxBlock random =
        philox(me.seed, me.number, me.episode, static_cast<uint32_t>(me.now), kDrawPolicy);
    const float* probabilities = job.probabilities + me.env * job.env_stride;
    for (int p = 0; p < kMatrixPlayers; ++p) {
      const float first = probabilities[p * kMemory1States + seen_by(job, me, p)];
      actions[p] = memory1_action(first, job.exploration, random.word[p]);
      static_cast<int8_t*>(job.actions)[kMatrixPlayers * at + p] = static_cast<int8_t>(actions[p]);
    }
  } else {
    for (int p = 0; p < kMatrixPlayers; ++p) {
      actions[p] = action_at(job.actions, job.action_type, kMatrixPlayers * at + p);
      if (actions[p] < job.batch.num_actions) continue;
      actions[p] = 0;
      *job.bad_action = 1;
    }
  }
}

template <bool kSampled>
LOQA_BLOCK void step_thread(const MatrixJob& job, int64_t step, MatrixThread& me) {
  const MatrixGameBatch& batch = job.batch;
  const int64_t at = step * batch.num_envs + me.env;
  uint8_t actions[kMatrixPlayers];
  choose_thread<kSampled>(job, at, me, actions);
  Several<float, kMatrixPlayers> rewards = {};
  bool restart = false;
  if (job.autoreset == Autoreset::kNextStep) {
    restart = (job.terminated[me.env] | job.truncated[me.env]) != 0;
  }
  if (restart) {
    next_episode(job, me);
    job.terminated[me.env] = 0;
  } else {
    const uint32_t t = static_cast<uint32_t>(me.now);
    if (batch.noise > 0) {
      play_noisily(me.seed, me.number, me.episode, t, batch.num_actions, batch.noise, actions);
    }
    for (int p = 0; p < kMatrixPlayers; ++p) me.last[p] = static_cast<int8_t>(actions[p]);
    for (int p = 0; p < kMatrixPlayers; ++p) {
      const int joint = seen_by(job, me, p) - 1;
      rewards.value[p] = batch.payoff[p * batch.num_actions * batch.num_actions + joint];
    }
    if (batch.end_probability > 0 && job.terminated != nullptr) {
      job.terminated[me.env] =
          ends_at_random(me.seed, me.number, me.episode, t, batch.end_probability) ? 1 : 0;
    }
    me.now += me.now < INT32_MAX ? 1 : 0;  // t stays there
  }
  reinterpret_cast<Several<float, kMatrixPlayers>*>(job.rewards)[at] = rewards;
  if (job.truncated == nullptr) return;
  job.truncated[me.env] = me.now >= batch.episode_length && !restart ? 1 : 0;
  me.ended = (job.terminated[me.env] | job.truncated[me.env]) != 0;
}

// A thread's share of the observations of the block that begins at environment `first`.
template <typename Element>
LOQA_HD void fill_indices(const MatrixRows& rows, int64_t first, int count, int thread,
                          Element* obs) {
  BlockWalk walk(kMatrixPlayers, thread);
  for (; walk.env < count; walk.next()) {
    if (rows.chosen[walk.env] == 0) continue;
    const int at = kMatrixPlayers * walk.env + walk.at;
    obs[kMatrixPlayers * first + at] = static_cast<Element>(rows.seen[at]);
  }
}

LOQA_BLOCK void fill_obs(const MatrixGameBatch& batch, const MatrixRows& rows, int64_t first,
                         int thread, void* obs) {
  const int64_t left = batch.num_envs - first;
  const int count = static_cast<int>(left < kBlockThreads ? left : kBlockThreads);
  if (batch.obs_type == MatrixObs::kIndexInt8) {
    return fill_indices(rows, first, count, thread, static_cast<int8_t*>(obs));
  }
  if (batch.obs_type == MatrixObs::kIndexInt64) {
    return fill_indices(rows, first, count, thread, static_cast<int64_t*>(obs));
  }
  const int32_t width = static_cast<int32_t>(batch.obs_width);
  float* to = static_cast<float*>(obs) + first * kMatrixPlayers * width;
  BlockWalk walk(kMatrixPlayers * width, thread);
  for (; walk.env < count; walk.next()) {
    if (rows.chosen[walk.env] == 0) continue;
    const int player = walk.at < width ? 0 : 1;
    const int seen = rows.seen[kMatrixPlayers * walk.env + player];
    to[walk.env * walk.each + walk.at] = batch.obs_table[seen * width + walk.at - player * width];
  }
}

template <bool kSampled, typename Block>
LOQA_BLOCK void play_block(const MatrixJob& job, Block& block) {
  const MatrixGameBatch& batch = job.batch;
  const MatrixRows rows = matrix_rows(block.shared);
  const int64_t first = block.index * kBlockThreads;
  const int64_t index_bytes = batch.obs_type == MatrixObs::kIndexInt8 ? 1 : 8;
  const int64_t player_bytes =
      batch.obs_type == MatrixObs::kTable ? 4 * batch.obs_width : index_bytes;
  block.alone([&](MatrixThread& me, int thread) { begin_thread(job, first + thread, me); });
  const auto step = [&](MatrixThread& me, int64_t t) { step_thread<kSampled>(job, t, me); };
  const auto show = [&](bool only_ended, void* obs) {
    block.turn([&](MatrixThread& me, int thread) {
      rows.chosen[thread] = (only_ended ? me.ended : me.live) ? 1 : 0;
      if (!me.live) return;
      for (int p = 0; p < kMatrixPlayers; ++p) {
        rows.seen[kMatrixPlayers * thread + p] = static_cast<uint8_t>(seen_by(job, me, p));
      }
    });
    block.turn([&](MatrixThread&, int thread) { fill_obs(batch, rows, first, thread, obs); });
  };
  const auto next = [&](MatrixThread& me) { next_episode(job, me); };
  play_steps(job, batch.num_envs * kMatrixPlayers * player_bytes, block, step, show, next);
  if (job.steps == 0) return;
  block.alone([&](MatrixThread& me, int) {
    if (!me.live) return;
    batch.t[me.env] = me.now;
    for (int p = 0; p < kMatrixPlayers; ++p) batch.last_actions[2 * me.env + p] = me.last[p];
  });
}

}  // namespace
}  // namespace loqa::threads
