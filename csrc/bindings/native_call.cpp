#include "bindings/native_call.h"

#include <unistd.h>
#if defined(__GLIBCXX__)
#include <cxxabi.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#else
#include <pthread.h>
#endif

namespace py = pybind11;

namespace loqa {
namespace {

// Once the interpreter ends, whoever asks for its lock is ended by pthread_exit (3.13 and older).
// That unwinds the stack, and C++ ends the process where it meets a destructor. Such a thread waits
// here instead, as 3.14 has it, until the process is gone.
void take_gil(PyThreadState* state) {
#if defined(__GLIBCXX__)
  try {
    PyEval_RestoreThread(state);
  } catch (abi::__forced_unwind&) {
    for (;;) pause();
  }
#else
  PyEval_RestoreThread(state);
#endif
}

// Python runs signal handlers in the main thread alone. After a fork that is the child's only one.
bool in_main_thread() {
#if defined(__linux__)
  return syscall(SYS_gettid) == getpid();
#else
  return pthread_main_np() != 0;
#endif
}

}  // namespace

WithoutGil::WithoutGil() : state_(PyEval_SaveThread()) {}

WithoutGil::~WithoutGil() { take_gil(state_); }

bool WithoutGil::signalled() {
  if (!in_main_thread()) return false;
  take_gil(state_);
  const bool raised = PyErr_CheckSignals() != 0;
  state_ = PyEval_SaveThread();
  return raised;
}

NativeCall::NativeCall(bool is_long) {
  if (!is_long) return;
  call_.emplace(
      [](void* without_gil) { return static_cast<WithoutGil*>(without_gil)->signalled(); },
      &without_gil_);
}

void register_interrupted() {
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const Interrupted&) {
      // The handler's exception is set already.
    }
  });
}

}  // namespace loqa
