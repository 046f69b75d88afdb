#pragma once

#include "sim/coin_game_batch.h"

// Egocentric boards in their canonical image, as loqa/agents/canonical.py has them: of the 8 images
// (4 of a board that is not square) the one in which the other player, then the coin, lies at the
// largest place; of equal ones the first. Included by coin_rollout_cpu.cpp alone.

namespace loqa::LOQA_ISA {
namespace {

constexpr int kMaxImages = 8;
constexpr int64_t kMaxActions = 8;

struct CoinImages {
  int64_t cells;
  int count;
  int32_t* place;  // [kMaxImages, cells] where each cell of the board lies in the image
  uint8_t action[kMaxImages][kMaxActions];  // what each action is called in the image

  // Image i: bit 2 turns rows around, bit 1 columns; then bit 0 lets them change places.
  void fill(const CoinRules& rules) {
    cells = int64_t{rules.height} * rules.width;
    count = 0;
    const bool square = rules.height == rules.width;
    for (int image = 0; image < kMaxImages; ++image) {
      const bool turn_rows = (image & 4) != 0, turn_columns = (image & 2) != 0;
      const bool swapped = (image & 1) != 0;
      if (swapped && !square) continue;
      for (int32_t cell = 0; cell < cells; ++cell) {
        const int32_t row = turned_around(cell / rules.width, rules.height, turn_rows);
        const int32_t column = turned_around(cell % rules.width, rules.width, turn_columns);
        place[count * cells + cell] =
            swapped ? column * rules.width + row : row * rules.width + column;
      }
      for (uint8_t code = 0; code < kMaxActions; ++code) {
        const bool between_rows = code == rules.up || code == rules.down;
        const bool stays = !between_rows && code != rules.left && code != rules.right;
        const bool forth = (code == rules.down || code == rules.right) !=
                           (between_rows ? turn_rows : turn_columns);
        const uint8_t named[] = {forth ? rules.right : rules.left, forth ? rules.down : rules.up};
        action[count][code] = stays ? code : named[between_rows != swapped ? 1 : 0];
      }
      ++count;
    }
  }

  // Turns the places of a player's ones, own first, and returns the image.
  int turn(int32_t* ones, int64_t num_ones) const {
    const int32_t size = static_cast<int32_t>(cells);
    const int32_t other = ones[1] % size, coin = ones[num_ones - 1] % size;
    int best = 0;
    int64_t most = -1;
    for (int image = 0; image < count; ++image) {
      const int32_t* to = place + image * cells;
      const int64_t worth = to[other] * cells + to[coin];
      if (worth > most) best = image;
      most = worth > most ? worth : most;
    }
    for (int64_t k = 0; k < num_ones; ++k) {
      const int32_t cell = ones[k] % size;
      ones[k] += place[best * cells + cell] - cell;
    }
    return best;
  }

 private:
  // A row or column, counted from the middle the other way round.
  static int32_t turned_around(int32_t at, int32_t size, bool turn) {
    const int32_t middle = size / 2;
    return turn ? (2 * middle - at + size) % size : at;
  }
};

}  // namespace
}  // namespace loqa::LOQA_ISA
