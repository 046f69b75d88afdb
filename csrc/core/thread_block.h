#pragma once

#include <cstdint>

#include "core/macros.h"

// What a kernel does is written once, as a function of a block of threads: on the device each
// thread runs it, on the host (for tests on machines without a GPU) each piece of work is a loop
// over the threads. `Thread` is what a thread keeps from one piece to the next.

namespace loqa {

inline constexpr int kBlockThreads = 64;

inline int64_t thread_blocks(int64_t threads) {
  return (threads + kBlockThreads - 1) / kBlockThreads;
}

// Numbers that one instruction stores where their count is a power of two; then their place must be
// a multiple of their size.
template <typename T, int kCount>
struct __attribute__((may_alias)) WideStore {
  static constexpr bool kPower = (kCount & (kCount - 1)) == 0;
  alignas(kPower ? kCount * sizeof(T) : sizeof(T)) T value[kCount];
};

// A walk of a thread over the items of a block, `each` of them of one environment.
struct BlockWalk {
  int32_t each;
  int32_t env;
  int32_t at;

  LOQA_HD BlockWalk(int32_t items, int thread)
      : each(items), env(thread / items), at(thread % items) {}
  LOQA_HD void next() {
    env += kBlockThreads / each;
    at += kBlockThreads % each;
    if (at < each) return;
    at -= each;
    env += 1;
  }
};

template <typename Thread, int kThreads = kBlockThreads>
struct HostBlock {
  int64_t index;
  uint32_t* shared;  // memory of the block
  Thread threads[kThreads];

  // Every thread's work, which what comes next may read of any thread. Every other block goes
  // backwards, so that work that depends on the order of threads shows.
  template <typename Work>
  void all_then_wait(const Work& work) {
    for (int i = 0; i < kThreads; ++i) {
      const int thread = index % 2 == 0 ? i : kThreads - 1 - i;
      work(threads[thread], thread);
    }
  }
  // Every thread's work, which only this thread reads.
  template <typename Work>
  void all(const Work& work) {
    all_then_wait(work);
  }
  // Whether it holds for any thread.
  template <typename Predicate>
  bool any(const Predicate& holds) {
    bool found = false;
    all_then_wait([&](Thread& me, int) { found |= holds(me); });
    return found;
  }
};

#if defined(__CUDACC__)
template <typename Thread>
struct DeviceBlock {
  int64_t index;
  uint32_t* shared;
  Thread mine;

  template <typename Work>
  __device__ __forceinline__ void all_then_wait(const Work& work) {
    work(mine, static_cast<int>(threadIdx.x));
    __syncthreads();
  }
  template <typename Work>
  __device__ __forceinline__ void all(const Work& work) {
    work(mine, static_cast<int>(threadIdx.x));
  }
  template <typename Predicate>
  __device__ __forceinline__ bool any(const Predicate& holds) {
    return __syncthreads_or(holds(mine) ? 1 : 0) != 0;
  }
};
#endif

}  // namespace loqa
