#pragma once

#include "kernels/gru_lanes.h"
#include "kernels/gru_policy.h"
#include "kernels/half_lanes.h"

// Parameter sets of a recurrent head, packed for the steps of gru_policy_lanes.h. A matrix is kept
// in panels of a few vectors of outputs, as many as are summed up at once: for each input its
// weights to these outputs. Sizes are rounded up to whole vectors; the weights of outputs that do
// not exist are 0, and so is their state.

namespace loqa::LOQA_ISA {
namespace {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif
// Rows that a weight is read for at once: four sums of the GRU for each row and three weights are
// in registers.
constexpr int kTileRows = kRegisters == 32 ? 6 : 3;

// Vectors of outputs that are summed up at once for so many rows: enough independent sums that an
// addition need not wait for the one before.
constexpr int gru_columns(int64_t rows) {
  return rows == 1 ? kRegisters / 8 : (rows <= 3 && kRegisters == 32 ? 2 : 1);
}
constexpr int linear_columns(int64_t rows) { return rows == 1 ? 8 : (rows == 2 ? 4 : 2); }

inline int64_t tiles_of(int64_t rows) { return (rows + kTileRows - 1) / kTileRows; }

// Where everything lies in the packed weights and biases of a set.
struct PolicyLayout {
  int64_t features;
  int64_t hidden;
  int64_t outputs;
  bool has_first;
  bool has_second;
  bool reads_time;
  int64_t inputs;         // of the GRU that are not places of ones: hidden or 0
  int64_t padded_hidden;  // whole vectors
  int64_t padded_outputs;
  int64_t second_columns;  // vectors in a panel
  int64_t gru_columns;
  int64_t first_outputs;                // hidden, or the gates' 3 hidden; padded
  int64_t second, gates, end, weights;  // offsets; that of the first is 0
  int64_t second_bias, gates_bias, hidden_bias, end_bias, biases;
};

inline int64_t padded(int64_t size) { return (size + kFloats - 1) / kFloats * kFloats; }

// The most vectors in a panel, at most `wanted`, a power of two, that divide the outputs.
inline int64_t columns_of(int64_t outputs, int64_t wanted) {
  while (outputs / kFloats % wanted != 0) wanted /= 2;
  return wanted;
}

// For up to `rows` rows of a set at a time.
inline PolicyLayout layout_of(const GruSets& sets, int64_t rows) {
  const int64_t tile = (rows + tiles_of(rows) - 1) / tiles_of(rows);
  PolicyLayout at = {};
  at.features = sets.features;
  at.hidden = sets.hidden;
  at.outputs = sets.outputs;
  at.has_first = sets.array[kFirstWeight] != nullptr;
  at.has_second = sets.array[kSecondWeight] != nullptr;
  at.reads_time = sets.reads_time;
  at.inputs = at.has_first ? sets.hidden : 0;
  at.padded_hidden = padded(sets.hidden);
  at.padded_outputs = padded(sets.outputs);
  at.second_columns = columns_of(at.padded_hidden, linear_columns(tile));
  at.gru_columns = columns_of(at.padded_hidden, gru_columns(tile));
  at.first_outputs = at.has_first ? at.padded_hidden : 3 * at.padded_hidden;
  at.second = at.first_outputs * sets.features;
  at.gates = at.second + (at.has_second ? at.padded_hidden * sets.hidden : 0);
  at.end = at.gates + 3 * at.padded_hidden * (at.inputs + sets.hidden);
  at.weights = at.end + at.padded_outputs * sets.hidden;
  at.second_bias = at.first_outputs;
  at.gates_bias = at.second_bias + (at.has_second ? at.padded_hidden : 0);
  at.hidden_bias = at.gates_bias + (at.has_first ? 3 * at.padded_hidden : 0);
  at.end_bias = at.hidden_bias + at.padded_hidden;
  at.biases = at.end_bias + at.padded_outputs;
  return at;
}

// Every second element of (a, b), a0 b0 a1 b1 ..., from the first half of each or from the second.
template <int kHalf>
LOQA_HD Floats interleave(Floats a, Floats b) {
  constexpr int kBegin = kHalf * static_cast<int>(kFloats) / 2;
  Floats both;
  for (int i = 0; i < kFloats / 2; ++i) {
    both[2 * i] = a[kBegin + i];
    both[2 * i + 1] = b[kBegin + i];
  }
  return both;
}

// Interleaving row i with row i + n / 2 halves the distance of a column's elements: after log2(n)
// rounds the matrix is transposed.
LOQA_HD void transpose(Floats (&rows)[kFloats]) {
  LOQA_UNROLL(4)
  for (int round = 1; round < kFloats; round *= 2) {
    Floats next[kFloats];
    LOQA_UNROLL(8)
    for (int i = 0; i < kFloats / 2; ++i) {
      next[2 * i] = interleave<0>(rows[i], rows[i + kFloats / 2]);
      next[2 * i + 1] = interleave<1>(rows[i], rows[i + kFloats / 2]);
    }
    LOQA_UNROLL(16)
    for (int i = 0; i < kFloats; ++i) rows[i] = next[i];
  }
}

// Up to kFloats numbers, then zeros.
template <typename Source>
LOQA_HD Floats load_some(const Source* from, int64_t count) {
  if (count >= kFloats) return load_floats(from);
  Source some[kFloats] = {};
  for (int64_t i = 0; i < count; ++i) some[i] = from[i];
  return load_floats(some);
}

// The first `count` rows of a matrix with `inputs` columns, to vectors `stride` apart.
template <typename Source, typename Weight>
void pack_rows(const Source* from, int64_t count, int64_t inputs, Weight* to, int64_t stride) {
  count = count < kFloats ? count : kFloats;
  for (int64_t first = 0; first < inputs; first += kFloats) {
    const int64_t columns = inputs - first < kFloats ? inputs - first : kFloats;
    Floats rows[kFloats];
    for (int64_t i = 0; i < kFloats; ++i) {
      rows[i] = i < count ? load_some(from + i * inputs + first, columns) : Floats{};
      // As much of what follows these rows: the next ones, most often.
      __builtin_prefetch(from + (count + i) * inputs + first);
    }
    transpose(rows);
    for (int64_t i = 0; i < columns; ++i) store_floats(rows[i], to + (first + i) * stride);
  }
}

// A matrix [outputs, inputs] in panels of `columns` vectors.
template <typename Source, typename Weight>
void pack_matrix(const Source* from, int64_t outputs, int64_t inputs, int64_t columns, Weight* to) {
  for (int64_t column = 0; column * kFloats < outputs; ++column) {
    const int64_t first = column * kFloats;
    const int64_t panel = column / columns * columns;
    pack_rows(from + first * inputs, outputs - first, inputs,
              to + (panel * inputs + column % columns) * kFloats, columns * kFloats);
  }
}

// Three gates, [hidden, inputs] each, in panels of `columns` vectors of each of the three; panels
// have `panel_inputs` inputs.
template <typename Source, typename Weight>
void pack_gates(const Source* from, int64_t hidden, int64_t inputs, int64_t columns,
                int64_t panel_inputs, Weight* to) {
  for (int64_t gate = 0; gate < 3; ++gate) {
    for (int64_t column = 0; column * kFloats < hidden; ++column) {
      const int64_t first = column * kFloats;
      const int64_t panel = column / columns * columns;
      pack_rows(from + (gate * hidden + first) * inputs, hidden - first, inputs,
                to + (3 * (panel * panel_inputs + column % columns) + gate) * kFloats,
                3 * columns * kFloats);
    }
  }
}

// A row of numbers, filled up with zeros to whole vectors `stride` apart.
template <typename Source, typename Weight>
void pack_row(const Source* from, int64_t size, Weight* to, int64_t stride) {
  for (int64_t first = 0; first < size; first += kFloats, to += stride) {
    store_floats(load_some(from + first, size - first), to);
  }
}

// Set `set` of the arrays.
template <typename Source, typename Weight>
void pack_policy(const GruSets& sets, const PolicyLayout& at, int64_t set, Weight* weights,
                 float* biases) {
  const int64_t number = sets.index == nullptr ? set : sets.index[set];
  const auto array = [&](GruArray which) {
    return static_cast<const Source*>(sets.array[which]) + number * sets.stride[which];
  };
  const int64_t hidden = at.hidden;
  float* gates_bias = at.has_first ? biases + at.gates_bias : biases;
  if (at.has_first) {
    pack_matrix(array(kFirstWeight), hidden, at.features, 1, weights);
    pack_row(array(kFirstBias), hidden, biases, kFloats);
  } else {
    pack_gates(array(kInputWeight), hidden, at.features, 1, at.features, weights);
  }
  if (at.has_second) {
    pack_matrix(array(kSecondWeight), hidden, hidden, at.second_columns, weights + at.second);
    pack_row(array(kSecondBias), hidden, biases + at.second_bias, kFloats);
  }
  const int64_t columns = at.gru_columns;
  const int64_t inputs = at.inputs + hidden;
  Weight* gates = weights + at.gates;
  if (at.has_first) pack_gates(array(kInputWeight), hidden, hidden, columns, inputs, gates);
  pack_gates(array(kHiddenWeight), hidden, hidden, columns, inputs,
             gates + 3 * columns * kFloats * at.inputs);
  for (int64_t gate = 0; gate < 3; ++gate) {
    pack_row(array(kInputBias) + gate * hidden, hidden, gates_bias + gate * kFloats, 3 * kFloats);
  }
  pack_row(array(kHiddenBias), hidden, biases + at.hidden_bias, kFloats);
  pack_matrix(array(kEndWeight), at.outputs, hidden, 1, weights + at.end);
  pack_row(array(kEndBias), at.outputs, biases + at.end_bias, kFloats);
}

}  // namespace
}  // namespace loqa::LOQA_ISA
