#include <cstdint>

#include "core/cuda_check.h"

namespace loqa {

// Bytes of shared memory that a block of the current GPU can have.
int64_t block_memory_cuda() {
  int device = 0, bytes = 0;
  cuda_check(cudaGetDevice(&device), "current GPU");
  cuda_check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
             "shared memory of the GPU");
  return bytes;
}

}  // namespace loqa
