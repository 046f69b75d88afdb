#include "kernels/gru.h"
#include "kernels/gru_lanes.h"

namespace loqa::LOQA_ISA {
namespace {

// Calls body(V{}, i) for whole vectors of a row, then body(T{}, i) for the rest.
template <typename Body>
LOQA_INLINE void for_lanes(float, int64_t size, const Body& body) {
  constexpr int64_t kLanes = kVectorBytes / static_cast<int64_t>(sizeof(float));
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) body(Floats{}, i);
  for (; i < size; ++i) body(float{}, i);
}
template <typename Body>
LOQA_INLINE void for_lanes(double, int64_t size, const Body& body) {
  for (int64_t i = 0; i < size; ++i) body(double{}, i);
}

template <bool kSave, typename T>
void forward(const GruStep<T>& job, int64_t begin, int64_t end) {
  const int64_t size = job.size;
  for (int64_t row = begin; row < end; ++row) {
    const T* input = job.input + row * 3 * size;
    const T* hidden = job.hidden + row * 3 * size;
    const T* bias = job.bias_hn + row / job.group * size;
    const T* state = job.state + row * size;
    T* next = job.next + row * size;
    T* saved = kSave ? job.saved + row * 4 * size : nullptr;
    for_lanes(T{}, size, [&]<typename V>(V, int64_t i) __attribute__((always_inline)) {
      const V r = sigmoid(load<V>(input + i) + load<V>(hidden + i));
      const V z = sigmoid(load<V>(input + size + i) + load<V>(hidden + size + i));
      const V hn = load<V>(hidden + 2 * size + i) + load<V>(bias + i);
      const V n = tanh_of(load<V>(input + 2 * size + i) + r * hn);
      store(n + z * (load<V>(state + i) - n), next + i);
      if constexpr (kSave) {
        store(r, saved + i);
        store(z, saved + size + i);
        store(n, saved + 2 * size + i);
        store(hn, saved + 3 * size + i);
      }
    });
  }
}

template <typename T>
void backward(const GruStepVjp<T>& job, int64_t begin, int64_t end) {
  const int64_t size = job.size;
  for (int64_t row = begin; row < end; ++row) {
    const T* grad_next = job.grad_next + row * size;
    const T* grad_out = job.grad_out + row * size;
    const T* saved = job.saved + row * 4 * size;
    const T* state = job.state + row * size;
    T* grad_input = job.grad_input + row * 3 * size;
    T* grad_hidden = job.grad_hidden + row * 3 * size;
    T* grad_state = job.grad_state + row * size;
    for_lanes(T{}, size, [&]<typename V>(V, int64_t i) __attribute__((always_inline)) {
      const V r = load<V>(saved + i), z = load<V>(saved + size + i);
      const V n = load<V>(saved + 2 * size + i), hn = load<V>(saved + 3 * size + i);
      const V grad = load<V>(grad_next + i) + load<V>(grad_out + i);
      const V grad_n = grad * (1 - z) * (1 - n * n);
      const V grad_z = grad * (load<V>(state + i) - n) * z * (1 - z);
      const V grad_r = grad_n * hn * r * (1 - r);
      store(grad_r, grad_input + i);
      store(grad_z, grad_input + size + i);
      store(grad_n, grad_input + 2 * size + i);
      store(grad_r, grad_hidden + i);
      store(grad_z, grad_hidden + size + i);
      store(V(grad_n * r), grad_hidden + 2 * size + i);
      store(V(grad * z), grad_state + i);
    });
  }
}

template <typename T>
void dispatch(const GruStep<T>& job, int64_t begin, int64_t end) {
  if (job.saved != nullptr) {
    forward<true>(job, begin, end);
  } else {
    forward<false>(job, begin, end);
  }
}

}  // namespace

void run_gru(const GruStep<float>& job, int64_t begin, int64_t end) { dispatch(job, begin, end); }
void run_gru(const GruStep<double>& job, int64_t begin, int64_t end) { dispatch(job, begin, end); }
void run_gru(const GruStepVjp<float>& job, int64_t begin, int64_t end) {
  backward(job, begin, end);
}
void run_gru(const GruStepVjp<double>& job, int64_t begin, int64_t end) {
  backward(job, begin, end);
}

}  // namespace loqa::LOQA_ISA
