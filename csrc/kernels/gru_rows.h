#pragma once

#include <cmath>
#include <cstdint>

#include "core/macros.h"
#include "kernels/gru.h"

// The elementwise half of a GRU step and its gradient: the only copy of each formula. V is T, in
// the CUDA kernels and for the last elements on the CPU, or a vector of float. Without contraction
// of products and sums, float32 gives the same bits everywhere.

namespace loqa {

// 2^k for whole k.
template <typename V>
struct PowerOfTwo;
template <>
struct PowerOfTwo<float> {
  static LOQA_HD float of(float k) {
    return __builtin_bit_cast(float, (static_cast<int32_t>(k) + 127) << 23);
  }
};

LOQA_HD double expm1_of(double x) { return ::expm1(x); }

// exp(x) - 1 with relative error below 3e-7: x = k log 2 + r, and then it is
// 2^k (exp(r) - 1) + (2^k - 1), the first by a Taylor polynomial on |r| <= log(2) / 2.
template <typename V>
LOQA_HD V expm1_of(V x) {
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
  const V power = PowerOfTwo<V>::of(k);
  return power * p + (power - 1.0f);
}

template <typename V>
LOQA_HD V sigmoid(V x) {
  return 1 / (expm1_of(-x) + 2);
}

template <typename V>
LOQA_HD V tanh_of(V x) {
  const V e = expm1_of(x + x);
  return e / (e + 2);
}

template <typename V>
struct GruGates {
  V r, z, n, hn;
};

template <typename V>
LOQA_HD GruGates<V> gru_row(V input_r, V input_z, V input_n, V hidden_r, V hidden_z, V hidden_n,
                            V bias_hn) {
  const V r = sigmoid(V(input_r + hidden_r));
  const V z = sigmoid(V(input_z + hidden_z));
  const V hn = hidden_n + bias_hn;
  return {r, z, tanh_of(V(input_n + r * hn)), hn};
}

// (1 - z) n + z state
template <typename V>
LOQA_HD V gru_next_row(const GruGates<V>& gates, V state) {
  return gates.n + gates.z * (state - gates.n);
}

// Gradients of what enters the gates r, z and n, of the hidden product for n, and of the state less
// what comes through that product; `grad` is that of the next state.
template <typename V>
struct GruGradients {
  V r, z, n, hidden_n, state;
};

template <typename V>
LOQA_HD GruGradients<V> gru_vjp_row(const GruGates<V>& gates, V state, V grad) {
  const V grad_n = grad * (1 - gates.z) * (1 - gates.n * gates.n);
  const V grad_z = grad * (state - gates.n) * gates.z * (1 - gates.z);
  const V grad_r = grad_n * gates.hn * gates.r * (1 - gates.r);
  return {grad_r, grad_z, grad_n, V(grad_n * gates.r), V(grad * gates.z)};
}

// What one CUDA thread does: element i of a row. Tests run it on the host.
template <typename T>
LOQA_HD void run_element(const GruStep<T>& job, int64_t row, int64_t i) {
  const int64_t size = job.size;
  const T* input = job.input + row * 3 * size + i;
  const T* hidden = job.hidden + row * 3 * size + i;
  const GruGates<T> gates = gru_row(input[0], input[size], input[2 * size], hidden[0], hidden[size],
                                    hidden[2 * size], job.bias_hn[row / job.group * size + i]);
  job.next[row * size + i] = gru_next_row(gates, job.state[row * size + i]);
  if (job.saved != nullptr) {
    T* saved = job.saved + row * 4 * size + i;
    saved[0] = gates.r;
    saved[size] = gates.z;
    saved[2 * size] = gates.n;
    saved[3 * size] = gates.hn;
  }
}

template <typename T>
LOQA_HD void run_element(const GruStepVjp<T>& job, int64_t row, int64_t i) {
  const int64_t size = job.size, at = row * size + i;
  const T* saved = job.saved + row * 4 * size + i;
  const GruGates<T> gates = {saved[0], saved[size], saved[2 * size], saved[3 * size]};
  const GruGradients<T> grads =
      gru_vjp_row(gates, job.state[at], T(job.grad_next[at] + job.grad_out[at]));
  T* grad_input = job.grad_input + row * 3 * size + i;
  T* grad_hidden = job.grad_hidden + row * 3 * size + i;
  grad_input[0] = grad_hidden[0] = grads.r;
  grad_input[size] = grad_hidden[size] = grads.z;
  grad_input[2 * size] = grads.n;
  grad_hidden[2 * size] = grads.hidden_n;
  job.grad_state[at] = grads.state;
}

}  // namespace loqa
