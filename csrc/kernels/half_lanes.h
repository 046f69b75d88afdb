#pragma once

#if defined(__AVX512F__) || defined(__F16C__)
#include <immintrin.h>
#endif

#include "core/vectors.h"

// Vectors of numbers that are stored as float32 or as float16.

namespace loqa::LOQA_ISA {
namespace {

using Floats = VectorOf<float>::Type;
constexpr int64_t kFloats = kVectorBytes / static_cast<int64_t>(sizeof(float));

struct Half {
  uint16_t bits;
};

#if defined(__AVX512F__) || defined(__F16C__)
// What weights of a type are kept as: the processor reads float16 as fast as float32.
template <typename Source>
using KeptAs = Source;
#else
template <typename Source>
using KeptAs = float;
#endif

inline Floats load_floats(const float* from) { return load<Floats>(from); }
inline void store_floats(Floats value, float* to) { store(value, to); }

#if defined(__AVX512F__)
inline Floats load_floats(const Half* from) {
  // All lanes; GCC 12 warns of the form without a mask.
  return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline void store_floats(Floats value, Half* to) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_maskz_cvtps_ph(0xffff, value, 0));
}
#elif defined(__F16C__)
inline Floats load_floats(const Half* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline void store_floats(Floats value, Half* to) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(value, 0));
}
#else
inline float float_of(Half half) {
  const uint32_t magnitude = half.bits & 0x7fffu;
  const uint32_t sign = static_cast<uint32_t>(half.bits & 0x8000u) << 16;
  // The exponent's bias is 112 less than float32's; all ones means infinite or not a number.
  const float finite = __builtin_bit_cast(float, magnitude << 13) * 0x1p112f;
  const uint32_t bits =
      magnitude < 0x7c00u ? __builtin_bit_cast(uint32_t, finite) : 0x7f800000u | magnitude << 13;
  return __builtin_bit_cast(float, bits | sign);
}
inline Floats load_floats(const Half* from) {
  Floats value;
  for (int64_t i = 0; i < kFloats; ++i) value[i] = float_of(from[i]);
  return value;
}
#endif

}  // namespace
}  // namespace loqa::LOQA_ISA
