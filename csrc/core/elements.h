#pragma once

#include <type_traits>

#include "core/macros.h"

namespace loqa {

// As many elements of an array, from one on, as V has: a vector, or one number.
template <typename V, typename T>
LOQA_HD V load(const T* from) {
  if constexpr (std::is_same_v<V, T>) return *from;
  V value;
  __builtin_memcpy(&value, from, sizeof(V));
  return value;
}

template <typename V, typename T>
LOQA_HD void store(V value, T* to) {
  if constexpr (std::is_same_v<V, T>) {
    *to = value;
  } else {
    __builtin_memcpy(to, &value, sizeof(V));
  }
}

}  // namespace loqa
