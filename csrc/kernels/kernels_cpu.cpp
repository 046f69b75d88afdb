#include "core/interrupt.h"
#include "core/vectors.h"
#include "kernels/columns.h"

// Columns as the lanes of vectors.

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

// Vectors of a tile whose sums over a window stay in registers while the rows come from the cache:
// enough to hide the latency of an addition after a multiplication.
constexpr int kTile = 8;

// A lane's integer for each of V, and a vector's codes.
template <typename V, typename T>
struct IntsOf {
  using Type = typename VectorOf<typename IntOf<T>::Type>::Type;
};
template <typename T>
struct IntsOf<T, T> : IntOf<T> {};
template <typename T>
struct BytesOf {
  typedef uint8_t Type __attribute__((vector_size(kVectorBytes / sizeof(T))));
};

// A thread with vectors of columns; kStreamed: what it writes goes past the caches.
template <bool kStreamed>
struct Vectors {
  template <typename T>
  static constexpr int64_t kBlock = kBlockBytes / static_cast<int64_t>(sizeof(T));
  static constexpr bool kCarries = kStreamed;
  template <typename V, typename T>
  using Ints = typename IntsOf<V, T>::Type;

  template <typename V, typename T>
  static LOQA_HD V read(const T* from) {
    return load<V>(from);
  }
  template <typename V, typename T>
  static LOQA_HD void put(V value, T* to, int64_t ahead) {
    LOQA_ISA::put<kStreamed>(value, to, ahead);
  }
  template <typename V, typename T>
  static LOQA_HD Ints<V, T> codes(const uint8_t* from) {
    if constexpr (sizeof(V) == sizeof(T)) {
      return *from;
    } else {
      return __builtin_convertvector(load<typename BytesOf<T>::Type>(from), Ints<V, T>);
    }
  }
  template <typename T, typename Body>
  static LOQA_HD void for_blocks(const Columns& columns, const Body& body) {
    for (int64_t first = columns.begin; first < columns.end; first += kBlock<T>) {
      const int64_t left = columns.end - first;
      body(first, left < kBlock<T> ? left : kBlock<T>);
    }
  }
  template <typename T, typename Body>
  static LOQA_HD void for_lanes(int64_t count, const Body& body) {
    using V = typename VectorOf<T>::Type;
    constexpr int64_t kLanes = sizeof(V) / sizeof(T);
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) body(Lanes<V>{}, i);
    for (; i < count; ++i) body(Lanes<T>{}, i);
  }
  template <typename T, typename Body>
  static LOQA_HD void for_tiles(int64_t count, const Body& body) {
    using V = typename VectorOf<T>::Type;
    constexpr int64_t kLanes = sizeof(V) / sizeof(T);
    int64_t i = 0;
    for (; i + kTile * kLanes <= count; i += kTile * kLanes) body(Tile<Vectors, V, kTile>{}, i);
    for (; i + kLanes <= count; i += kLanes) body(Tile<Vectors, V, 1>{}, i);
    for (; i < count; ++i) body(Tile<Vectors, T, 1>{}, i);
  }
  static LOQA_HD bool interrupted() { return loqa::interrupted(); }
};

}  // namespace

#define LOQA_DEFINE_STREAMED(JOB, OUT)                             \
  void run_cpu(const JOB& job, const Columns& columns) {           \
    if (streams(job.OUT, columns)) {                               \
      job.ends ? run_columns<Vectors<true>, true>(job, columns)    \
               : run_columns<Vectors<true>, false>(job, columns);  \
      finish_streams();                                            \
    } else {                                                       \
      job.ends ? run_columns<Vectors<false>, true>(job, columns)   \
               : run_columns<Vectors<false>, false>(job, columns); \
    }                                                              \
  }
#define LOQA_DEFINE(JOB)                                         \
  void run_cpu(const JOB& job, const Columns& columns) {         \
    job.ends ? run_columns<Vectors<false>, true>(job, columns)   \
             : run_columns<Vectors<false>, false>(job, columns); \
  }
#define LOQA_DEFINE_ALL(T)                           \
  LOQA_DEFINE_STREAMED(LinearScan<T>, out)           \
  LOQA_DEFINE_STREAMED(Advantage<T>, out)            \
  LOQA_DEFINE_STREAMED(AdvantageVjp<T>, grad_values) \
  LOQA_DEFINE_STREAMED(LoadedDiceVjp<T>, grad_logps) \
  LOQA_DEFINE(NStep<T>)                              \
  LOQA_DEFINE(NStepVjp<T>)                           \
  LOQA_DEFINE(NStepDiceVjp<T>)

LOQA_DEFINE_ALL(float)
LOQA_DEFINE_ALL(double)

}  // namespace loqa::LOQA_ISA
