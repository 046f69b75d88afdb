#include "core/interrupt.h"
#include "core/vectors.h"
#include "kernels/kernels.h"
#include "kernels/rows.h"

// Vector lanes are columns. A block of columns goes through all of time before the next, so that
// the carried row stays in the first-level cache while the arrays stream past once.

namespace loqa::LOQA_ISA {
namespace {

// Of one row of a block: the rows of all arrays of a step and of the next fit the first-level
// cache.
constexpr int64_t kBlockBytes = 4096;

// An output of this size would push everything else out of the last-level cache before anyone reads
// it: write it past the caches. That saves reading the lines first: half the time at [50, 65536].
constexpr int64_t kStreamBytes = int64_t{8} << 20;

// Every row of this output may be streamed: it is large, and made of whole cache lines.
template <typename T>
inline bool streams(const T* out, const Columns& columns) {
  const int64_t row_bytes = columns.width * static_cast<int64_t>(sizeof(T));
  return row_bytes * columns.steps >= kStreamBytes && row_bytes % 64 == 0 &&
         reinterpret_cast<uintptr_t>(out) % 64 == 0;
}

// From a row to the one that is taken after it; 0 at the last.
inline int64_t to_next_row(const Columns& columns, int64_t t, bool reverse) {
  if (t == (reverse ? 0 : columns.steps - 1)) return 0;
  return reverse ? -columns.width : columns.width;
}

// A vector of output, written through or past the caches. A store through them waits until the line
// that it overwrites has been read, and the processor foresees stores less well than loads: ask for
// the place in the next row, `ahead` of this one, a row in advance.
template <bool kStreamed, typename V, typename T>
LOQA_HD void put(V value, T* to, int64_t ahead) {
  if constexpr (kStreamed && sizeof(V) == kVectorBytes) {
    stream(value, to);
  } else {
    if constexpr (sizeof(V) == kVectorBytes) __builtin_prefetch(to + ahead, 1);
    store(value, to);
  }
}

// A row of output that the next step reads: from where it was written, or, past the caches, from a
// copy in `kept`.
template <bool kStreamed, typename T>
struct CarriedRow {
  T* out;
  T* kept;
  int64_t ahead;
  template <typename V>
  LOQA_HD void put(V value, int64_t i) const {
    if constexpr (kStreamed) store(value, kept + i);
    LOQA_ISA::put<kStreamed>(value, out + i, ahead);
  }
  LOQA_HD const T* get() const { return kStreamed ? kept : out; }
};

template <typename T>
constexpr int64_t kBlock = kBlockBytes / static_cast<int64_t>(sizeof(T));

template <typename V>
struct Lanes {};

// Calls body(Lanes<V>{}, i) for whole vectors V of columns, then body(Lanes<T>{}, i) for the rest.
template <typename T, typename Body>
LOQA_HD void for_lanes(int64_t count, const Body& body) {
  using V = typename VectorOf<T>::Type;
  constexpr int64_t kLanes = sizeof(V) / sizeof(T);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(Lanes<V>{}, i);
  for (; i < count; ++i) body(Lanes<T>{}, i);
}

// Columns of the block that starts at `first`.
template <typename T>
inline int64_t block_size(const Columns& columns, int64_t first) {
  const int64_t left = columns.end - first;
  return left < kBlock<T> ? left : kBlock<T>;
}

template <typename T>
inline void fill_row(T value, int64_t count, T* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] = value;
}

// Numbers as wide as T, a lane each beside vectors of T.
template <typename T>
struct IntOf;
template <>
struct IntOf<float> {
  using Type = int32_t;
  typedef uint8_t Bytes __attribute__((vector_size(kVectorBytes / 4)));  // a vector's codes
};
template <>
struct IntOf<double> {
  using Type = int64_t;
  typedef uint8_t Bytes __attribute__((vector_size(kVectorBytes / 8)));
};
template <typename V, typename T>
struct IntsOf {
  using Type = typename VectorOf<typename IntOf<T>::Type>::Type;
};
template <typename T>
struct IntsOf<T, T> {
  using Type = typename IntOf<T>::Type;
};

// Row `t` of the columns from `first` on says how steps end episodes; without kEnds, or before the
// first step, none does, and nothing is read.
template <bool kEnds, typename T>
struct EndsRow {
  const uint8_t* codes;
  LOQA_HD EndsRow(const uint8_t* ends, const Columns& columns, int64_t t, int64_t first)
      : codes(kEnds && t >= 0 ? ends + t * columns.width + first : nullptr) {}
  // Codes of the lanes of V.
  template <typename V>
  LOQA_HD typename IntsOf<V, T>::Type at(int64_t i) const {
    using Ints = typename IntsOf<V, T>::Type;
    if constexpr (sizeof(V) == sizeof(T)) {
      return codes[i];
    } else {
      return __builtin_convertvector(load<typename IntOf<T>::Bytes>(codes + i), Ints);
    }
  }
  template <typename V>
  LOQA_HD V unless_ended(int64_t i, V carry) const {
    if constexpr (kEnds) return codes == nullptr ? carry : unless(at<V>(i) != 0, carry);
    return carry;
  }
  template <typename V>
  LOQA_HD V unless_terminated(int64_t i, V value) const {
    if constexpr (kEnds) {
      return codes == nullptr ? value : unless((at<V>(i) & kTerminated) != 0, value);
    }
    return value;
  }
};

template <bool kStreamed, bool kEnds, typename T>
inline void linear_scan(const LinearScan<T>& job, const Columns& columns) {
  const T decay = job.decay;
  for (int64_t first = columns.begin; first < columns.end; first += kBlock<T>) {
    const int64_t count = block_size<T>(columns, first);
    alignas(64) T kept[kBlock<T>];
    const T* carry = job.carry + first;
    if (job.carry == nullptr) {
      fill_row(T(0), count, kept);
      carry = kept;
    }
    for (int64_t step = 0; step < columns.steps; ++step) {
      const int64_t t = job.reverse ? columns.steps - 1 - step : step;
      const T* in = job.in + t * columns.width + first;
      const EndsRow<kEnds, T> ends(job.ends, columns, job.reverse ? t : t - 1, first);
      const CarriedRow<kStreamed, T> out{job.out + t * columns.width + first, kept,
                                         to_next_row(columns, t, job.reverse)};
      for_lanes<T>(count, [&]<typename V>(Lanes<V>, int64_t i) LOQA_INLINE {
        const V before = ends.unless_ended(i, load<V>(carry + i));
        out.put(scan_row(load<V>(in + i), decay, before), i);
      });
      carry = out.get();
    }
  }
}

template <bool kStreamed, bool kEnds, typename T>
inline void advantage(const Advantage<T>& job, const Columns& columns) {
  const T gamma = job.gamma, decay = job.decay;
  for (int64_t first = columns.begin; first < columns.end; first += kBlock<T>) {
    const int64_t count = block_size<T>(columns, first);
    alignas(64) T kept[kBlock<T>];
    fill_row(T(0), count, kept);
    const T* carry = kept;
    for (int64_t t = columns.steps - 1; t >= 0; --t) {
      const int64_t at = t * columns.width + first;
      const T* reward = job.rewards + at;
      const T* value = job.values + at;
      const T* next_value = value + columns.width;
      const EndsRow<kEnds, T> ends(job.ends, columns, t, first);
      const CarriedRow<kStreamed, T> out{job.out + at, kept, to_next_row(columns, t, true)};
      for_lanes<T>(count, [&]<typename V>(Lanes<V>, int64_t i) LOQA_INLINE {
        const V bootstrap = ends.unless_terminated(i, load<V>(next_value + i));
        const V after = ends.unless_ended(i, load<V>(carry + i));
        out.put(
            advantage_row(load<V>(reward + i), load<V>(value + i), bootstrap, gamma, decay, after),
            i);
      });
      carry = out.get();
    }
  }
}

template <bool kStreamed, bool kEnds, typename T>
inline void advantage_vjp(const AdvantageVjp<T>& job, const Columns& columns) {
  const T gamma = job.gamma, decay = job.decay;
  for (int64_t first = columns.begin; first < columns.end; first += kBlock<T>) {
    const int64_t count = block_size<T>(columns, first);
    alignas(64) T kept[kBlock<T>];
    fill_row(T(0), count, kept);
    const T* carry = kept;
    for (int64_t t = 0; t < columns.steps; ++t) {
      const int64_t at = t * columns.width + first;
      const T* grad = job.grad + at;
      T* out_values = job.grad_values + at;
      const int64_t ahead = to_next_row(columns, t, false);
      const EndsRow<kEnds, T> ends(job.ends, columns, t - 1, first);
      const CarriedRow<kStreamed, T> out{job.grad_rewards + at, kept, ahead};
      for_lanes<T>(count, [&]<typename V>(Lanes<V>, int64_t i) LOQA_INLINE {
        const V previous = load<V>(carry + i);
        const V sum = scan_row(load<V>(grad + i), decay, ends.unless_ended(i, previous));
        out.put(sum, i);
        const V boots = ends.unless_terminated(i, previous);
        put<kStreamed>(advantage_value_vjp_row(sum, boots, gamma), out_values + i, ahead);
      });
      carry = out.get();
    }
    T* last = job.grad_values + columns.steps * columns.width + first;
    const EndsRow<kEnds, T> ends(job.ends, columns, columns.steps - 1, first);
    for (int64_t i = 0; i < count; ++i) {
      last[i] = advantage_value_vjp_row(T(0), ends.unless_terminated(i, carry[i]), gamma);
    }
  }
}

template <bool kStreamed, bool kEnds, typename T>
inline void loaded_dice_vjp(const LoadedDiceVjp<T>& job, const Columns& columns) {
  // With the shift, what reaches step t is the cotangent of step t-1, discounted once.
  const int64_t lag = job.shift ? 1 : 0;
  const T scale = job.shift ? job.gamma : T(1), decay = job.decay;
  for (int64_t first = columns.begin; first < columns.end; first += kBlock<T>) {
    const int64_t count = block_size<T>(columns, first);
    alignas(64) T carry[kBlock<T>];
    fill_row(T(0), count, carry);
    if (job.shift && columns.steps > 0) fill_row(T(0), count, job.grad_logps + first);
    for (int64_t t = lag; t < columns.steps; ++t) {
      const int64_t at = t * columns.width + first;
      const T* grad = job.grad + at - lag * columns.width;
      const T* returns = job.returns + at;
      const T* value = job.values + at;
      T* out = job.grad_logps + at;
      const int64_t ahead = to_next_row(columns, t, false);
      const EndsRow<kEnds, T> ends(job.ends, columns, t - 1, first);
      const EndsRow<kEnds, T> late(job.ends, columns, job.shift ? t - 1 : -1, first);
      for_lanes<T>(count, [&]<typename V>(Lanes<V>, int64_t i) LOQA_INLINE {
        const V fresh = late.unless_ended(i, V(scale * load<V>(grad + i)));
        const V sum = scan_row(fresh, decay, ends.unless_ended(i, load<V>(carry + i)));
        store(sum, carry + i);
        put<kStreamed>(loaded_dice_vjp_row(sum, load<V>(returns + i), load<V>(value + i)), out + i,
                       ahead);
      });
    }
  }
}

// Vectors of a tile whose sums over a window stay in registers while the rows come from the cache:
// enough to hide the latency of an addition after a multiplication.
constexpr int kTile = 8;

// Sums of kCount vectors of columns, zero at first.
template <typename V, int kCount>
struct Tile {
  V sums[kCount] = {};
  template <typename T>
  LOQA_HD void load_from(const T* from) {
    for (int j = 0; j < kCount; ++j) sums[j] = load<V>(from + j * (sizeof(V) / sizeof(T)));
  }
  // `ends` are those of the step between the sums and the row, columns from `i` on.
  template <bool kEnds, typename T>
  LOQA_HD void add(const T* row, T decay, const EndsRow<kEnds, T>& ends, int64_t i) {
    cut(ends, i);
    for (int j = 0; j < kCount; ++j) {
      sums[j] = scan_row(load<V>(row + j * (sizeof(V) / sizeof(T))), decay, sums[j]);
    }
  }
  template <bool kEnds, typename T>
  LOQA_HD void cut(const EndsRow<kEnds, T>& ends, int64_t i) {
    for (int j = 0; j < kCount; ++j) {
      sums[j] = ends.unless_ended(i + j * (sizeof(V) / sizeof(T)), sums[j]);
    }
  }
  template <typename T>
  LOQA_HD void store_to(T* to, T scale) const {
    for (int j = 0; j < kCount; ++j) store(scale * sums[j], to + j * (sizeof(V) / sizeof(T)));
  }
};

// Calls body(tile of zeros, i) with kTile vectors at a time, then one, then single columns.
template <typename T, typename Body>
LOQA_HD void for_tiles(int64_t count, const Body& body) {
  using V = typename VectorOf<T>::Type;
  constexpr int64_t kLanes = sizeof(V) / sizeof(T);
  int64_t i = 0;
  for (; i + kTile * kLanes <= count; i += kTile * kLanes) body(Tile<V, kTile>{}, i);
  for (; i + kLanes <= count; i += kLanes) body(Tile<V, 1>{}, i);
  for (; i < count; ++i) body(Tile<T, 1>{}, i);
}

template <bool kEnds, typename T>
inline void n_step(const NStep<T>& job, const Columns& columns) {
  const T gamma = job.gamma;
  for (int64_t first = columns.begin; first < columns.end; first += kBlock<T>) {
    const int64_t count = block_size<T>(columns, first);
    for (int64_t s = 0; s + job.n <= columns.steps; ++s) {
      if (interrupted()) return;
      const T* rewards = job.rewards + s * columns.width + first;
      const T* bootstrap = job.values + (s + job.n) * columns.width + first;
      T* out = job.out + s * columns.width + first;
      for_tiles<T>(count, [&]<typename V, int kCount>(Tile<V, kCount> sum, int64_t i) LOQA_INLINE {
        sum.load_from(bootstrap + i);
        for (int64_t k = job.n - 1; k >= 0; --k) {
          const EndsRow<kEnds, T> ends(job.ends, columns, s + k, first);
          sum.add(rewards + k * columns.width + i, gamma, ends, i);
        }
        sum.store_to(out + i, T(1));
      });
    }
  }
}

template <bool kEnds, typename T>
inline void n_step_vjp(const NStepVjp<T>& job, const Columns& columns) {
  const T gamma = job.gamma;
  const int64_t windows = columns.steps + 1 - job.n;
  const T bootstrap = power(gamma, job.n);
  for (int64_t first = columns.begin; first < columns.end; first += kBlock<T>) {
    const int64_t count = block_size<T>(columns, first);
    const T* grad = job.grad + first;
    for (int64_t t = 0; t < columns.steps; ++t) {
      if (interrupted()) return;
      const int64_t oldest = t + 1 < job.n ? 0 : t + 1 - job.n;
      const int64_t newest = t < windows ? t : windows - 1;
      const T age = power(gamma, t - newest);
      T* out = job.grad_rewards + t * columns.width + first;
      for_tiles<T>(count, [&]<typename V, int kCount>(Tile<V, kCount> sum, int64_t i) LOQA_INLINE {
        for (int64_t s = oldest; s <= newest; ++s) {
          const EndsRow<kEnds, T> ends(job.ends, columns, s - 1, first);
          sum.add(grad + s * columns.width + i, gamma, ends, i);
        }
        for (int64_t s = newest; kEnds && s < t; ++s) {
          sum.cut(EndsRow<kEnds, T>(job.ends, columns, s, first), i);
        }
        sum.store_to(out + i, age);
      });
    }
    for (int64_t t = 0; t <= columns.steps; ++t) {
      T* out = job.grad_values + t * columns.width + first;
      if (t < job.n) {
        fill_row(T(0), count, out);
        continue;
      }
      const T* from = grad + (t - job.n) * columns.width;
      for (int64_t i = 0; i < count; ++i) out[i] = bootstrap * from[i];
      for (int64_t s = t - job.n; kEnds && s < t; ++s) {
        const EndsRow<kEnds, T> ends(job.ends, columns, s, first);
        for_lanes<T>(count, [&]<typename V>(Lanes<V>, int64_t i) LOQA_INLINE {
          store(ends.unless_ended(i, load<V>(out + i)), out + i);
        });
      }
    }
  }
}

// A block's next ends: of each column the first step at or after `t` that ends an episode, if any.
template <typename T>
struct NextEnds {
  typename IntOf<T>::Type at[kBlock<T>];
  NextEnds(int64_t steps, int64_t count) {
    fill_row(static_cast<typename IntOf<T>::Type>(steps), count, at);
  }
  // From row t + 1 to row t.
  LOQA_HD void back_to(int64_t t, const uint8_t* codes, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      at[i] = codes[i] != 0 ? static_cast<typename IntOf<T>::Type>(t) : at[i];
    }
  }
};

template <bool kEnds, typename T>
inline void n_step_dice_vjp(const NStepDiceVjp<T>& job, const Columns& columns) {
  const T gamma = job.gamma;
  const int64_t windows = columns.steps + 1 - job.n;
  for (int64_t first = columns.begin; first < columns.end; first += kBlock<T>) {
    const int64_t count = block_size<T>(columns, first);
    for (int64_t t = 0; t < columns.steps; ++t) {
      fill_row(T(0), count, job.grad_logps + t * columns.width + first);
    }
    alignas(64) T tail[kBlock<T>];
    // Where episodes end, windows are taken backwards: then the next end is known.
    NextEnds<T> next(columns.steps, kEnds ? count : 0);
    for (int64_t t = columns.steps - 1; kEnds && t >= windows; --t) {
      next.back_to(t, job.ends + t * columns.width + first, count);
    }
    for (int64_t window = 0; window < windows; ++window) {
      if (interrupted()) return;
      const int64_t s = kEnds ? windows - 1 - window : window;
      if constexpr (kEnds) next.back_to(s, job.ends + s * columns.width + first, count);
      const T* grad = job.grad + s * columns.width + first;
      fill_row(T(0), count, tail);
      for (int64_t k = job.n - 1; k >= 1; --k) {
        const T weight = power(gamma, k);
        const T* centred = job.centred + (s + k) * columns.width + first;
        T* out = job.grad_logps + (s + k) * columns.width + first;
        const EndsRow<kEnds, T> ends(job.ends, columns, s + k, first);
        for_lanes<T>(count, [&]<typename V>(Lanes<V>, int64_t i) LOQA_INLINE {
          const V after = ends.unless_ended(i, load<V>(tail + i));
          const V sum = scan_row(load<V>(centred + i), gamma, after);
          store(sum, tail + i);
          const V before = load<V>(out + i);
          V total = n_step_dice_vjp_row(before, load<V>(grad + i), weight, sum);
          if constexpr (kEnds) {
            using Ints = typename IntsOf<V, T>::Type;
            total = load<Ints>(next.at + i) < Ints{} + static_cast<int>(s + k) ? before : total;
          }
          store(total, out + i);
        });
      }
    }
  }
}

}  // namespace

#define LOQA_DEFINE_STREAMED(JOB, NAME, OUT)                                         \
  void run_cpu(const JOB& job, const Columns& columns) {                             \
    if (streams(job.OUT, columns)) {                                                 \
      job.ends ? NAME<true, true>(job, columns) : NAME<true, false>(job, columns);   \
      finish_streams();                                                              \
    } else {                                                                         \
      job.ends ? NAME<false, true>(job, columns) : NAME<false, false>(job, columns); \
    }                                                                                \
  }
#define LOQA_DEFINE(JOB, NAME)                                       \
  void run_cpu(const JOB& job, const Columns& columns) {             \
    job.ends ? NAME<true>(job, columns) : NAME<false>(job, columns); \
  }
#define LOQA_DEFINE_ALL(T)                                            \
  LOQA_DEFINE_STREAMED(LinearScan<T>, linear_scan, out)               \
  LOQA_DEFINE_STREAMED(Advantage<T>, advantage, out)                  \
  LOQA_DEFINE_STREAMED(AdvantageVjp<T>, advantage_vjp, grad_values)   \
  LOQA_DEFINE_STREAMED(LoadedDiceVjp<T>, loaded_dice_vjp, grad_logps) \
  LOQA_DEFINE(NStep<T>, n_step)                                       \
  LOQA_DEFINE(NStepVjp<T>, n_step_vjp)                                \
  LOQA_DEFINE(NStepDiceVjp<T>, n_step_dice_vjp)

LOQA_DEFINE_ALL(float)
LOQA_DEFINE_ALL(double)

}  // namespace loqa::LOQA_ISA
