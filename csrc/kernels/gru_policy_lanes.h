#pragma once

#include "kernels/gru_lanes.h"
#include "kernels/gru_policy.h"
#include "kernels/half_lanes.h"

// One step of a recurrent head for a few rows, from weights that stay in the cache: every layer is
// a walk through its weights from front to back. Of a set's matrices, panels of kFloats outputs are
// kept: for each input a vector of its weights to these outputs. Sizes are rounded up to whole
// vectors; the weights of outputs that do not exist are 0, and so is their state.

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
  int64_t first_outputs;                // hidden, or the gates' 3 hidden; padded
  int64_t second, gates, end, weights;  // offsets; that of the first is 0
  int64_t second_bias, gates_bias, hidden_bias, end_bias, biases;
};

inline int64_t padded(int64_t size) { return (size + kFloats - 1) / kFloats * kFloats; }

inline PolicyLayout layout_of(const GruSets& sets) {
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
LOQA_INLINE Floats interleave(Floats a, Floats b) {
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
LOQA_INLINE void transpose(Floats (&rows)[kFloats]) {
#pragma GCC unroll 4
  for (int round = 1; round < kFloats; round *= 2) {
    Floats next[kFloats];
#pragma GCC unroll 8
    for (int i = 0; i < kFloats / 2; ++i) {
      next[2 * i] = interleave<0>(rows[i], rows[i + kFloats / 2]);
      next[2 * i + 1] = interleave<1>(rows[i], rows[i + kFloats / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kFloats; ++i) rows[i] = next[i];
  }
}

// Up to kFloats numbers, then zeros.
template <typename Source>
LOQA_INLINE Floats load_some(const Source* from, int64_t count) {
  if (count >= kFloats) return load_floats(from);
  Source some[kFloats] = {};
  for (int64_t i = 0; i < count; ++i) some[i] = from[i];
  return load_floats(some);
}

// One panel: the first `count` rows of a matrix with `inputs` columns, to vectors `stride` apart.
template <typename Source, typename Weight>
void pack_panel(const Source* from, int64_t count, int64_t inputs, Weight* to, int64_t stride) {
  for (int64_t first = 0; first < inputs; first += kFloats) {
    const int64_t columns = inputs - first < kFloats ? inputs - first : kFloats;
    Floats rows[kFloats];
    for (int64_t i = 0; i < kFloats; ++i) {
      rows[i] = i < count ? load_some(from + i * inputs + first, columns) : Floats{};
    }
    transpose(rows);
    for (int64_t i = 0; i < columns; ++i) store_floats(rows[i], to + (first + i) * stride);
  }
}

// The panels of a matrix [outputs, inputs], one after the other.
template <typename Source, typename Weight>
void pack_matrix(const Source* from, int64_t outputs, int64_t inputs, Weight* to) {
  for (int64_t first = 0; first < outputs; first += kFloats) {
    pack_panel(from + first * inputs, outputs - first, inputs, to + first * inputs, kFloats);
  }
}

// The three gates' panels side by side: [hidden, inputs] for each gate.
template <typename Source, typename Weight>
void pack_gates(const Source* from, int64_t hidden, int64_t inputs, Weight* to, int64_t panel) {
  for (int64_t first = 0; first < hidden; first += kFloats, to += panel) {
    for (int64_t gate = 0; gate < 3; ++gate) {
      pack_panel(from + (gate * hidden + first) * inputs, hidden - first, inputs,
                 to + gate * kFloats, 3 * kFloats);
    }
  }
}

template <typename Source>
void pack_bias(const Source* from, int64_t size, float* to, int64_t stride) {
  for (int64_t first = 0; first < size; first += kFloats, to += stride) {
    store(load_some(from + first, size - first), to);
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
    pack_matrix(array(kFirstWeight), hidden, at.features, weights);
    pack_bias(array(kFirstBias), hidden, biases, kFloats);
  } else {
    pack_gates(array(kInputWeight), hidden, at.features, weights, 3 * kFloats * at.features);
  }
  if (at.has_second) {
    pack_matrix(array(kSecondWeight), hidden, hidden, weights + at.second);
    pack_bias(array(kSecondBias), hidden, biases + at.second_bias, kFloats);
  }
  const int64_t panel = 3 * kFloats * (at.inputs + hidden);
  Weight* gates = weights + at.gates;
  if (at.has_first) pack_gates(array(kInputWeight), hidden, hidden, gates, panel);
  pack_gates(array(kHiddenWeight), hidden, hidden, gates + 3 * kFloats * at.inputs, panel);
  for (int64_t gate = 0; gate < 3; ++gate) {
    pack_bias(array(kInputBias) + gate * hidden, hidden, gates_bias + gate * kFloats, 3 * kFloats);
  }
  pack_bias(array(kHiddenBias), hidden, biases + at.hidden_bias, kFloats);
  pack_matrix(array(kEndWeight), at.outputs, hidden, weights + at.end);
  pack_bias(array(kEndBias), at.outputs, biases + at.end_bias, kFloats);
}

// Calls body.template operator()<number of rows>(first row) for tiles of at most kTileRows rows.
template <int kRows, typename Body>
LOQA_INLINE void with_rows(int64_t rows, int64_t first, const Body& body) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return with_rows<kRows - 1>(rows, first, body);
  }
  body.template operator()<kRows>(first);
}

template <typename Body>
LOQA_INLINE void for_tiles(int64_t rows, const Body& body) {
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t first = rows * i / tiles;
    with_rows<kTileRows>(rows * (i + 1) / tiles - first, first, body);
  }
}

// Where the weights of a row are ones among zeros: sums of rows of weights.
template <typename Weight>
void first_layer(const PolicyLayout& at, const Weight* weights, const float* biases,
                 const int32_t* places, int64_t row_places, int64_t ones, int64_t t, int64_t rows,
                 float* out) {
  const float time = static_cast<float>(t);
  for (int64_t first = 0; first < at.first_outputs; first += kFloats) {
    const Weight* panel = weights + first * at.features;
    Floats bias = load<Floats>(biases + first);
    // The panels of the gates are three wide where there is no other layer.
    const int64_t width = at.has_first ? kFloats : 3 * kFloats;
    if (!at.has_first) {
      panel = weights + first / width * width * at.features + first % width;
    }
    if (at.reads_time) bias += time * load_floats(panel + (at.features - 1) * width);
    for (int64_t row = 0; row < rows; ++row) {
      Floats sum = bias;
      for (int64_t k = 0; k < ones; ++k) {
        sum += load_floats(panel + places[row * row_places + k] * width);
      }
      if (at.has_first) sum = sum > 0.0f ? sum : Floats{};
      store(sum, out + row * at.first_outputs + first);
    }
  }
}

// kRows rows of x [rows, inputs_stride] times kColumns panels.
template <int kRows, int kColumns, typename Weight>
LOQA_INLINE void linear_tile(const Weight* weights, const float* bias, const float* x,
                             int64_t x_stride, int64_t inputs, float* out, int64_t out_stride) {
  Floats sum[kRows][kColumns];
  for (int row = 0; row < kRows; ++row) {
    for (int c = 0; c < kColumns; ++c) sum[row][c] = load<Floats>(bias + c * kFloats);
  }
  for (int64_t i = 0; i < inputs; ++i) {
    for (int c = 0; c < kColumns; ++c) {
      const Floats weight = load_floats(weights + (c * inputs + i) * kFloats);
      for (int row = 0; row < kRows; ++row) sum[row][c] += x[row * x_stride + i] * weight;
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int c = 0; c < kColumns; ++c) store(sum[row][c], out + row * out_stride + c * kFloats);
  }
}

// out = weights x + bias; `outputs` is padded.
template <typename Weight>
void linear(const Weight* weights, const float* bias, const float* x, int64_t x_stride,
            int64_t inputs, int64_t outputs, int64_t rows, float* out) {
  for_tiles(rows, [&]<int kRows>(int64_t row) __attribute__((always_inline)) {
    constexpr int kColumns = kRows == 1 ? 8 : (kRows == 2 ? 4 : 2);
    const float* from = x + row * x_stride;
    float* to = out + row * outputs;
    int64_t at = 0;
    for (; at + kColumns * kFloats <= outputs; at += kColumns * kFloats) {
      linear_tile<kRows, kColumns>(weights + at * inputs, bias + at, from, x_stride, inputs,
                                   to + at, outputs);
    }
    for (; at < outputs; at += kFloats) {
      linear_tile<kRows, 1>(weights + at * inputs, bias + at, from, x_stride, inputs, to + at,
                            outputs);
    }
  });
}

// What the GRU of kRows rows reads besides its weights. Row strides are in elements.
struct GruRows {
  const float* start;  // of the gates' sums: biases, or what the input says
  int64_t start_stride;
  const float* x;
  int64_t inputs;
  int64_t x_stride;
  const float* state;
  int64_t hidden;
  int64_t state_stride;
};

// One step of kColumns vectors of the state; the equations are those of kernels/gru.h.
template <int kRows, int kColumns, typename Weight>
LOQA_INLINE void gru_tile(const GruRows& rows, const Weight* weights, const float* bias_hn,
                          int64_t column, float* next) {
  const int64_t panel = 3 * kFloats * (rows.inputs + rows.hidden);
  Floats r[kRows][kColumns], z[kRows][kColumns], n[kRows][kColumns], hn[kRows][kColumns];
  for (int row = 0; row < kRows; ++row) {
    for (int c = 0; c < kColumns; ++c) {
      const float* start = rows.start + row * rows.start_stride + 3 * (column + c * kFloats);
      r[row][c] = load<Floats>(start);
      z[row][c] = load<Floats>(start + kFloats);
      n[row][c] = load<Floats>(start + 2 * kFloats);
      hn[row][c] = load<Floats>(bias_hn + column + c * kFloats);
    }
  }
  const Weight* at = weights + column / kFloats * panel;
  for (int64_t i = 0; i < rows.inputs; ++i, at += 3 * kFloats) {
    for (int c = 0; c < kColumns; ++c) {
      const Floats of_r = load_floats(at + c * panel);
      const Floats of_z = load_floats(at + c * panel + kFloats);
      const Floats of_n = load_floats(at + c * panel + 2 * kFloats);
      for (int row = 0; row < kRows; ++row) {
        const float x = rows.x[row * rows.x_stride + i];
        r[row][c] += x * of_r;
        z[row][c] += x * of_z;
        n[row][c] += x * of_n;
      }
    }
  }
  for (int64_t i = 0; i < rows.hidden; ++i, at += 3 * kFloats) {
    for (int c = 0; c < kColumns; ++c) {
      const Floats of_r = load_floats(at + c * panel);
      const Floats of_z = load_floats(at + c * panel + kFloats);
      const Floats of_n = load_floats(at + c * panel + 2 * kFloats);
      for (int row = 0; row < kRows; ++row) {
        const float h = rows.state[row * rows.state_stride + i];
        r[row][c] += h * of_r;
        z[row][c] += h * of_z;
        hn[row][c] += h * of_n;
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int c = 0; c < kColumns; ++c) {
      const int64_t at_state = row * rows.state_stride + column + c * kFloats;
      const Floats new_part = tanh_of(n[row][c] + sigmoid(r[row][c]) * hn[row][c]);
      const Floats old = load<Floats>(rows.state + at_state);
      store(new_part + sigmoid(z[row][c]) * (old - new_part), next + at_state);
    }
  }
}

template <typename Weight>
void gru_rows(const GruRows& all, const Weight* weights, const float* bias_hn, int64_t count,
              float* next) {
  for_tiles(count, [&]<int kRows>(int64_t row) __attribute__((always_inline)) {
    constexpr int kColumns =
        kRegisters == 32 ? (kRows == 1 ? 4 : (kRows <= 3 ? 2 : 1)) : (kRows == 1 ? 2 : 1);
    GruRows rows = all;
    rows.start += row * all.start_stride;
    rows.x += row * all.x_stride;
    rows.state += row * all.state_stride;
    float* to = next + row * all.state_stride;
    int64_t column = 0;
    for (; column + kColumns * kFloats <= all.state_stride; column += kColumns * kFloats) {
      gru_tile<kRows, kColumns>(rows, weights, bias_hn, column, to);
    }
    for (; column < all.state_stride; column += kFloats) {
      gru_tile<kRows, 1>(rows, weights, bias_hn, column, to);
    }
  });
}

// Floats of scratch that a step of one row needs.
inline int64_t policy_scratch(const PolicyLayout& at) {
  return at.first_outputs + (at.has_second ? at.padded_hidden : 0);
}

// One step of `rows` rows: places of ones [rows, row_places], state -> next [rows, padded_hidden]
// and out [rows, padded_outputs].
template <typename Weight>
void policy_step(const PolicyLayout& at, const Weight* weights, const float* biases,
                 const int32_t* places, int64_t row_places, int64_t ones, int64_t t, int64_t rows,
                 const float* state, float* next, float* out, float* scratch) {
  float* first = scratch;
  first_layer(at, weights, biases, places, row_places, ones, t, rows, first);
  const float* x = first;
  if (at.has_second) {
    float* second = scratch + rows * at.first_outputs;
    linear(weights + at.second, biases + at.second_bias, first, at.first_outputs, at.hidden,
           at.padded_hidden, rows, second);
    x = second;
  }
  const GruRows gru{at.has_first ? biases + at.gates_bias : first,
                    at.has_first ? 0 : at.first_outputs,
                    x,
                    at.inputs,
                    at.padded_hidden,
                    state,
                    at.hidden,
                    at.padded_hidden};
  gru_rows(gru, weights + at.gates, biases + at.hidden_bias, rows, next);
  linear(weights + at.end, biases + at.end_bias, next, at.padded_hidden, at.hidden,
         at.padded_outputs, rows, out);
}

}  // namespace
}  // namespace loqa::LOQA_ISA
