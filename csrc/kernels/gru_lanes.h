#pragma once

#include "core/vectors.h"

// The nonlinearities of a GRU's gates, of one number or of a vector.

namespace loqa::LOQA_ISA {
namespace {

#define LOQA_INLINE __attribute__((always_inline)) inline

using Floats = VectorOf<float>::Type;
using Ints = VectorOf<int32_t>::Type;

// 2^k for whole k.
LOQA_INLINE float power_of_two(float k) {
  return __builtin_bit_cast(float, (static_cast<int32_t>(k) + 127) << 23);
}
LOQA_INLINE Floats power_of_two(Floats k) {
  return reinterpret_cast<Floats>((__builtin_convertvector(k, Ints) + 127) << 23);
}

LOQA_INLINE double expm1_of(double x) { return __builtin_expm1(x); }

// exp(x) - 1 with relative error below 3e-7: x = k log 2 + r, and then it is
// 2^k (exp(r) - 1) + (2^k - 1), the first by a Taylor polynomial on |r| <= log(2) / 2.
template <typename V>
LOQA_INLINE V expm1_of(V x) {
  constexpr float kLog2E = 1.44269504f;
  // log 2 in two parts; k times the first is exact.
  constexpr float kLog2High = 0.693359375f;
  constexpr float kLog2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  const V low = V{} - 87.0f, high = V{} + 87.0f;
  x = x < low ? low : x;
  x = x > high ? high : x;
  const V k = (x * kLog2E + kRound) - kRound;
  const V r = (x - k * kLog2High) - k * kLog2Low;
  V p = r * (1.0f / 5040.0f) + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * (r * r) + r;
  const V power = power_of_two(k);
  return power * p + (power - 1.0f);
}

template <typename V>
LOQA_INLINE V sigmoid(V x) {
  return 1 / (expm1_of(-x) + 2);
}

template <typename V>
LOQA_INLINE V tanh_of(V x) {
  const V e = expm1_of(x + x);
  return e / (e + 2);
}

}  // namespace
}  // namespace loqa::LOQA_ISA
