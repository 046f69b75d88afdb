#pragma once

#include "core/philox.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

// Philox for several environments at once. A word lives in the low half of a 64-bit lane, where the
// vector units multiply 32 x 32 bits to 64; whatever is in the high half is never looked at.
// Included by hot loops alone (see core/isa.h).

namespace loqa::LOQA_ISA {
namespace {

#if defined(__SSE2__)
struct PhiloxVector {
#if defined(__AVX512F__)
  static constexpr int kWidth = 8;
#elif defined(__AVX2__)
  static constexpr int kWidth = 4;
#else
  static constexpr int kWidth = 2;
#endif
  typedef uint64_t Word __attribute__((vector_size(8 * kWidth)));
  typedef uint32_t Half __attribute__((vector_size(4 * kWidth)));

  static inline Word multiply(Word word, uint32_t by) {
#if defined(__AVX512F__)
    // With a mask of ones: GCC 12 warns of the undefined operand of the form without (GCC bug
    // 105593).
    return (Word)_mm512_maskz_mul_epu32(0xFF, (__m512i)word, _mm512_set1_epi64(by));
#elif defined(__AVX2__)
    return (Word)_mm256_mul_epu32((__m256i)word, _mm256_set1_epi64x(by));
#else
    return (Word)_mm_mul_epu32((__m128i)word, _mm_set1_epi64x(by));
#endif
  }
  static inline Word high(Word product) { return product >> 32; }
  static inline Word low(Word product) { return product; }
  static inline Word load(const uint32_t* from) {
    Half half;
    __builtin_memcpy(&half, from, sizeof(half));
    return __builtin_convertvector(half, Word);
  }
  static inline void store(Word word, uint32_t* to) {
    const Half half = __builtin_convertvector(word, Half);
    __builtin_memcpy(to, &half, sizeof(half));
  }
};
#else
struct PhiloxVector : PhiloxScalar {
  static constexpr int kWidth = 1;
  static inline Word load(const uint32_t* from) { return *from; }
  static inline void store(Word word, uint32_t* to) { *to = word; }
};
#endif

// words[i][l] = word i of philox(seed, env[l], episode[l], step[l], draw).
template <int kLanes>
inline void philox_lanes(uint64_t seed, const uint32_t (&env)[kLanes],
                         const uint32_t (&episode)[kLanes], const uint32_t (&step)[kLanes],
                         uint32_t draw, uint32_t (&words)[4][kLanes]) {
  static_assert(kLanes % PhiloxVector::kWidth == 0);
  for (int l = 0; l < kLanes; l += PhiloxVector::kWidth) {
    PhiloxVector::Word c0 = PhiloxVector::load(env + l);
    PhiloxVector::Word c1 = PhiloxVector::load(episode + l);
    PhiloxVector::Word c2 = PhiloxVector::load(step + l);
    PhiloxVector::Word c3 = PhiloxVector::Word{} + draw;
    philox_rounds<PhiloxVector>(seed, c0, c1, c2, c3);
    PhiloxVector::store(c0, words[0] + l);
    PhiloxVector::store(c1, words[1] + l);
    PhiloxVector::store(c2, words[2] + l);
    PhiloxVector::store(c3, words[3] + l);
  }
}

}  // namespace
}  // namespace loqa::LOQA_ISA
