#include "kernels/gru.h"
#include "kernels/gru_lanes.h"

namespace loqa::LOQA_ISA {
namespace {

// Whole vectors of each row, then the rest of it.
template <bool kSave, template <typename> typename Job, typename T>
void run_rows(const Job<T>& job, int64_t begin, int64_t end) {
  constexpr int64_t kLanes = sizeof(Floats) / sizeof(float);
  for (int64_t row = begin; row < end; ++row) {
    int64_t i = 0;
    if constexpr (sizeof(T) == sizeof(float)) {
      for (; i + kLanes <= job.size; i += kLanes) run_elements<Floats, kSave>(job, row, i);
    }
    for (; i < job.size; ++i) run_elements<T, kSave>(job, row, i);
  }
}

template <typename Job>
void run(const Job& job, int64_t begin, int64_t end) {
  saves(job) ? run_rows<true>(job, begin, end) : run_rows<false>(job, begin, end);
}

}  // namespace

void run_gru(const GruStep<float>& job, int64_t begin, int64_t end) { run(job, begin, end); }
void run_gru(const GruStep<double>& job, int64_t begin, int64_t end) { run(job, begin, end); }
void run_gru(const GruStepVjp<float>& job, int64_t begin, int64_t end) { run(job, begin, end); }
void run_gru(const GruStepVjp<double>& job, int64_t begin, int64_t end) { run(job, begin, end); }

}  // namespace loqa::LOQA_ISA
