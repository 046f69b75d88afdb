#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "bindings/bindings.h"
#include "sim/matrix_game_device.h"

namespace py = pybind11;

namespace loqa {
namespace {

// A matrix game in a device's memory: every call enqueues on `stream` (of the current device) and
// returns. With `on_host` the same work is done in a loop on the host, for tests.
class MatrixGameDevice {
 public:
  MatrixGameDevice(const MatrixGameBatch& batch, std::uintptr_t seed, std::uintptr_t bad_action,
                   int autoreset, std::uintptr_t final_obs, bool on_host)
      : on_host_(on_host) {
    if (autoreset < 0 || autoreset > static_cast<int>(Autoreset::kSameStep)) {
      throw std::invalid_argument("MatrixGameDevice: unknown code of autoreset");
    }
#if !defined(LOQA_WITH_CUDA)
    if (!on_host) throw std::invalid_argument("MatrixGameDevice: this build has no CUDA");
#endif
    job_.batch = batch;
    job_.seed = pointer<const uint64_t>(seed);
    job_.bad_action = pointer<int32_t>(bad_action);
    job_.autoreset = static_cast<Autoreset>(autoreset);
    job_.final_obs = pointer<void>(final_obs);
  }

  void observe(std::uintptr_t obs, std::uintptr_t stream) const {
    MatrixJob job = job_;
    job.observe_first = true;
    job.obs = pointer<void>(obs);
    run(job, stream);
  }

  void step(std::uintptr_t actions, int type, std::uintptr_t obs, std::uintptr_t rewards,
            std::uintptr_t terminated, std::uintptr_t truncated, std::uintptr_t stream) const {
    MatrixJob job = job_;
    job.actions = pointer<void>(actions);
    job.action_type = action_type_of(type);
    job.steps = 1;
    job.obs = pointer<void>(obs);
    job.rewards = pointer<float>(rewards);
    job.terminated = pointer<uint8_t>(terminated);
    job.truncated = pointer<uint8_t>(truncated);
    run(job, stream);
  }

  bool rollout(std::uintptr_t actions, int type, int64_t steps, std::uintptr_t obs,
               std::uintptr_t rewards, std::uintptr_t stream) const {
    MatrixJob job = trajectory(actions, steps, obs, rewards);
    job.action_type = action_type_of(type);
    run(job, stream);
    return true;
  }

  void memory1_rollout(std::uintptr_t probabilities, int64_t env_stride, float exploration,
                       int64_t steps, std::uintptr_t obs, std::uintptr_t actions,
                       std::uintptr_t rewards, std::uintptr_t stream) const {
    if (job_.batch.num_actions != 2) {
      throw std::invalid_argument("memory1_rollout needs a game of 2 actions, this one has " +
                                  std::to_string(job_.batch.num_actions));
    }
    MatrixJob job = trajectory(actions, steps, obs, rewards);
    job.probabilities = pointer<const float>(probabilities);
    job.env_stride = env_stride;
    job.exploration = exploration;
    run(job, stream);
  }

 private:
  MatrixJob trajectory(std::uintptr_t actions, int64_t steps, std::uintptr_t obs,
                       std::uintptr_t rewards) const {
    if (steps < 0) throw std::invalid_argument("MatrixGameDevice: steps must not be negative");
    MatrixJob job = job_;
    job.autoreset = Autoreset::kOff;
    job.actions = pointer<void>(actions);
    job.steps = steps;
    job.observe_first = true;
    job.obs = pointer<void>(obs);
    job.rewards = pointer<float>(rewards);
    return job;
  }

  void run(const MatrixJob& job, std::uintptr_t stream) const {
    const WithoutGil released;
    if (on_host_) return matrix_play_host(job);
#if defined(LOQA_WITH_CUDA)
    matrix_play_cuda(job, pointer<void>(stream));
#endif
    static_cast<void>(stream);
  }

  MatrixJob job_ = {};
  bool on_host_;
};

}  // namespace

void bind_sim_device(py::module_& module) {
  py::class_<MatrixGameDevice>(module, "MatrixGameDevice")
      .def(py::init<const MatrixGameBatch&, std::uintptr_t, std::uintptr_t, int, std::uintptr_t,
                    bool>(),
           py::kw_only(), py::arg("batch"), py::arg("seed"), py::arg("bad_action"),
           py::arg("autoreset"), py::arg("final_obs"), py::arg("on_host"))
      .def("observe", &MatrixGameDevice::observe, py::arg("obs"), py::arg("stream"))
      .def("step", &MatrixGameDevice::step, py::arg("actions"), py::arg("action_type"),
           py::arg("obs"), py::arg("rewards"), py::arg("terminated"), py::arg("truncated"),
           py::arg("stream"))
      .def("rollout", &MatrixGameDevice::rollout, py::arg("actions"), py::arg("action_type"),
           py::arg("steps"), py::arg("obs"), py::arg("rewards"), py::arg("stream"))
      .def("memory1_rollout", &MatrixGameDevice::memory1_rollout, py::arg("probabilities"),
           py::arg("env_stride"), py::arg("exploration"), py::arg("steps"), py::arg("obs"),
           py::arg("actions"), py::arg("rewards"), py::arg("stream"));
}

}  // namespace loqa
