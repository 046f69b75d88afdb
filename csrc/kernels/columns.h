#pragma once

#include <cstdint>

#include "core/elements.h"
#include "kernels/formulas.h"
#include "kernels/kernels.h"

// Every kernel, once: what a worker does with the columns (sequences) that it owns. Who works is a
// class `On`: on the CPU a thread with vectors of them (kernels_cpu.cpp), on a GPU a thread with
// one (OneColumn, below, which tests run on the host, one thread after the other). The order of
// additions is the same. A block of columns goes through all of time before the next, so that its
// carried row stays near (in the first-level cache, in a register) while the arrays stream past
// once. `On` has
//
//   kBlock<T>         the most columns of a block
//   kCarries          whether a carried row is read from a copy, else from where it was written
//   for_blocks<T>     calls body(first column, columns) for each block
//   for_lanes<T>      calls body(Lanes<V>{}, i) until each column i of a block had its turn, V at
//                     a time: a vector, or one number
//   for_tiles<T>      the same with body(Tile<On, V, n>{}, i), n V at a time
//   read<V>(from)     a V of input
//   put(value, to, ahead)  a V of output; its place in the next row is `ahead` of this one
//   codes<V, T>(from) bytes as integers of the lanes of V, Ints<V, T>
//   interrupted()     whether to stop: nobody looks at the result
//
// On a GPU loops over time are unrolled so that the loads of several steps are in flight before the
// first is needed: of [1024, 65536] floats an H200 copies at 0.69 of its rate with 8 of them, 0.73
// with 16.

#if defined(__CUDACC__)
#define LOQA_UNROLL_STEPS _Pragma("unroll 16")
#else
#define LOQA_UNROLL_STEPS
#endif

namespace loqa {

template <typename V>
struct Lanes {};

// Sums of kCount vectors of columns, zero at first, which stay in registers.
template <typename On, typename V, int kCount>
struct Tile {
  V sums[kCount] = {};
  template <typename T>
  static constexpr int64_t kLanes = sizeof(V) / sizeof(T);
  template <typename T>
  LOQA_HD void read_from(const T* from) {
    for (int j = 0; j < kCount; ++j) sums[j] = On::template read<V>(from + j * kLanes<T>);
  }
  // `ends` are those of the step between the sums and the row, columns from `i` on.
  template <typename T, typename Ends>
  LOQA_HD void add(const T* row, T decay, const Ends& ends, int64_t i) {
    cut<T>(ends, i);
    for (int j = 0; j < kCount; ++j) {
      sums[j] = scan_step(On::template read<V>(row + j * kLanes<T>), decay, sums[j]);
    }
  }
  template <typename T, typename Ends>
  LOQA_HD void cut(const Ends& ends, int64_t i) {
    for (int j = 0; j < kCount; ++j) sums[j] = ends.unless_ended(i + j * kLanes<T>, sums[j]);
  }
  template <typename T>
  LOQA_HD void scale_by(T factor) {
    for (int j = 0; j < kCount; ++j) sums[j] = factor * sums[j];
  }
  template <typename T>
  LOQA_HD void store_to(T* to, T scale) const {
    for (int j = 0; j < kCount; ++j) store(V(scale * sums[j]), to + j * kLanes<T>);
  }
};

// An integer as wide as T.
template <typename T>
struct IntOf;
template <>
struct IntOf<float> {
  using Type = int32_t;
};
template <>
struct IntOf<double> {
  using Type = int64_t;
};

// A thread of a GPU: its block is one column.
struct OneColumn {
  template <typename T>
  static constexpr int64_t kBlock = 1;
  static constexpr bool kCarries = true;
  template <typename V, typename T>
  using Ints = typename IntOf<T>::Type;

  template <typename V, typename T>
  static LOQA_HD V read(const T* from) {
#if defined(__CUDA_ARCH__)
    return __ldg(from);  // no output: loads of later steps may go before stores
#else
    return *from;
#endif
  }
  template <typename T>
  static LOQA_HD void put(T value, T* to, int64_t) {
    *to = value;
  }
  template <typename V, typename T>
  static LOQA_HD Ints<V, T> codes(const uint8_t* from) {
    return read<uint8_t>(from);
  }
  template <typename T, typename Body>
  static LOQA_HD void for_blocks(const Columns& columns, const Body& body) {
    body(columns.begin, int64_t{1});
  }
  template <typename T, typename Body>
  static LOQA_HD void for_lanes(int64_t, const Body& body) {
    body(Lanes<T>{}, int64_t{0});
  }
  template <typename T, typename Body>
  static LOQA_HD void for_tiles(int64_t, const Body& body) {
    body(Tile<OneColumn, T, 1>{}, int64_t{0});
  }
  static LOQA_HD bool interrupted() { return false; }
};

// From a row to the one that is taken after it; 0 at the last.
LOQA_HD int64_t to_next_row(const Columns& columns, int64_t t, bool reverse) {
  if (t == (reverse ? 0 : columns.steps - 1)) return 0;
  return reverse ? -columns.width : columns.width;
}

template <typename T>
LOQA_HD void fill_row(T value, int64_t count, T* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = value;
}

// A row of output that the next step reads: from where it was written, or from a copy in `kept`.
template <typename On, typename T>
struct CarriedRow {
  T* out;
  T* kept;
  int64_t ahead;
  template <typename V>
  LOQA_HD void put(V value, int64_t i) const {
    if constexpr (On::kCarries) store(value, kept + i);
    On::put(value, out + i, ahead);
  }
  LOQA_HD const T* get() const { return On::kCarries ? kept : out; }
};

// Row `t` of the columns from `first` on says how steps end episodes; without kEnds, or before the
// first step, none does, and nothing is read.
template <typename On, bool kEnds, typename T>
struct EndsRow {
  const uint8_t* codes;
  LOQA_HD EndsRow(const uint8_t* ends, const Columns& columns, int64_t t, int64_t first)
      : codes(kEnds && t >= 0 ? ends + t * columns.width + first : nullptr) {}
  template <typename V>
  LOQA_HD V unless_ended(int64_t i, V carry) const {
    if (!kEnds || codes == nullptr) return carry;
    return unless(On::template codes<V, T>(codes + i) != 0, carry);
  }
  template <typename V>
  LOQA_HD V unless_terminated(int64_t i, V value) const {
    if (!kEnds || codes == nullptr) return value;
    return unless((On::template codes<V, T>(codes + i) & kTerminated) != 0, value);
  }
};

template <typename On, bool kEnds, typename T>
LOQA_HD void run_columns(const LinearScan<T>& job, const Columns& columns) {
  const T decay = job.decay;
  On::template for_blocks<T>(columns, [&](int64_t first, int64_t count) LOQA_INLINE {
    alignas(64) T kept[On::template kBlock<T>];
    for (int64_t i = 0; i < count; ++i)
      kept[i] = job.carry == nullptr ? T(0) : job.carry[first + i];
    const T* carry = kept;
    LOQA_UNROLL_STEPS
    for (int64_t step = 0; step < columns.steps; ++step) {
      const int64_t t = job.reverse ? columns.steps - 1 - step : step;
      const T* in = job.in + t * columns.width + first;
      const EndsRow<On, kEnds, T> ends(job.ends, columns, job.reverse ? t : t - 1, first);
      const CarriedRow<On, T> out{job.out + t * columns.width + first, kept,
                                  to_next_row(columns, t, job.reverse)};
      On::template for_lanes<T>(count, [&]<typename V>(Lanes<V>, int64_t i) LOQA_INLINE {
        const V before = ends.unless_ended(i, load<V>(carry + i));
        out.put(scan_step(On::template read<V>(in + i), decay, before), i);
      });
      carry = out.get();
    }
  });
}

template <typename On, bool kEnds, typename T>
LOQA_HD void run_columns(const Advantage<T>& job, const Columns& columns) {
  const T gamma = job.gamma, decay = job.decay;
  On::template for_blocks<T>(columns, [&](int64_t first, int64_t count) LOQA_INLINE {
    alignas(64) T kept[On::template kBlock<T>];
    fill_row(T(0), count, kept);
    const T* carry = kept;
    LOQA_UNROLL_STEPS
    for (int64_t t = columns.steps - 1; t >= 0; --t) {
      const int64_t at = t * columns.width + first;
      const T* reward = job.rewards + at;
      const T* value = job.values + at;
      const T* next_value = value + columns.width;
      const EndsRow<On, kEnds, T> ends(job.ends, columns, t, first);
      const CarriedRow<On, T> out{job.out + at, kept, to_next_row(columns, t, true)};
      On::template for_lanes<T>(count, [&]<typename V>(Lanes<V>, int64_t i) LOQA_INLINE {
        const V bootstrap = ends.unless_terminated(i, On::template read<V>(next_value + i));
        const V after = ends.unless_ended(i, load<V>(carry + i));
        out.put(advantage_step(On::template read<V>(reward + i), On::template read<V>(value + i),
                               bootstrap, gamma, decay, after),
                i);
      });
      carry = out.get();
    }
  });
}

template <typename On, bool kEnds, typename T>
LOQA_HD void run_columns(const AdvantageVjp<T>& job, const Columns& columns) {
  const T gamma = job.gamma, decay = job.decay;
  On::template for_blocks<T>(columns, [&](int64_t first, int64_t count) LOQA_INLINE {
    alignas(64) T kept[On::template kBlock<T>];
    fill_row(T(0), count, kept);
    const T* carry = kept;
    LOQA_UNROLL_STEPS
    for (int64_t t = 0; t < columns.steps; ++t) {
      const int64_t at = t * columns.width + first;
      const T* grad = job.grad + at;
      T* out_values = job.grad_values + at;
      const int64_t ahead = to_next_row(columns, t, false);
      const EndsRow<On, kEnds, T> ends(job.ends, columns, t - 1, first);
      const CarriedRow<On, T> out{job.grad_rewards + at, kept, ahead};
      On::template for_lanes<T>(count, [&]<typename V>(Lanes<V>, int64_t i) LOQA_INLINE {
        const V previous = load<V>(carry + i);
        const V after = ends.unless_ended(i, previous);
        const V sum = scan_step(On::template read<V>(grad + i), decay, after);
        out.put(sum, i);
        const V boots = ends.unless_terminated(i, previous);
        On::put(advantage_value_vjp(sum, boots, gamma), out_values + i, ahead);
      });
      carry = out.get();
    }
    T* last = job.grad_values + columns.steps * columns.width + first;
    const EndsRow<On, kEnds, T> ends(job.ends, columns, columns.steps - 1, first);
    for (int64_t i = 0; i < count; ++i) {
      last[i] = advantage_value_vjp(T(0), ends.unless_terminated(i, carry[i]), gamma);
    }
  });
}

template <typename On, bool kEnds, typename T>
LOQA_HD void run_columns(const LoadedDiceVjp<T>& job, const Columns& columns) {
  const T gamma = job.gamma, decay = job.decay;
  // With the shift, what reaches step t is the cotangent of step t-1, discounted once.
  const int64_t lag = job.shift ? 1 : 0;
  const T scale = job.shift ? gamma : T(1);
  On::template for_blocks<T>(columns, [&](int64_t first, int64_t count) LOQA_INLINE {
    alignas(64) T carry[On::template kBlock<T>];
    fill_row(T(0), count, carry);
    if (job.shift && columns.steps > 0) fill_row(T(0), count, job.grad_logps + first);
    LOQA_UNROLL_STEPS
    for (int64_t t = lag; t < columns.steps; ++t) {
      const int64_t at = t * columns.width + first;
      const T* grad = job.grad + at - lag * columns.width;
      const T* returns = job.returns + at;
      const T* value = job.values + at;
      T* out = job.grad_logps + at;
      const int64_t ahead = to_next_row(columns, t, false);
      const EndsRow<On, kEnds, T> ends(job.ends, columns, t - 1, first);
      const EndsRow<On, kEnds, T> late(job.ends, columns, job.shift ? t - 1 : -1, first);
      On::template for_lanes<T>(count, [&]<typename V>(Lanes<V>, int64_t i) LOQA_INLINE {
        const V fresh = late.unless_ended(i, V(scale * On::template read<V>(grad + i)));
        const V sum = scan_step(fresh, decay, ends.unless_ended(i, load<V>(carry + i)));
        store(sum, carry + i);
        On::put(loaded_dice_vjp_step(sum, On::template read<V>(returns + i),
                                     On::template read<V>(value + i)),
                out + i, ahead);
      });
    }
  });
}

// Outputs of windows do not depend on each other: a worker has every `workers`-th one, from
// `worker` on.

template <typename On, bool kEnds, typename T>
LOQA_HD void run_columns(const NStep<T>& job, const Columns& columns) {
  const T gamma = job.gamma;
  On::template for_blocks<T>(columns, [&](int64_t first, int64_t count) LOQA_INLINE {
    for (int64_t s = columns.worker; s + job.n <= columns.steps; s += columns.workers) {
      if (On::interrupted()) return;
      const T* rewards = job.rewards + s * columns.width + first;
      const T* bootstrap = job.values + (s + job.n) * columns.width + first;
      T* out = job.out + s * columns.width + first;
      On::template for_tiles<T>(count, [&](auto sum, int64_t i) LOQA_INLINE {
        sum.read_from(bootstrap + i);
        for (int64_t k = job.n - 1; k >= 0; --k) {
          const EndsRow<On, kEnds, T> ends(job.ends, columns, s + k, first);
          sum.add(rewards + k * columns.width + i, gamma, ends, i);
        }
        sum.store_to(out + i, T(1));
      });
    }
  });
}

template <typename On, bool kEnds, typename T>
LOQA_HD void run_columns(const NStepVjp<T>& job, const Columns& columns) {
  const T gamma = job.gamma;
  const int64_t windows = columns.steps + 1 - job.n;
  const T bootstrap = power(gamma, job.n);
  On::template for_blocks<T>(columns, [&](int64_t first, int64_t count) LOQA_INLINE {
    const T* grad = job.grad + first;
    for (int64_t t = columns.worker; t <= columns.steps; t += columns.workers) {
      if (On::interrupted()) return;
      const int64_t oldest = t + 1 < job.n ? 0 : t + 1 - job.n;
      const int64_t newest = t < windows ? t : windows - 1;
      const T age = power(gamma, t - newest);
      T* of_rewards = job.grad_rewards + t * columns.width + first;
      T* of_values = job.grad_values + t * columns.width + first;
      On::template for_tiles<T>(count, [&](auto sum, int64_t i) LOQA_INLINE {
        if (t == columns.steps) return;
        for (int64_t s = oldest; s <= newest; ++s) {
          const EndsRow<On, kEnds, T> ends(job.ends, columns, s - 1, first);
          sum.add(grad + s * columns.width + i, gamma, ends, i);
        }
        for (int64_t s = newest; kEnds && s < t; ++s) {
          sum.template cut<T>(EndsRow<On, kEnds, T>(job.ends, columns, s, first), i);
        }
        sum.store_to(of_rewards + i, age);
      });
      On::template for_tiles<T>(count, [&](auto sum, int64_t i) LOQA_INLINE {
        const bool reached = t >= job.n;  // by the bootstrap of a window
        if (reached) {
          sum.read_from(grad + (t - job.n) * columns.width + i);
          sum.scale_by(bootstrap);  // before it is cut: infinity times 0 is no number
        }
        for (int64_t s = t - job.n; kEnds && reached && s < t; ++s) {
          sum.template cut<T>(EndsRow<On, kEnds, T>(job.ends, columns, s, first), i);
        }
        sum.store_to(of_values + i, T(1));
      });
    }
  });
}

// Of each column of a block the first step at or after `t` that ends an episode, if one is near.
template <typename On, typename T>
struct NextEnds {
  typename IntOf<T>::Type at[On::template kBlock<T>];
  LOQA_HD NextEnds(int64_t steps, int64_t count) {
    fill_row(static_cast<typename IntOf<T>::Type>(steps), count, at);
  }
  // From row t + 1 to row t.
  LOQA_HD void back_to(int64_t t, const uint8_t* codes, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      at[i] = codes[i] != 0 ? static_cast<typename IntOf<T>::Type>(t) : at[i];
    }
  }
};

// A worker owns its columns of grad_logps, so that nothing is added atomically.
template <typename On, bool kEnds, typename T>
LOQA_HD void run_columns(const NStepDiceVjp<T>& job, const Columns& columns) {
  const T gamma = job.gamma;
  const int64_t windows = columns.steps + 1 - job.n;
  On::template for_blocks<T>(columns, [&](int64_t first, int64_t count) LOQA_INLINE {
    for (int64_t t = 0; t < columns.steps; ++t) {
      fill_row(T(0), count, job.grad_logps + t * columns.width + first);
    }
    alignas(64) T tail[On::template kBlock<T>];
    // Where episodes end, windows are taken backwards: then the next end is known.
    NextEnds<On, T> next(columns.steps, kEnds ? count : 0);
    for (int64_t t = columns.steps - 1; kEnds && t >= windows; --t) {
      next.back_to(t, job.ends + t * columns.width + first, count);
    }
    for (int64_t window = 0; window < windows; ++window) {
      if (On::interrupted()) return;
      const int64_t s = kEnds ? windows - 1 - window : window;
      if constexpr (kEnds) next.back_to(s, job.ends + s * columns.width + first, count);
      const T* grad = job.grad + s * columns.width + first;
      fill_row(T(0), count, tail);
      for (int64_t k = job.n - 1; k >= 1; --k) {
        const T weight = power(gamma, k);
        const T* centred = job.centred + (s + k) * columns.width + first;
        T* out = job.grad_logps + (s + k) * columns.width + first;
        const EndsRow<On, kEnds, T> ends(job.ends, columns, s + k, first);
        On::template for_lanes<T>(count, [&]<typename V>(Lanes<V>, int64_t i) LOQA_INLINE {
          const V after = ends.unless_ended(i, load<V>(tail + i));
          const V sum = scan_step(On::template read<V>(centred + i), gamma, after);
          store(sum, tail + i);
          const V before = load<V>(out + i);
          V total = n_step_dice_vjp_step(before, On::template read<V>(grad + i), weight, sum);
          if constexpr (kEnds) {
            using Ints = typename On::template Ints<V, T>;
            total = load<Ints>(next.at + i) < Ints{} + static_cast<int>(s + k) ? before : total;
          }
          store(total, out + i);
        });
      }
    }
  });
}

// Workers that can share a column.
template <typename Job>
inline int64_t workers_of(const Job&, int64_t) {
  return 1;
}
template <typename T>
inline int64_t workers_of(const NStep<T>& job, int64_t steps) {
  return steps + 1 - job.n;
}
template <typename T>
inline int64_t workers_of(const NStepVjp<T>&, int64_t steps) {
  return steps + 1;
}

}  // namespace loqa
