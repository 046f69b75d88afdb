#include "core/cuda_check.h"
#include "kernels/kernels.h"
#include "kernels/rows.h"

// One thread a sequence: neighbouring threads read neighbouring columns. Loops over time are
// unrolled so that the loads of several steps are in flight before the first is needed.

namespace loqa {
namespace {

constexpr int kThreads = 128;

template <typename T>
__global__ void linear_scan_kernel(LinearScan<T> job, int64_t steps, int64_t width) {
  const int64_t column = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= width) return;
  const T* __restrict__ in = job.in + column;
  T* __restrict__ out = job.out + column;
  T carry = job.carry == nullptr ? T(0) : job.carry[column];
#pragma unroll 8
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t at = (job.reverse ? steps - 1 - step : step) * width;
    carry = scan_row(in[at], job.decay, carry);
    out[at] = carry;
  }
}

template <typename T>
__global__ void advantage_kernel(Advantage<T> job, int64_t steps, int64_t width) {
  const int64_t column = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= width) return;
  const T* __restrict__ rewards = job.rewards + column;
  const T* __restrict__ values = job.values + column;
  T* __restrict__ out = job.out + column;
  T carry = 0;
  T next_value = values[steps * width];
#pragma unroll 8
  for (int64_t t = steps - 1; t >= 0; --t) {
    const T value = values[t * width];
    carry = advantage_row(rewards[t * width], value, next_value, job.gamma, job.decay, carry);
    out[t * width] = carry;
    next_value = value;
  }
}

template <typename T>
__global__ void advantage_vjp_kernel(AdvantageVjp<T> job, int64_t steps, int64_t width) {
  const int64_t column = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= width) return;
  const T* __restrict__ grad = job.grad + column;
  T* __restrict__ grad_rewards = job.grad_rewards + column;
  T* __restrict__ grad_values = job.grad_values + column;
  T previous = 0;
#pragma unroll 8
  for (int64_t t = 0; t < steps; ++t) {
    const T sum = scan_row(grad[t * width], job.decay, previous);
    grad_rewards[t * width] = sum;
    grad_values[t * width] = advantage_value_vjp_row(sum, previous, job.gamma);
    previous = sum;
  }
  grad_values[steps * width] = advantage_value_vjp_row(T(0), previous, job.gamma);
}

template <typename T>
__global__ void n_step_kernel(NStep<T> job, int64_t steps, int64_t width) {
  const int64_t column = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= width) return;
  const T* __restrict__ rewards = job.rewards + column;
  for (int64_t s = blockIdx.y; s + job.n <= steps; s += gridDim.y) {
    T sum = job.values[(s + job.n) * width + column];
    for (int64_t k = job.n - 1; k >= 0; --k) {
      sum = scan_row(rewards[(s + k) * width], job.gamma, sum);
    }
    job.out[s * width + column] = sum;
  }
}

template <typename T>
__global__ void n_step_vjp_kernel(NStepVjp<T> job, int64_t steps, int64_t width) {
  const int64_t column = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= width) return;
  const T* __restrict__ grad = job.grad + column;
  const int64_t windows = steps + 1 - job.n;
  const T bootstrap = power(job.gamma, job.n);
  for (int64_t t = blockIdx.y; t <= steps; t += gridDim.y) {
    if (t < steps) {
      const int64_t newest = t < windows ? t : windows - 1;
      T sum = 0;
      for (int64_t s = t + 1 < job.n ? 0 : t + 1 - job.n; s <= newest; ++s) {
        sum = scan_row(grad[s * width], job.gamma, sum);
      }
      job.grad_rewards[t * width + column] = power(job.gamma, t - newest) * sum;
    }
    job.grad_values[t * width + column] = t < job.n ? T(0) : bootstrap * grad[(t - job.n) * width];
  }
}

template <typename T>
__global__ void loaded_dice_vjp_kernel(LoadedDiceVjp<T> job, int64_t steps, int64_t width) {
  const int64_t column = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= width || steps == 0) return;
  const T* __restrict__ grad = job.grad + column;
  const T* __restrict__ returns = job.returns + column;
  const T* __restrict__ values = job.values + column;
  T* __restrict__ out = job.grad_logps + column;
  const int64_t lag = job.shift ? 1 : 0;
  const T scale = job.shift ? job.gamma : T(1);
  T sum = 0;
  if (job.shift) out[0] = 0;
#pragma unroll 8
  for (int64_t t = lag; t < steps; ++t) {
    sum = scan_row(scale * grad[(t - lag) * width], job.decay, sum);
    out[t * width] = loaded_dice_vjp_row(sum, returns[t * width], values[t * width]);
  }
}

// One thread owns its column of grad_logps, so that nothing is added atomically and the order of
// additions is that of the CPU.
template <typename T>
__global__ void n_step_dice_vjp_kernel(NStepDiceVjp<T> job, int64_t steps, int64_t width) {
  const int64_t column = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (column >= width) return;
  T* out = job.grad_logps + column;
  for (int64_t t = 0; t < steps; ++t) out[t * width] = 0;
  for (int64_t s = 0; s + job.n <= steps; ++s) {
    const T grad = job.grad[s * width + column];
    T tail = 0;
    for (int64_t k = job.n - 1; k >= 1; --k) {
      const int64_t at = (s + k) * width;
      tail = scan_row(job.centred[at + column], job.gamma, tail);
      out[at] = n_step_dice_vjp_row(out[at], grad, power(job.gamma, k), tail);
    }
  }
}

// `rows` blocks share the outputs of a column where they do not depend on each other.
template <typename Job>
void launch(void (*kernel)(Job, int64_t, int64_t), const Job& job, int64_t steps, int64_t width,
            int64_t rows, void* stream) {
  if (width == 0) return;
  const dim3 grid(static_cast<unsigned>((width + kThreads - 1) / kThreads),
                  static_cast<unsigned>(rows < 65535 ? rows : 65535));
  kernel<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(job, steps, width);
  cuda_check(cudaGetLastError(), "launch of a loqa kernel");
}

}  // namespace

#define LOQA_DEFINE(JOB, KERNEL, ROWS)                                        \
  void run_cuda(const JOB& job, int64_t steps, int64_t width, void* stream) { \
    launch(KERNEL, job, steps, width, ROWS, stream);                          \
  }
#define LOQA_DEFINE_ALL(T)                                    \
  LOQA_DEFINE(LinearScan<T>, linear_scan_kernel<T>, 1)        \
  LOQA_DEFINE(Advantage<T>, advantage_kernel<T>, 1)           \
  LOQA_DEFINE(AdvantageVjp<T>, advantage_vjp_kernel<T>, 1)    \
  LOQA_DEFINE(NStep<T>, n_step_kernel<T>, steps + 1 - job.n)  \
  LOQA_DEFINE(NStepVjp<T>, n_step_vjp_kernel<T>, steps + 1)   \
  LOQA_DEFINE(LoadedDiceVjp<T>, loaded_dice_vjp_kernel<T>, 1) \
  LOQA_DEFINE(NStepDiceVjp<T>, n_step_dice_vjp_kernel<T>, 1)

LOQA_DEFINE_ALL(float)
LOQA_DEFINE_ALL(double)

}  // namespace loqa
