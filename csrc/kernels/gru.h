#pragma once

#include <cstdint>

#include "core/isa.h"

// The elementwise half of a GRU step; the matrix products are the caller's. Gates in the order
// r, z, n. For row i of [rows, size] arrays:
//
//   r = sigmoid(input_r + hidden_r)      hn = hidden_n + bias_hn
//   z = sigmoid(input_z + hidden_z)      n = tanh(input_n + r hn)
//   next = (1 - z) n + z state
//
// where input = W_i x + b_i and hidden = W_h state, both [rows, 3 size]. Rows come in groups of
// `group` rows with a bias of their own, as many parameter sets side by side.

namespace loqa {

template <typename T>
struct GruStep {
  const T* input;
  const T* hidden;
  const T* bias_hn;  // [rows / group, size]
  const T* state;
  T* next;
  T* saved;  // [rows, 4 size]: r, z, n, hn for the gradient; null if none is wanted
  int64_t size;
  int64_t group;
};

template <typename T>
struct GruStepVjp {
  const T* grad_next;  // [rows, size] from the steps after this one
  const T* grad_out;   // [rows, size] from whatever else reads `next`
  const T* saved;
  const T* state;
  T* grad_input;   // [rows, 3 size]
  T* grad_hidden;  // [rows, 3 size]; its last third summed over rows is bias_hn's gradient
  T* grad_state;   // [rows, size], less what comes through W_h
  int64_t size;
};

#define LOQA_GRU_OF(T)                                             \
  void run_gru(const GruStep<T>& job, int64_t begin, int64_t end); \
  void run_gru(const GruStepVjp<T>& job, int64_t begin, int64_t end);

LOQA_DECLARE_ISA(LOQA_GRU_OF(float) LOQA_GRU_OF(double))

// Enqueues on `stream`, throws std::runtime_error if the launch fails.
#define LOQA_GRU_CUDA_OF(T)                                             \
  void run_gru_cuda(const GruStep<T>& job, int64_t rows, void* stream); \
  void run_gru_cuda(const GruStepVjp<T>& job, int64_t rows, void* stream);

LOQA_GRU_CUDA_OF(float)
LOQA_GRU_CUDA_OF(double)

}  // namespace loqa
