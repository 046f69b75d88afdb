#pragma once

#include "core/vectors.h"
#include "kernels/gru_formulas.h"

// The nonlinearities of a GRU's gates (gru_formulas.h) for vectors of the instruction set.

namespace loqa {
namespace LOQA_ISA {
namespace {

using Floats = VectorOf<float>::Type;
using Ints = VectorOf<int32_t>::Type;

}  // namespace
}  // namespace LOQA_ISA

template <>
struct PowerOfTwo<LOQA_ISA::Floats> {
  static LOQA_HD auto of(LOQA_ISA::Floats k) {
    return reinterpret_cast<LOQA_ISA::Floats>((__builtin_convertvector(k, LOQA_ISA::Ints) + 127)
                                              << 23);
  }
};

}  // namespace loqa
