#pragma once

#include <cstdint>

#include "core/philox.h"
#include "games/fields.h"

// The Coin Game: players on a torus of height x width cells move at once; who steps on a coin takes
// it and earns 1; the owner of its colour loses 2 if anybody else took it. CoinRules says which
// published game it is. loqa/reference/coin_game.py is the specification. The state of an
// environment is a row and a column for each player and coin, the owner of the one coin, and (for
// observations with history) the last rewards; cell = row * width + column.

namespace loqa {

inline constexpr int kMaxCoins = 2;
inline constexpr uint8_t kNoMove = 255;  // code of a direction that no action has

// Fourth word of the Philox counter (environment, episode, step, draw). A coin is placed by word
// t % 4 of step t / 4, so that one block serves four steps.
enum CoinDraw : uint32_t {
  kDrawRespawn = 0,      // + coin
  kDrawStart = 8,        // + block; step 0; words of players, coins, first owner in a row
  kDrawCoinPolicy = 16,  // + 2 player + block
};
inline constexpr uint32_t kTieEpisode = 0xFFFFFFFFu;  // step of ties drawn once an episode

enum class ScriptedCoin : int { kCooperate, kDefect, kRandom };

struct CoinRules {
  int32_t height;  // 1..255
  int32_t width;   // 1..255
  int32_t num_players;
  int32_t num_coins;  // 1: colours alternate; num_players: one of each colour
  int32_t num_actions;
  uint8_t left, right, up, down;  // action codes
  bool distinct_start;
  bool coin_anywhere;  // coins appear on any cell, else on cells without a player
  bool first_takes;    // of several takers only the lowest-numbered takes
  bool relative;       // a player sees itself and its own colour first
  bool channels_last;
  bool egocentric;  // the board is shifted so that a player sees itself in the middle
  bool history;     // further planes: last rewards (own first), whether the episode is over
  bool zero_last_reward;
  bool cells;  // the observation is the places of the ones in the planes
};

// --- moving

LOQA_HD uint8_t moved(uint8_t place, uint8_t size, bool back, bool forth) {
  const uint8_t last = static_cast<uint8_t>(size - 1);
  const uint8_t before = place == 0 ? last : static_cast<uint8_t>(place - 1);
  const uint8_t after = place == last ? static_cast<uint8_t>(0) : static_cast<uint8_t>(place + 1);
  return back ? before : (forth ? after : place);
}

LOQA_HD uint8_t moved_row(const CoinRules& rules, uint8_t row, uint8_t action) {
  return moved(row, static_cast<uint8_t>(rules.height), action == rules.up, action == rules.down);
}

LOQA_HD uint8_t moved_column(const CoinRules& rules, uint8_t column, uint8_t action) {
  return moved(column, static_cast<uint8_t>(rules.width), action == rules.left,
               action == rules.right);
}

// --- taking

// The reward of a player from one coin, given the number of takers.
LOQA_HD int8_t coin_reward(bool i_took, bool i_own, uint8_t takers) {
  const uint8_t others = static_cast<uint8_t>(takers - (i_took ? 1 : 0));
  return static_cast<int8_t>((i_took ? 1 : 0) - ((i_own & (others > 0)) ? 2 : 0));
}

LOQA_HD uint8_t next_owner(uint8_t owner, uint8_t num_players) {
  return owner + 1 == num_players ? static_cast<uint8_t>(0) : static_cast<uint8_t>(owner + 1);
}

// --- placing

// Row of a cell: exact for cells below 2^16, since (cell + 1/2) / width stays 1/510 away from every
// integer. `inverse` is 1.0f / width.
LOQA_HD int32_t row_of_cell(int32_t cell, float inverse) {
  return static_cast<int32_t>((static_cast<float>(cell) + 0.5f) * inverse);
}

// The same for cells below 2^8 and a width from 2 on; `inverse` is 65536 / width + 1: the error,
// at most cell * width / 65536 / width, is below 1 / width.
LOQA_HD uint8_t row_of_small_cell(uint8_t cell, uint16_t inverse) {
  return static_cast<uint8_t>((static_cast<uint32_t>(cell) * inverse) >> 16);
}

// Stands for a cell that is not on the board. Cells may be bytes on a board of fewer than 255.
template <typename Cell>
inline constexpr Cell kNowhere = sizeof(Cell) == 1 ? 0xFF : 0x7FFFFFFF;

// The `index`-th cell (from 0) of those not occupied. occupied[0 .. count) must hold no cell twice;
// kNowhere stands for nothing. With r occupied cells below or at the answer the answer is
// index + r: at most `count` rounds find it.
template <typename Cell, int kCount>
LOQA_HD Cell free_cell(Cell index, const Cell (&occupied)[kCount], int count) {
  Cell cell = index;
  LOQA_UNROLL(8)
  for (int round = 0; round < kCount && round < count; ++round) {
    Cell found = index;
    LOQA_UNROLL(8)
    for (int i = 0; i < kCount && i < count; ++i) {
      found = static_cast<Cell>(found + (occupied[i] <= cell ? 1 : 0));
    }
    cell = found;
  }
  return cell;
}

// The cells that players stand on, each once, the rest kNowhere; returns how many they are.
template <typename Cell, int kPlayers>
LOQA_HD Cell occupied_cells(const Cell (&players)[kPlayers], Cell (&occupied)[kPlayers]) {
  Cell standing = 0;
  LOQA_UNROLL(8)
  for (int i = 0; i < kPlayers; ++i) {
    bool again = false;
    LOQA_UNROLL(8)
    for (int j = 0; j < i; ++j) again |= players[j] == players[i];
    occupied[i] = again ? kNowhere<Cell> : players[i];
    standing = static_cast<Cell>(standing + (again ? 0 : 1));
  }
  return standing;
}

// Where a coin appears: uniform over the cells that none of the players stands on.
template <int kPlayers>
LOQA_HD int32_t coin_cell(uint32_t word, const int32_t (&players)[kPlayers], int32_t board) {
  int32_t occupied[kPlayers];
  const int32_t free = board - occupied_cells(players, occupied);
  const int32_t index = static_cast<int32_t>(bounded(word, static_cast<uint32_t>(free)));
  return free_cell(index, occupied, kPlayers);
}

// The state of one environment at a start.
struct CoinStart {
  int32_t player[kMaxPlayers];
  int32_t coin[kMaxCoins];
  int32_t owner;
};

LOQA_HD CoinStart coin_start(const CoinRules& rules, uint64_t seed, uint32_t env,
                             uint32_t episode) {
  uint32_t words[12];
  for (uint32_t block = 0; block < 3; ++block) {
    const PhiloxBlock random = philox(seed, env, episode, 0, kDrawStart + block);
    for (int i = 0; i < 4; ++i) words[4 * block + i] = random.word[i];
  }
  const int32_t board = rules.height * rules.width;
  CoinStart start = {};
  int32_t occupied[kMaxPlayers];
  int standing = 0;  // different cells among the players so far
  int next = 0;
  for (int p = 0; p < rules.num_players; ++p) {
    const int taken = rules.distinct_start ? standing : 0;
    const int32_t index =
        static_cast<int32_t>(bounded(words[next++], static_cast<uint32_t>(board - taken)));
    const int32_t cell = free_cell(index, occupied, taken);
    start.player[p] = cell;
    bool again = false;
    for (int i = 0; i < standing; ++i) again |= occupied[i] == cell;
    if (!again) occupied[standing++] = cell;
  }
  if (rules.coin_anywhere) standing = 0;
  for (int c = 0; c < rules.num_coins; ++c) {
    const int32_t index =
        static_cast<int32_t>(bounded(words[next++], static_cast<uint32_t>(board - standing)));
    start.coin[c] = free_cell(index, occupied, standing);
  }
  if (rules.num_coins == 1) {
    start.owner =
        static_cast<int32_t>(bounded(words[next], static_cast<uint32_t>(rules.num_players)));
  }
  return start;
}

// --- seeing

// Number of planes of zeros and ones.
LOQA_HD int32_t coin_planes(const CoinRules& rules) { return 2 * rules.num_players; }

// The three below compute in the type of a cell, so that lanes of bytes stay bytes.

// Place of the one of a plane in a player's flattened observation.
template <typename Cell>
LOQA_HD Cell coin_place(Cell plane, Cell cell, Cell plane_stride, Cell cell_stride) {
  return static_cast<Cell>(plane * plane_stride + cell * cell_stride);
}

// Plane of the coin of a colour, as seen by player `first` (0 if the preset is not relative).
template <typename Cell>
LOQA_HD Cell coin_plane(Cell owner, Cell first, Cell num_players) {
  const Cell round = owner < first ? num_players : static_cast<Cell>(0);
  return static_cast<Cell>(num_players + owner + round - first);
}

// Row or column as seen by a player that stands at `own` and sees itself in the middle. `size` at
// most a third of the largest Cell.
template <typename Cell>
LOQA_HD Cell egocentric(Cell place, Cell own, Cell size) {
  const Cell ahead = static_cast<Cell>((place < own ? place + size : place) - own + size / 2);
  return ahead >= size ? static_cast<Cell>(ahead - size) : ahead;
}

// --- scripted players

// Steps from a to b around a circle.
LOQA_HD int32_t circle_distance(int32_t a, int32_t b, int32_t size) {
  const int32_t apart = a < b ? b - a : a - b;
  return apart < size - apart ? apart : size - apart;
}

// What a scripted player looks at.
struct CoinView {
  int32_t row, column;
  int32_t coin_row[kMaxCoins], coin_column[kMaxCoins];
  int32_t owner;  // of the one coin
};

// How bad it is to go to (row, column).
LOQA_HD int32_t scripted_score(const CoinRules& rules, ScriptedCoin kind, const CoinView& view,
                               int player, int32_t row, int32_t column) {
  int32_t distance[kMaxCoins];
  int32_t nearest = kNowhere<int32_t>;
  int32_t on_others = 0;
  for (int c = 0; c < rules.num_coins; ++c) {
    distance[c] = circle_distance(row, view.coin_row[c], rules.height) +
                  circle_distance(column, view.coin_column[c], rules.width);
    nearest = distance[c] < nearest ? distance[c] : nearest;
    on_others += c != player && distance[c] == 0 ? 1 : 0;
  }
  if (kind == ScriptedCoin::kDefect) return nearest;
  if (rules.num_coins == 1) return view.owner == player ? distance[0] : -distance[0];
  return distance[player] + (rules.height + rules.width) * on_others;
}

// The best action; of equally good ones the first in a random order, which `tie_step` decides.
LOQA_HD uint8_t scripted_action(const CoinRules& rules, ScriptedCoin kind, const CoinView& view,
                                int player, uint64_t seed, uint32_t env, uint32_t episode,
                                uint32_t t, uint32_t tie_step) {
  const uint32_t draw = kDrawCoinPolicy + 2 * static_cast<uint32_t>(player);
  if (kind == ScriptedCoin::kRandom) {
    const uint32_t word = philox(seed, env, episode, t, draw).word[0];
    return static_cast<uint8_t>(bounded(word, static_cast<uint32_t>(rules.num_actions)));
  }
  int best = 0;
  int32_t best_score = kNowhere<int32_t>;
  uint32_t best_word = 0;
  PhiloxBlock random = {};
  for (int action = 0; action < rules.num_actions; ++action) {
    if (action % 4 == 0) {
      random = philox(seed, env, episode, tie_step, draw + static_cast<uint32_t>(action / 4));
    }
    const uint8_t code = static_cast<uint8_t>(action);
    const int32_t row = moved_row(rules, static_cast<uint8_t>(view.row), code);
    const int32_t column = moved_column(rules, static_cast<uint8_t>(view.column), code);
    const int32_t score = scripted_score(rules, kind, view, player, row, column);
    const uint32_t word = random.word[action % 4];
    if (score < best_score || (score == best_score && word < best_word)) {
      best = action;
      best_score = score;
      best_word = word;
    }
  }
  return static_cast<uint8_t>(best);
}

// --- as a game of the generic driver

struct CoinGame {
  static constexpr const char* kName = "coin-game";
  static constexpr int kMinPlayers = 2;
  static constexpr int kMostPlayers = kMaxPlayers;
  static constexpr int64_t kGrain = 1 << 12;
  static constexpr const char* kScripts[] = {"always-cooperate", "always-defect"};

  using Action = uint8_t;
  using Rules = CoinRules;

  static constexpr Field kRules[] = {
      {"height", FieldType::kInt32, offsetof(Rules, height), 1},
      {"width", FieldType::kInt32, offsetof(Rules, width), 1},
      {"num_players", FieldType::kInt32, offsetof(Rules, num_players), 1},
      {"num_coins", FieldType::kInt32, offsetof(Rules, num_coins), 1},
      {"num_actions", FieldType::kInt32, offsetof(Rules, num_actions), 1},
      {"left", FieldType::kInt8, offsetof(Rules, left), 1},
      {"right", FieldType::kInt8, offsetof(Rules, right), 1},
      {"up", FieldType::kInt8, offsetof(Rules, up), 1},
      {"down", FieldType::kInt8, offsetof(Rules, down), 1},
      {"distinct_start", FieldType::kInt8, offsetof(Rules, distinct_start), 1},
      {"coin_anywhere", FieldType::kInt8, offsetof(Rules, coin_anywhere), 1},
      {"first_takes", FieldType::kInt8, offsetof(Rules, first_takes), 1},
      {"relative", FieldType::kInt8, offsetof(Rules, relative), 1},
      {"channels_last", FieldType::kInt8, offsetof(Rules, channels_last), 1},
      {"egocentric", FieldType::kInt8, offsetof(Rules, egocentric), 1},
      {"history", FieldType::kInt8, offsetof(Rules, history), 1},
      {"zero_last_reward", FieldType::kInt8, offsetof(Rules, zero_last_reward), 1},
      {"cells", FieldType::kInt8, offsetof(Rules, cells), 1},
  };

  static LOQA_HD bool fits(const Rules& rules, int players) {
    const auto side = [](int32_t size) { return size >= 1 && size <= 255; };
    return side(rules.height) && side(rules.width) && rules.height * rules.width > players &&
           rules.num_players == players && rules.num_actions <= 8 &&
           (rules.num_coins == 1 || (rules.num_coins == 2 && players == 2));
  }

  static LOQA_HD bool legal(const Rules& rules, Action action) {
    return action < rules.num_actions;
  }

  static LOQA_HD int obs_width(const Rules& rules, int players) {
    const int history = rules.history ? players + 1 : 0;
    if (rules.cells) return players + rules.num_coins + history;
    return (coin_planes(rules) + history) * rules.height * rules.width;
  }

  // Its states are rows of bytes over the environments, as many as fill whole blocks: row and
  // column of each player, of each coin; owner of the one coin; with history last rewards.
  static constexpr int64_t kBlock = 64;  // environments that a block of vectors works on
  static LOQA_HD int64_t stride(int64_t num_envs) {
    return (num_envs + kBlock - 1) / kBlock * kBlock;
  }
  static LOQA_HD int64_t states_bytes(const Rules& rules, int64_t num_envs) {
    const int rows = 2 * (rules.num_players + rules.num_coins) + (rules.num_coins == 1 ? 1 : 0) +
                     (rules.history ? rules.num_players : 0);
    return rows * stride(num_envs);
  }
  // Random words for each coin and four steps, and of which steps they are.
  static LOQA_HD int64_t cache_bytes(const Rules& rules, int64_t num_envs) {
    return (4 * rules.num_coins + 1) * stride(num_envs) * static_cast<int64_t>(sizeof(uint32_t));
  }
};

}  // namespace loqa
