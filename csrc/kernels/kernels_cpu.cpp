#include "kernels/kernels.h"
#include "kernels/rows.h"

// Vector lanes are columns. A block of columns goes through all of time before the next, so that
// the carried row stays in the first-level cache while the arrays stream past once.

namespace loqa::LOQA_ISA {
namespace {

constexpr int64_t kBlockBytes = 8192;

// Calls body(first column, number of columns) for each block.
template <typename T, typename Body>
inline void for_blocks(const Columns& columns, const Body& body) {
  constexpr int64_t kBlock = kBlockBytes / static_cast<int64_t>(sizeof(T));
  for (int64_t first = columns.begin; first < columns.end; first += kBlock) {
    const int64_t left = columns.end - first;
    body(first, left < kBlock ? left : kBlock);
  }
}

template <typename T>
inline void copy_row(const T* __restrict from, int64_t count, T* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i];
}

template <typename T>
inline void fill_row(T value, int64_t count, T* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] = value;
}

template <typename T>
inline void scan_step(const T* __restrict in, const T* __restrict carry, T decay, int64_t count,
                      T* __restrict out) {
  for (int64_t i = 0; i < count; ++i) out[i] = scan_row(in[i], decay, carry[i]);
}

template <typename T>
void linear_scan(const LinearScan<T>& job, const Columns& columns) {
  if (columns.steps == 0) return;
  for_blocks<T>(columns, [&](int64_t first, int64_t count) {
    const int64_t stride = job.reverse ? -columns.width : columns.width;
    const int64_t start = first + (job.reverse ? (columns.steps - 1) * columns.width : 0);
    const T* in = job.in + start;
    T* out = job.out + start;
    if (job.carry == nullptr) {
      copy_row(in, count, out);
    } else {
      scan_step(in, job.carry + first, job.decay, count, out);
    }
    for (int64_t t = 1; t < columns.steps; ++t) {
      in += stride;
      scan_step(in, out, job.decay, count, out + stride);
      out += stride;
    }
  });
}

template <typename T>
inline void advantage_step(const Advantage<T>& job, const T* __restrict reward,
                           const T* __restrict value, const T* __restrict next_value,
                           const T* __restrict next, int64_t count, T* __restrict out) {
  for (int64_t i = 0; i < count; ++i) {
    out[i] = advantage_row(reward[i], value[i], next_value[i], job.gamma, job.decay, next[i]);
  }
}

template <typename T>
void advantage(const Advantage<T>& job, const Columns& columns) {
  for_blocks<T>(columns, [&](int64_t first, int64_t count) {
    T zero[kBlockBytes / sizeof(T)];
    fill_row(T(0), count, zero);
    const T* next = zero;
    for (int64_t t = columns.steps - 1; t >= 0; --t) {
      const int64_t at = t * columns.width + first;
      T* out = job.out + at;
      advantage_step(job, job.rewards + at, job.values + at, job.values + at + columns.width, next,
                     count, out);
      next = out;
    }
  });
}

template <typename T>
inline void advantage_vjp_step(const AdvantageVjp<T>& job, const T* __restrict grad,
                               const T* __restrict previous, int64_t count, T* __restrict sum,
                               T* __restrict value) {
  for (int64_t i = 0; i < count; ++i) {
    sum[i] = scan_row(grad[i], job.decay, previous[i]);
    value[i] = advantage_value_vjp_row(sum[i], previous[i], job.gamma);
  }
}

template <typename T>
void advantage_vjp(const AdvantageVjp<T>& job, const Columns& columns) {
  for_blocks<T>(columns, [&](int64_t first, int64_t count) {
    T zero[kBlockBytes / sizeof(T)];
    fill_row(T(0), count, zero);
    const T* previous = zero;
    for (int64_t t = 0; t < columns.steps; ++t) {
      const int64_t at = t * columns.width + first;
      T* sum = job.grad_rewards + at;
      advantage_vjp_step(job, job.grad + at, previous, count, sum, job.grad_values + at);
      previous = sum;
    }
    T* last = job.grad_values + columns.steps * columns.width + first;
    for (int64_t i = 0; i < count; ++i) {
      last[i] = advantage_value_vjp_row(T(0), previous[i], job.gamma);
    }
  });
}

// Columns of a register tile: sums over a window stay in registers while rows come from the cache.
constexpr int64_t kTile = 64;

template <typename T>
void n_step(const NStep<T>& job, const Columns& columns) {
  const int64_t width = columns.width;
  for_blocks<T>(columns, [&](int64_t first, int64_t count) {
    for (int64_t s = 0; s + job.n <= columns.steps; ++s) {
      for (int64_t tile = first; tile < first + count; tile += kTile) {
        const int64_t left = first + count - tile;
        const int64_t lanes = left < kTile ? left : kTile;
        T sum[kTile];
        copy_row(job.values + (s + job.n) * width + tile, lanes, sum);
        for (int64_t k = job.n - 1; k >= 0; --k) {
          const T* __restrict reward = job.rewards + (s + k) * width + tile;
          for (int64_t i = 0; i < lanes; ++i) sum[i] = scan_row(reward[i], job.gamma, sum[i]);
        }
        copy_row(sum, lanes, job.out + s * width + tile);
      }
    }
  });
}

template <typename T>
void n_step_vjp(const NStepVjp<T>& job, const Columns& columns) {
  const int64_t width = columns.width;
  const int64_t windows = columns.steps + 1 - job.n;
  const T bootstrap = power(job.gamma, job.n);
  for_blocks<T>(columns, [&](int64_t first, int64_t count) {
    for (int64_t t = 0; t < columns.steps; ++t) {
      const int64_t oldest = t + 1 < job.n ? 0 : t + 1 - job.n;
      const int64_t newest = t < windows ? t : windows - 1;
      const T age = power(job.gamma, t - newest);
      for (int64_t tile = first; tile < first + count; tile += kTile) {
        const int64_t left = first + count - tile;
        const int64_t lanes = left < kTile ? left : kTile;
        T sum[kTile];
        fill_row(T(0), lanes, sum);
        for (int64_t s = oldest; s <= newest; ++s) {
          const T* __restrict grad = job.grad + s * width + tile;
          for (int64_t i = 0; i < lanes; ++i) sum[i] = scan_row(grad[i], job.gamma, sum[i]);
        }
        T* __restrict out = job.grad_rewards + t * width + tile;
        for (int64_t i = 0; i < lanes; ++i) out[i] = age * sum[i];
      }
    }
    for (int64_t t = 0; t <= columns.steps; ++t) {
      T* __restrict out = job.grad_values + t * width + first;
      if (t < job.n) {
        fill_row(T(0), count, out);
      } else {
        const T* __restrict grad = job.grad + (t - job.n) * width + first;
        for (int64_t i = 0; i < count; ++i) out[i] = bootstrap * grad[i];
      }
    }
  });
}

// scale * grad is what the cotangent adds to the sum of this step.
template <typename T>
inline void loaded_dice_vjp_step(const T* __restrict grad, T scale, T decay,
                                 const T* __restrict returns, const T* __restrict value,
                                 int64_t count, T* __restrict sum, T* __restrict out) {
  for (int64_t i = 0; i < count; ++i) {
    sum[i] = scan_row(scale * grad[i], decay, sum[i]);
    out[i] = loaded_dice_vjp_row(sum[i], returns[i], value[i]);
  }
}

template <typename T>
void loaded_dice_vjp(const LoadedDiceVjp<T>& job, const Columns& columns) {
  const int64_t lag = job.shift ? 1 : 0;
  const T scale = job.shift ? job.gamma : T(1);
  for_blocks<T>(columns, [&](int64_t first, int64_t count) {
    T sum[kBlockBytes / sizeof(T)];
    fill_row(T(0), count, sum);
    if (job.shift && columns.steps > 0) fill_row(T(0), count, job.grad_logps + first);
    for (int64_t t = lag; t < columns.steps; ++t) {
      const int64_t at = t * columns.width + first;
      loaded_dice_vjp_step(job.grad + at - lag * columns.width, scale, job.decay, job.returns + at,
                           job.values + at, count, sum, job.grad_logps + at);
    }
  });
}

template <typename T>
inline void n_step_dice_vjp_step(const T* __restrict centred, const T* __restrict grad, T gamma,
                                 T weight, int64_t count, T* __restrict tail, T* __restrict out) {
  for (int64_t i = 0; i < count; ++i) {
    tail[i] = scan_row(centred[i], gamma, tail[i]);
    out[i] += weight * grad[i] * tail[i];
  }
}

template <typename T>
void n_step_dice_vjp(const NStepDiceVjp<T>& job, const Columns& columns) {
  const int64_t width = columns.width;
  for_blocks<T>(columns, [&](int64_t first, int64_t count) {
    for (int64_t t = 0; t < columns.steps; ++t) {
      fill_row(T(0), count, job.grad_logps + t * width + first);
    }
    for (int64_t s = 0; s + job.n <= columns.steps; ++s) {
      T tail[kBlockBytes / sizeof(T)];
      fill_row(T(0), count, tail);
      for (int64_t k = job.n - 1; k >= 1; --k) {
        const int64_t at = (s + k) * width + first;
        n_step_dice_vjp_step(job.centred + at, job.grad + s * width + first, job.gamma,
                             power(job.gamma, k), count, tail, job.grad_logps + at);
      }
    }
  });
}

}  // namespace

#define LOQA_DEFINE_RUN(T)                                                                      \
  void run_cpu(const LinearScan<T>& job, const Columns& columns) { linear_scan(job, columns); } \
  void run_cpu(const Advantage<T>& job, const Columns& columns) { advantage(job, columns); }    \
  void run_cpu(const AdvantageVjp<T>& job, const Columns& columns) {                            \
    advantage_vjp(job, columns);                                                                \
  }                                                                                             \
  void run_cpu(const NStep<T>& job, const Columns& columns) { n_step(job, columns); }           \
  void run_cpu(const NStepVjp<T>& job, const Columns& columns) { n_step_vjp(job, columns); }    \
  void run_cpu(const LoadedDiceVjp<T>& job, const Columns& columns) {                           \
    loaded_dice_vjp(job, columns);                                                              \
  }                                                                                             \
  void run_cpu(const NStepDiceVjp<T>& job, const Columns& columns) {                            \
    n_step_dice_vjp(job, columns);                                                              \
  }

LOQA_DEFINE_RUN(float)
LOQA_DEFINE_RUN(double)

}  // namespace loqa::LOQA_ISA
