#pragma once

#include "kernels/gru_policy_pack.h"

// One step of a recurrent head for a few rows, from weights that stay in the cache: every layer is
// a walk through its weights from front to back.

namespace loqa::LOQA_ISA {
namespace {

// Calls body.template operator()<number of rows>(first row) for tiles of at most kTileRows rows.
template <int kRows, typename Body>
LOQA_HD void with_rows(int64_t rows, int64_t first, const Body& body) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return with_rows<kRows - 1>(rows, first, body);
  }
  body.template operator()<kRows>(first);
}

template <typename Body>
LOQA_HD void for_tiles(int64_t rows, const Body& body) {
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
LOQA_HD void linear_tile(const Weight* weights, int64_t columns, const float* bias, const float* x,
                         int64_t x_stride, int64_t inputs, float* out, int64_t out_stride) {
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
LOQA_HD void for_columns(int64_t outputs, int64_t columns, int64_t inputs, int64_t width,
                         const Body& body) {
  const auto weights_of = [&](int64_t column) LOQA_INLINE {
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
  for_tiles(rows, [&]<int kRows>(int64_t row) LOQA_INLINE {
    for_columns<linear_columns(kRows)>(stride, at.second_columns, at.hidden, kFloats,
                                       [&]<int kColumns>(int64_t first, int64_t begin) LOQA_INLINE {
                                         linear_tile<kRows, kColumns>(
                                             weights + begin, at.second_columns, bias + first,
                                             x + row * stride, stride, at.hidden,
                                             out + row * stride + first, stride);
                                       });
  });
}

// The last layer. Its outputs are few, most often one vector, so that each is summed up in four
// parts.
template <typename Weight>
void end_layer(const PolicyLayout& at, const Weight* weights, const float* bias, const float* state,
               int64_t rows, float* out) {
  constexpr int kParts = 4;
  const int64_t whole = at.hidden / kParts * kParts;
  for_tiles(rows, [&]<int kRows>(int64_t row) LOQA_INLINE {
    const float* x = state + row * at.padded_hidden;
    for (int64_t first = 0; first < at.padded_outputs; first += kFloats) {
      const Weight* panel = weights + first * at.hidden;
      Floats sum[kRows][kParts] = {};
      const auto add = [&](int64_t i, int part) LOQA_INLINE {
        const Floats weight = load_floats(panel + i * kFloats);
        for (int r = 0; r < kRows; ++r) sum[r][part] += x[r * at.padded_hidden + i] * weight;
      };
      for (int64_t i = 0; i < whole; i += kParts) {
        for (int part = 0; part < kParts; ++part) add(i + part, part);
      }
      for (int64_t i = whole; i < at.hidden; ++i) add(i, 0);
      for (int r = 0; r < kRows; ++r) {
        const Floats all = (sum[r][0] + sum[r][1]) + (sum[r][2] + sum[r][3]);
        store(load<Floats>(bias + first) + all, out + (row + r) * at.padded_outputs + first);
      }
    }
  });
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
LOQA_HD void gru_tile(const GruRows& rows, const Weight* weights, int64_t columns,
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
      const auto gates = gru_gates(r[row][c], z[row][c], n[row][c], hn[row][c]);
      store(gru_next(gates, load<Floats>(rows.state + at)), next + at);
    }
  }
}

template <typename Weight>
void gru_layer(const PolicyLayout& at, const GruRows& all, const Weight* weights,
               const float* bias_hn, int64_t count, float* next) {
  for_tiles(count, [&]<int kRows>(int64_t row) LOQA_INLINE {
    GruRows rows = all;
    rows.start += row * all.start_stride;
    rows.x += row * all.stride;
    rows.state += row * all.stride;
    float* to = next + row * all.stride;
    for_columns<gru_columns(kRows)>(
        at.padded_hidden, at.gru_columns, at.inputs + at.hidden, 3 * kFloats,
        [&]<int kColumns>(int64_t first, int64_t begin) LOQA_INLINE {
          gru_tile<kRows, kColumns>(rows, weights + begin, at.gru_columns, bias_hn, first, to);
        });
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
