#include <type_traits>

#include "core/interrupt.h"
#include "sim/coin_game_obs.h"

namespace loqa::LOQA_ISA {
namespace {

// Environments whose state and random words stay in the second-level cache for all steps of a
// rollout, while the results of a step are written in long runs.
constexpr int64_t kTile = 4096;
constexpr int64_t kBetweenLooks = 32;  // steps of a tile, which may be one block

// Actions [count, kPlayers] as an array of lanes for each player.
template <int kPlayers, typename T>
inline void split_actions(const T* from, int64_t count, uint8_t (&actions)[kPlayers][kLanes]) {
  if (count == kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      for (int p = 0; p < kPlayers; ++p) actions[p][l] = action_byte(from[l * kPlayers + p]);
    }
  } else {
    for (int p = 0; p < kPlayers; ++p) {
      for (int l = 0; l < kLanes; ++l) {
        actions[p][l] = l < count ? action_byte(from[l * kPlayers + p]) : static_cast<uint8_t>(0);
      }
    }
  }
}

template <int kPlayers>
void load_actions(const void* from, ActionType type, int64_t env, int64_t count,
                  uint8_t (&actions)[kPlayers][kLanes]) {
  with_action_type(type, from, [&](const auto* given) {
    split_actions(given + env * kPlayers, count, actions);
  });
}

template <int kPlayers>
inline bool all_legal(const CoinRules& rules, const uint8_t (&actions)[kPlayers][kLanes]) {
  uint8_t largest = 0;
  for (int p = 0; p < kPlayers; ++p) {
    for (int l = 0; l < kLanes; ++l) largest = actions[p][l] > largest ? actions[p][l] : largest;
  }
  return CoinGame::legal(rules, largest);
}

// The first `count` lanes; all of them are a copy of known size.
template <typename T>
inline void store(const T (&lanes)[kLanes], int64_t count, T* to) {
  if (count == kLanes) {
    __builtin_memcpy(to, lanes, sizeof(lanes));
  } else {
    for (int64_t l = 0; l < count; ++l) to[l] = lanes[l];
  }
}

template <typename Cell, int kPlayers, int kCoins>
inline void write_rewards(const CoinLanes<Cell, kPlayers, kCoins>& lanes, int64_t count,
                          float* rewards) {
  alignas(64) int8_t paid[kLanes * kPlayers];
  for (int l = 0; l < kLanes; ++l) {
    for (int p = 0; p < kPlayers; ++p) paid[l * kPlayers + p] = lanes.reward[p][l];
  }
  if (count == kLanes) {
    for (int i = 0; i < kLanes * kPlayers; ++i) rewards[i] = static_cast<float>(paid[i]);
  } else {
    for (int64_t i = 0; i < count * kPlayers; ++i) rewards[i] = static_cast<float>(paid[i]);
  }
}

inline int64_t lanes_at(int64_t first, int64_t end) {
  return end - first < kLanes ? end - first : kLanes;
}

// Results of more bytes than this are written past the cache.
constexpr int64_t kStreamFrom = 4 << 20;

inline bool streams(const CoinGameBatch& batch, const GameJob& job) {
  return job.observe_first && job.steps * job.num_envs * batch.obs_bytes > kStreamFrom;
}

inline uint8_t* obs_at(const CoinGameBatch& batch, const GameJob& job, int64_t at) {
  return static_cast<uint8_t*>(job.obs) + at * batch.obs_bytes;
}

template <typename Cell, int kPlayers, int kCoins>
struct Driver {
  using Lanes = CoinLanes<Cell, kPlayers, kCoins>;

  static void load(const CoinMemory& batch, int64_t first, int64_t count, int64_t step,
                   Lanes& lanes) {
    move_state<true>(batch, batch.state + first, lanes);
    load_times(batch, first, count, step, lanes.now);
  }

  // Step `step` of the block that starts at `first`.
  static inline void step_block(const CoinMemory& batch, const GameJob& job, int64_t first,
                                int64_t count, int64_t step,
                                const uint8_t (&actions)[kPlayers][kLanes], bool stream) {
    const int64_t at = step * batch.num_envs + first;
    Lanes lanes;
    alignas(64) uint32_t words[kCoins][kLanes];
    load(batch, first, count, step, lanes);
    load_words<kCoins>(batch, first, count, lanes.now, words);
    step_lanes(batch, words, actions, lanes);
    move_state<false>(batch, batch.state + first, lanes);
    write_rewards(lanes, count, job.rewards + at * kPlayers);
    write_obs(batch, lanes, static_cast<int>(count), stream,
              obs_at(batch, job, at + (job.observe_first ? batch.num_envs : 0)));
    if (step + 1 < job.steps) return;
    alignas(64) uint8_t over[kLanes];
    const int32_t length = batch.episode_length;
    for (int l = 0; l < kLanes; ++l) over[l] = lanes.now[l] >= length ? 1 : 0;
    store(lanes.now, count, batch.t + first);
    if (job.truncated != nullptr) store(over, count, job.truncated + first);
  }

  // What players do now who are not given, into actions [count, kPlayers].
  static inline void choose_block(const CoinMemory& batch, const GameJob& job, int64_t first,
                                  int64_t count, int64_t step, uint8_t* actions) {
    Lanes lanes;
    load(batch, first, count, step, lanes);
    for (int p = 0; p < kPlayers; ++p) {
      if (job.player[p] == kGiven) continue;
      for (int l = 0; l < count; ++l) {
        actions[l * kPlayers + p] =
            choose_viewed(batch.rules, job, view_of(lanes, p, l), p, batch.seed,
                          batch.first_env + static_cast<uint32_t>(first + l),
                          batch.episode[first + l], static_cast<uint32_t>(lanes.now[l]));
      }
    }
  }

  static void observe(const CoinMemory& batch, const GameJob& job, int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += kLanes) {
      const int64_t count = lanes_at(first, end);
      Lanes lanes;
      load(batch, first, count, 0, lanes);
      write_obs(batch, lanes, static_cast<int>(count), false, obs_at(batch, job, first));
    }
  }

  static bool play(const CoinMemory& batch, const GameJob& job, int64_t begin, int64_t end) {
    auto* chosen = static_cast<uint8_t*>(job.chosen);
    if (job.only_choose) {
      for (int64_t first = begin; first < end; first += kLanes) {
        choose_block(batch, job, first, lanes_at(first, end), 0, chosen + first * kPlayers);
      }
      return true;
    }
    if (job.observe_first) observe(batch, job, begin, end);
    const bool stream = streams(batch, job);
    alignas(64) uint8_t actions[kPlayers][kLanes];
    for (int64_t tile = begin; tile < end; tile += kTile) {
      const int64_t tile_end = tile + kTile < end ? tile + kTile : end;
      for (int64_t step = 0; step < job.steps; ++step) {
        if (step % kBetweenLooks == 0 && interrupted()) return true;
        for (int64_t first = tile; first < tile_end; first += kLanes) {
          const int64_t count = lanes_at(first, tile_end);
          const int64_t at = step * batch.num_envs + first;
          if (chosen != nullptr) {
            choose_block(batch, job, first, count, step, chosen + at * kPlayers);
            load_actions(chosen, ActionType::kUint8, at, count, actions);
          } else {
            load_actions(job.actions, job.action_type, at, count, actions);
          }
          if (!job.unchecked && !job.taken && !all_legal(batch.rules, actions)) return false;
          step_block(batch, job, first, count, step, actions, stream);
        }
      }
    }
    if (stream) finish_streams();
    return true;
  }
};

}  // namespace

bool coin_play(const GameJob& job, int64_t begin, int64_t end) {
  const CoinMemory batch(job);
  for (int64_t env = begin; job.restart != nullptr && env < end; ++env) {
    if (job.restart[env] == 0) continue;
    start_env(batch, batch.seed, env);
    batch.tag[env] = -1;
  }
  if (job.terminated != nullptr && job.steps > 0) {  // the caller may have written to it
    __builtin_memset(job.terminated + begin, 0, static_cast<size_t>(end - begin));
  }
  bool legal = true;
  with_sizes(batch.rules, [&](auto players, auto coins) {
    if constexpr (players == 2) {
      if (is_small(batch.rules)) {
        legal = Driver<uint8_t, players, coins>::play(batch, job, begin, end);
        return;
      }
    }
    legal = Driver<int32_t, players, coins>::play(batch, job, begin, end);
  });
  return legal;
}

}  // namespace loqa::LOQA_ISA
