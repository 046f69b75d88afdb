#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "core/elements.h"
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

// How a gate divides: rounded right, so that bits are the same everywhere.
struct Exactly {
  template <typename V>
  static LOQA_HD V divide(V a, V b) {
    return a / b;
  }
};

template <typename Division = Exactly, typename V>
LOQA_HD V sigmoid(V x) {
  return Division::divide(V{} + 1, V(expm1_of(-x) + 2));
}

template <typename Division = Exactly, typename V>
LOQA_HD V tanh_of(V x) {
  const V e = expm1_of(x + x);
  return Division::divide(e, V(e + 2));
}

template <typename V>
struct GruGates {
  V r, z, n, hn;
};

// Of the sums that enter r and z, of what the input says to n, and of hn.
template <typename Division = Exactly, typename V>
LOQA_HD GruGates<V> gru_gates(V sum_r, V sum_z, V input_n, V hn) {
  const V r = sigmoid<Division>(sum_r);
  return {r, sigmoid<Division>(sum_z), tanh_of<Division>(V(input_n + r * hn)), hn};
}

// (1 - z) n + z state
template <typename V>
LOQA_HD V gru_next(const GruGates<V>& gates, V state) {
  return gates.n + gates.z * (state - gates.n);
}

// Gradients of what enters the gates r, z and n, of the hidden product for n, and of the state less
// what comes through that product; `grad` is that of the next state.
template <typename V>
struct GruGradients {
  V r, z, n, hidden_n, state;
};

template <typename V>
LOQA_HD GruGradients<V> gru_vjp(const GruGates<V>& gates, V state, V grad) {
  const V grad_n = grad * (1 - gates.z) * (1 - gates.n * gates.n);
  const V grad_z = grad * (state - gates.n) * gates.z * (1 - gates.z);
  const V grad_r = grad_n * gates.hn * gates.r * (1 - gates.r);
  return {grad_r, grad_z, grad_n, V(grad_n * gates.r), V(grad * gates.z)};
}

// Elements of a row from i on, as many as V has: on the CPU, and one in a CUDA thread.
template <typename V, bool kSave, typename T>
LOQA_HD void run_elements(const GruStep<T>& job, int64_t row, int64_t i) {
  const int64_t size = job.size;
  const T* input = job.input + row * 3 * size + i;
  const T* hidden = job.hidden + row * 3 * size + i;
  const V bias = load<V>(job.bias_hn + row / job.group * size + i);
  const V sum_r = load<V>(input) + load<V>(hidden);
  const V sum_z = load<V>(input + size) + load<V>(hidden + size);
  const V hn = load<V>(hidden + 2 * size) + bias;
  const GruGates<V> gates = gru_gates(sum_r, sum_z, load<V>(input + 2 * size), hn);
  const V state = load<V>(job.state + row * size + i);
  store(gru_next(gates, state), job.next + row * size + i);
  if constexpr (kSave) {
    T* saved = job.saved + row * 4 * size + i;
    store(gates.r, saved);
    store(gates.z, saved + size);
    store(gates.n, saved + 2 * size);
    store(gates.hn, saved + 3 * size);
  }
}

template <typename V, bool kSave, typename T>
LOQA_HD void run_elements(const GruStepVjp<T>& job, int64_t row, int64_t i) {
  const int64_t size = job.size, at = row * size + i;
  const T* saved = job.saved + row * 4 * size + i;
  const GruGates<V> gates = {load<V>(saved), load<V>(saved + size), load<V>(saved + 2 * size),
                             load<V>(saved + 3 * size)};
  const V grad = load<V>(job.grad_next + at) + load<V>(job.grad_out + at);
  const GruGradients<V> grads = gru_vjp(gates, load<V>(job.state + at), grad);
  T* grad_input = job.grad_input + row * 3 * size + i;
  T* grad_hidden = job.grad_hidden + row * 3 * size + i;
  store(grads.r, grad_input);
  store(grads.z, grad_input + size);
  store(grads.n, grad_input + 2 * size);
  store(grads.r, grad_hidden);
  store(grads.z, grad_hidden + size);
  store(grads.hidden_n, grad_hidden + 2 * size);
  store(grads.state, job.grad_state + at);
}

// Whether a step keeps what its gradient needs.
template <typename T>
LOQA_HD bool saves(const GruStep<T>& job) {
  return job.saved != nullptr;
}
template <typename T>
LOQA_HD bool saves(const GruStepVjp<T>&) {
  return false;
}

// What one CUDA thread does. Tests run it on the host.
template <template <typename> typename Job, typename T>
LOQA_HD void run_element(const Job<T>& job, int64_t row, int64_t i) {
  saves(job) ? run_elements<T, true>(job, row, i) : run_elements<T, false>(job, row, i);
}

}  // namespace loqa
