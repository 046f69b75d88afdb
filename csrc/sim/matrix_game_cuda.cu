#include "core/cuda_check.h"
#include "sim/matrix_game_threads.h"

namespace loqa {
namespace {

template <bool kSampled>
__global__ void __launch_bounds__(kBlockThreads)
    matrix_play_kernel(const __grid_constant__ MatrixJob job) {
  __shared__ uint32_t shared[threads::kMatrixSharedWords];
  DeviceBlock<threads::MatrixThread> block;
  block.index = blockIdx.x;
  block.shared = shared;
  threads::play_block<kSampled>(job, block);
}

}  // namespace

void matrix_play_cuda(const MatrixJob& job, void* stream) {
  const unsigned grid = static_cast<unsigned>(thread_blocks(job.batch.num_envs));
  const auto on = static_cast<cudaStream_t>(stream);
  if (job.probabilities != nullptr) {
    matrix_play_kernel<true><<<grid, kBlockThreads, 0, on>>>(job);
  } else {
    matrix_play_kernel<false><<<grid, kBlockThreads, 0, on>>>(job);
  }
  cuda_check(cudaGetLastError(), "launch of a matrix game");
}

}  // namespace loqa
