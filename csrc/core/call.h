#pragma once

#include <atomic>
#include <chrono>

#include "core/interrupt.h"

namespace loqa {

// Thrown by parallel_for in the calling thread when its call should end.
struct Interrupted {};

// A call that may be told to end. The thread that makes it works for it as long as it lives, and so
// do threads of the pool that help.
class Call {
 public:
  // `ends` runs on the calling thread, about every 50 ms, and says whether the call should end.
  using Ends = bool (*)(void* context);
  Call(Ends ends, void* context);
  ~Call();
  Call(const Call&) = delete;

  // The call that this thread works for, or null.
  static Call* current();

  bool interrupted() const { return interrupted_.load(std::memory_order_relaxed); }

  // For the calling thread while it waits: asks `ends` if it is time to.
  bool ask();

 private:
  friend class WorksFor;
  friend bool interrupted();

  Ends ends_;
  void* context_;
  const void* caller_;
  Call* outer_;
  int visits_ = 0;
  std::chrono::steady_clock::time_point next_;  // when `ends` is asked; the epoch: not yet known
  std::atomic<bool> interrupted_{false};
};

// While it lives, this thread works for `call`.
class WorksFor {
 public:
  explicit WorksFor(Call* call);
  ~WorksFor();
  WorksFor(const WorksFor&) = delete;

 private:
  Call* outer_;
};

}  // namespace loqa
