#include "core/cuda_check.h"
#include "kernels/gru_sequence.h"

namespace loqa {
namespace {

template <typename Job>
__global__ void __launch_bounds__(kSequenceThreads)
    sequence_kernel(const __grid_constant__ Job job) {
  extern __shared__ __align__(16) uint32_t shared[];
  DeviceBlock<typename threads::ThreadOf<Job>::Type> block;
  block.index = blockIdx.x;
  block.shared = shared;
  threads::run_sequence(job, block);
}

template <typename Job>
void launch(const Job& job, void* stream) {
  if (job.rows == 0) return;
  const auto bytes = threads::sequence_words(job) * static_cast<int64_t>(sizeof(uint32_t));
  const auto kernel = &sequence_kernel<Job>;
  cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(bytes)),
             "shared memory for a GRU's sequences");
  const auto blocks = static_cast<unsigned>(threads::sequence_blocks(job.rows));
  kernel<<<blocks, kSequenceThreads, static_cast<size_t>(bytes),
           static_cast<cudaStream_t>(stream)>>>(job);
  cuda_check(cudaGetLastError(), "launch of a GRU's sequences");
}

}  // namespace

void run_gru_sequence_cuda(const GruSequence& job, void* stream) { launch(job, stream); }
void run_gru_sequence_cuda(const GruSequenceVjp& job, void* stream) { launch(job, stream); }

}  // namespace loqa
