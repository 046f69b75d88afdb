#include "core/cuda_check.h"
#include "kernels/gru.h"
#include "kernels/gru_formulas.h"

namespace loqa {
namespace {

// Launch shape, to be set by measurement: a block takes kBlockRows rows, a warp the elements of
// one, so that loads coalesce and nothing is divided by the size of a row.
constexpr int kLanes = 32;
constexpr int kBlockRows = 4;

template <typename Job>
__global__ void __launch_bounds__(kLanes* kBlockRows) element_kernel(Job job, int64_t rows) {
  const int64_t row = int64_t{blockIdx.x} * kBlockRows + threadIdx.y;
  if (row >= rows) return;
  for (int64_t i = threadIdx.x; i < job.size; i += kLanes) run_element(job, row, i);
}

template <typename Job>
void launch(const Job& job, int64_t rows, void* stream) {
  if (rows == 0) return;
  const dim3 grid(static_cast<unsigned>((rows + kBlockRows - 1) / kBlockRows));
  const dim3 block(kLanes, kBlockRows);
  element_kernel<<<grid, block, 0, static_cast<cudaStream_t>(stream)>>>(job, rows);
  cuda_check(cudaGetLastError(), "launch of a GRU step of loqa");
}

}  // namespace

#define LOQA_DEFINE(JOB) \
  void run_gru_cuda(const JOB& job, int64_t rows, void* stream) { launch(job, rows, stream); }

LOQA_DEFINE(GruStep<float>)
LOQA_DEFINE(GruStep<double>)
LOQA_DEFINE(GruStepVjp<float>)
LOQA_DEFINE(GruStepVjp<double>)

}  // namespace loqa
