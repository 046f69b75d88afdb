#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace loqa {

// Uninitialised memory for a working set that is to stay in the second-level cache. Where it can be
// had, it is a run of large pages: small ones, scattered over physical memory, fall on some of the
// cache's sets more often than these have room.
class Scratch {
 public:
  explicit Scratch(int64_t bytes) {
    const size_t align = bytes > kLargePage / 4 ? kLargePage : kLine;
    const size_t rounded = (static_cast<size_t>(bytes) + align - 1) / align * align;
    memory_ = std::aligned_alloc(align, rounded);
    if (memory_ == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    if (align == kLargePage) madvise(memory_, rounded, MADV_HUGEPAGE);  // a wish
#endif
  }
  ~Scratch() { std::free(memory_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* get() const { return memory_; }

 private:
  static constexpr int64_t kLine = 64;
  static constexpr int64_t kLargePage = 2 << 20;

  void* memory_;
};

}  // namespace loqa
