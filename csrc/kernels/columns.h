#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "kernels/rows.h"

// What one CUDA thread does: a whole sequence (column), or every `rows`-th output of one, from
// `row` on, where outputs do not depend on each other. The order of additions is that of the CPU.
// Loops over time are unrolled so that the loads of several steps are in flight before the first is
// needed: of [1024, 65536] floats an H200 copies at 0.69 of its rate with 8 of them, 0.73 with 16.
// Plain functions: tests run them on the host, one thread after the other.

#if defined(__CUDACC__)
#define LOQA_UNROLL_STEPS _Pragma("unroll 16")
#else
#define LOQA_UNROLL_STEPS
#endif

namespace loqa {

struct ThreadOfColumn {
  int64_t steps;
  int64_t width;
  int64_t column;
  int64_t row;
  int64_t rows;
};

// How steps end episodes in a column; without kEnds none does, and nothing is read.
template <bool kEnds>
struct EndsOfColumn {
  const uint8_t* codes;
  int64_t width;
  LOQA_HD EndsOfColumn(const uint8_t* ends, const ThreadOfColumn& at)
      : codes(kEnds ? ends + at.column : nullptr), width(at.width) {}
  LOQA_HD int at(int64_t t) const { return kEnds && t >= 0 ? codes[t * width] : 0; }
  LOQA_HD bool ended(int64_t t) const { return at(t) != 0; }
  LOQA_HD bool terminated(int64_t t) const { return (at(t) & kTerminated) != 0; }
};

template <bool kEnds, typename T>
LOQA_HD void run_thread(const LinearScan<T>& job, const ThreadOfColumn& at) {
  const T* __restrict__ in = job.in + at.column;
  T* __restrict__ out = job.out + at.column;
  const EndsOfColumn<kEnds> ends(job.ends, at);
  T carry = job.carry == nullptr ? T(0) : job.carry[at.column];
  LOQA_UNROLL_STEPS
  for (int64_t step = 0; step < at.steps; ++step) {
    const int64_t t = job.reverse ? at.steps - 1 - step : step;
    carry = unless(ends.ended(job.reverse ? t : t - 1), carry);
    carry = scan_row(in[t * at.width], job.decay, carry);
    out[t * at.width] = carry;
  }
}

template <bool kEnds, typename T>
LOQA_HD void run_thread(const Advantage<T>& job, const ThreadOfColumn& at) {
  const T* __restrict__ rewards = job.rewards + at.column;
  const T* __restrict__ values = job.values + at.column;
  T* __restrict__ out = job.out + at.column;
  const EndsOfColumn<kEnds> ends(job.ends, at);
  T carry = 0;
  T next_value = values[at.steps * at.width];
  LOQA_UNROLL_STEPS
  for (int64_t t = at.steps - 1; t >= 0; --t) {
    const T value = values[t * at.width];
    carry = advantage_row(rewards[t * at.width], value, unless(ends.terminated(t), next_value),
                          job.gamma, job.decay, unless(ends.ended(t), carry));
    out[t * at.width] = carry;
    next_value = value;
  }
}

template <bool kEnds, typename T>
LOQA_HD void run_thread(const AdvantageVjp<T>& job, const ThreadOfColumn& at) {
  const T* __restrict__ grad = job.grad + at.column;
  T* __restrict__ grad_rewards = job.grad_rewards + at.column;
  T* __restrict__ grad_values = job.grad_values + at.column;
  const EndsOfColumn<kEnds> ends(job.ends, at);
  T previous = 0;
  LOQA_UNROLL_STEPS
  for (int64_t t = 0; t < at.steps; ++t) {
    const T sum = scan_row(grad[t * at.width], job.decay, unless(ends.ended(t - 1), previous));
    grad_rewards[t * at.width] = sum;
    grad_values[t * at.width] =
        advantage_value_vjp_row(sum, unless(ends.terminated(t - 1), previous), job.gamma);
    previous = sum;
  }
  grad_values[at.steps * at.width] =
      advantage_value_vjp_row(T(0), unless(ends.terminated(at.steps - 1), previous), job.gamma);
}

template <bool kEnds, typename T>
LOQA_HD void run_thread(const NStep<T>& job, const ThreadOfColumn& at) {
  const T* __restrict__ rewards = job.rewards + at.column;
  const EndsOfColumn<kEnds> ends(job.ends, at);
  for (int64_t s = at.row; s + job.n <= at.steps; s += at.rows) {
    T sum = job.values[(s + job.n) * at.width + at.column];
    for (int64_t k = job.n - 1; k >= 0; --k) {
      sum = scan_row(rewards[(s + k) * at.width], job.gamma, unless(ends.ended(s + k), sum));
    }
    job.out[s * at.width + at.column] = sum;
  }
}

template <bool kEnds, typename T>
LOQA_HD void run_thread(const NStepVjp<T>& job, const ThreadOfColumn& at) {
  const T* __restrict__ grad = job.grad + at.column;
  const EndsOfColumn<kEnds> ends(job.ends, at);
  const int64_t windows = at.steps + 1 - job.n;
  const T bootstrap = power(job.gamma, job.n);
  for (int64_t t = at.row; t <= at.steps; t += at.rows) {
    const int64_t here = t * at.width + at.column;
    if (t < at.steps) {
      const int64_t newest = t < windows ? t : windows - 1;
      T sum = 0;
      for (int64_t s = t + 1 < job.n ? 0 : t + 1 - job.n; s <= newest; ++s) {
        sum = scan_row(grad[s * at.width], job.gamma, unless(ends.ended(s - 1), sum));
      }
      bool cut = false;
      for (int64_t s = newest; kEnds && s < t; ++s) cut = cut || ends.ended(s);
      job.grad_rewards[here] = unless(cut, power(job.gamma, t - newest) * sum);
    }
    bool cut = t < job.n;
    for (int64_t s = t - job.n; kEnds && !cut && s < t; ++s) cut = ends.ended(s);
    job.grad_values[here] = cut ? T(0) : bootstrap * grad[(t - job.n) * at.width];
  }
}

template <bool kEnds, typename T>
LOQA_HD void run_thread(const LoadedDiceVjp<T>& job, const ThreadOfColumn& at) {
  if (at.steps == 0) return;
  const T* __restrict__ grad = job.grad + at.column;
  const T* __restrict__ returns = job.returns + at.column;
  const T* __restrict__ values = job.values + at.column;
  T* __restrict__ out = job.grad_logps + at.column;
  const EndsOfColumn<kEnds> ends(job.ends, at);
  const int64_t lag = job.shift ? 1 : 0;
  const T scale = job.shift ? job.gamma : T(1);
  T sum = 0;
  if (job.shift) out[0] = 0;
  LOQA_UNROLL_STEPS
  for (int64_t t = lag; t < at.steps; ++t) {
    const bool cut = ends.ended(t - 1);
    const T fresh = scale * grad[(t - lag) * at.width];
    sum = scan_row(job.shift ? unless(cut, fresh) : fresh, job.decay, unless(cut, sum));
    out[t * at.width] = loaded_dice_vjp_row(sum, returns[t * at.width], values[t * at.width]);
  }
}

// A thread owns its column of grad_logps, so that nothing is added atomically.
template <bool kEnds, typename T>
LOQA_HD void run_thread(const NStepDiceVjp<T>& job, const ThreadOfColumn& at) {
  T* out = job.grad_logps + at.column;
  const EndsOfColumn<kEnds> ends(job.ends, at);
  for (int64_t t = 0; t < at.steps; ++t) out[t * at.width] = 0;
  const int64_t windows = at.steps + 1 - job.n;
  // The first end from the window's first step on, if one is near: windows are taken backwards.
  int64_t end = at.steps;
  for (int64_t t = at.steps - 1; kEnds && t >= windows; --t) end = ends.ended(t) ? t : end;
  for (int64_t window = 0; window < windows; ++window) {
    const int64_t s = kEnds ? windows - 1 - window : window;
    end = ends.ended(s) ? s : end;
    const T grad = job.grad[s * at.width + at.column];
    T tail = 0;
    for (int64_t k = job.n - 1; k >= 1; --k) {
      const int64_t here = (s + k) * at.width;
      tail = scan_row(job.centred[here + at.column], job.gamma, unless(ends.ended(s + k), tail));
      if (s + k > end) continue;
      out[here] = n_step_dice_vjp_row(out[here], grad, power(job.gamma, k), tail);
    }
  }
}

// Threads that can share a column.
template <typename Job>
inline int64_t rows_of(const Job&, int64_t) {
  return 1;
}
template <typename T>
inline int64_t rows_of(const NStep<T>& job, int64_t steps) {
  return steps + 1 - job.n;
}
template <typename T>
inline int64_t rows_of(const NStepVjp<T>&, int64_t steps) {
  return steps + 1;
}

}  // namespace loqa
