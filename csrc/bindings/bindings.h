#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

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

void bind_gru(pybind11::module_& module);
void bind_kernels(pybind11::module_& module);
void bind_sim(pybind11::module_& module);
void bind_tournament(pybind11::module_& module);
void bind_coin(pybind11::module_& module);

}  // namespace loqa
