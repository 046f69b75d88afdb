#pragma once

#include <cstdint>

// Parameter sets of a recurrent head (loqa.agents.networks.GRUHead) as Python holds them: of each
// parameter one array in which the sets lie at a constant distance.

namespace loqa {

enum GruArray : int {
  kFirstWeight,  // [hidden, features]; null: no linear layer before the GRU
  kFirstBias,
  kSecondWeight,  // [hidden, hidden]; null: at most one
  kSecondBias,
  kInputWeight,  // [3 hidden, hidden or features]
  kInputBias,
  kHiddenWeight,  // [3 hidden, hidden]
  kHiddenBias,    // [hidden], of the gate n
  kEndWeight,     // [outputs, hidden]
  kEndBias,
  kGruArrays,
};

// Of features, hidden units and outputs: products of sizes do not overflow.
inline constexpr int64_t kMaxGruSize = 1 << 20;

struct GruSets {
  const void* array[kGruArrays];
  int64_t stride[kGruArrays];  // elements between sets
  const int64_t* index;        // set g is number index[g] of the arrays; null: number g
  bool half;                   // elements are float16, else float32
  bool reads_time;             // the last feature is the step index
  int64_t sets;
  int64_t features;
  int64_t hidden;
  int64_t outputs;

  // Of one array in one set.
  int64_t elements(GruArray which) const {
    const int64_t inputs = array[kFirstWeight] == nullptr ? features : hidden;
    switch (which) {
      case kFirstWeight:
        return hidden * features;
      case kSecondWeight:
        return hidden * hidden;
      case kInputWeight:
        return 3 * hidden * inputs;
      case kInputBias:
        return 3 * hidden;
      case kHiddenWeight:
        return 3 * hidden * hidden;
      case kEndWeight:
        return outputs * hidden;
      case kEndBias:
        return outputs;
      default:
        return hidden;
    }
  }

  // Of the parameters of one set, biases left out.
  int64_t bytes() const {
    const int64_t inputs = array[kFirstWeight] == nullptr ? features : hidden;
    int64_t weights = hidden * (3 * (inputs + hidden) + outputs);
    if (array[kFirstWeight] != nullptr) weights += hidden * features;
    if (array[kSecondWeight] != nullptr) weights += hidden * hidden;
    return weights * (half ? 2 : 4);
  }
};

}  // namespace loqa
