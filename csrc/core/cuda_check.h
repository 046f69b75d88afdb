#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace loqa {

// Throws std::runtime_error with the name of what failed.
inline void cuda_check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
  }
}

}  // namespace loqa
