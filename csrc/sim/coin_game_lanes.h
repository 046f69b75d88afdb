#pragma once

#include "sim/coin_game_batch.h"

// One step of some environments, lane by lane: arrays of one member of the state over the
// environments of a block, so that every loop over lanes is a loop of vectors. A thread of a GPU is
// a block of one lane. Cells are bytes where the places of an observation fit them (see is_small),
// else 32 bits: a loop that mixes the two spends most of its time converting.

namespace loqa::LOQA_ISA {
namespace {

// Boards whose cells and places of ones are bytes: two players, up to 64 cells.
LOQA_HD bool is_small(const CoinRules& rules) {
  return rules.num_players == 2 && rules.width > 1 && !rules.history &&
         coin_planes(rules) * rules.height * rules.width <= 256;
}

template <typename Cell, int kPlayers, int kCoins, int kLanes = static_cast<int>(kCoinBlock)>
struct CoinLanes {
  alignas(64) uint8_t row[kPlayers][kLanes];
  alignas(64) uint8_t column[kPlayers][kLanes];
  alignas(64) uint8_t coin_row[kCoins][kLanes];
  alignas(64) uint8_t coin_column[kCoins][kLanes];
  alignas(64) uint8_t owner[kLanes];
  alignas(64) int8_t reward[kPlayers][kLanes];  // of the last step; kept with history
  alignas(64) uint8_t taken[kCoins][kLanes];
  alignas(64) int32_t now[kLanes];  // t
};

// Copies the rows of the state between the lanes and memory.
template <bool kLoad, typename Cell, int kPlayers, int kCoins, int kLanes, typename Byte>
LOQA_LANES void move_state(const CoinGameBatch& batch, Byte* at,
                           CoinLanes<Cell, kPlayers, kCoins, kLanes>& lanes) {
  const auto row = [&](void* lane) {
    if constexpr (kLoad) {
      __builtin_memcpy(lane, at, kLanes);
    } else {
      __builtin_memcpy(at, lane, kLanes);
    }
    at += batch.stride;
  };
  for (int p = 0; p < kPlayers; ++p) {
    row(lanes.row[p]);
    row(lanes.column[p]);
  }
  for (int c = 0; c < kCoins; ++c) {
    row(lanes.coin_row[c]);
    row(lanes.coin_column[c]);
  }
  if constexpr (kCoins == 1) row(lanes.owner);
  if (!batch.rules.history) return;
  for (int p = 0; p < kPlayers; ++p) row(lanes.reward[p]);
}

template <typename Cell, int kPlayers, int kCoins, int kLanes>
LOQA_LANES void move_players(const CoinRules& rules, const uint8_t (&actions)[kPlayers][kLanes],
                             CoinLanes<Cell, kPlayers, kCoins, kLanes>& lanes) {
  for (int p = 0; p < kPlayers; ++p) {
    for (int l = 0; l < kLanes; ++l) {
      lanes.row[p][l] = moved_row(rules, lanes.row[p][l], actions[p][l]);
      lanes.column[p][l] = moved_column(rules, lanes.column[p][l], actions[p][l]);
    }
  }
}

// Rewards of this step, which coins were taken, and the next colour of the one coin.
template <typename Cell, int kPlayers, int kCoins, int kLanes>
LOQA_LANES void take_coins(const CoinRules& rules,
                           CoinLanes<Cell, kPlayers, kCoins, kLanes>& lanes) {
  for (int p = 0; p < kPlayers; ++p) {
    for (int l = 0; l < kLanes; ++l) lanes.reward[p][l] = 0;
  }
  const uint8_t only_one = rules.first_takes ? 255 : 0;  // takers shut out the others
  for (int c = 0; c < kCoins; ++c) {
    alignas(64) uint8_t took[kPlayers][kLanes];
    alignas(64) uint8_t takers[kLanes] = {};
    for (int p = 0; p < kPlayers; ++p) {
      for (int l = 0; l < kLanes; ++l) {
        const uint8_t row_apart = lanes.row[p][l] ^ lanes.coin_row[c][l];
        const uint8_t column_apart = lanes.column[p][l] ^ lanes.coin_column[c][l];
        const uint8_t apart = row_apart | column_apart | (takers[l] & only_one);
        took[p][l] = apart == 0 ? 1 : 0;
        takers[l] = static_cast<uint8_t>(takers[l] + took[p][l]);
      }
    }
    for (int p = 0; p < kPlayers; ++p) {
      for (int l = 0; l < kLanes; ++l) {
        const uint8_t owner = kCoins == 1 ? lanes.owner[l] : static_cast<uint8_t>(c);
        lanes.reward[p][l] = static_cast<int8_t>(
            lanes.reward[p][l] + coin_reward(took[p][l] != 0, owner == p, takers[l]));
      }
    }
    for (int l = 0; l < kLanes; ++l) lanes.taken[c][l] = takers[l] != 0 ? 1 : 0;
  }
  if constexpr (kCoins == 1) {
    for (int l = 0; l < kLanes; ++l) {
      const uint8_t next = next_owner(lanes.owner[l], kPlayers);
      lanes.owner[l] = lanes.taken[0][l] != 0 ? next : lanes.owner[l];
    }
  }
}

// cell[l] of places (row, column).
template <typename Cell, int kLanes>
LOQA_LANES void cells_of(const uint8_t* row, const uint8_t* column, int32_t width,
                         Cell (&cell)[kLanes]) {
  const Cell by = static_cast<Cell>(width);
  for (int l = 0; l < kLanes; ++l) cell[l] = static_cast<Cell>(row[l] * by + column[l]);
}

// Where coins appear that players stand around, on a small board.
template <int kLanes>
LOQA_LANES void free_cells(const uint32_t (&words)[kLanes], const uint8_t (&players)[2][kLanes],
                           int32_t board, uint8_t (&cell)[kLanes]) {
  alignas(64) uint8_t occupied[2][kLanes];
  alignas(64) uint8_t free[kLanes];
  const uint8_t cells = static_cast<uint8_t>(board);
  for (int l = 0; l < kLanes; ++l) {
    const uint8_t standing[2] = {players[0][l], players[1][l]};
    uint8_t distinct[2];
    free[l] = static_cast<uint8_t>(cells - occupied_cells(standing, distinct));
    occupied[0][l] = distinct[0];
    occupied[1][l] = distinct[1];
  }
  alignas(64) uint32_t index[kLanes];
  for (int l = 0; l < kLanes; ++l) index[l] = bounded(words[l], free[l]);
  for (int l = 0; l < kLanes; ++l) cell[l] = static_cast<uint8_t>(index[l]);
  for (int l = 0; l < kLanes; ++l) {
    const uint8_t distinct[2] = {occupied[0][l], occupied[1][l]};
    cell[l] = free_cell(cell[l], distinct, 2);
  }
}

template <int kPlayers, int kLanes>
LOQA_LANES void free_cells(const uint32_t (&words)[kLanes],
                           const int32_t (&players)[kPlayers][kLanes], int32_t board,
                           int32_t (&cell)[kLanes]) {
  for (int l = 0; l < kLanes; ++l) {
    int32_t standing[kPlayers];
    for (int p = 0; p < kPlayers; ++p) standing[p] = players[p][l];
    cell[l] = coin_cell(words[l], standing, board);
  }
}

template <int kLanes>
LOQA_LANES void rows_of(const uint8_t (&cell)[kLanes], int32_t width, uint8_t (&row)[kLanes]) {
  const uint16_t inverse = static_cast<uint16_t>(65536 / width + 1);
  for (int l = 0; l < kLanes; ++l) row[l] = row_of_small_cell(cell[l], inverse);
}

template <int kLanes>
LOQA_LANES void rows_of(const int32_t (&cell)[kLanes], int32_t width, uint8_t (&row)[kLanes]) {
  const float inverse = 1.0f / static_cast<float>(width);
  for (int l = 0; l < kLanes; ++l) row[l] = static_cast<uint8_t>(row_of_cell(cell[l], inverse));
}

// Places the coins that were taken.
template <typename Cell, int kPlayers, int kCoins, int kLanes>
LOQA_LANES void place_coins(const CoinRules& rules, const uint32_t (&words)[kCoins][kLanes],
                            CoinLanes<Cell, kPlayers, kCoins, kLanes>& lanes) {
  const int32_t width = rules.width;
  const int32_t board = rules.height * width;
  for (int c = 0; c < kCoins; ++c) {
    alignas(64) Cell cell[kLanes];
    if (rules.coin_anywhere) {
      for (int l = 0; l < kLanes; ++l) {
        cell[l] = static_cast<Cell>(bounded(words[c][l], static_cast<uint32_t>(board)));
      }
    } else {
      alignas(64) Cell players[kPlayers][kLanes];
      for (int p = 0; p < kPlayers; ++p) {
        cells_of(lanes.row[p], lanes.column[p], width, players[p]);
      }
      free_cells(words[c], players, board, cell);
    }
    alignas(64) uint8_t row[kLanes];
    alignas(64) uint8_t column[kLanes];
    rows_of(cell, width, row);
    for (int l = 0; l < kLanes; ++l) column[l] = static_cast<uint8_t>(cell[l] - row[l] * width);
    for (int l = 0; l < kLanes; ++l) {
      const bool taken = lanes.taken[c][l] != 0;
      lanes.coin_row[c][l] = taken ? row[l] : lanes.coin_row[c][l];
      lanes.coin_column[c][l] = taken ? column[l] : lanes.coin_column[c][l];
    }
  }
}

// The step at time `now` of each lane; words[c] place coin c.
template <typename Cell, int kPlayers, int kCoins, int kLanes>
LOQA_LANES void step_lanes(const CoinGameBatch& batch, const uint32_t (&words)[kCoins][kLanes],
                           const uint8_t (&actions)[kPlayers][kLanes],
                           CoinLanes<Cell, kPlayers, kCoins, kLanes>& lanes) {
  const CoinRules rules = batch.rules;
  move_players(rules, actions, lanes);
  take_coins(rules, lanes);
  place_coins(rules, words, lanes);
  for (int l = 0; l < kLanes; ++l) lanes.now[l] += 1;
  if (rules.zero_last_reward) {
    for (int p = 0; p < kPlayers; ++p) {
      for (int l = 0; l < kLanes; ++l) {
        const int8_t reward = lanes.reward[p][l];
        lanes.reward[p][l] = lanes.now[l] >= batch.episode_length ? static_cast<int8_t>(0) : reward;
      }
    }
  }
}

// Cell of a player or coin in each lane, as a player at (own_row, own_column) sees it.
template <typename Cell, int kLanes>
LOQA_LANES void seen_cells(const CoinRules& rules, const uint8_t* row, const uint8_t* column,
                           const uint8_t* own_row, const uint8_t* own_column,
                           Cell (&cell)[kLanes]) {
  if (!rules.egocentric) return cells_of(row, column, rules.width, cell);
  const Cell height = static_cast<Cell>(rules.height);
  const Cell width = static_cast<Cell>(rules.width);
  for (int l = 0; l < kLanes; ++l) {
    const Cell seen_row = egocentric<Cell>(row[l], own_row[l], height);
    const Cell seen_column = egocentric<Cell>(column[l], own_column[l], width);
    cell[l] = static_cast<Cell>(seen_row * width + seen_column);
  }
}

// Places of the ones in each player's observation: an array of lanes for each player and one.
template <typename Cell, int kPlayers, int kCoins, int kLanes>
LOQA_LANES void place_ones(const CoinRules& rules,
                           const CoinLanes<Cell, kPlayers, kCoins, kLanes>& lanes,
                           Cell (&places)[kPlayers][kPlayers + kCoins][kLanes]) {
  constexpr int kOnes = kPlayers + kCoins;
  const Cell plane_stride = static_cast<Cell>(rules.channels_last ? 1 : rules.height * rules.width);
  const Cell cell_stride = static_cast<Cell>(rules.channels_last ? coin_planes(rules) : 1);
  alignas(64) Cell cell[kOnes][kLanes];  // of players, then coins
  for (int me = 0; me < kPlayers; ++me) {
    if (me == 0 || rules.egocentric) {
      for (int i = 0; i < kOnes; ++i) {
        const uint8_t* row = i < kPlayers ? lanes.row[i] : lanes.coin_row[i - kPlayers];
        const uint8_t* column = i < kPlayers ? lanes.column[i] : lanes.coin_column[i - kPlayers];
        seen_cells(rules, row, column, lanes.row[me], lanes.column[me], cell[i]);
      }
    }
    const int first = rules.relative ? me : 0;
    for (int k = 0; k < kOnes; ++k) {
      // Two indices that are known when loops are unrolled, and a choice of values, not of
      // pointers: then a thread has no array in memory.
      const int mine = k < kPlayers ? (me + k) % kPlayers : kPlayers + (me + k - kPlayers) % kCoins;
      for (int l = 0; l < kLanes; ++l) {
        const Cell seen = rules.relative ? cell[mine][l] : cell[k][l];
        const Cell plane =
            kCoins == 1 && k == kPlayers
                ? coin_plane<Cell>(lanes.owner[l], static_cast<Cell>(first), kPlayers)
                : static_cast<Cell>(k);
        places[me][k][l] = coin_place(plane, seen, plane_stride, cell_stride);
      }
    }
  }
}

// The constants that a player sees with history: rewards, its own first, and whether it is over.
template <typename Cell, int kPlayers, int kCoins, int kLanes>
LOQA_LANES int history_value(const CoinGameBatch& batch,
                             const CoinLanes<Cell, kPlayers, kCoins, kLanes>& lanes, int player,
                             int index, int lane) {
  if (index == kPlayers) return lanes.now[lane] >= batch.episode_length ? 1 : 0;
  return lanes.reward[(player + index) % kPlayers][lane];
}

// What player p of lane l looks at.
template <typename Cell, int kPlayers, int kCoins, int kLanes>
LOQA_LANES CoinView view_of(const CoinLanes<Cell, kPlayers, kCoins, kLanes>& lanes, int p, int l) {
  CoinView view = {};
  view.row = lanes.row[p][l];
  view.column = lanes.column[p][l];
  for (int c = 0; c < kCoins; ++c) {
    view.coin_row[c] = lanes.coin_row[c][l];
    view.coin_column[c] = lanes.coin_column[c][l];
  }
  view.owner = lanes.owner[l];
  return view;
}

// What scripted player p does; `env` and `episode` are random counters.
LOQA_LANES uint8_t choose_viewed(const CoinRules& rules, const GameJob& job, const CoinView& view,
                                 int p, uint64_t seed, uint32_t env, uint32_t episode, uint32_t t) {
  return scripted_action(rules, static_cast<ScriptedCoin>(job.player[p]), view, p, seed, env,
                         episode, t, job.tie_episode ? kTieEpisode : t);
}

// Calls body(players, coins) with constants.
template <typename Body>
void with_sizes(const CoinRules& rules, const Body& body) {
  if (rules.num_coins == 2) return body(Fixed<2>{}, Fixed<2>{});
  with_players<kMaxPlayers>(rules.num_players, [&](auto players) { body(players, Fixed<1>{}); });
}

// Puts environment `env` of the batch at the start of its episode.
LOQA_LANES void start_env(const CoinGameBatch& batch, uint64_t seed, int64_t env) {
  const CoinRules& rules = batch.rules;
  const CoinStart start =
      coin_start(rules, seed, batch.first_env + static_cast<uint32_t>(env), batch.episode[env]);
  uint8_t* at = batch.state + env;
  const auto put = [&](int32_t value) {
    *at = static_cast<uint8_t>(value);
    at += batch.stride;
  };
  for (int p = 0; p < rules.num_players; ++p) {
    put(start.player[p] / rules.width);
    put(start.player[p] % rules.width);
  }
  for (int c = 0; c < rules.num_coins; ++c) {
    put(start.coin[c] / rules.width);
    put(start.coin[c] % rules.width);
  }
  if (rules.num_coins == 1) put(start.owner);
  if (rules.history) {
    for (int p = 0; p < rules.num_players; ++p) put(0);
  }
  batch.t[env] = 0;
}

}  // namespace
}  // namespace loqa::LOQA_ISA
