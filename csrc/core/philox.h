#pragma once

#include <cstdint>

#include "core/macros.h"

namespace loqa {

// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3" (SC 2011). A block of four words is a pure function of a 64-bit key and a 128-bit
// counter, so that nothing is carried from one draw to the next.
struct PhiloxBlock {
  uint32_t word[4];
};

inline constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u;
inline constexpr uint32_t kPhiloxMultiplier1 = 0xCD9E8D57u;
inline constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9u;
inline constexpr uint32_t kPhiloxWeyl1 = 0xBB67AE85u;
inline constexpr int kPhiloxRounds = 10;

// What the rounds below do with a word: one word at a time. The lanes of sim/philox_lanes.h do the
// same with vectors.
struct PhiloxScalar {
  using Word = uint32_t;
  static LOQA_HD uint64_t multiply(Word word, uint32_t by) {
    return static_cast<uint64_t>(word) * by;
  }
  static LOQA_HD Word high(uint64_t product) { return static_cast<Word>(product >> 32); }
  static LOQA_HD Word low(uint64_t product) { return static_cast<Word>(product); }
};

// Ten rounds on the counter (c0, c1, c2, c3), which becomes the block.
template <typename Lanes>
LOQA_HD void philox_rounds(uint64_t key, typename Lanes::Word& c0, typename Lanes::Word& c1,
                           typename Lanes::Word& c2, typename Lanes::Word& c3) {
  uint32_t k0 = static_cast<uint32_t>(key);
  uint32_t k1 = static_cast<uint32_t>(key >> 32);
  LOQA_UNROLL(10)
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const auto product0 = Lanes::multiply(c0, kPhiloxMultiplier0);
    const auto product1 = Lanes::multiply(c2, kPhiloxMultiplier1);
    c0 = Lanes::high(product1) ^ c1 ^ k0;
    c1 = Lanes::low(product1);
    c2 = Lanes::high(product0) ^ c3 ^ k1;
    c3 = Lanes::low(product0);
    k0 += kPhiloxWeyl0;
    k1 += kPhiloxWeyl1;
  }
}

LOQA_HD PhiloxBlock philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
  philox_rounds<PhiloxScalar>(key, c0, c1, c2, c3);
  return {{c0, c1, c2, c3}};
}

// Uniform in [0, 1): 24 bits, so that the float is exact and `uniform(w) < p` is never true for
// p = 0 and always true for p = 1.
LOQA_HD float uniform(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

// Uniform in {0, ..., bound - 1} by multiply-shift (bias at most bound / 2^32).
LOQA_HD uint32_t bounded(uint32_t word, uint32_t bound) {
  return static_cast<uint32_t>((static_cast<uint64_t>(word) * bound) >> 32);
}

}  // namespace loqa
