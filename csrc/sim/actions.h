#pragma once

#include <cstdint>
#include <type_traits>

#include "core/macros.h"

namespace loqa {

// Integer types that actions may come in.
enum class ActionType : int { kUint8, kInt8, kInt16, kInt32, kInt64 };

// An action as a byte; 255 stands for whatever is not in 0..254.
template <typename T>
LOQA_HD uint8_t action_byte(T value) {
  if constexpr (std::is_signed_v<T>) {
    if (value < 0) return 255;
  }
  return value > 254 ? static_cast<uint8_t>(255) : static_cast<uint8_t>(value);
}

LOQA_HD uint8_t action_at(const void* actions, ActionType type, int64_t index) {
  switch (type) {
    case ActionType::kUint8:
      return action_byte(static_cast<const uint8_t*>(actions)[index]);
    case ActionType::kInt8:
      return action_byte(static_cast<const int8_t*>(actions)[index]);
    case ActionType::kInt16:
      return action_byte(static_cast<const int16_t*>(actions)[index]);
    case ActionType::kInt32:
      return action_byte(static_cast<const int32_t*>(actions)[index]);
    default:
      return action_byte(static_cast<const int64_t*>(actions)[index]);
  }
}

}  // namespace loqa
