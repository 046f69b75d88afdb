#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "bindings/bindings.h"
#include "bindings/memory.h"
#include "bindings/step_arguments.h"
#include "sim/autoreset.h"

namespace loqa {

inline int64_t action_bytes(ActionType type) {
  constexpr int64_t kBytes[] = {1, 1, 2, 4, 8};
  return kBytes[static_cast<size_t>(type)];
}

inline void require_device(bool on_host, const char* whose) {
#if !defined(LOQA_WITH_CUDA)
  if (!on_host) throw std::invalid_argument(std::string(whose) + ": this build has no CUDA");
#endif
  static_cast<void>(on_host);
  static_cast<void>(whose);
}

// The buffers of a simulator on a device.
struct DeviceResults {
  MemoryPtr seed, bad_action, obs, rewards, terminated, truncated, final_obs;
  Autoreset autoreset;

  // Where a step finds and puts them; bad_action and final_obs may be missing.
  template <typename Job, typename Setup>
  void put(Job* job, const Setup& setup) const {
    const int64_t num_envs = setup.batch.num_envs;
    job->seed = array_of<const uint64_t>(seed, "seed", {1});
    job->bad_action =
        bad_action == nullptr ? nullptr : array_of<int32_t>(bad_action, "bad_action", {1});
    job->autoreset = autoreset;
    job->obs = setup.obs(obs, 1);
    job->rewards = setup.rewards(rewards, 1);
    job->truncated = array_of<uint8_t>(truncated, "truncated", {num_envs});
    if (autoreset == Autoreset::kSameStep) job->final_obs = setup.obs(final_obs, 1);
  }

  // Whether actions lie in what a step writes: then they are read from a copy.
  bool overlap(const MemoryPtr& actions) const {
    for (const MemoryPtr& memory : {obs, rewards, terminated, truncated, final_obs}) {
      if (memory != nullptr && actions != nullptr &&
          memory->overlaps(actions->data(), actions->bytes())) {
        return true;
      }
    }
    return false;
  }
};

template <typename Game, typename Setup>
std::unique_ptr<Game> make_device(const Setup& batch, const MemoryPtr& seed,
                                  const MemoryPtr& bad_action, int autoreset, const MemoryPtr& obs,
                                  const MemoryPtr& rewards, const MemoryPtr& terminated,
                                  const MemoryPtr& truncated, const MemoryPtr& final_obs,
                                  bool on_host) {
  if (autoreset < 0 || autoreset > static_cast<int>(Autoreset::kSameStep)) {
    throw std::invalid_argument("unknown code of autoreset");
  }
  return std::make_unique<Game>(batch,
                                DeviceResults{seed, bad_action, obs, rewards, terminated, truncated,
                                              final_obs, static_cast<Autoreset>(autoreset)},
                                on_host);
}

}  // namespace loqa
