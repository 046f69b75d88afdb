#include <pybind11/pybind11.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "bindings/launch.h"
#include "core/thread_pool.h"
#include "kernels/columns.h"

namespace py = pybind11;

namespace loqa {
namespace {

// Element type codes of loqa/ops/primitives.py.
constexpr int kFloat32 = 0;
constexpr int kFloat64 = 1;

// Elements below which a second thread costs more than it brings.
constexpr int64_t kGrain = 1 << 16;
constexpr int64_t kAlign = 64;  // columns: whole cache lines, long enough to be worth a thread

// More than this nobody has memory for, and sums of sizes do not overflow.
constexpr int64_t kMaxSteps = INT32_MAX;

// How large and where.
struct Launch {
  const Target& target;
  int64_t steps;
  int64_t width;

  Launch(const Target& on, int64_t steps_, int64_t width_)
      : target(on), steps(steps_), width(width_) {
    if (steps < 0 || steps > kMaxSteps || width < 0) {
      throw std::invalid_argument("steps must be in [0, " + std::to_string(kMaxSteps) +
                                  "] and width not negative, got " + std::to_string(steps) +
                                  " and " + std::to_string(width));
    }
  }

  // An array [rows, width] that is read or written.
  template <typename T>
  const T* read(const char* name, std::uintptr_t address, int64_t rows) const {
    return array<const T>(name, address, rows, width);
  }
  template <typename T>
  T* write(const char* name, std::uintptr_t address, int64_t rows) const {
    return array<T>(name, address, rows, width);
  }
  // How steps end episodes, or null if none does.
  const uint8_t* read_ends(std::uintptr_t address) const {
    return optional_array<const uint8_t>("ends", address, steps, width);
  }
};

// What the CUDA threads do, one after the other on the host: for tests.
template <typename Job>
void run_emulated(const Job& job, int64_t steps, int64_t width) {
  const int64_t workers = workers_of(job, steps);
  for (int64_t column = 0; column < width; ++column) {
    for (int64_t worker = 0; worker < workers; ++worker) {
      const Columns at{steps, width, column, column + 1, worker, workers};
      job.ends == nullptr ? run_columns<OneColumn, false>(job, at)
                          : run_columns<OneColumn, true>(job, at);
    }
  }
}

template <typename Job>
void run(const Job& job, const Launch& launch) {
  // A sum over windows takes up to `steps` times as long as an array is large.
  const NativeCall call(launch.steps * launch.width >=
                        kLongWork / std::max<int64_t>(1, launch.steps));
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, launch.steps));
  launch.target.run([&] { run_emulated(job, launch.steps, launch.width); },
                    [&](void* stream) { run_cuda(job, launch.steps, launch.width, stream); },
                    [&] {
                      parallel_for(launch.width, grain, kAlign, launch.target.num_threads,
                                   [&](int64_t begin, int64_t end) {
                                     const Columns columns{launch.steps, launch.width, begin, end};
                                     LOQA_DISPATCH(run_cpu, job, columns);
                                   });
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

void linear_scan(const Target& on, int dtype, Address x, Address carry, Address ends, Address out,
                 double decay, bool reverse, int64_t steps, int64_t width) {
  const Launch at(on, steps, width);
  with_type(dtype, [&]<typename T>(T) {
    run(LinearScan<T>{at.read<T>("x", x, at.steps),
                      optional_array<const T>("carry", carry, 1, at.width), at.read_ends(ends),
                      at.write<T>("out", out, at.steps), static_cast<T>(decay), reverse},
        at);
  });
}

void advantage(const Target& on, int dtype, Address rewards, Address values, Address ends,
               Address out, double gamma, double lam, int64_t steps, int64_t width) {
  const Launch at(on, steps, width);
  with_type(dtype, [&]<typename T>(T) {
    run(Advantage<T>{at.read<T>("rewards", rewards, at.steps),
                     at.read<T>("values", values, at.steps + 1), at.read_ends(ends),
                     at.write<T>("out", out, at.steps), static_cast<T>(gamma),
                     static_cast<T>(gamma * lam)},
        at);
  });
}

void advantage_vjp(const Target& on, int dtype, Address grad, Address ends, Address grad_rewards,
                   Address grad_values, double gamma, double lam, int64_t steps, int64_t width) {
  const Launch at(on, steps, width);
  with_type(dtype, [&]<typename T>(T) {
    run(AdvantageVjp<T>{at.read<T>("grad", grad, at.steps), at.read_ends(ends),
                        at.write<T>("grad_rewards", grad_rewards, at.steps),
                        at.write<T>("grad_values", grad_values, at.steps + 1),
                        static_cast<T>(gamma), static_cast<T>(gamma * lam)},
        at);
  });
}

void n_step(const Target& on, int dtype, Address rewards, Address values, Address ends, Address out,
            double gamma, int64_t n, int64_t steps, int64_t width) {
  const Launch at(on, steps, width);
  check_window(n, at.steps);
  with_type(dtype, [&]<typename T>(T) {
    run(NStep<T>{at.read<T>("rewards", rewards, at.steps),
                 at.read<T>("values", values, at.steps + 1), at.read_ends(ends),
                 at.write<T>("out", out, at.steps + 1 - n), static_cast<T>(gamma), n},
        at);
  });
}

void n_step_vjp(const Target& on, int dtype, Address grad, Address ends, Address grad_rewards,
                Address grad_values, double gamma, int64_t n, int64_t steps, int64_t width) {
  const Launch at(on, steps, width);
  check_window(n, at.steps);
  with_type(dtype, [&]<typename T>(T) {
    run(NStepVjp<T>{at.read<T>("grad", grad, at.steps + 1 - n), at.read_ends(ends),
                    at.write<T>("grad_rewards", grad_rewards, at.steps),
                    at.write<T>("grad_values", grad_values, at.steps + 1), static_cast<T>(gamma),
                    n},
        at);
  });
}

void loaded_dice_vjp(const Target& on, int dtype, Address grad, Address returns, Address values,
                     Address ends, Address grad_logps, double gamma, double dice_discount,
                     bool shift, int64_t steps, int64_t width) {
  const Launch at(on, steps, width);
  with_type(dtype, [&]<typename T>(T) {
    run(LoadedDiceVjp<T>{at.read<T>("grad", grad, at.steps),
                         at.read<T>("returns", returns, at.steps),
                         at.read<T>("values", values, at.steps), at.read_ends(ends),
                         at.write<T>("grad_logps", grad_logps, at.steps), static_cast<T>(gamma),
                         static_cast<T>(gamma * dice_discount), shift},
        at);
  });
}

void n_step_dice_vjp(const Target& on, int dtype, Address grad, Address centred, Address ends,
                     Address grad_logps, double gamma, int64_t n, int64_t steps, int64_t width) {
  const Launch at(on, steps, width);
  check_window(n, at.steps);
  with_type(dtype, [&]<typename T>(T) {
    run(NStepDiceVjp<T>{at.read<T>("grad", grad, at.steps + 1 - n),
                        at.read<T>("centred", centred, at.steps), at.read_ends(ends),
                        at.write<T>("grad_logps", grad_logps, at.steps), static_cast<T>(gamma), n},
        at);
  });
}

}  // namespace

void bind_kernels(py::module_& module) {
  const auto define = [&](const char* name, auto* kernel, auto... names) {
    define_both(module, name, kernel, "dtype", names..., "steps", "width");
  };
  define("linear_scan", linear_scan, "x", "carry", "ends", "out", "decay", "reverse");
  define("advantage", advantage, "rewards", "values", "ends", "out", "gamma", "lam");
  define("advantage_vjp", advantage_vjp, "grad", "ends", "grad_rewards", "grad_values", "gamma",
         "lam");
  define("n_step", n_step, "rewards", "values", "ends", "out", "gamma", "n");
  define("n_step_vjp", n_step_vjp, "grad", "ends", "grad_rewards", "grad_values", "gamma", "n");
  define("loaded_dice_vjp", loaded_dice_vjp, "grad", "returns", "values", "ends", "grad_logps",
         "gamma", "dice_discount", "shift");
  define("n_step_dice_vjp", n_step_dice_vjp, "grad", "centred", "ends", "grad_logps", "gamma", "n");
}

}  // namespace loqa
