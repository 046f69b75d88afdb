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

// Tests set it: then what would run on the GPU's threads runs on the host, one thread after the
// other, on arrays in host memory.
inline bool emulate_cuda = false;

constexpr char kNoCuda[] = "loqa was built without CUDA: install it where nvcc is found";

inline ActionType action_type_of(int code) {
  if (code < 0 || code > static_cast<int>(ActionType::kInt64)) {
    throw std::invalid_argument("unknown action type code " + std::to_string(code));
  }
  return static_cast<ActionType>(code);
}

void bind_gru(pybind11::module_& module);
void bind_kernels(pybind11::module_& module);
void bind_sim(pybind11::module_& module);
void bind_sim_device(pybind11::module_& module);
void bind_tournament(pybind11::module_& module);
void bind_coin(pybind11::module_& module);
void bind_coin_device(pybind11::module_& module);

}  // namespace loqa
