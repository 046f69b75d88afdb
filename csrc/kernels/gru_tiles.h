#pragma once

#include <cmath>
#include <cstdint>

#include "core/macros.h"

// Products of a GRU as the threads of a GPU form them: a thread sums up two neighbouring units for
// a few games, a "tile". Numbers that differ from game to game lie in shared memory, units one
// after the other, the games of a unit side by side. Products are float32, fused.

namespace loqa::threads {

struct alignas(8) Pair {
  float of[2];
};
struct alignas(16) Four {
  float of[4];
};

template <typename T>
LOQA_HD T wide(const float* from) {
  return *reinterpret_cast<const T*>(from);
}
template <typename T>
LOQA_HD void put(T value, float* to) {
  *reinterpret_cast<T*>(to) = value;
}

// Division to two units in the last place. The one that rounds right has a branch on a GPU, and the
// gates of a tile would wait for one another.
struct Fast {
  static LOQA_HD float divide(float a, float b) {
#if defined(__CUDA_ARCH__)
    return __fdividef(a, b);
#else
    return a / b;
#endif
  }
};

template <int kGames>
struct Tile {
  float of[2][kGames];

  LOQA_HD void fill(Pair values) {
    LOQA_UNROLL(8)
    for (int g = 0; g < kGames; ++g) {
      of[0][g] = values.of[0];
      of[1][g] = values.of[1];
    }
  }
  LOQA_HD void add(Pair weight, const float (&x)[kGames]) {
    LOQA_UNROLL(8)
    for (int g = 0; g < kGames; ++g) {
      of[0][g] = ::fmaf(x[g], weight.of[0], of[0][g]);
      of[1][g] = ::fmaf(x[g], weight.of[1], of[1][g]);
    }
  }
  LOQA_HD void put_games(float* to, int stride) const {
    LOQA_UNROLL(2)
    for (int i = 0; i < 2; ++i) {
      LOQA_UNROLL(2)
      for (int g = 0; g < kGames; g += 4) {
        put(Four{{of[i][g], of[i][g + 1], of[i][g + 2], of[i][g + 3]}}, to + i * stride + g);
      }
    }
  }
};

template <int kGames>
LOQA_HD void load_games(const float* from, float (&x)[kGames]) {
  LOQA_UNROLL(2)
  for (int g = 0; g < kGames; g += 4) {
    const Four four = wide<Four>(from + g);
    LOQA_UNROLL(4)
    for (int i = 0; i < 4; ++i) x[g + i] = four.of[i];
  }
}

// A block's games, `kGames` of them a tile. Floats between two units in shared memory are four more
// than games, so that neighbouring units meet other banks.
template <int kBlockGames, int kGames>
struct TilesOf {
  static constexpr int kParts = kBlockGames / kGames;
  static constexpr int kStride = kBlockGames + 4;

  // 16 neighbouring threads have neighbouring pairs of units, the next 16 the same pairs for other
  // games.
  static constexpr int kPairs = 16;
  static LOQA_HD int items(int units) {
    return (units / 2 + kPairs - 1) / kPairs * kPairs * kParts;
  }
  static LOQA_HD int unit(int item) {  // beyond the last one: nothing to do
    return 2 * (item / (kPairs * kParts) * kPairs + item % kPairs);
  }
  static LOQA_HD int game(int item) { return item / kPairs % kParts * kGames; }
};

// Rows of weights that are on their way while those before them are multiplied.
inline constexpr int kRowsAhead = 4;

// Adds the products of `count` (a multiple of kRowsAhead) rows of weights, from a unit's place on,
// with numbers in shared memory to sums: those of row k in columns 0, `width`, 2 `width`...
template <int kSums, int kGames>
LOQA_HD void add_products(const float* weights, int row, int width, int count, const float* x,
                          int x_stride, Tile<kGames>* const (&sums)[kSums]) {
  Pair now[kRowsAhead][kSums], next[kRowsAhead][kSums];
  const auto load = [&](const float* from) LOQA_INLINE {
    LOQA_UNROLL(4)
    for (int i = 0; i < kRowsAhead; ++i) {
      LOQA_UNROLL(3)
      for (int s = 0; s < kSums; ++s) next[i][s] = wide<Pair>(from + i * row + s * width);
    }
  };
  load(weights);
  for (int k = 0; k < count; k += kRowsAhead) {
    LOQA_UNROLL(4)
    for (int i = 0; i < kRowsAhead; ++i) {
      LOQA_UNROLL(3)
      for (int s = 0; s < kSums; ++s) now[i][s] = next[i][s];
    }
    // The last rows once more at the end: under a condition the loads would be moved behind the
    // products.
    weights += k + kRowsAhead < count ? kRowsAhead * row : 0;
    load(weights);
    LOQA_UNROLL(4)
    for (int i = 0; i < kRowsAhead; ++i, x += x_stride) {
      float inputs[kGames];
      load_games(x, inputs);
      LOQA_UNROLL(3)
      for (int s = 0; s < kSums; ++s) sums[s]->add(now[i][s], inputs);
    }
  }
}

}  // namespace loqa::threads
