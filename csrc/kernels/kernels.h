#pragma once

#include <cstdint>

#include "core/isa.h"

// Arrays are [steps, width], contiguous, one sequence a column. Launchers neither allocate nor
// check (the bindings and loqa/ops/__init__.py do). The CPU ones work on columns [begin, end); the
// CUDA ones enqueue on `stream` and throw std::runtime_error if the launch fails.
//
// `ends` [steps, width] say how steps end episodes (formulas.h), null for one episode a column.
// Nothing passes from one side of an end to the other: what follows a step that ends an episode
// counts as 0.

namespace loqa {

struct Columns {
  int64_t steps;
  int64_t width;
  int64_t begin;
  int64_t end;
  int64_t worker = 0;  // of the outputs that do not depend on each other every `workers`-th
  int64_t workers = 1;
};

template <typename T>
struct LinearScan {  // out_t = in_t + decay out_{t+1}, or out_{t-1} if not reverse
  const T* in;
  const T* carry;  // [width], out before the first step taken; null for zero
  const uint8_t* ends;
  T* out;
  T decay;
  bool reverse;
};

template <typename T>
struct Advantage {
  const T* rewards;
  const T* values;      // [steps + 1, width]
  const uint8_t* ends;  // values[t + 1] counts after a truncation
  T* out;
  T gamma;
  T decay;  // gamma lambda
};

template <typename T>
struct AdvantageVjp {
  const T* grad;
  const uint8_t* ends;
  T* grad_rewards;
  T* grad_values;  // [steps + 1, width]
  T gamma;
  T decay;
};

template <typename T>
struct NStep {
  const T* rewards;
  const T* values;      // [steps + 1, width]
  const uint8_t* ends;  // a window that meets an end has no values[s + n]
  T* out;               // [steps + 1 - n, width]
  T gamma;
  int64_t n;
};

template <typename T>
struct NStepVjp {
  const T* grad;  // [steps + 1 - n, width]
  const uint8_t* ends;
  T* grad_rewards;
  T* grad_values;  // [steps + 1, width]
  T gamma;
  int64_t n;
};

template <typename T>
struct LoadedDiceVjp {
  const T* grad;
  const T* returns;
  const T* values;  // [>= steps, width]
  const uint8_t* ends;
  T* grad_logps;
  T gamma;
  T decay;     // gamma lambda
  bool shift;  // grad belongs to r_s + gamma Rhat_{s+1} instead of Rhat_s
};

template <typename T>
struct NStepDiceVjp {
  const T* grad;     // [steps + 1 - n, width]
  const T* centred;  // rewards - baseline
  const uint8_t* ends;
  T* grad_logps;
  T gamma;
  int64_t n;
};

#define LOQA_KERNELS_OF(T, NAME, ...)                  \
  void NAME(const LinearScan<T>& job, __VA_ARGS__);    \
  void NAME(const Advantage<T>& job, __VA_ARGS__);     \
  void NAME(const AdvantageVjp<T>& job, __VA_ARGS__);  \
  void NAME(const NStep<T>& job, __VA_ARGS__);         \
  void NAME(const NStepVjp<T>& job, __VA_ARGS__);      \
  void NAME(const LoadedDiceVjp<T>& job, __VA_ARGS__); \
  void NAME(const NStepDiceVjp<T>& job, __VA_ARGS__);

LOQA_DECLARE_ISA(LOQA_KERNELS_OF(float, run_cpu, const Columns& columns)
                     LOQA_KERNELS_OF(double, run_cpu, const Columns& columns))

LOQA_KERNELS_OF(float, run_cuda, int64_t steps, int64_t width, void* stream)
LOQA_KERNELS_OF(double, run_cuda, int64_t steps, int64_t width, void* stream)

}  // namespace loqa
