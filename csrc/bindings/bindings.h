#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "bindings/native_call.h"
#include "sim/actions.h"

namespace loqa {

// Arrays cross the boundary as addresses; Python owns the memory and has checked it.
template <typename T>
T* pointer(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

// The address of an array [rows, columns] as far as numbers tell: there is memory, aligned to its
// elements, and its size can be counted.
template <typename T>
T* array(const char* name, std::uintptr_t address, int64_t rows, int64_t columns) {
  const auto refuse = [name](const std::string& what) {
    throw std::invalid_argument(std::string(name) + ": " + what);
  };
  int64_t bytes = 0;
  if (rows < 0 || columns < 0 || __builtin_mul_overflow(rows, columns, &bytes) ||
      __builtin_mul_overflow(bytes, static_cast<int64_t>(sizeof(T)), &bytes)) {
    refuse("a size is negative or too large, got [" + std::to_string(rows) + ", " +
           std::to_string(columns) + "]");
  }
  if (bytes > 0 && address == 0) refuse("no memory for the array");
  if (address % alignof(T) != 0) refuse("the array is not aligned to its elements");
  return pointer<T>(address);
}

// The same, or null for an array that is left out.
template <typename T>
T* optional_array(const char* name, std::uintptr_t address, int64_t rows, int64_t columns) {
  return address == 0 ? nullptr : array<T>(name, address, rows, columns);
}

// Tests set it: then what would run on the GPU's threads runs on the host, one thread after the
// other, on arrays in host memory.
inline bool emulate_cuda = false;

#if defined(LOQA_WITH_CUDA)
inline constexpr bool kWithCuda = true;
#else
inline constexpr bool kWithCuda = false;
#endif

using Address = std::uintptr_t;

inline ActionType action_type_of(int code) {
  if (code < 0 || code > static_cast<int>(ActionType::kInt64)) {
    throw std::invalid_argument("unknown action type code " + std::to_string(code));
  }
  return static_cast<ActionType>(code);
}

inline int64_t action_bytes(ActionType type) {
  constexpr int64_t kBytes[] = {1, 1, 2, 4, 8};
  return kBytes[static_cast<size_t>(type)];
}

void bind_game(pybind11::module_& module);
void bind_gru(pybind11::module_& module);
void bind_head_step(pybind11::module_& module);
void bind_kernels(pybind11::module_& module);
void bind_memory(pybind11::module_& module);
void bind_step_arguments(pybind11::module_& module);
void bind_tournament(pybind11::module_& module);
void bind_coin(pybind11::module_& module);

}  // namespace loqa
