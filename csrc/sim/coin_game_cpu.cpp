#include <type_traits>

#include "core/interrupt.h"
#include "sim/coin_game_batch.h"
#include "sim/coin_game_obs.h"

namespace loqa::LOQA_ISA {
namespace {

// Environments whose state and random words stay in the second-level cache for all steps of a
// rollout, while the results of a step are written in long runs.
constexpr int64_t kTile = 4096;
constexpr int64_t kBetweenLooks = 32;  // steps of a tile, which may be one block

template <typename T>
uint8_t largest_of(const T* actions, int64_t count) {
  using Unsigned = std::make_unsigned_t<T>;  // where what is negative is large
  Unsigned largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Unsigned action = static_cast<Unsigned>(actions[i]);
    largest = action > largest ? action : largest;
  }
  return largest > 254 ? static_cast<uint8_t>(255) : static_cast<uint8_t>(largest);
}

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
  const int64_t at = env * kPlayers;
  switch (type) {
    case ActionType::kUint8:
      return split_actions(static_cast<const uint8_t*>(from) + at, count, actions);
    case ActionType::kInt8:
      return split_actions(static_cast<const int8_t*>(from) + at, count, actions);
    case ActionType::kInt16:
      return split_actions(static_cast<const int16_t*>(from) + at, count, actions);
    case ActionType::kInt32:
      return split_actions(static_cast<const int32_t*>(from) + at, count, actions);
    default:
      return split_actions(static_cast<const int64_t*>(from) + at, count, actions);
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

// Where the results of a block of environments go.
inline void* obs_at(const CoinGameBatch& batch, void* obs, int64_t env) {
  const int64_t env_bytes =
      batch.rules.num_players * coin_obs_size(batch) * coin_element_size(batch.obs_type);
  return static_cast<uint8_t*>(obs) + env * env_bytes;
}

// Step `step` of the block that starts at `first`.
template <typename Cell, int kPlayers, int kCoins>
inline void step_block(const CoinGameBatch& batch, int64_t first, int64_t count, int64_t step,
                       const uint8_t (&actions)[kPlayers][kLanes], const CoinResults& results) {
  const int64_t at = step * batch.num_envs + first;
  CoinLanes<Cell, kPlayers, kCoins> lanes;
  move_state<true>(batch, batch.state + first, lanes);
  alignas(64) uint32_t words[kCoins][kLanes];
  load_times(batch, first, count, step, lanes.now);
  load_words<kCoins>(batch, first, count, lanes.now, words);
  step_lanes(batch, words, actions, lanes);
  move_state<false>(batch, batch.state + first, lanes);
  write_rewards(lanes, count, results.rewards + at * kPlayers);
  write_obs(batch, lanes, static_cast<int>(count), results.stream, obs_at(batch, results.obs, at));
  if (results.truncated != nullptr) {
    alignas(64) uint8_t over[kLanes];
    const int32_t length = batch.episode_length;
    for (int l = 0; l < kLanes; ++l) over[l] = lanes.now[l] >= length ? 1 : 0;
    if (count == kLanes) {  // copies of known size
      __builtin_memcpy(batch.t + first, lanes.now, sizeof(lanes.now));
      __builtin_memcpy(results.truncated + first, over, sizeof(over));
    } else {
      for (int64_t l = 0; l < count; ++l) {
        batch.t[first + l] = lanes.now[l];
        results.truncated[first + l] = over[l];
      }
    }
  }
}

template <typename Cell, int kPlayers, int kCoins>
struct Steps {
  static void run(const CoinGameBatch& batch, const void* source, ActionType type, int64_t steps,
                  const CoinResults& results, int64_t begin, int64_t end) {
    alignas(64) uint8_t actions[kPlayers][kLanes];
    for (int64_t tile = begin; tile < end; tile += kTile) {
      const int64_t tile_end = tile + kTile < end ? tile + kTile : end;
      for (int64_t step = 0; step < steps; ++step) {
        if (step % kBetweenLooks == 0 && interrupted()) return;
        for (int64_t first = tile; first < tile_end; first += kLanes) {
          const int64_t count = lanes_at(first, tile_end);
          load_actions(source, type, step * batch.num_envs + first, count, actions);
          step_block<Cell, kPlayers, kCoins>(batch, first, count, step, actions, results);
        }
      }
    }
    if (results.stream) stream_end();
  }
};

template <typename Cell, int kPlayers, int kCoins>
struct Observe {
  static void run(const CoinGameBatch& batch, void* obs, int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += kLanes) {
      const int64_t count = lanes_at(first, end);
      CoinLanes<Cell, kPlayers, kCoins> lanes;
      move_state<true>(batch, batch.state + first, lanes);
      load_times(batch, first, count, 0, lanes.now);
      write_obs(batch, lanes, static_cast<int>(count), false, obs_at(batch, obs, first));
    }
  }
};

template <typename Cell, int kPlayers, int kCoins>
inline void choose_block(const CoinGameBatch& batch, const CoinPlayers& players, int64_t first,
                         int64_t count, int64_t step, uint8_t* actions) {
  CoinLanes<Cell, kPlayers, kCoins> lanes;
  move_state<true>(batch, batch.state + first, lanes);
  load_times(batch, first, count, step, lanes.now);
  for (int p = 0; p < kPlayers; ++p) {
    if (players.kind[p] < 0) continue;
    for (int l = 0; l < count; ++l) {
      actions[l * kPlayers + p] =
          choose_viewed(batch.rules, players, view_of(lanes, p, l), p, batch.seed,
                        batch.first_env + static_cast<uint32_t>(first + l),
                        batch.episode[first + l], static_cast<uint32_t>(lanes.now[l]));
    }
  }
}

template <typename Cell, int kPlayers, int kCoins>
struct Choose {
  static void run(const CoinGameBatch& batch, const CoinPlayers& players, uint8_t* actions,
                  int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += kLanes) {
      choose_block<Cell, kPlayers, kCoins>(batch, players, first, lanes_at(first, end), 0,
                                           actions + first * kPlayers);
    }
  }
};

template <typename Cell, int kPlayers, int kCoins>
struct Play {
  static void run(const CoinGameBatch& batch, const CoinPlayers& players, int64_t steps,
                  uint8_t* played, const CoinResults& results, int64_t begin, int64_t end) {
    alignas(64) uint8_t actions[kPlayers][kLanes];
    for (int64_t tile = begin; tile < end; tile += kTile) {
      const int64_t tile_end = tile + kTile < end ? tile + kTile : end;
      for (int64_t step = 0; step < steps; ++step) {
        if (step % kBetweenLooks == 0 && interrupted()) return;
        for (int64_t first = tile; first < tile_end; first += kLanes) {
          const int64_t count = lanes_at(first, tile_end);
          const int64_t at = step * batch.num_envs + first;
          choose_block<Cell, kPlayers, kCoins>(batch, players, first, count, step,
                                               played + at * kPlayers);
          load_actions(played, ActionType::kUint8, at, count, actions);
          step_block<Cell, kPlayers, kCoins>(batch, first, count, step, actions, results);
        }
      }
    }
    if (results.stream) stream_end();
  }
};

// Calls Job<Cell, players, coins>::run(batch, ...).
template <template <typename, int, int> class Job, typename... Arguments>
void with_sizes(const CoinGameBatch& batch, Arguments... arguments) {
  const bool two_coins = batch.rules.num_coins == 2;
  if (is_small(batch.rules)) {
    return two_coins ? Job<uint8_t, 2, 2>::run(batch, arguments...)
                     : Job<uint8_t, 2, 1>::run(batch, arguments...);
  }
  if (two_coins) return Job<int32_t, 2, 2>::run(batch, arguments...);
  switch (batch.rules.num_players) {
    case 2:
      return Job<int32_t, 2, 1>::run(batch, arguments...);
    case 3:
      return Job<int32_t, 3, 1>::run(batch, arguments...);
    case 4:
      return Job<int32_t, 4, 1>::run(batch, arguments...);
    case 5:
      return Job<int32_t, 5, 1>::run(batch, arguments...);
    case 6:
      return Job<int32_t, 6, 1>::run(batch, arguments...);
    case 7:
      return Job<int32_t, 7, 1>::run(batch, arguments...);
    default:
      return Job<int32_t, 8, 1>::run(batch, arguments...);
  }
}

}  // namespace

uint8_t coin_largest_action(const void* actions, ActionType type, int64_t count) {
  switch (type) {
    case ActionType::kUint8:
      return largest_of(static_cast<const uint8_t*>(actions), count);
    case ActionType::kInt8:
      return largest_of(static_cast<const int8_t*>(actions), count);
    case ActionType::kInt16:
      return largest_of(static_cast<const int16_t*>(actions), count);
    case ActionType::kInt32:
      return largest_of(static_cast<const int32_t*>(actions), count);
    default:
      return largest_of(static_cast<const int64_t*>(actions), count);
  }
}

void coin_reset(const CoinGameBatch& batch, const uint8_t* mask, int64_t begin, int64_t end) {
  for (int64_t env = begin; env < end; ++env) {
    if (mask != nullptr && mask[env] == 0) continue;
    start_env(batch, batch.seed, env);
    batch.tag[env] = -1;
  }
}

void coin_observe(const CoinGameBatch& batch, void* obs, int64_t begin, int64_t end) {
  with_sizes<Observe>(batch, obs, begin, end);
}

void coin_steps(const CoinGameBatch& batch, const void* actions, ActionType type, int64_t steps,
                const CoinResults& results, int64_t begin, int64_t end) {
  with_sizes<Steps>(batch, actions, type, steps, results, begin, end);
}

void coin_choose(const CoinGameBatch& batch, const CoinPlayers& players, uint8_t* actions,
                 int64_t begin, int64_t end) {
  with_sizes<Choose>(batch, players, actions, begin, end);
}

void coin_play(const CoinGameBatch& batch, const CoinPlayers& players, int64_t steps,
               uint8_t* actions, const CoinResults& results, int64_t begin, int64_t end) {
  with_sizes<Play>(batch, players, steps, actions, results, begin, end);
}

}  // namespace loqa::LOQA_ISA
