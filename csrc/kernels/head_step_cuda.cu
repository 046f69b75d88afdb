#include "core/cuda_check.h"
#include "kernels/head_step.h"

namespace loqa {
namespace {

// Two blocks on a multiprocessor: 2,048 games of two actors and a critic are 192 blocks, those of
// the critic short.
__global__ void __launch_bounds__(kHeadThreads, 2)
    step_heads_kernel(const __grid_constant__ HeadStep job) {
  extern __shared__ __align__(16) uint32_t shared[];
  DeviceBlock<threads::HeadThread> block;
  block.index = blockIdx.x;
  block.shared = shared;
  threads::step_heads(job, block);
}

}  // namespace

void step_heads_cuda(const HeadStep& job, void* stream) {
  constexpr int64_t kUnasked = 48 << 10;  // bytes of shared memory
  int64_t blocks = 0;
  for (int h = 0; h < job.num_heads; ++h) blocks += job.heads[h].blocks;
  const int64_t bytes = head_words(job) * static_cast<int64_t>(sizeof(uint32_t));
  if (bytes > kUnasked) {
    cuda_check(cudaFuncSetAttribute(step_heads_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(bytes)),
               "shared memory for a step of recurrent heads");
  }
  step_heads_kernel<<<static_cast<unsigned>(blocks), kHeadThreads, static_cast<size_t>(bytes),
                      static_cast<cudaStream_t>(stream)>>>(job);
  cuda_check(cudaGetLastError(), "launch of a step of recurrent heads");
}

}  // namespace loqa
