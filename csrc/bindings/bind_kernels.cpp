#include <pybind11/pybind11.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "bindings/bindings.h"
#include "core/thread_pool.h"
#include "kernels/columns.h"

namespace py = pybind11;

namespace loqa {
namespace {

// Element type codes of loqa/_kernel_ops.py.
constexpr int kFloat32 = 0;
constexpr int kFloat64 = 1;

// Elements below which a second thread costs more than it brings.
constexpr int64_t kGrain = 1 << 16;
constexpr int64_t kAlign = 64;  // columns: whole cache lines, long enough to be worth a thread

// How large and where.
struct Launch {
  int64_t steps;
  int64_t width;
  int num_threads;        // CPU
  std::uintptr_t stream;  // CUDA
  bool cuda;
};

// What the CUDA threads do, one after the other on the host: for tests.
template <typename Job>
void run_emulated(const Job& job, int64_t steps, int64_t width) {
  const int64_t rows = rows_of(job, steps);
  for (int64_t column = 0; column < width; ++column) {
    for (int64_t row = 0; row < rows; ++row) run_thread(job, {steps, width, column, row, rows});
  }
}

template <typename Job>
void run(const Job& job, const Launch& launch) {
  if (launch.steps < 0 || launch.width < 0) {
    throw std::invalid_argument("steps and width must not be negative, got " +
                                std::to_string(launch.steps) + " and " +
                                std::to_string(launch.width));
  }
  // A sum over windows takes up to `steps` times as long as an array is large.
  const NativeCall call(launch.steps * launch.width >=
                        kLongWork / std::max<int64_t>(1, launch.steps));
  if (launch.cuda && emulate_cuda) {
    run_emulated(job, launch.steps, launch.width);
    return;
  }
  if (launch.cuda) {
#if defined(LOQA_WITH_CUDA)
    run_cuda(job, launch.steps, launch.width, pointer<void>(launch.stream));
    return;
#else
    throw std::runtime_error(kNoCuda);
#endif
  }
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, launch.steps));
  parallel_for(launch.width, grain, kAlign, launch.num_threads, [&](int64_t begin, int64_t end) {
    const Columns columns{launch.steps, launch.width, begin, end};
    LOQA_DISPATCH(run_cpu, job, columns);
  });
}

// Calls body(T{}) for the element type of the code.
template <typename Body>
void with_type(int dtype, const Body& body) {
  if (dtype == kFloat32) {
    body(float{});
  } else if (dtype == kFloat64) {
    body(double{});
  } else {
    throw std::invalid_argument("unknown element type code " + std::to_string(dtype));
  }
}

void check_window(int64_t n, int64_t steps) {
  if (n < 1 || n > steps) {
    throw std::invalid_argument("n must be in [1, " + std::to_string(steps) + "], got " +
                                std::to_string(n));
  }
}

using Address = std::uintptr_t;

void linear_scan(const Launch& launch, int dtype, Address x, Address carry, Address out,
                 double decay, bool reverse) {
  with_type(dtype, [&]<typename T>(T) {
    run(LinearScan<T>{pointer<const T>(x), pointer<const T>(carry), pointer<T>(out),
                      static_cast<T>(decay), reverse},
        launch);
  });
}

void advantage(const Launch& launch, int dtype, Address rewards, Address values, Address out,
               double gamma, double lam) {
  with_type(dtype, [&]<typename T>(T) {
    run(Advantage<T>{pointer<const T>(rewards), pointer<const T>(values), pointer<T>(out),
                     static_cast<T>(gamma), static_cast<T>(gamma * lam)},
        launch);
  });
}

void advantage_vjp(const Launch& launch, int dtype, Address grad, Address grad_rewards,
                   Address grad_values, double gamma, double lam) {
  with_type(dtype, [&]<typename T>(T) {
    run(AdvantageVjp<T>{pointer<const T>(grad), pointer<T>(grad_rewards), pointer<T>(grad_values),
                        static_cast<T>(gamma), static_cast<T>(gamma * lam)},
        launch);
  });
}

void n_step(const Launch& launch, int dtype, Address rewards, Address values, Address out,
            double gamma, int64_t n) {
  check_window(n, launch.steps);
  with_type(dtype, [&]<typename T>(T) {
    run(NStep<T>{pointer<const T>(rewards), pointer<const T>(values), pointer<T>(out),
                 static_cast<T>(gamma), n},
        launch);
  });
}

void n_step_vjp(const Launch& launch, int dtype, Address grad, Address grad_rewards,
                Address grad_values, double gamma, int64_t n) {
  check_window(n, launch.steps);
  with_type(dtype, [&]<typename T>(T) {
    run(NStepVjp<T>{pointer<const T>(grad), pointer<T>(grad_rewards), pointer<T>(grad_values),
                    static_cast<T>(gamma), n},
        launch);
  });
}

void loaded_dice_vjp(const Launch& launch, int dtype, Address grad, Address returns, Address values,
                     Address grad_logps, double gamma, double dice_discount, bool shift) {
  with_type(dtype, [&]<typename T>(T) {
    run(LoadedDiceVjp<T>{pointer<const T>(grad), pointer<const T>(returns),
                         pointer<const T>(values), pointer<T>(grad_logps), static_cast<T>(gamma),
                         static_cast<T>(gamma * dice_discount), shift},
        launch);
  });
}

void n_step_dice_vjp(const Launch& launch, int dtype, Address grad, Address centred,
                     Address grad_logps, double gamma, int64_t n) {
  check_window(n, launch.steps);
  with_type(dtype, [&]<typename T>(T) {
    run(NStepDiceVjp<T>{pointer<const T>(grad), pointer<const T>(centred), pointer<T>(grad_logps),
                        static_cast<T>(gamma), n},
        launch);
  });
}

// Defines NAME(dtype, names..., steps, width, num_threads) and NAME_cuda with stream in place of
// num_threads.
template <typename... Args, typename... Names>
void define_both(py::module_& module, const std::string& name,
                 void (*kernel)(const Launch&, int, Args...), Names... names) {
  module.def(
      name.c_str(),
      [kernel](int dtype, Args... args, int64_t steps, int64_t width, int num_threads) {
        kernel(Launch{steps, width, num_threads, 0, false}, dtype, args...);
      },
      py::arg("dtype"), py::arg(names)..., py::arg("steps"), py::arg("width"),
      py::arg("num_threads"));
  module.def(
      (name + "_cuda").c_str(),
      [kernel](int dtype, Args... args, int64_t steps, int64_t width, std::uintptr_t stream) {
        kernel(Launch{steps, width, 1, stream, true}, dtype, args...);
      },
      py::arg("dtype"), py::arg(names)..., py::arg("steps"), py::arg("width"), py::arg("stream"));
}

}  // namespace

void bind_kernels(py::module_& module) {
  define_both(module, "linear_scan", linear_scan, "x", "carry", "out", "decay", "reverse");
  define_both(module, "advantage", advantage, "rewards", "values", "out", "gamma", "lam");
  define_both(module, "advantage_vjp", advantage_vjp, "grad", "grad_rewards", "grad_values",
              "gamma", "lam");
  define_both(module, "n_step", n_step, "rewards", "values", "out", "gamma", "n");
  define_both(module, "n_step_vjp", n_step_vjp, "grad", "grad_rewards", "grad_values", "gamma",
              "n");
  define_both(module, "loaded_dice_vjp", loaded_dice_vjp, "grad", "returns", "values", "grad_logps",
              "gamma", "dice_discount", "shift");
  define_both(module, "n_step_dice_vjp", n_step_dice_vjp, "grad", "centred", "grad_logps", "gamma",
              "n");
}

}  // namespace loqa
