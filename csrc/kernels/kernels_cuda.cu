#include "core/cuda_check.h"
#include "kernels/columns.h"

// A thread a sequence (columns.h): neighbouring threads read neighbouring columns.

namespace loqa {
namespace {

// Launch shapes, to be set by measurement. Few columns go in blocks of one warp, so that they
// spread over more multiprocessors: 2048 sequences are 64 blocks instead of 16.
constexpr int kThreads = 128;
constexpr int kFewThreads = 32;
constexpr int64_t kFewColumns = 1 << 14;
constexpr int64_t kMaxWorkers = 65535;  // of a grid, in its second dimension

template <bool kEnds, typename Job>
__global__ void __launch_bounds__(kThreads) column_kernel(Job job, int64_t steps, int64_t width) {
  const int64_t column = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (column >= width) return;
  run_columns<OneColumn, kEnds>(job, {steps, width, column, column + 1, blockIdx.y, gridDim.y});
}

template <typename Job>
void launch(const Job& job, int64_t steps, int64_t width, void* stream) {
  if (width == 0) return;
  const int threads = width < kFewColumns ? kFewThreads : kThreads;
  const int64_t workers = workers_of(job, steps);
  const dim3 grid(static_cast<unsigned>((width + threads - 1) / threads),
                  static_cast<unsigned>(workers < kMaxWorkers ? workers : kMaxWorkers));
  const auto kernel = job.ends == nullptr ? &column_kernel<false, Job> : &column_kernel<true, Job>;
  kernel<<<grid, threads, 0, static_cast<cudaStream_t>(stream)>>>(job, steps, width);
  cuda_check(cudaGetLastError(), "launch of a loqa kernel");
}

}  // namespace

#define LOQA_DEFINE(JOB)                                                      \
  void run_cuda(const JOB& job, int64_t steps, int64_t width, void* stream) { \
    launch(job, steps, width, stream);                                        \
  }
#define LOQA_DEFINE_ALL(T)      \
  LOQA_DEFINE(LinearScan<T>)    \
  LOQA_DEFINE(Advantage<T>)     \
  LOQA_DEFINE(AdvantageVjp<T>)  \
  LOQA_DEFINE(NStep<T>)         \
  LOQA_DEFINE(NStepVjp<T>)      \
  LOQA_DEFINE(LoadedDiceVjp<T>) \
  LOQA_DEFINE(NStepDiceVjp<T>)

LOQA_DEFINE_ALL(float)
LOQA_DEFINE_ALL(double)

}  // namespace loqa
