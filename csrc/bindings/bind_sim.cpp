#include <pybind11/pybind11.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>

#include "bindings/bindings.h"
#include "core/thread_pool.h"
#include "sim/matrix_game_batch.h"

namespace py = pybind11;

namespace loqa {
namespace {

// Environment steps below which a second thread costs more than it brings.
constexpr int64_t kGrain = 1 << 14;
constexpr int64_t kAlign = 64;  // environments, so that threads never share a cache line

MatrixGameBatch make_batch(int64_t num_envs, int num_actions, std::uintptr_t payoff, int obs_type,
                           std::uintptr_t obs_table, int64_t obs_width, float noise,
                           float end_probability, int32_t episode_length, uint32_t first_env,
                           std::uintptr_t last_actions, std::uintptr_t t, std::uintptr_t episode) {
  if (num_envs < 1 || num_actions < 2 || num_actions > 11 || obs_type < 0 ||
      obs_type > static_cast<int>(MatrixObs::kTable) || obs_width < 1) {
    throw std::invalid_argument("MatrixBatch: a size is out of range");
  }
  return {num_envs,
          num_actions,
          pointer<const float>(payoff),
          0,
          first_env,
          noise,
          end_probability,
          episode_length,
          static_cast<MatrixObs>(obs_type),
          pointer<const float>(obs_table),
          obs_width,
          pointer<int8_t>(last_actions),
          pointer<int32_t>(t),
          pointer<uint32_t>(episode)};
}

class MatrixGame {
 public:
  MatrixGame(const MatrixGameBatch& batch, std::uintptr_t packed, int num_threads)
      : batch_(batch), num_threads_(num_threads), packed_(pointer<uint8_t>(packed)) {
    if (num_threads < 1) throw std::invalid_argument("MatrixGame: num_threads must be 1 or more");
  }

  void set_seed(uint64_t seed) { batch_.seed = seed; }

  void observe(std::uintptr_t obs) const {
    LOQA_DISPATCH(matrix_observe, batch_, pointer<void>(obs), 0, batch_.num_envs);
  }

  bool step(std::uintptr_t actions, int type, std::uintptr_t obs, std::uintptr_t rewards,
            std::uintptr_t terminated, std::uintptr_t truncated) const {
    const void* source = pointer<const void>(actions);
    const ActionType source_type = action_type_of(type);
    const WithoutGil released;
    if (!all_valid(1, [&](int64_t begin, int64_t end) {
          return LOQA_DISPATCH(pack_actions, source, source_type, begin, end, packed_ + 2 * begin);
        })) {
      return false;
    }
    for_parts(1, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(matrix_step, batch_, packed_, pointer<void>(obs), pointer<float>(rewards),
                    pointer<uint8_t>(terminated), pointer<uint8_t>(truncated), begin, end);
    });
    return true;
  }

  bool rollout(std::uintptr_t actions, int type, int64_t steps, std::uintptr_t obs,
               std::uintptr_t rewards) const {
    const void* source = pointer<const void>(actions);
    const ActionType source_type = action_type_of(type);
    if (steps < 0) throw std::invalid_argument("rollout: steps must not be negative");
    {
      const NativeCall call(steps * batch_.num_envs >= kLongWork);  // the state stays
      if (!all_valid(steps, [&](int64_t begin, int64_t end) {
            return LOQA_DISPATCH(matrix_rollout, batch_, source, source_type, steps,
                                 pointer<void>(obs), pointer<float>(rewards), begin, end);
          })) {
        return false;
      }
    }
    if (steps == 0) return true;
    const WithoutGil released;
    for_parts(1, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(matrix_advance, batch_, source, source_type, steps, begin, end);
    });
    return true;
  }

  void memory1_rollout(std::uintptr_t probabilities, int64_t env_stride, float exploration,
                       int64_t steps, std::uintptr_t obs, std::uintptr_t actions,
                       std::uintptr_t rewards) const {
    if (steps < 0) throw std::invalid_argument("memory1_rollout: steps must not be negative");
    if (batch_.num_actions != 2) {
      throw std::invalid_argument("memory1_rollout needs a game of 2 actions, this one has " +
                                  std::to_string(batch_.num_actions));
    }
    NativeCall call(steps * batch_.num_envs >= kLongWork / 8);  // a step takes ten times as long
    call.keep(batch_.last_actions, static_cast<size_t>(2 * batch_.num_envs));
    call.keep(batch_.t, static_cast<size_t>(batch_.num_envs) * sizeof(int32_t));
    // A sampled step costs some ten times a given one: split earlier.
    for_parts(8 * steps, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(matrix_memory1_rollout, batch_, pointer<const float>(probabilities), env_stride,
                    exploration, steps, pointer<void>(obs), pointer<int8_t>(actions),
                    pointer<float>(rewards), begin, end);
    });
  }

 private:
  template <typename Body>
  void for_parts(int64_t steps, const Body& body) const {
    parallel_for(batch_.num_envs, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, steps)),
                 kAlign, num_threads_, body);
  }

  // Whether the largest action over all parts is below K.
  template <typename Largest>
  bool all_valid(int64_t steps, const Largest& largest) const {
    std::atomic<bool> valid{true};
    for_parts(steps, [&](int64_t begin, int64_t end) {
      if (largest(begin, end) >= batch_.num_actions) valid = false;
    });
    return valid;
  }

  MatrixGameBatch batch_;
  int num_threads_;
  uint8_t* packed_;
};

}  // namespace

void bind_sim(py::module_& module) {
  py::class_<MatrixGameBatch>(module, "MatrixBatch")
      .def(py::init(&make_batch), py::kw_only(), py::arg("num_envs"), py::arg("num_actions"),
           py::arg("payoff"), py::arg("obs_type"), py::arg("obs_table"), py::arg("obs_width"),
           py::arg("noise"), py::arg("end_probability"), py::arg("episode_length"),
           py::arg("first_env"), py::arg("last_actions"), py::arg("t"), py::arg("episode"));
  py::class_<MatrixGame>(module, "MatrixGame")
      .def(py::init<const MatrixGameBatch&, std::uintptr_t, int>(), py::arg("batch"),
           py::arg("packed"), py::arg("num_threads"))
      .def("set_seed", &MatrixGame::set_seed, py::arg("seed"))
      .def("observe", &MatrixGame::observe, py::arg("obs"))
      .def("step", &MatrixGame::step, py::arg("actions"), py::arg("action_type"), py::arg("obs"),
           py::arg("rewards"), py::arg("terminated"), py::arg("truncated"))
      .def("rollout", &MatrixGame::rollout, py::arg("actions"), py::arg("action_type"),
           py::arg("steps"), py::arg("obs"), py::arg("rewards"))
      .def("memory1_rollout", &MatrixGame::memory1_rollout, py::arg("probabilities"),
           py::arg("env_stride"), py::arg("exploration"), py::arg("steps"), py::arg("obs"),
           py::arg("actions"), py::arg("rewards"));
}

}  // namespace loqa
