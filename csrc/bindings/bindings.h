#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

namespace loqa {

// Arrays cross the boundary as addresses; Python owns the memory and has checked it.
template <typename T>
T* pointer(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

void bind_gru(pybind11::module_& module);
void bind_kernels(pybind11::module_& module);
void bind_sim(pybind11::module_& module);
void bind_tournament(pybind11::module_& module);
void bind_coin(pybind11::module_& module);
void bind_coin_device(pybind11::module_& module);

}  // namespace loqa
