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
      const GruGates<V> gates =
          gru_row(load<V>(input + i), load<V>(input + size + i), load<V>(input + 2 * size + i),
                  load<V>(hidden + i), load<V>(hidden + size + i), load<V>(hidden + 2 * size + i),
                  load<V>(bias + i));
      store(gru_next_row(gates, load<V>(state + i)), next + i);
      if constexpr (kSave) {
        store(gates.r, saved + i);
        store(gates.z, saved + size + i);
        store(gates.n, saved + 2 * size + i);
        store(gates.hn, saved + 3 * size + i);
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
      const GruGates<V> gates = {load<V>(saved + i), load<V>(saved + size + i),
                                 load<V>(saved + 2 * size + i), load<V>(saved + 3 * size + i)};
      const GruGradients<V> grads =
          gru_vjp_row(gates, load<V>(state + i), V(load<V>(grad_next + i) + load<V>(grad_out + i)));
      store(grads.r, grad_input + i);
      store(grads.z, grad_input + size + i);
      store(grads.n, grad_input + 2 * size + i);
      store(grads.r, grad_hidden + i);
      store(grads.z, grad_hidden + size + i);
      store(grads.hidden_n, grad_hidden + 2 * size + i);
      store(grads.state, grad_state + i);
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
