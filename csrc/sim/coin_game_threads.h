#pragma once

// A thread is a block of one lane.
#define LOQA_ISA threads

#include "core/thread_block.h"
#include "sim/coin_game_lanes.h"
#include "sim/coin_game_planes.h"

// What a block of threads does, one environment a thread: the kernels of coin_game_cuda.cu and the
// loops of coin_game_host.cpp, which alone include this.

namespace loqa::LOQA_ISA {
namespace {

// What one launch does to a batch whose arrays are in a device's memory. Nothing else decides what
// comes out, so that a captured graph goes on with new numbers each time it is replayed.
struct CoinJob : GameJob {
  CoinGameBatch batch;
  explicit CoinJob(const GameJob& job) : GameJob(job), batch(coin_batch(job)) {}
};

template <int kPlayers, int kCoins>
struct CoinThread {
  CoinLanes<int32_t, kPlayers, kCoins, 1> lanes;
  PhiloxBlock words[kCoins];  // of steps 4 tag .. 4 tag + 3
  int32_t tag;                // -1: none
  uint64_t seed;
  uint32_t number;  // of the environment in the random counters
  uint32_t episode;
  int64_t env;  // in the batch
  bool live;    // there is such an environment
  bool ended;
};

template <typename Thread>
LOQA_LANES void load_env(const CoinJob& job, Thread& me) {
  move_state<true>(job.batch, job.batch.state + me.env, me.lanes);
  me.lanes.now[0] = job.batch.t[me.env];
  me.episode = job.batch.episode[me.env];
  me.tag = -1;
}

template <typename Thread>
LOQA_LANES void begin_thread(const CoinJob& job, int64_t env, Thread& me) {
  me.env = env;
  me.live = env < job.batch.num_envs;
  me.ended = false;
  if (!me.live) return;
  me.seed = *job.seed;
  me.number = job.batch.first_env + static_cast<uint32_t>(env);
  load_env(job, me);
}

LOQA_BLOCK_CALL void start_next_episode(const CoinGameBatch& batch, uint64_t seed, int64_t env) {
  batch.episode[env] += 1;
  start_env(batch, seed, env);
}

template <typename Thread>
LOQA_BLOCK void next_episode(const CoinJob& job, Thread& me) {
  start_next_episode(job.batch, me.seed, me.env);
  load_env(job, me);
}

// The random word of this step for each coin.
template <int kPlayers, int kCoins>
LOQA_LANES void draw_words(CoinThread<kPlayers, kCoins>& me, uint32_t (&words)[kCoins][1]) {
  const int32_t now = me.lanes.now[0];
  for (int c = 0; c < kCoins; ++c) {
    if (me.tag != now >> 2) {
      me.words[c] = philox(me.seed, me.number, me.episode, static_cast<uint32_t>(now) >> 2,
                           kDrawRespawn + static_cast<uint32_t>(c));
    }
    const uint32_t (&word)[4] = me.words[c].word;
    const uint32_t early = (now & 1) != 0 ? word[1] : word[0];  // no index: words stay registers
    const uint32_t late = (now & 1) != 0 ? word[3] : word[2];
    words[c][0] = (now & 2) != 0 ? late : early;
  }
  me.tag = now >> 2;
}

// scripted_action, for every number of players.
LOQA_BLOCK_CALL uint8_t choose_action(const CoinJob& job, const CoinView& view, int player,
                                      uint64_t seed, uint32_t env, uint32_t episode, uint32_t t) {
  return choose_viewed(job.batch.rules, job, view, player, seed, env, episode, t);
}

template <int kPlayers, int kCoins>
LOQA_BLOCK void choose_thread(const CoinJob& job, const CoinThread<kPlayers, kCoins>& me,
                              uint8_t* actions) {
  for (int p = 0; p < kPlayers; ++p) {
    if (job.player[p] == kGiven) continue;
    const CoinView view = view_of(me.lanes, p, 0);
    actions[p] = choose_action(job, view, p, me.seed, me.number, me.episode,
                               static_cast<uint32_t>(me.lanes.now[0]));
  }
}

template <bool kScripted, int kPlayers, int kCoins>
LOQA_BLOCK void step_thread(const CoinJob& job, int64_t step, CoinThread<kPlayers, kCoins>& me) {
  const CoinGameBatch& batch = job.batch;
  const int64_t at = step * batch.num_envs + me.env;
  if constexpr (kScripted) {
    if (job.chosen != nullptr) {
      choose_thread(job, me, static_cast<uint8_t*>(job.chosen) + at * kPlayers);
    }
  }
  uint8_t actions[kPlayers][1];
  bool bad = false;
  for (int p = 0; p < kPlayers; ++p) {
    actions[p][0] = kScripted && job.chosen != nullptr
                        ? static_cast<const uint8_t*>(job.chosen)[at * kPlayers + p]
                        : action_at(job.actions, job.action_type, at * kPlayers + p);
    bad |= actions[p][0] >= batch.rules.num_actions;
  }
  if (bad && job.bad_action != nullptr) *job.bad_action = 1;

  WideStore<float, kPlayers> rewards = {};
  if (job.autoreset == Autoreset::kNextStep && job.truncated[me.env] != 0) {
    next_episode(job, me);
    me.ended = false;
  } else {
    if (me.lanes.now[0] == INT32_MAX) me.lanes.now[0] -= 1;  // t stays there
    uint32_t words[kCoins][1];
    draw_words(me, words);
    step_lanes(batch, words, actions, me.lanes);
    for (int p = 0; p < kPlayers; ++p) {
      rewards.value[p] = static_cast<float>(me.lanes.reward[p][0]);
    }
    me.ended = me.lanes.now[0] >= batch.episode_length;
  }
  reinterpret_cast<WideStore<float, kPlayers>*>(job.rewards)[at] = rewards;
  if (job.truncated != nullptr) job.truncated[me.env] = me.ended ? 1 : 0;
}

// The thread's view, which is to be written.
template <int kPlayers, int kCoins>
LOQA_LANES void show_thread(const CoinGameBatch& batch, const CoinThread<kPlayers, kCoins>& me,
                            const CoinViews& views, int thread) {
  int32_t places[kPlayers][kPlayers + kCoins][1];
  place_ones(batch.rules, me.lanes, places);
  int32_t* view = views.cells + thread * views.cell_stride;
  for (int p = 0; p < kPlayers; ++p, view += views.each) {
    for (int k = 0; k < kPlayers + kCoins; ++k) view[k] = places[p][k][0];
    if (!batch.rules.history) continue;
    for (int k = 0; k <= kPlayers; ++k) {
      view[kPlayers + kCoins + k] = history_value(batch, me.lanes, p, k, 0);
    }
  }
  gather_bits(batch, views, thread);
}

template <bool kScripted, int kPlayers, int kCoins, typename Block>
LOQA_BLOCK void play_block(const CoinJob& job, Block& block) {
  using Thread = CoinThread<kPlayers, kCoins>;
  const CoinGameBatch& batch = job.batch;
  const CoinViews views = coin_views(batch, block.shared);
  const bool two_turns = !batch.rules.cells && views.bit_words == 0;
  const int64_t first = block.index * kBlockThreads;
  // The observations of all environments, or of those whose episode has ended.
  const auto show = [&](bool only_ended, void* obs) {
    block.all_then_wait([&](Thread& me, int thread) {
      views.chosen[thread] = (only_ended ? me.ended : me.live) ? 1 : 0;
      if (me.live) show_thread(batch, me, views, thread);
    });
    block.all_then_wait(
        [&](Thread&, int thread) { fill_obs(batch, block.shared, first, thread, obs); });
    if (!two_turns) return;
    block.all_then_wait(
        [&](Thread&, int thread) { fill_ones(batch, block.shared, first, thread, obs); });
  };
  block.all([&](Thread& me, int thread) { begin_thread(job, first + thread, me); });
  uint8_t* obs = static_cast<uint8_t*>(job.obs);
  for (int64_t t = job.observe_first ? -1 : 0; t < job.steps;
       ++t, obs += batch.num_envs * batch.obs_bytes) {
    if (t >= 0) {
      block.all([&](Thread& me, int) {
        if (me.live) step_thread<kScripted>(job, t, me);
      });
    }
    // With kSameStep episodes that have ended show their last observations first, and then the
    // first of the next. `show` is large: a loop, so that the program has it once.
    bool last = job.autoreset == Autoreset::kSameStep &&
                block.any([](const Thread& me) { return me.ended; });
    for (bool more = true; more;) {
      show(last, last ? job.final_obs : obs);
      more = last;
      if (last) {
        block.all([&](Thread& me, int) {
          if (me.ended) next_episode(job, me);
        });
      }
      last = false;
    }
  }
  if (job.steps == 0) return;
  block.all([&](Thread& me, int) {
    if (!me.live) return;
    move_state<false>(batch, batch.state + me.env, me.lanes);
    batch.t[me.env] = me.lanes.now[0];
  });
}

template <int kPlayers, int kCoins, typename Block>
LOQA_BLOCK void choose_block(const CoinJob& job, Block& block) {
  const int64_t first = block.index * kBlockThreads;
  block.all([&](CoinThread<kPlayers, kCoins>& me, int thread) {
    begin_thread(job, first + thread, me);
    if (!me.live) return;
    choose_thread(job, me, static_cast<uint8_t*>(job.chosen) + me.env * kPlayers);
  });
}

LOQA_LANES void reset_env(const CoinJob& job, int64_t env) {
  if (env >= job.batch.num_envs || job.restart[env] == 0) return;
  start_env(job.batch, *job.seed, env);
}

// Calls launch(whether players are played, players, coins) with constants. Given actions have a
// smaller program of their own with two players; with more, which is rare, there is one program for
// all: less to compile.
template <typename Launch>
void with_program(const CoinJob& job, const Launch& launch) {
  with_sizes(job.batch.rules, [&](auto players, auto coins) {
    if constexpr (players == 2) {
      if (job.chosen == nullptr) return launch(Fixed<0>{}, players, coins);
    }
    launch(Fixed<1>{}, players, coins);
  });
}

}  // namespace
}  // namespace loqa::LOQA_ISA
