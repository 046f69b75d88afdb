#pragma once

#include <cstdint>

// Vectors of the instruction set that the file which includes this is compiled for.

namespace loqa::LOQA_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int64_t kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int64_t kVectorBytes = 32;
#else
constexpr int64_t kVectorBytes = 16;
#endif

template <typename T>
struct VectorOf {
  typedef T Type __attribute__((vector_size(kVectorBytes)));
};

// V is a vector, or one number.
template <typename V, typename T>
inline V load(const T* from) {
  V value;
  __builtin_memcpy(&value, from, sizeof(V));
  return value;
}

template <typename V, typename T>
inline void store(V value, T* to) {
  __builtin_memcpy(to, &value, sizeof(V));
}

}  // namespace
}  // namespace loqa::LOQA_ISA
