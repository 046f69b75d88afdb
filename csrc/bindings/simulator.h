#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "bindings/memory.h"
#include "bindings/native_call.h"
#include "bindings/step_arguments.h"
#include "core/thread_pool.h"

namespace loqa {

// Held while a simulator works: two threads of Python at once would mix its results.
class Working {
 public:
  enum How { kHoldingGil, kWithoutGil, kLong };  // a long call can be interrupted, see NativeCall

  Working(std::atomic_flag& busy, How how) : busy_(busy) {
    if (busy_.test_and_set(std::memory_order_acquire)) {
      throw std::runtime_error("the environment is at work in another thread: take one for each");
    }
    if (how != kHoldingGil) call_.emplace(how == kLong);
  }
  Working(const Working&) = delete;
  ~Working() {
    call_.reset();
    busy_.clear(std::memory_order_release);
  }

  // Memory that is as it was if the call is interrupted.
  void keep(void* memory, int64_t bytes) { call_->keep(memory, static_cast<size_t>(bytes)); }

 private:
  std::atomic_flag& busy_;
  std::optional<NativeCall> call_;
};

// What the simulators of the host's memory have in common: the buffers of a step, who may work, and
// that no episode becomes longer than its step counter can say.
class HostSimulator {
 public:
  HostSimulator(const HostSimulator&) = delete;

  // The tensors that `step` returns.
  void show(const pybind11::tuple& tensors) { shown_.show(tensors); }
  // Whether they still show what `step` writes.
  bool intact() const { return shown_.intact(); }

 protected:
  // `t` is [num_envs]; `results` are obs, rewards, terminated, truncated.
  HostSimulator(const int32_t* t, int64_t num_envs, std::vector<MemoryPtr> results, int num_threads)
      : t_(t), num_envs_(num_envs), num_threads_(num_threads), results_(std::move(results)) {
    if (num_threads < 1) throw std::invalid_argument("num_threads must be 1 or more");
  }

  // The tuple of results, or why nothing was stepped. run(actions, steps) does it.
  template <typename Run>
  pybind11::object step_with(pybind11::handle given, const std::vector<int64_t>& shape,
                             const Run& run) {
    StepOutcome outcome = StepOutcome::kMoved;
    if (shown_.intact()) {
      ActionArray actions;
      outcome = StepOutcome::kUnread;
      if (read_actions(given, shape, &actions) && !own(actions)) {
        const Working working(
            busy_, num_envs_ > kLetOthersRun ? Working::kWithoutGil : Working::kHoldingGil);
        outcome = run(actions);
      }
    }
    if (outcome == StepOutcome::kDone) return shown_.tensors();
    return pybind11::int_(code(outcome));
  }

  // Counts `steps` more, unless an episode would become longer than its counter.
  bool take_room(int64_t steps) {
    if (steps > INT32_MAX - latest_) latest_ = *std::max_element(t_, t_ + num_envs_);
    if (steps > INT32_MAX - latest_) return false;
    latest_ += static_cast<int32_t>(steps);
    return true;
  }
  // Python has changed t.
  void forget_room() { latest_ = INT32_MAX; }

  // Calls body(begin, end) for parts of the batch, each of `grain` environment steps or more.
  template <typename Body>
  void for_parts(int64_t steps, int64_t grain, int64_t align, const Body& body) const {
    grain = std::max<int64_t>(1, grain / std::max<int64_t>(1, steps));
    if (steps == 1 && num_envs_ < 2 * grain) return body(0, num_envs_);  // never long
    parallel_for(num_envs_, grain, align, num_threads_, body);
  }

  // How to work on that many environment steps; `times` as long as given ones.
  Working::How how_for(int64_t steps, int64_t times = 1) const {
    return steps * num_envs_ >= kLongWork / times ? Working::kLong : Working::kWithoutGil;
  }

  int num_threads() const { return num_threads_; }
  std::atomic_flag& busy() { return busy_; }

 private:
  // Of fewer environments a step takes less time than letting other threads of Python run
  // meanwhile.
  static constexpr int64_t kLetOthersRun = 128;

  // Whether actions lie in what a step writes: then they are read from a copy.
  bool own(const ActionArray& actions) const {
    return std::any_of(results_.begin(), results_.end(), [&](const MemoryPtr& memory) {
      return memory->overlaps(actions.data, actions.bytes);
    });
  }

  const int32_t* t_;
  int64_t num_envs_;
  int num_threads_;
  std::vector<MemoryPtr> results_;
  ShownResults shown_;
  int32_t latest_ = INT32_MAX;  // no t is above
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
};

}  // namespace loqa
