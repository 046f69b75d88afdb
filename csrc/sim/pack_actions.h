#pragma once

#include <type_traits>

#include "sim/actions.h"

// Only for files that are compiled once for each instruction set.

namespace loqa::LOQA_ISA {
namespace {

// Bytes of actions; returns the largest, or 255 if one is not in 0..255. One loop of vectors: what
// is cut off is gathered beside and looked at once.
template <typename T>
uint8_t pack(const T* actions, int64_t count, uint8_t* packed) {
  using Unsigned = std::make_unsigned_t<T>;
  Unsigned bits = 0;
  uint8_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Unsigned action = static_cast<Unsigned>(actions[i]);
    const uint8_t byte = static_cast<uint8_t>(action);
    bits |= action;
    packed[i] = byte;
    largest = byte > largest ? byte : largest;
  }
  return bits > 255 ? static_cast<uint8_t>(255) : largest;
}

// The same of `count` actions of any type from the one numbered `first`.
uint8_t pack_any(const void* actions, ActionType type, int64_t first, int64_t count,
                 uint8_t* packed) {
  return with_action_type(type, actions,
                          [&](const auto* given) { return pack(given + first, count, packed); });
}

}  // namespace
}  // namespace loqa::LOQA_ISA
