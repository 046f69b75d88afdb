#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/launch.h"
#include "core/thread_pool.h"
#include "kernels/gru.h"
#include "kernels/gru_formulas.h"
#include "kernels/gru_policy.h"
#include "kernels/gru_sequence.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace py = pybind11;

namespace loqa {
namespace {

// Elements below which a second thread costs more than it brings.
constexpr int64_t kGrain = 1 << 15;

// No product of sizes overflows below this.
constexpr int64_t kMaxSize = INT32_MAX;

void check_sizes(int64_t rows, int64_t size) {
  if (rows < 0 || size < 1 || size > kMaxSize) {
    throw std::invalid_argument("rows must be >= 0 and size >= 1, got " + std::to_string(rows) +
                                " and " + std::to_string(size));
  }
}

template <typename Job>
void run(const Job& job, int64_t rows, const Target& target) {
  const NativeCall call(rows * job.size >= kLongWork);
  target.run(
      [&] {
        for (int64_t row = 0; row < rows; ++row) {
          for (int64_t i = 0; i < job.size; ++i) run_element(job, row, i);
        }
      },
      [&](void* stream) { run_gru_cuda(job, rows, stream); },
      [&] {
        parallel_for(rows, kGrain / job.size + 1, 1, target.num_threads,
                     [&](int64_t begin, int64_t end) { LOQA_DISPATCH(run_gru, job, begin, end); });
      });
}

template <typename T>
void gru_step(const Target& target, Address input, Address hidden, Address bias_hn, Address state,
              Address next, Address saved, int64_t rows, int64_t size, int64_t group) {
  check_sizes(rows, size);
  if (group < 1 || rows % group != 0) {
    throw std::invalid_argument("rows must be a multiple of group, got " + std::to_string(rows) +
                                " and " + std::to_string(group));
  }
  run(GruStep<T>{array<const T>("input", input, rows, 3 * size),
                 array<const T>("hidden", hidden, rows, 3 * size),
                 array<const T>("bias_hn", bias_hn, rows / group, size),
                 array<const T>("state", state, rows, size), array<T>("next", next, rows, size),
                 optional_array<T>("saved", saved, rows, 4 * size), size, group},
      rows, target);
}

template <typename T>
void gru_step_vjp(const Target& target, Address grad_next, Address grad_out, Address saved,
                  Address state, Address grad_input, Address grad_hidden, Address grad_state,
                  int64_t rows, int64_t size) {
  check_sizes(rows, size);
  run(GruStepVjp<T>{array<const T>("grad_next", grad_next, rows, size),
                    array<const T>("grad_out", grad_out, rows, size),
                    array<const T>("saved", saved, rows, 4 * size),
                    array<const T>("state", state, rows, size),
                    array<T>("grad_input", grad_input, rows, 3 * size),
                    array<T>("grad_hidden", grad_hidden, rows, 3 * size),
                    array<T>("grad_state", grad_state, rows, size), size},
      rows, target);
}

// Whole sequences, as a GPU's threads do them.
template <typename Job>
void run_sequences(const Job& job, std::uintptr_t stream) {
  if (job.size % 4 != 0 || job.size > kMaxSequenceUnits) {
    throw std::invalid_argument("size must be a multiple of 4 up to " +
                                std::to_string(kMaxSequenceUnits) + ", got " +
                                std::to_string(job.size));
  }
  if (!emulate_cuda) {
    if constexpr (kWithCuda) return run_gru_sequence_cuda(job, pointer<void>(stream));
    throw std::runtime_error("loqa was built without CUDA: install it where nvcc is found");
  }
  using Thread = typename threads::ThreadOf<Job>::Type;
  std::vector<threads::Four> shared(static_cast<size_t>(threads::sequence_words(job)) / 4 + 1);
  const auto block = std::make_unique<HostBlock<Thread, kSequenceThreads>>();
  block->shared = reinterpret_cast<uint32_t*>(shared.data());
  for (block->index = 0; block->index < threads::sequence_blocks(job.rows); ++block->index) {
    threads::run_sequence(job, *block);
  }
}

// An array [rows, columns] of which several floats are read at once.
template <typename T>
T* wide_array(const char* name, Address address, int64_t rows, int64_t columns) {
  if (address % alignof(threads::Four) != 0) {
    throw std::invalid_argument(std::string(name) + ": the array is not aligned to 16 bytes");
  }
  return array<T>(name, address, rows, columns);
}

void gru_sequence(Address input, Address weight, Address bias_hn, Address states, Address saved,
                  int64_t steps, int64_t rows, int64_t size, std::uintptr_t stream) {
  check_sizes(rows, size);
  check_sizes(steps, size);
  const int64_t all = steps * rows;
  GruSequence job = {};
  job.input = wide_array<const float>("input", input, all, 3 * size);
  job.weight = wide_array<const float>("weight", weight, size, 3 * size);
  job.bias_hn = wide_array<const float>("bias_hn", bias_hn, 1, size);
  job.states = wide_array<float>("states", states, all + rows, size);
  if (saved != 0) job.saved = wide_array<float>("saved", saved, all, 4 * size);
  job.steps = steps;
  job.rows = rows;
  job.size = static_cast<int32_t>(size);
  run_sequences(job, stream);
}

void gru_sequence_vjp(Address grad, Address saved, Address states, Address weight,
                      Address grad_input, Address grad_hidden, int64_t steps, int64_t rows,
                      int64_t size, std::uintptr_t stream) {
  check_sizes(rows, size);
  check_sizes(steps, size);
  const int64_t all = steps * rows;
  GruSequenceVjp job = {};
  job.grad = wide_array<const float>("grad", grad, all, size);
  job.saved = wide_array<const float>("saved", saved, all, 4 * size);
  job.states = wide_array<const float>("states", states, all + rows, size);
  job.weight = wide_array<const float>("weight", weight, 3 * size, size);
  job.grad_input = wide_array<float>("grad_input", grad_input, all, 3 * size);
  job.grad_hidden = wide_array<float>("grad_hidden", grad_hidden, all, 3 * size);
  job.steps = steps;
  job.rows = rows;
  job.size = static_cast<int32_t>(size);
  run_sequences(job, stream);
}

// `elements` are as many as lie in each array from its address on.
GruSets make_sets(const std::vector<Address>& arrays, const std::vector<int64_t>& elements,
                  const std::vector<int64_t>& strides, Address index, bool half, bool reads_time,
                  int64_t sets, int64_t features, int64_t hidden, int64_t outputs) {
  const auto in_range = [](int64_t size) { return size >= 1 && size <= kMaxGruSize; };
  const bool sizes = arrays.size() == kGruArrays && elements.size() == kGruArrays &&
                     strides.size() == kGruArrays && sets >= 1 && in_range(features) &&
                     in_range(hidden) && in_range(outputs);
  if (!sizes) throw std::invalid_argument("GruSets: a size is out of range");
  GruSets made = {};
  made.index = optional_array<const int64_t>("index", index, 1, sets);
  made.half = half;
  made.reads_time = reads_time;
  made.sets = sets;
  made.features = features;
  made.hidden = hidden;
  made.outputs = outputs;
  int64_t last = sets - 1;  // the largest number of a set
  for (int64_t i = 0; made.index != nullptr && i < sets; ++i) {
    if (made.index[i] < 0) throw std::invalid_argument("GruSets: an index is negative");
    last = i == 0 ? made.index[0] : std::max(last, made.index[i]);
  }
  for (size_t i = 0; i < arrays.size(); ++i) {
    if (half) {
      made.array[i] = array<const uint16_t>("GruSets", arrays[i], 0, 0);
    } else {
      made.array[i] = array<const float>("GruSets", arrays[i], 0, 0);
    }
    made.stride[i] = strides[i];
    const bool optional = i <= kSecondBias;
    if (!optional && made.array[i] == nullptr) {
      throw std::invalid_argument("GruSets: an array is missing");
    }
  }
  if ((made.array[kFirstWeight] == nullptr) != (made.array[kFirstBias] == nullptr) ||
      (made.array[kSecondWeight] == nullptr) != (made.array[kSecondBias] == nullptr)) {
    throw std::invalid_argument("GruSets: a linear layer without a bias or without a weight");
  }
  if (made.array[kSecondWeight] != nullptr && made.array[kFirstWeight] == nullptr) {
    throw std::invalid_argument("GruSets: a second linear layer without a first");
  }
  for (int i = 0; i < kGruArrays; ++i) {
    int64_t end = 0;
    if (made.array[i] == nullptr) continue;
    if (made.stride[i] < 0 || __builtin_mul_overflow(last, made.stride[i], &end) ||
        __builtin_add_overflow(end, made.elements(static_cast<GruArray>(i)), &end) ||
        end > elements[static_cast<size_t>(i)]) {
      throw std::invalid_argument("GruSets: array " + std::to_string(i) + " of " +
                                  std::to_string(elements[static_cast<size_t>(i)]) +
                                  " elements ends before set " + std::to_string(last));
    }
  }
  return made;
}

template <typename T>
void bind(py::module_& module, const std::string& suffix) {
  define_both(module, "gru_step_" + suffix, &gru_step<T>, "input", "hidden", "bias_hn", "state",
              "next", "saved", "rows", "size", "group");
  define_both(module, "gru_step_vjp_" + suffix, &gru_step_vjp<T>, "grad_next", "grad_out", "saved",
              "state", "grad_input", "grad_hidden", "grad_state", "rows", "size");
}

}  // namespace

void bind_gru(py::module_& module) {
  bind<float>(module, "f32");
  bind<double>(module, "f64");
  module.def("gru_sequence_cuda", &gru_sequence, py::arg("input"), py::arg("weight"),
             py::arg("bias_hn"), py::arg("states"), py::arg("saved"), py::arg("steps"),
             py::arg("rows"), py::arg("size"), py::arg("stream"));
  module.def("gru_sequence_vjp_cuda", &gru_sequence_vjp, py::arg("grad"), py::arg("saved"),
             py::arg("states"), py::arg("weight"), py::arg("grad_input"), py::arg("grad_hidden"),
             py::arg("steps"), py::arg("rows"), py::arg("size"), py::arg("stream"));
  module.def(
      "gru_sequence_fits",
      [](int64_t size) {
        if (size < 1 || size % 4 != 0 || size > kMaxSequenceUnits) return false;
        GruSequence forward = {};
        GruSequenceVjp backward = {};
        forward.size = backward.size = static_cast<int32_t>(size);
        const int64_t words =
            std::max(threads::sequence_words(forward), threads::sequence_words(backward));
        return words * static_cast<int64_t>(sizeof(uint32_t)) <= block_memory(emulate_cuda);
      },
      py::arg("size"),
      "Whether a GRU of so many units takes the sequences of the current GPU in one launch.");
  py::class_<GruSets>(module, "GruSets",
                      "Parameter sets of a recurrent head; the arrays outlive it.")
      .def(py::init(&make_sets), py::kw_only(), py::arg("arrays"), py::arg("elements"),
           py::arg("strides"), py::arg("index"), py::arg("half"), py::arg("reads_time"),
           py::arg("sets"), py::arg("features"), py::arg("hidden"), py::arg("outputs"));
  module.def(
      "keep_freed_memory",
      [] {
#if defined(__GLIBC__)
        // Large blocks otherwise go back to the system when freed, and every page of the next one
        // is zeroed anew: five times the cost of writing it.
        mallopt(M_MMAP_MAX, 0);
        mallopt(M_TRIM_THRESHOLD, INT32_MAX);
#endif
      },
      "Lets this process keep freed memory for its next allocations (glibc; else nothing).");
}

}  // namespace loqa
