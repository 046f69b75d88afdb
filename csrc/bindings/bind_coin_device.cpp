#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "bindings/bind_coin.h"
#include "bindings/bindings.h"
#include "sim/coin_game_device.h"

namespace py = pybind11;

namespace loqa {
namespace {

// The Coin Game in a device's memory: every call enqueues on `stream` (of the current device) and
// returns. With `on_host` the same work is done in a loop on the host, for tests.
class CoinGameDevice {
 public:
  CoinGameDevice(const CoinGameBatch& batch, std::uintptr_t seed, std::uintptr_t bad_action,
                 int autoreset, std::uintptr_t final_obs, bool on_host)
      : on_host_(on_host) {
    if (autoreset < 0 || autoreset > static_cast<int>(Autoreset::kSameStep)) {
      throw std::invalid_argument("CoinGameDevice: unknown code of autoreset");
    }
#if !defined(LOQA_WITH_CUDA)
    if (!on_host) throw std::invalid_argument("CoinGameDevice: this build has no CUDA");
#endif
    job_.batch = batch;
    job_.seed = pointer<const uint64_t>(seed);
    job_.bad_action = pointer<int32_t>(bad_action);
    job_.autoreset = static_cast<Autoreset>(autoreset);
    job_.final_obs = pointer<void>(final_obs);
    job_.players = nobody();
  }

  void reset(std::uintptr_t mask, std::uintptr_t stream) const {
    const auto* which = pointer<const uint8_t>(mask);
    const WithoutGil released;
    if (on_host_) return coin_reset_host(job_, which);
#if defined(LOQA_WITH_CUDA)
    coin_reset_cuda(job_, which, pointer<void>(stream));
#endif
    static_cast<void>(stream);
  }

  void observe(std::uintptr_t obs, std::uintptr_t stream) const {
    CoinJob job = job_;
    job.observe_first = true;
    job.obs = pointer<void>(obs);
    run(job, stream);
  }

  void step(std::uintptr_t actions, int type, std::uintptr_t obs, std::uintptr_t rewards,
            std::uintptr_t /*terminated: never*/, std::uintptr_t truncated,
            std::uintptr_t stream) const {
    CoinJob job = job_;
    job.actions = pointer<void>(actions);
    job.action_type = action_type_of(type);
    job.steps = 1;
    job.obs = pointer<void>(obs);
    job.rewards = pointer<float>(rewards);
    job.truncated = pointer<uint8_t>(truncated);
    run(job, stream);
  }

  bool rollout(std::uintptr_t actions, int type, int64_t steps, std::uintptr_t obs,
               std::uintptr_t rewards, std::uintptr_t stream) const {
    run(trajectory(actions, action_type_of(type), steps, obs, rewards), stream);
    return true;
  }

  void play(const std::vector<int>& kinds, bool tie_episode, int64_t steps, std::uintptr_t actions,
            std::uintptr_t obs, std::uintptr_t rewards, std::uintptr_t stream) const {
    CoinJob job = trajectory(actions, ActionType::kUint8, steps, obs, rewards);
    job.players = coin_players(job_.batch, kinds, tie_episode);
    run(job, stream);
  }

  void choose(const std::vector<int>& kinds, bool tie_episode, std::uintptr_t actions,
              std::uintptr_t stream) const {
    CoinJob job = job_;
    job.players = coin_players(job_.batch, kinds, tie_episode);
    job.actions = pointer<void>(actions);
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

  CoinJob trajectory(std::uintptr_t actions, ActionType type, int64_t steps, std::uintptr_t obs,
                     std::uintptr_t rewards) const {
    if (steps < 0) throw std::invalid_argument("CoinGameDevice: steps must not be negative");
    CoinJob job = job_;
    job.autoreset = Autoreset::kOff;
    job.actions = pointer<void>(actions);
    job.action_type = type;
    job.steps = steps;
    job.observe_first = true;
    job.obs = pointer<void>(obs);
    job.rewards = pointer<float>(rewards);
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

  CoinJob job_ = {};
  bool on_host_;
};

}  // namespace

void bind_coin_device(py::module_& module) {
  py::class_<CoinGameDevice>(module, "CoinGameDevice")
      .def(py::init<const CoinGameBatch&, std::uintptr_t, std::uintptr_t, int, std::uintptr_t,
                    bool>(),
           py::kw_only(), py::arg("batch"), py::arg("seed"), py::arg("bad_action"),
           py::arg("autoreset"), py::arg("final_obs"), py::arg("on_host"))
      .def("reset", &CoinGameDevice::reset, py::arg("mask"), py::arg("stream"))
      .def("observe", &CoinGameDevice::observe, py::arg("obs"), py::arg("stream"))
      .def("step", &CoinGameDevice::step, py::arg("actions"), py::arg("action_type"),
           py::arg("obs"), py::arg("rewards"), py::arg("terminated"), py::arg("truncated"),
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
