#pragma once

#include "games/coin_game.h"
#include "sim/coin_game_batch.h"
#include "sim/philox_lanes.h"

// One step of a block of environments, lane by lane: arrays of one member of the state over the
// environments of a block, so that every loop over lanes is a loop of vectors. Cells are bytes
// where the places of an observation fit them (see is_small), else 32 bits: a loop that mixes the
// two spends most of its time converting. Included by coin_game_cpu.cpp alone.

namespace loqa::LOQA_ISA {
namespace {

constexpr int kLanes = static_cast<int>(kCoinBlock);

// Boards whose cells and places of ones are bytes: two players, up to 64 cells.
LOQA_HD bool is_small(const CoinRules& rules) {
  return rules.num_players == 2 && rules.width > 1 && !rules.history &&
         coin_planes(rules) * rules.height * rules.width <= 256;
}

template <typename Cell, int kPlayers, int kCoins>
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
template <bool kLoad, typename Cell, int kPlayers, int kCoins, typename Byte>
inline void move_state(const CoinGameBatch& batch, Byte* at,
                       CoinLanes<Cell, kPlayers, kCoins>& lanes) {
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

// t of each lane; lanes beyond `count` take the first one's.
inline void load_times(const CoinGameBatch& batch, int64_t first, int64_t count, int64_t step,
                       int32_t* now) {
  const int32_t* t = batch.t + first;
  const int32_t offset = static_cast<int32_t>(step);
  if (count == kLanes) {
    for (int l = 0; l < kLanes; ++l) now[l] = t[l] + offset;
  } else {
    for (int l = 0; l < kLanes; ++l) now[l] = t[l < count ? l : 0] + offset;
  }
}

// Computes the random words of steps 4 (t / 4) .. 4 (t / 4) + 3.
template <int kCoins>
inline void refresh_words(const CoinGameBatch& batch, int64_t first, int64_t count,
                          const int32_t* now) {
  alignas(64) uint32_t env[kLanes];
  alignas(64) uint32_t episode[kLanes];
  alignas(64) uint32_t quarter[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    env[l] = batch.first_env + static_cast<uint32_t>(first) + static_cast<uint32_t>(l);
    quarter[l] = static_cast<uint32_t>(now[l]) >> 2;
  }
  for (int l = 0; l < kLanes; ++l) episode[l] = batch.episode[first + (l < count ? l : 0)];
  for (uint32_t c = 0; c < kCoins; ++c) {
    alignas(64) uint32_t words[4][kLanes];
    philox_lanes<kLanes>(batch.seed, env, episode, quarter, kDrawRespawn + c, words);
    uint32_t* to = batch.words + 4 * c * batch.stride + first;
    for (int i = 0; i < 4; ++i) __builtin_memcpy(to + i * batch.stride, words[i], sizeof(words[i]));
  }
  for (int l = 0; l < kLanes; ++l) batch.tag[first + l] = now[l] >> 2;
}

// The word of this step for each lane and coin.
template <int kCoins>
inline void load_words(const CoinGameBatch& batch, int64_t first, int64_t count, const int32_t* now,
                       uint32_t (&words)[kCoins][kLanes]) {
  int32_t stale = 0;
  int32_t apart = 0;
  for (int l = 0; l < kLanes; ++l) {
    stale |= batch.tag[first + l] ^ (now[l] >> 2);
    apart |= now[l] ^ now[0];
  }
  if (stale != 0) refresh_words<kCoins>(batch, first, count, now);
  for (int c = 0; c < kCoins; ++c) {
    const uint32_t* from = batch.words + 4 * c * batch.stride + first;
    if ((apart & 3) == 0) {
      __builtin_memcpy(words[c], from + (now[0] & 3) * batch.stride, sizeof(words[c]));
    } else {
      for (int l = 0; l < kLanes; ++l) words[c][l] = from[(now[l] & 3) * batch.stride + l];
    }
  }
}

template <typename Cell, int kPlayers, int kCoins>
inline void move_players(const CoinRules& rules, const uint8_t (&actions)[kPlayers][kLanes],
                         CoinLanes<Cell, kPlayers, kCoins>& lanes) {
  for (int p = 0; p < kPlayers; ++p) {
    for (int l = 0; l < kLanes; ++l) {
      lanes.row[p][l] = moved_row(rules, lanes.row[p][l], actions[p][l]);
      lanes.column[p][l] = moved_column(rules, lanes.column[p][l], actions[p][l]);
    }
  }
}

// Rewards of this step, which coins were taken, and the next colour of the one coin.
template <typename Cell, int kPlayers, int kCoins>
inline void take_coins(const CoinRules& rules, CoinLanes<Cell, kPlayers, kCoins>& lanes) {
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
template <typename Cell>
inline void cells_of(const uint8_t* row, const uint8_t* column, int32_t width, Cell* cell) {
  const Cell by = static_cast<Cell>(width);
  for (int l = 0; l < kLanes; ++l) cell[l] = static_cast<Cell>(row[l] * by + column[l]);
}

// Where coins appear that players stand around, on a small board.
inline void free_cells(const uint32_t (&words)[kLanes], const uint8_t (&players)[2][kLanes],
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

template <int kPlayers>
inline void free_cells(const uint32_t (&words)[kLanes], const int32_t (&players)[kPlayers][kLanes],
                       int32_t board, int32_t (&cell)[kLanes]) {
  for (int l = 0; l < kLanes; ++l) {
    int32_t standing[kPlayers];
    for (int p = 0; p < kPlayers; ++p) standing[p] = players[p][l];
    cell[l] = coin_cell(words[l], standing, board);
  }
}

inline void rows_of(const uint8_t (&cell)[kLanes], int32_t width, uint8_t (&row)[kLanes]) {
  const uint16_t inverse = static_cast<uint16_t>(65536 / width + 1);
  for (int l = 0; l < kLanes; ++l) row[l] = row_of_small_cell(cell[l], inverse);
}

inline void rows_of(const int32_t (&cell)[kLanes], int32_t width, uint8_t (&row)[kLanes]) {
  const float inverse = 1.0f / static_cast<float>(width);
  for (int l = 0; l < kLanes; ++l) row[l] = static_cast<uint8_t>(row_of_cell(cell[l], inverse));
}

// Places the coins that were taken.
template <typename Cell, int kPlayers, int kCoins>
inline void place_coins(const CoinRules& rules, const uint32_t (&words)[kCoins][kLanes],
                        CoinLanes<Cell, kPlayers, kCoins>& lanes) {
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

template <typename Cell, int kPlayers, int kCoins>
inline void step_lanes(const CoinGameBatch& batch, int64_t first, int64_t count, int64_t step,
                       const uint8_t (&actions)[kPlayers][kLanes],
                       CoinLanes<Cell, kPlayers, kCoins>& lanes) {
  const CoinRules rules = batch.rules;
  alignas(64) uint32_t words[kCoins][kLanes];
  load_times(batch, first, count, step, lanes.now);
  load_words<kCoins>(batch, first, count, lanes.now, words);
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
template <typename Cell>
inline void seen_cells(const CoinRules& rules, const uint8_t* row, const uint8_t* column,
                       const uint8_t* own_row, const uint8_t* own_column, Cell* cell) {
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
template <typename Cell, int kPlayers, int kCoins>
inline void place_ones(const CoinRules& rules, const CoinLanes<Cell, kPlayers, kCoins>& lanes,
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
      const Cell* from =
          cell[k < kPlayers ? (first + k) % kPlayers : kPlayers + (first + k - kPlayers) % kCoins];
      Cell* to = places[me][k];
      if (kCoins == 1 && k == kPlayers) {
        for (int l = 0; l < kLanes; ++l) {
          const Cell plane = coin_plane<Cell>(lanes.owner[l], static_cast<Cell>(first), kPlayers);
          to[l] = coin_place(plane, from[l], plane_stride, cell_stride);
        }
      } else {
        for (int l = 0; l < kLanes; ++l) {
          to[l] = coin_place(static_cast<Cell>(k), from[l], plane_stride, cell_stride);
        }
      }
    }
  }
}

}  // namespace
}  // namespace loqa::LOQA_ISA
