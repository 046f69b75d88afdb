#pragma once

#include <cstdint>

#include "core/macros.h"

// One step of every kernel: the only copy of each formula. T is float or double; V is T, in the
// CUDA kernels and for the last columns on the CPU, or a vector of T. Equations and papers:
// loqa/ops/__init__.py.

namespace loqa {

// Codes of how a step ends an episode; 0 if it does not. Both bits: terminated.
inline constexpr int kTerminated = 1, kTruncated = 2;

// `carry` as far as it comes from the same episode: 0 where `cut`, a bool or a mask of lanes.
template <typename Mask, typename V>
LOQA_HD V unless(Mask cut, V carry) {
  return cut ? V{} : carry;
}

// y_t = x_t + decay * carry, where carry is y_{t+1} (backwards in time) or y_{t-1} (forwards).
template <typename V, typename T>
LOQA_HD V scan_step(V x, T decay, V carry) {
  return x + decay * carry;
}

// A_t = (r_t + gamma v_{t+1} - v_t) + decay A_{t+1}, decay = gamma lambda.
template <typename V, typename T>
LOQA_HD V advantage_step(V reward, V value, V next_value, T gamma, T decay, V next_advantage) {
  return scan_step(reward + gamma * next_value - value, decay, next_advantage);
}

// Gradient of v_t in generalized advantages: it is the bootstrap of step t-1 and the baseline of t.
// `sum` and `previous` are the forward scans of the cotangent: the gradients of r_t and r_{t-1}.
template <typename V, typename T>
LOQA_HD V advantage_value_vjp(V sum, V previous, T gamma) {
  return gamma * previous - sum;
}

// Gradient of l_t in loaded-DiCE returns; `sum` is the forward scan of the cotangent.
template <typename V>
LOQA_HD V loaded_dice_vjp_step(V sum, V returns, V value) {
  return (returns - value) * sum;
}

// What one window adds to the gradient of l in n-step DiCE returns; `tail` is the discounted sum of
// the centred rewards from l's step to the end of the window, `weight` the discount up to l's step.
template <typename V, typename T>
LOQA_HD V n_step_dice_vjp_step(V total, V grad, T weight, V tail) {
  return total + weight * grad * tail;
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
