#pragma once

#include <cstddef>
#include <cstdint>

namespace loqa {

inline constexpr int kMaxPlayers = 8;
inline constexpr int kEachPlayer = 0;  // a field that has one number for each player

enum class FieldType : int { kInt8, kInt32, kFloat32 };  // kInt8: any byte

// A number, or one for each player, in a game's state or rules: so Python reads and writes them by
// name, and a game needs no binding of its own.
struct Field {
  const char* name;
  FieldType type;
  int64_t offset;
  int count;
};

}  // namespace loqa
