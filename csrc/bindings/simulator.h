#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "bindings/memory.h"
#include "bindings/native_call.h"
#include "bindings/step_arguments.h"
#include "core/thread_pool.h"

namespace loqa {

// Memory that a call may put back.
class Kept {
 public:
  void add(void* memory, int64_t bytes) {
    pieces_.push_back({memory, static_cast<size_t>(bytes), {}});
  }
  void save() {
    for (Piece& piece : pieces_) {
      piece.copy.resize(piece.bytes);
      std::memcpy(piece.copy.data(), piece.memory, piece.bytes);
    }
  }
  void put_back() const {
    for (const Piece& piece : pieces_) {
      std::memcpy(piece.memory, piece.copy.data(), piece.copy.size());
    }
  }

 private:
  struct Piece {
    void* memory;
    size_t bytes;
    std::vector<unsigned char> copy;
  };
  std::vector<Piece> pieces_;
};

// Held while a simulator works: two threads of Python at once would mix its results.
class Working {
 public:
  enum How { kHoldingGil, kWithoutGil, kLong };  // a long call can be interrupted, see NativeCall

  // What is kept, if anything, is put back if the call is interrupted.
  Working(std::atomic_flag& busy, How how, Kept* kept = nullptr) : busy_(busy), kept_(kept) {
    if (busy_.test_and_set(std::memory_order_acquire)) {
      throw std::runtime_error("the environment is at work in another thread: take one for each");
    }
    if (how != kHoldingGil) call_.emplace(how == kLong);
    if (kept_ != nullptr) kept_->save();
  }
  Working(const Working&) = delete;
  ~Working() {
    if (kept_ != nullptr && call_->interrupted()) kept_->put_back();
    call_.reset();
    busy_.clear(std::memory_order_release);
  }

 private:
  std::atomic_flag& busy_;
  Kept* kept_;
  std::optional<NativeCall> call_;
};

inline bool any_overlaps(const std::vector<MemoryPtr>& results, const void* begin, int64_t bytes) {
  return std::any_of(results.begin(), results.end(), [&](const MemoryPtr& memory) {
    return memory != nullptr && memory->overlaps(begin, bytes);
  });
}

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
      // Actions that lie in what a step writes are read from a copy.
      if (read_actions(given, shape, &actions) &&
          !any_overlaps(results_, actions.data, actions.bytes)) {
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

  const int32_t* t_;
  int64_t num_envs_;
  int num_threads_;
  std::vector<MemoryPtr> results_;
  ShownResults shown_;
  int32_t latest_ = INT32_MAX;  // no t is above
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
};

}  // namespace loqa
