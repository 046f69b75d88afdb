#pragma once

#include <cstdint>

#include "core/macros.h"

// One step of one sequence of every kernel: the only copy of each formula, used by the CPU loops
// and by the CUDA kernels. T is float or double. Equations and papers: loqa/ops.py.

namespace loqa {

// y_t = x_t + decay * carry, where carry is y_{t+1} (backwards in time) or y_{t-1} (forwards).
template <typename T>
LOQA_HD T scan_row(T x, T decay, T carry) {
  return x + decay * carry;
}

// A_t = (r_t + gamma v_{t+1} - v_t) + decay A_{t+1}, decay = gamma lambda.
template <typename T>
LOQA_HD T advantage_row(T reward, T value, T next_value, T gamma, T decay, T next_advantage) {
  return scan_row(reward + gamma * next_value - value, decay, next_advantage);
}

// Gradient of v_t in generalized advantages: it is the bootstrap of step t-1 and the baseline of t.
// `sum` and `previous_sum` are the forward scans of the cotangent, the gradients of r_t and
// r_{t-1}.
template <typename T>
LOQA_HD T advantage_value_vjp_row(T sum, T previous_sum, T gamma) {
  return gamma * previous_sum - sum;
}

// Gradient of l_t in loaded-DiCE returns; `sum` is the forward scan of the cotangent.
template <typename T>
LOQA_HD T loaded_dice_vjp_row(T sum, T returns, T value) {
  return (returns - value) * sum;
}

// gamma^exponent by squaring: the same bits on every processor.
template <typename T>
LOQA_HD T power(T gamma, int64_t exponent) {
  T result = 1;
  for (T square = gamma; exponent > 0; exponent >>= 1, square *= square) {
    if (exponent & 1) result *= square;
  }
  return result;
}

}  // namespace loqa
