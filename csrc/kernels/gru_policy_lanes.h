#pragma once

#include "kernels/gru_lanes.h"
#include "kernels/gru_policy.h"
#include "kernels/half_lanes.h"

// One step of a recurrent head for a few rows, from weights that stay in the cache: every layer is
// a walk through its weights from front to back. A matrix is kept in panels of a few vectors of
// outputs, as many as are summed up at once: for each input its weights to these outputs. Sizes are
// rounded up to whole vectors; the weights of outputs that do not exist are 0, and so is their
// state.

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
  int64_t inputs;          // of the GRU that are not places of ones: hidden or 0
  int64_t padded_hidden;   // whole vectors
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
  at.second_columns = columns_of(at.padded_hidden, linear_columns(tile));
  at.gru_columns = columns_of(at.padded_hidden, gru_columns(tile));
  at.first_outputs = at.has_first ? at.padded_hidden : 3 * at.padded_hidden;
  at.second = at.first_outputs * sets.features;
  at.gates = at.second + (at.has_second ? at.padded_hidden * sets.hidden : 0);
  at.end = at.gates + 3 * at.padded_hidden * (at.inputs + sets.hidden);
  at.weights = at.end + sets.outputs * at.padded_hidden;
  at.second_bias = at.first_outputs;
  at.gates_bias = at.second_bias + (at.has_second ? at.padded_hidden : 0);
  at.hidden_bias = at.gates_bias + (at.has_first ? 3 * at.padded_hidden : 0);
  at.end_bias = at.hidden_bias + at.padded_hidden;
  at.biases = at.end_bias + padded(sets.outputs);
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
  for (int64_t k = 0; k < at.outputs; ++k) {
    pack_row(array(kEndWeight) + k * hidden, hidden, weights + at.end + k * at.padded_hidden,
             kFloats);
  }
  pack_row(array(kEndBias), at.outputs, biases + at.end_bias, kFloats);
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
  const int64_t tiles = tiles_of(rows);
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

// kRows rows of x times kColumns vectors of outputs, of a panel of `columns`.
template <int kRows, int kColumns, typename Weight>
LOQA_INLINE void linear_tile(const Weight* weights, int64_t columns, const float* bias,
                             const float* x, int64_t x_stride, int64_t inputs, float* out,
                             int64_t out_stride) {
  Floats sum[kRows][kColumns];
  for (int row = 0; row < kRows; ++row) {
    for (int c = 0; c < kColumns; ++c) sum[row][c] = load<Floats>(bias + c * kFloats);
  }
  for (int64_t i = 0; i < inputs; ++i, weights += columns * kFloats) {
    for (int c = 0; c < kColumns; ++c) {
      const Floats weight = load_floats(weights + c * kFloats);
      for (int row = 0; row < kRows; ++row) sum[row][c] += x[row * x_stride + i] * weight;
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int c = 0; c < kColumns; ++c) store(sum[row][c], out + row * out_stride + c * kFloats);
  }
}

// Calls body.template operator()<kColumns>(first output, where its weights begin) for all outputs,
// or for vector after vector if panels are narrower than kColumns. `width` elements of a panel
// belong to a vector of outputs.
template <int kColumns, typename Body>
LOQA_INLINE void for_columns(int64_t outputs, int64_t columns, int64_t inputs, int64_t width,
                             const Body& body) {
  const auto weights_of = [&](int64_t column) __attribute__((always_inline)) {
    return (column / columns * columns * inputs + column % columns) * width;
  };
  const int64_t count = outputs / kFloats;
  if (columns % kColumns == 0) {
    for (int64_t c = 0; c < count; c += kColumns) {
      body.template operator()<kColumns>(c * kFloats, weights_of(c));
    }
  } else {
    for (int64_t c = 0; c < count; ++c) body.template operator()<1>(c * kFloats, weights_of(c));
  }
}

// The second layer: out = weights x + bias.
template <typename Weight>
void second_layer(const PolicyLayout& at, const Weight* weights, const float* bias, const float* x,
                  int64_t rows, float* out) {
  const int64_t stride = at.padded_hidden;
  for_tiles(rows, [&]<int kRows>(int64_t row) __attribute__((always_inline)) {
    for_columns<linear_columns(kRows)>(
        stride, at.second_columns, at.hidden, kFloats,
        [&]<int kColumns>(int64_t first, int64_t begin) __attribute__((always_inline)) {
          linear_tile<kRows, kColumns>(weights + begin, at.second_columns, bias + first,
                                       x + row * stride, stride, at.hidden,
                                       out + row * stride + first, stride);
        });
  });
}

// The sum of a vector's elements, in pairs.
LOQA_INLINE float sum_of(Floats value) {
  float parts[kFloats];
  store(value, parts);
#pragma GCC unroll 4
  for (int64_t count = kFloats / 2; count > 0; count /= 2) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < count; ++i) parts[i] += parts[i + count];
  }
  return parts[0];
}

// The last layer, whose few outputs are a scalar product each.
template <typename Weight>
void end_layer(const PolicyLayout& at, const Weight* weights, const float* bias, const float* state,
               int64_t rows, float* out) {
  for (int64_t row = 0; row < rows; ++row, state += at.padded_hidden) {
    for (int64_t k = 0; k < at.outputs; ++k) {
      const Weight* from = weights + k * at.padded_hidden;
      Floats sum = {};
      for (int64_t i = 0; i < at.padded_hidden; i += kFloats) {
        sum += load<Floats>(state + i) * load_floats(from + i);
      }
      out[row * at.outputs + k] = bias[k] + sum_of(sum);
    }
  }
}

// What the GRU of some rows reads besides its weights. Strides are in elements.
struct GruRows {
  const float* start;  // of the gates' sums: biases, or what the input says
  int64_t start_stride;
  const float* x;
  int64_t inputs;
  const float* state;
  int64_t hidden;
  int64_t stride;  // of x and the state
};

// One step of kColumns vectors of the state, of a panel of `columns`; the equations are those of
// kernels/gru.h.
template <int kRows, int kColumns, typename Weight>
LOQA_INLINE void gru_tile(const GruRows& rows, const Weight* weights, int64_t columns,
                          const float* bias_hn, int64_t first, float* next) {
  Floats r[kRows][kColumns], z[kRows][kColumns], n[kRows][kColumns], hn[kRows][kColumns];
  for (int row = 0; row < kRows; ++row) {
    for (int c = 0; c < kColumns; ++c) {
      const float* start = rows.start + row * rows.start_stride + 3 * (first + c * kFloats);
      r[row][c] = load<Floats>(start);
      z[row][c] = load<Floats>(start + kFloats);
      n[row][c] = load<Floats>(start + 2 * kFloats);
      hn[row][c] = load<Floats>(bias_hn + first + c * kFloats);
    }
  }
  const int64_t step = 3 * columns * kFloats;
  for (int64_t i = 0; i < rows.inputs; ++i, weights += step) {
    for (int c = 0; c < kColumns; ++c) {
      const Weight* at = weights + 3 * c * kFloats;
      const Floats of_r = load_floats(at), of_z = load_floats(at + kFloats);
      const Floats of_n = load_floats(at + 2 * kFloats);
      for (int row = 0; row < kRows; ++row) {
        const float x = rows.x[row * rows.stride + i];
        r[row][c] += x * of_r;
        z[row][c] += x * of_z;
        n[row][c] += x * of_n;
      }
    }
  }
  for (int64_t i = 0; i < rows.hidden; ++i, weights += step) {
    for (int c = 0; c < kColumns; ++c) {
      const Weight* at = weights + 3 * c * kFloats;
      const Floats of_r = load_floats(at), of_z = load_floats(at + kFloats);
      const Floats of_n = load_floats(at + 2 * kFloats);
      for (int row = 0; row < kRows; ++row) {
        const float h = rows.state[row * rows.stride + i];
        r[row][c] += h * of_r;
        z[row][c] += h * of_z;
        hn[row][c] += h * of_n;
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int c = 0; c < kColumns; ++c) {
      const int64_t at = row * rows.stride + first + c * kFloats;
      const Floats new_part = tanh_of(n[row][c] + sigmoid(r[row][c]) * hn[row][c]);
      const Floats old = load<Floats>(rows.state + at);
      store(new_part + sigmoid(z[row][c]) * (old - new_part), next + at);
    }
  }
}

template <typename Weight>
void gru_layer(const PolicyLayout& at, const GruRows& all, const Weight* weights,
               const float* bias_hn, int64_t count, float* next) {
  for_tiles(count, [&]<int kRows>(int64_t row) __attribute__((always_inline)) {
    GruRows rows = all;
    rows.start += row * all.start_stride;
    rows.x += row * all.stride;
    rows.state += row * all.stride;
    float* to = next + row * all.stride;
    for_columns<gru_columns(kRows)>(
        at.padded_hidden, at.gru_columns, at.inputs + at.hidden, 3 * kFloats,
        [&]<int kColumns>(int64_t first, int64_t begin) __attribute__((always_inline)) {
          gru_tile<kRows, kColumns>(rows, weights + begin, at.gru_columns, bias_hn, first, to);
        });
  });
}

// Floats of scratch that a step of one row needs.
inline int64_t policy_scratch(const PolicyLayout& at) {
  return at.first_outputs + (at.has_second ? at.padded_hidden : 0);
}

// One step of `rows` rows: places of ones [rows, row_places], state -> next [rows, padded_hidden]
// and out [rows, outputs].
template <typename Weight>
void policy_step(const PolicyLayout& at, const Weight* weights, const float* biases,
                 const int32_t* places, int64_t row_places, int64_t ones, int64_t t, int64_t rows,
                 const float* state, float* next, float* out, float* scratch) {
  float* first = scratch;
  first_layer(at, weights, biases, places, row_places, ones, t, rows, first);
  const float* x = first;
  if (at.has_second) {
    float* second = scratch + rows * at.first_outputs;
    second_layer(at, weights + at.second, biases + at.second_bias, first, rows, second);
    x = second;
  }
  const GruRows gru{at.has_first ? biases + at.gates_bias : first,
                    at.has_first ? 0 : at.first_outputs,
                    x,
                    at.inputs,
                    state,
                    at.hidden,
                    at.padded_hidden};
  gru_layer(at, gru, weights + at.gates, biases + at.hidden_bias, rows, next);
  end_layer(at, weights + at.end, biases + at.end_bias, next, rows, out);
}

}  // namespace
}  // namespace loqa::LOQA_ISA
