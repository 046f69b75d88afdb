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

// Calls body with the actions as what they are.
template <typename Body>
LOQA_HD auto with_action_type(ActionType type, const void* actions, const Body& body) {
  switch (type) {
    case ActionType::kUint8:
      return body(static_cast<const uint8_t*>(actions));
    case ActionType::kInt8:
      return body(static_cast<const int8_t*>(actions));
    case ActionType::kInt16:
      return body(static_cast<const int16_t*>(actions));
    case ActionType::kInt32:
      return body(static_cast<const int32_t*>(actions));
    default:
      return body(static_cast<const int64_t*>(actions));
  }
}

// The index-th action as a byte.
struct ActionAt {
  int64_t index;
  template <typename T>
  LOQA_HD uint8_t operator()(const T* actions) const {
    return action_byte(actions[index]);
  }
};

LOQA_HD uint8_t action_at(const void* actions, ActionType type, int64_t index) {
  return with_action_type(type, actions, ActionAt{index});
}

}  // namespace loqa
