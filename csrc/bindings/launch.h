#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "bindings/bindings.h"

namespace loqa {

int64_t block_memory_cuda();

// Where a kernel works.
struct Target {
  bool cuda;
  int num_threads;        // CPU
  std::uintptr_t stream;  // CUDA

  // One of three: what CUDA's threads do, one after the other on the host, for tests; a launch on
  // `stream`; or on the CPU.
  template <typename Emulate, typename Cuda, typename Cpu>
  void run(const Emulate& emulate, const Cuda& on_stream, const Cpu& on_cpu) const {
    if (!cuda) return on_cpu();
    if (emulate_cuda) return emulate();
    if constexpr (kWithCuda) {
      on_stream(pointer<void>(stream));
    } else {
      throw std::runtime_error("loqa was built without CUDA: install it where nvcc is found");
    }
  }
};

// Bytes of shared memory that a block of the current GPU can have; on the host, where tests run its
// code, as many as on a GPU of compute capability 9.0.
inline int64_t block_memory(bool on_host) {
  if constexpr (kWithCuda) {
    if (!on_host) return block_memory_cuda();
  }
  return 227 << 10;
}

// Defines NAME(names..., num_threads) and NAME_cuda(names..., stream).
template <typename... Args, typename... Names>
void define_both(pybind11::module_& module, const std::string& name,
                 void (*kernel)(const Target&, Args...), Names... names) {
  module.def(
      name.c_str(),
      [kernel](Args... args, int num_threads) { kernel(Target{false, num_threads, 0}, args...); },
      pybind11::arg(names)..., pybind11::arg("num_threads"));
  module.def(
      (name + "_cuda").c_str(),
      [kernel](Args... args, std::uintptr_t stream) { kernel(Target{true, 1, stream}, args...); },
      pybind11::arg(names)..., pybind11::arg("stream"));
}

}  // namespace loqa
