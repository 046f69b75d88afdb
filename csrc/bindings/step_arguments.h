#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <vector>

#include "sim/actions.h"

// What `step` is given and what it returns, read without a call of Python where possible: of a
// small batch that is most of its time. The core does not link torch; where a tensor lies is asked
// through torch's DLPack exchange table (https://dmlc.github.io/dlpack), which newer versions have.

namespace loqa {

// How a step ended; whatever is not kDone has changed nothing. Codes of loqa/envs/native.py.
enum class StepOutcome : int { kDone, kUnread, kOutOfRange, kNoRoom, kMoved };
constexpr int code(StepOutcome outcome) { return static_cast<int>(outcome); }

// Contiguous, aligned actions in the host's memory, which stay where they are for this call.
struct ActionArray {
  const void* data;
  ActionType type;
  int64_t bytes;
};

// Whether `given` is a tensor or a NumPy array of integers (or bool) of the shape [B, A], or
// [steps, B, A], contiguous, aligned and of the machine's byte order: then `actions` says where.
// Whatever else it is, Python has a look at it.
bool read_actions(pybind11::handle given, const std::vector<int64_t>& shape, ActionArray* actions);

// The tensors that every step returns, and whether they still show what they showed when they were
// given: Python code may have put other memory, another shape or other strides in them.
class ShownResults {
 public:
  void show(const pybind11::tuple& tensors);
  bool intact() const;
  const pybind11::tuple& tensors() const { return tensors_; }

 private:
  struct Place {
    const void* data;
    std::vector<int64_t> shape;
    std::vector<int64_t> strides;
    bool operator==(const Place&) const = default;
  };
  static Place place_of(pybind11::handle tensor);

  pybind11::tuple tensors_;
  std::vector<Place> places_;
  bool shown_ = false;
};

void bind_step_arguments(pybind11::module_& module);

}  // namespace loqa
