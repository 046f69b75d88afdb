#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <string>

#include "bindings/bindings.h"
#include "core/thread_pool.h"
#include "kernels/meta_game.h"

namespace py = pybind11;

namespace loqa {
namespace {

using Address = std::uintptr_t;
using Layers = std::array<Address, 4>;

constexpr int64_t kMaxHidden = 1 << 16;

struct Sizes {
  int64_t num_states, hidden, runs, games;

  void check() const {
    const bool fits = (num_states == 1 || num_states == 5) && hidden >= 1 && hidden <= kMaxHidden &&
                      runs >= 0 && runs <= INT32_MAX && games >= 1 && games <= INT32_MAX;
    if (!fits) {
      throw std::invalid_argument(
          "num_states must be 1 or 5, hidden in [1, 65536], runs >= 0 and games >= 1, got " +
          std::to_string(num_states) + ", " + std::to_string(hidden) + ", " + std::to_string(runs) +
          " and " + std::to_string(games));
    }
  }
  template <typename T>
  TanhNetwork<T> network(const Layers& at, int64_t outputs) const {
    return {array<T>("weight", at[0], runs, 2 * num_states * hidden),
            array<T>("bias", at[1], runs, hidden),
            array<T>("last weight", at[2], runs, hidden * outputs),
            array<T>("last bias", at[3], runs, outputs), hidden};
  }
  template <typename T>
  T* per_game(const char* name, Address at, int64_t numbers) const {
    return array<T>(name, at, runs * games, numbers);
  }
};

// Runs are independent: a thread has one after the other.
template <typename T, typename Job>
void run(const Job& job, const Sizes& sizes, int num_threads) {
  const NativeCall call(sizes.runs * sizes.games >= kLongWork / sizes.hidden);
  parallel_for(sizes.runs, 1, 1, num_threads, [&](int64_t begin, int64_t end) {
    // Vectors that begin with a cache line.
    const std::size_t count = static_cast<std::size_t>(meta_workspace(sizes.hidden)) + 64;
    const std::unique_ptr<T[]> memory(new T[count]);
    void* start = memory.get();
    std::size_t space = count * sizeof(T);
    T* workspace = static_cast<T*>(std::align(64, space - 64, start, space));
    LOQA_DISPATCH(run_meta, job, begin, end, workspace);
  });
}

template <typename T>
void act(const Layers& actor, Address states, Address noise, Address actions, Address log_probs,
         int64_t num_states, int64_t hidden, int64_t runs, int64_t games, int num_threads) {
  const Sizes sizes = {num_states, hidden, runs, games};
  sizes.check();
  const MetaAct<T> job = {sizes.network<const T>(actor, 2 * num_states),
                          sizes.per_game<const T>("states", states, 2 * num_states),
                          sizes.per_game<const T>("noise", noise, num_states),
                          sizes.per_game<T>("actions", actions, num_states),
                          sizes.per_game<T>("log_probs", log_probs, 1),
                          num_states,
                          games};
  run<T>(job, sizes, num_threads);
}

template <typename T>
void ppo(const Layers& actor, const Layers& critic, const Layers& actor_gradient,
         const Layers& critic_gradient, Address states, Address actions, Address log_probs,
         Address returns, Address loss, double clip, double entropy_bonus, int64_t num_states,
         int64_t hidden, int64_t runs, int64_t games, int num_threads) {
  const Sizes sizes = {num_states, hidden, runs, games};
  sizes.check();
  const MetaPpo<T> job = {sizes.network<const T>(actor, 2 * num_states),
                          sizes.network<const T>(critic, 1),
                          sizes.network<T>(actor_gradient, 2 * num_states),
                          sizes.network<T>(critic_gradient, 1),
                          sizes.per_game<const T>("states", states, 2 * num_states),
                          sizes.per_game<const T>("actions", actions, num_states),
                          sizes.per_game<const T>("log_probs", log_probs, 1),
                          sizes.per_game<const T>("returns", returns, 1),
                          array<T>("loss", loss, runs, 1),
                          static_cast<T>(clip),
                          static_cast<T>(entropy_bonus),
                          num_states,
                          games};
  run<T>(job, sizes, num_threads);
}

template <typename T>
void exact_gradient(Address mine, Address theirs, const std::array<double, 8>& payoffs,
                    double discount, Address values, Address gradient, int64_t games,
                    int num_threads) {
  if (games < 0 || games > INT32_MAX) {
    throw std::invalid_argument("games must be in [0, 2^31), got " + std::to_string(games));
  }
  ExactGradient<T> job = {array<const T>("mine", mine, games, 5),
                          array<const T>("theirs", theirs, games, 5),
                          {},
                          static_cast<T>(discount),
                          array<T>("values", values, 2, games),
                          array<T>("gradient", gradient, games, 5),
                          games};
  for (std::size_t i = 0; i < 8; ++i) job.payoffs[i / 4][i % 4] = static_cast<T>(payoffs[i]);
  const NativeCall call(games >= kLongWork);
  // Parts of whole vectors, so that no result depends on the number of threads.
  parallel_for(games, 1 << 12, 64, num_threads, [&](int64_t begin, int64_t end) {
    LOQA_DISPATCH(run_exact_gradient, job, begin, end);
  });
}

template <typename T>
void bind(py::module_& module, const std::string& suffix) {
  module.def(("meta_act_" + suffix).c_str(), &act<T>, py::arg("actor"), py::arg("states"),
             py::arg("noise"), py::arg("actions"), py::arg("log_probs"), py::arg("num_states"),
             py::arg("hidden"), py::arg("runs"), py::arg("games"), py::arg("num_threads"));
  module.def(("meta_ppo_" + suffix).c_str(), &ppo<T>, py::arg("actor"), py::arg("critic"),
             py::arg("actor_gradient"), py::arg("critic_gradient"), py::arg("states"),
             py::arg("actions"), py::arg("log_probs"), py::arg("returns"), py::arg("loss"),
             py::arg("clip"), py::arg("entropy_bonus"), py::arg("num_states"), py::arg("hidden"),
             py::arg("runs"), py::arg("games"), py::arg("num_threads"));
  module.def(("exact_gradient_" + suffix).c_str(), &exact_gradient<T>, py::arg("mine"),
             py::arg("theirs"), py::arg("payoffs"), py::arg("discount"), py::arg("values"),
             py::arg("gradient"), py::arg("games"), py::arg("num_threads"));
}

}  // namespace

void bind_meta_game(py::module_& module) {
  bind<float>(module, "f32");
  bind<double>(module, "f64");
}

}  // namespace loqa
