#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "bindings/bind_matrix.h"
#include "bindings/bindings.h"
#include "bindings/device_memory.h"
#include "sim/matrix_game_device.h"

namespace py = pybind11;

namespace loqa {
namespace {

// A matrix game in a device's memory: every call enqueues on `stream` (of the current device) and
// returns. With `on_host` the same work is done in a loop on the host, for tests.
class MatrixGameDevice {
 public:
  MatrixGameDevice(const MatrixSetup& setup, const DeviceResults& results, bool on_host)
      : setup_(setup), results_(results), on_host_(on_host) {
    require_device(on_host, "MatrixGameDevice");
    job_.batch = setup.batch;
    results.put(&job_, setup_);
    array_of<int32_t>(results.bad_action, "bad_action", {1});
    job_.terminated = array_of<uint8_t>(results.terminated, "terminated", {setup.batch.num_envs});
  }

  void show(const py::tuple& tensors) { shown_.show(tensors); }
  bool intact() const { return shown_.intact(); }

  void observe(std::uintptr_t stream) const {
    MatrixJob job = job_;
    job.observe_first = true;
    run(job, stream);
  }

  int step(const MemoryPtr& actions, int type, std::uintptr_t stream) const {
    if (results_.overlap(actions)) return code(StepOutcome::kUnread);
    MatrixJob job = job_;
    job.actions = given(actions, type, 1);
    job.action_type = action_type_of(type);
    job.steps = 1;
    run(job, stream);
    return code(StepOutcome::kDone);
  }

  int rollout(const MemoryPtr& actions, int type, int64_t steps, const MemoryPtr& obs,
              const MemoryPtr& rewards, std::uintptr_t stream) const {
    MatrixJob job = trajectory(steps, obs, rewards);
    job.actions = given(actions, type, steps);
    job.action_type = action_type_of(type);
    run(job, stream);
    return code(StepOutcome::kDone);
  }

  int memory1_rollout(const MemoryPtr& probabilities, int64_t env_stride, float exploration,
                      int64_t steps, const MemoryPtr& obs, const MemoryPtr& actions,
                      const MemoryPtr& rewards, std::uintptr_t stream) const {
    MatrixJob job = trajectory(steps, obs, rewards);
    job.actions =
        array_of<int8_t>(actions, "actions", {steps, setup_.batch.num_envs, kMatrixPlayers});
    job.probabilities = setup_.probabilities(probabilities, env_stride);
    job.env_stride = env_stride;
    job.exploration = exploration;
    run(job, stream);
    return code(StepOutcome::kDone);
  }

 private:
  void* given(const MemoryPtr& actions, int type, int64_t steps) const {
    return bytes_of(actions, "actions", {steps, setup_.batch.num_envs, kMatrixPlayers},
                    action_bytes(action_type_of(type)));
  }

  MatrixJob trajectory(int64_t steps, const MemoryPtr& obs, const MemoryPtr& rewards) const {
    MatrixJob job = job_;
    job.autoreset = Autoreset::kOff;
    job.steps = steps;
    job.observe_first = true;
    job.obs = setup_.obs(obs, product_of({steps}) + 1);
    job.rewards = setup_.rewards(rewards, steps);
    job.terminated = job.truncated = nullptr;
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

  MatrixSetup setup_;
  DeviceResults results_;
  ShownResults shown_;
  MatrixJob job_ = {};
  bool on_host_;
};

}  // namespace

void bind_sim_device(py::module_& module) {
  py::class_<MatrixGameDevice>(module, "MatrixGameDevice")
      .def(py::init(&make_device<MatrixGameDevice, MatrixSetup>), py::kw_only(), py::arg("batch"),
           py::arg("seed"), py::arg("bad_action"), py::arg("autoreset"), py::arg("obs"),
           py::arg("rewards"), py::arg("terminated"), py::arg("truncated"), py::arg("final_obs"),
           py::arg("on_host"))
      .def("show", &MatrixGameDevice::show, py::arg("tensors"))
      .def("intact", &MatrixGameDevice::intact)
      .def("observe", &MatrixGameDevice::observe, py::arg("stream"))
      .def("step", &MatrixGameDevice::step, py::arg("actions"), py::arg("action_type"),
           py::arg("stream"))
      .def("rollout", &MatrixGameDevice::rollout, py::arg("actions"), py::arg("action_type"),
           py::arg("steps"), py::arg("obs"), py::arg("rewards"), py::arg("stream"))
      .def("memory1_rollout", &MatrixGameDevice::memory1_rollout, py::arg("probabilities"),
           py::arg("env_stride"), py::arg("exploration"), py::arg("steps"), py::arg("obs"),
           py::arg("actions"), py::arg("rewards"), py::arg("stream"));
}

}  // namespace loqa
