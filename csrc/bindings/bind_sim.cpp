#include <pybind11/pybind11.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <vector>

#include "bindings/bind_matrix.h"
#include "bindings/bindings.h"
#include "bindings/simulator.h"

namespace py = pybind11;

namespace loqa {
namespace {

// Environment steps below which a second thread costs more than it brings.
constexpr int64_t kGrain = 1 << 14;
constexpr int64_t kAlign = 64;  // environments, so that threads never share a cache line

MatrixSetup make_setup(int64_t num_envs, int num_actions, const MemoryPtr& payoff, int obs_type,
                       const MemoryPtr& obs_table, int64_t obs_width, float noise,
                       float end_probability, int32_t episode_length, uint32_t first_env,
                       const MemoryPtr& last_actions, const MemoryPtr& t,
                       const MemoryPtr& episode) {
  if (num_envs < 1 || num_actions < 2 || num_actions > 11 || obs_type < 0 ||
      obs_type > static_cast<int>(MatrixObs::kTable) || obs_width < 1) {
    throw std::invalid_argument("MatrixBatch: a size is out of range");
  }
  const int64_t joint = int64_t{num_actions} * num_actions;
  const MatrixGameBatch batch{
      num_envs,
      num_actions,
      array_of<float>(payoff, "payoff", {kMatrixPlayers, joint}),
      0,
      first_env,
      noise,
      end_probability,
      episode_length,
      static_cast<MatrixObs>(obs_type),
      array_of<float>(obs_table, "obs_table", {1 + joint, obs_width}),
      obs_width,
      array_of<int8_t>(last_actions, "last_actions", {num_envs, kMatrixPlayers}),
      array_of<int32_t>(t, "t", {num_envs}),
      array_of<uint32_t>(episode, "episode", {num_envs})};
  return {batch, {payoff, obs_table, last_actions, t, episode}};
}

class MatrixGame : public HostSimulator {
 public:
  MatrixGame(const MatrixSetup& setup, const MemoryPtr& obs, const MemoryPtr& rewards,
             const MemoryPtr& terminated, const MemoryPtr& truncated, int num_threads)
      : HostSimulator(setup.batch.t, setup.batch.num_envs, {obs, rewards, terminated, truncated},
                      num_threads),
        setup_(setup),
        batch_(setup_.batch),
        obs_(setup.obs(obs, 1)),
        rewards_(setup.rewards(rewards, 1)),
        terminated_(array_of<uint8_t>(terminated, "terminated", {batch_.num_envs})),
        truncated_(array_of<uint8_t>(truncated, "truncated", {batch_.num_envs})),
        packed_(static_cast<size_t>(kMatrixPlayers * batch_.num_envs)) {}

  void set_seed(uint64_t seed) { batch_.seed = seed; }

  void observe() {
    const Working working(busy(), Working::kHoldingGil);
    forget_room();
    LOQA_DISPATCH(matrix_observe, batch_, obs_, 0, batch_.num_envs);
  }

  py::object step(py::handle actions) {
    return step_with(actions, shape_, [&](const ActionArray& given) {
      if (!all_valid(1, [&](int64_t begin, int64_t end) {
            return LOQA_DISPATCH(pack_actions, given.data, given.type, begin, end,
                                 packed_.data() + kMatrixPlayers * begin);
          })) {
        return StepOutcome::kOutOfRange;
      }
      if (!take_room(1)) return StepOutcome::kNoRoom;
      for_parts(1, kGrain, kAlign, [&](int64_t begin, int64_t end) {
        LOQA_DISPATCH(matrix_step, batch_, packed_.data(), obs_, rewards_, terminated_, truncated_,
                      begin, end);
      });
      return StepOutcome::kDone;
    });
  }

  int rollout(py::handle actions, int64_t steps, const MemoryPtr& obs, const MemoryPtr& rewards) {
    void* seen = setup_.obs(obs, product_of({steps}) + 1);
    float* paid = setup_.rewards(rewards, steps);
    ActionArray given;
    if (!read_actions(actions, {steps, batch_.num_envs, kMatrixPlayers}, &given)) {
      return code(StepOutcome::kUnread);
    }
    Working working(busy(), how_for(steps));
    keep_state(working);
    if (!take_room(steps)) return code(StepOutcome::kNoRoom);
    if (!all_valid(steps, [&](int64_t begin, int64_t end) {
          return LOQA_DISPATCH(matrix_rollout, batch_, given.data, given.type, steps, seen, paid,
                               begin, end);
        })) {
      return code(StepOutcome::kOutOfRange);
    }
    if (steps == 0) return code(StepOutcome::kDone);
    for_parts(1, kGrain, kAlign, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(matrix_advance, batch_, given.data, given.type, steps, begin, end);
    });
    return code(StepOutcome::kDone);
  }

  int memory1_rollout(const MemoryPtr& probabilities, int64_t env_stride, float exploration,
                      int64_t steps, const MemoryPtr& obs, const MemoryPtr& actions,
                      const MemoryPtr& rewards) {
    const float* first = setup_.probabilities(probabilities, env_stride);
    void* seen = setup_.obs(obs, product_of({steps}) + 1);
    float* paid = setup_.rewards(rewards, steps);
    auto* played = array_of<int8_t>(actions, "actions", {steps, batch_.num_envs, kMatrixPlayers});
    Working working(busy(), how_for(steps, 8));  // a step takes ten times as long
    if (!take_room(steps)) return code(StepOutcome::kNoRoom);
    keep_state(working);
    // A sampled step costs some ten times a given one: split earlier.
    for_parts(8 * steps, kGrain, kAlign, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(matrix_memory1_rollout, batch_, first, env_stride, exploration, steps, seen,
                    played, paid, begin, end);
    });
    return code(StepOutcome::kDone);
  }

 private:
  void keep_state(Working& working) const {
    working.keep(batch_.last_actions, kMatrixPlayers * batch_.num_envs);
    working.keep(batch_.t, batch_.num_envs * static_cast<int64_t>(sizeof(int32_t)));
  }

  // Whether the largest action over all parts is below K.
  template <typename Largest>
  bool all_valid(int64_t steps, const Largest& largest) const {
    std::atomic<bool> valid{true};
    for_parts(steps, kGrain, kAlign, [&](int64_t begin, int64_t end) {
      if (largest(begin, end) >= batch_.num_actions) valid = false;
    });
    return valid;
  }

  MatrixSetup setup_;
  MatrixGameBatch batch_;
  void* obs_;
  float* rewards_;
  uint8_t* terminated_;
  uint8_t* truncated_;
  std::vector<uint8_t> packed_;
  std::vector<int64_t> shape_{batch_.num_envs, kMatrixPlayers};
};

}  // namespace

void bind_sim(py::module_& module) {
  py::class_<MatrixSetup>(module, "MatrixBatch")
      .def(py::init(&make_setup), py::kw_only(), py::arg("num_envs"), py::arg("num_actions"),
           py::arg("payoff"), py::arg("obs_type"), py::arg("obs_table"), py::arg("obs_width"),
           py::arg("noise"), py::arg("end_probability"), py::arg("episode_length"),
           py::arg("first_env"), py::arg("last_actions"), py::arg("t"), py::arg("episode"));
  py::class_<MatrixGame>(module, "MatrixGame")
      .def(py::init<const MatrixSetup&, const MemoryPtr&, const MemoryPtr&, const MemoryPtr&,
                    const MemoryPtr&, int>(),
           py::arg("batch"), py::arg("obs"), py::arg("rewards"), py::arg("terminated"),
           py::arg("truncated"), py::arg("num_threads"))
      .def("show", &MatrixGame::show, py::arg("tensors"))
      .def("intact", &MatrixGame::intact)
      .def("set_seed", &MatrixGame::set_seed, py::arg("seed"))
      .def("observe", &MatrixGame::observe)
      .def("step", &MatrixGame::step, py::arg("actions"))
      .def("rollout", &MatrixGame::rollout, py::arg("actions"), py::arg("steps"), py::arg("obs"),
           py::arg("rewards"))
      .def("memory1_rollout", &MatrixGame::memory1_rollout, py::arg("probabilities"),
           py::arg("env_stride"), py::arg("exploration"), py::arg("steps"), py::arg("obs"),
           py::arg("actions"), py::arg("rewards"));
}

}  // namespace loqa
