#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "bindings/bind_coin.h"
#include "bindings/bindings.h"
#include "bindings/device_memory.h"
#include "sim/coin_game_device.h"

namespace py = pybind11;

namespace loqa {
namespace {

// The Coin Game in a device's memory: every call enqueues on `stream` (of the current device) and
// returns. With `on_host` the same work is done in a loop on the host, for tests.
class CoinGameDevice {
 public:
  CoinGameDevice(const CoinSetup& setup, const DeviceResults& results, bool on_host)
      : setup_(setup), results_(results), on_host_(on_host) {
    require_device(on_host, "CoinGameDevice");
    job_.batch = setup.batch;
    results.put(&job_, setup_);
    job_.players = nobody();
  }

  void reset(const MemoryPtr& mask, std::uintptr_t stream) const {
    const auto* which = array_of<uint8_t>(mask, "mask", {setup_.batch.num_envs});
    const WithoutGil released;
    if (on_host_) return coin_reset_host(job_, which);
#if defined(LOQA_WITH_CUDA)
    coin_reset_cuda(job_, which, pointer<void>(stream));
#endif
    static_cast<void>(stream);
  }

  void show(const py::tuple& tensors) { shown_.show(tensors); }
  bool intact() const { return shown_.intact(); }

  void observe(std::uintptr_t stream) const {
    CoinJob job = job_;
    job.observe_first = true;
    run(job, stream);
  }

  int step(const MemoryPtr& actions, int type, std::uintptr_t stream) const {
    if (results_.overlap(actions)) return code(StepOutcome::kUnread);
    CoinJob job = job_;
    job.actions = given(actions, type, 1);
    job.action_type = action_type_of(type);
    job.steps = 1;
    run(job, stream);
    return code(StepOutcome::kDone);
  }

  int rollout(const MemoryPtr& actions, int type, int64_t steps, const MemoryPtr& obs,
              const MemoryPtr& rewards, std::uintptr_t stream) const {
    CoinJob job = trajectory(steps, obs, rewards);
    job.actions = given(actions, type, steps);
    job.action_type = action_type_of(type);
    run(job, stream);
    return code(StepOutcome::kDone);
  }

  int play(const std::vector<int>& kinds, bool tie_episode, int64_t steps, const MemoryPtr& actions,
           const MemoryPtr& obs, const MemoryPtr& rewards, std::uintptr_t stream) const {
    CoinJob job = trajectory(steps, obs, rewards);
    job.actions = setup_.played(actions, steps);
    job.action_type = ActionType::kUint8;
    job.players = coin_players(setup_.batch, kinds, tie_episode);
    run(job, stream);
    return code(StepOutcome::kDone);
  }

  void choose(const std::vector<int>& kinds, bool tie_episode, const MemoryPtr& actions,
              std::uintptr_t stream) const {
    CoinJob job = job_;
    job.players = coin_players(setup_.batch, kinds, tie_episode);
    job.actions = setup_.played(actions, 1);
    const WithoutGil released;
    if (on_host_) return coin_choose_host(job);
#if defined(LOQA_WITH_CUDA)
    coin_choose_cuda(job, pointer<void>(stream));
#endif
    static_cast<void>(stream);
  }

 private:
  static CoinPlayers nobody() {
    CoinPlayers players = {};
    for (int& kind : players.kind) kind = -1;
    return players;
  }

  void* given(const MemoryPtr& actions, int type, int64_t steps) const {
    return bytes_of(actions, "actions",
                    {steps, setup_.batch.num_envs, setup_.batch.rules.num_players},
                    action_bytes(action_type_of(type)));
  }

  CoinJob trajectory(int64_t steps, const MemoryPtr& obs, const MemoryPtr& rewards) const {
    CoinJob job = job_;
    job.autoreset = Autoreset::kOff;
    job.steps = steps;
    job.observe_first = true;
    job.obs = setup_.obs(obs, product_of({steps}) + 1);
    job.rewards = setup_.rewards(rewards, steps);
    job.truncated = nullptr;
    return job;
  }

  void run(const CoinJob& job, std::uintptr_t stream) const {
    const WithoutGil released;
    if (on_host_) return coin_play_host(job);
#if defined(LOQA_WITH_CUDA)
    coin_play_cuda(job, pointer<void>(stream));
#endif
    static_cast<void>(stream);
  }

  CoinSetup setup_;
  DeviceResults results_;
  ShownResults shown_;
  CoinJob job_ = {};
  bool on_host_;
};

}  // namespace

void bind_coin_device(py::module_& module) {
  py::class_<CoinGameDevice>(module, "CoinGameDevice")
      .def(py::init(&make_device<CoinGameDevice, CoinSetup>), py::kw_only(), py::arg("batch"),
           py::arg("seed"), py::arg("bad_action"), py::arg("autoreset"), py::arg("obs"),
           py::arg("rewards"), py::arg("terminated"), py::arg("truncated"), py::arg("final_obs"),
           py::arg("on_host"))
      .def("reset", &CoinGameDevice::reset, py::arg("mask"), py::arg("stream"))
      .def("show", &CoinGameDevice::show, py::arg("tensors"))
      .def("intact", &CoinGameDevice::intact)
      .def("observe", &CoinGameDevice::observe, py::arg("stream"))
      .def("step", &CoinGameDevice::step, py::arg("actions"), py::arg("action_type"),
           py::arg("stream"))
      .def("rollout", &CoinGameDevice::rollout, py::arg("actions"), py::arg("action_type"),
           py::arg("steps"), py::arg("obs"), py::arg("rewards"), py::arg("stream"))
      .def("choose", &CoinGameDevice::choose, py::arg("kinds"), py::arg("tie_episode"),
           py::arg("actions"), py::arg("stream"))
      .def("play", &CoinGameDevice::play, py::arg("kinds"), py::arg("tie_episode"),
           py::arg("steps"), py::arg("actions"), py::arg("obs"), py::arg("rewards"),
           py::arg("stream"));
}

}  // namespace loqa
