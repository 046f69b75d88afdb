#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>

#include "core/call.h"

namespace loqa {

// Lets go of the interpreter's lock while it lives. Whatever uses the thread pool has let go: who
// waits for the pool with the lock could wait for somebody who waits for the lock.
class WithoutGil {
 public:
  WithoutGil();
  ~WithoutGil();
  WithoutGil(const WithoutGil&) = delete;

  // Whether Python's signal handlers, which run now if this is the main thread, raised. Then
  // Python's error is set.
  bool signalled();

 private:
  PyThreadState* state_;
};

// Work (in environment steps, or elements of an array) that may take long enough for somebody to
// press Ctrl-C: what is less takes milliseconds and is not disturbed.
inline constexpr int64_t kLongWork = int64_t{1} << 22;

// A call without the interpreter's lock. If it is long and Python's signal handlers raise, as for
// Ctrl-C, it ends: parallel_for throws Interrupted.
class NativeCall {
 public:
  explicit NativeCall(bool is_long);
  bool interrupted() const { return call_ && call_->interrupted(); }

 private:
  WithoutGil without_gil_;
  std::optional<Call> call_;
};

// Makes what a signal handler raised of Interrupted.
void register_interrupted();

}  // namespace loqa
