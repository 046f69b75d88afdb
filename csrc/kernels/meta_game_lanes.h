#pragma once

#include <cmath>

#include "kernels/gru_lanes.h"
#include "kernels/meta_game.h"

// A network of one layer of tanh for a block of games, which are the lanes: products that stay in
// registers, hidden units that stay in the cache.

namespace loqa::LOQA_ISA {
namespace {

template <typename T>
struct LanesOf;
template <>
struct LanesOf<float> {
  using Type = Floats;
};
template <>
struct LanesOf<double> {
  using Type = double;
};
template <typename T>
using Lanes = typename LanesOf<T>::Type;
template <typename T>
constexpr int64_t kLanes = sizeof(Lanes<T>) / sizeof(T);

constexpr int64_t kBlock = kMetaBlock;
constexpr int kWide = kVectorBytes == 64 ? 2 : 1;  // there are half as many registers elsewhere

// log((1 + s) / (1 - s)), |s| <= 1/3, as a series.
template <typename V>
LOQA_HD V log_ratio(V s) {
  const V z = s * s;
  V p = z * (2.0f / 13) + 2.0f / 11;
  p = p * z + 2.0f / 9;
  p = p * z + 2.0f / 7;
  p = p * z + 2.0f / 5;
  p = p * z + 2.0f / 3;
  return p * z * s + (s + s);
}

LOQA_HD double log_of(double x) { return ::log(x); }
// Of normal numbers above 0: x = 2^k m with m in [2/3, 4/3).
LOQA_HD Floats log_of(Floats x) {
  constexpr int32_t kTwoThirds = 0x3f2aaaab;
  const Ints bits = reinterpret_cast<Ints>(x) - kTwoThirds;
  const Floats m = reinterpret_cast<Floats>((bits & 0x7fffff) + kTwoThirds);
  return __builtin_convertvector(bits >> 23, Floats) * 0.693147181f + log_ratio((m - 1) / (m + 1));
}

LOQA_HD double exp_of(double x) { return ::exp(x); }
LOQA_HD Floats exp_of(Floats x) { return expm1_of(x) + 1; }

// log(1 + e^x) = max(x, 0) + log(1 / (1 - s)) with s = sigmoid(-|x|)
LOQA_HD double softplus(double x) { return (x > 0 ? x : 0) + ::log1p(::exp(x > 0 ? -x : x)); }
LOQA_HD Floats softplus(Floats x) {
  const Floats s = sigmoid(x > 0 ? -x : x);
  return (x > 0 ? x : Floats{}) + log_ratio(s / (2 - s));
}

LOQA_HD double sqrt_of(double x) { return ::sqrt(x); }
LOQA_HD Floats sqrt_of(Floats x) {
  for (int64_t i = 0; i < kLanes<float>; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
}

template <typename T>
LOQA_HD T sum_of(Lanes<T> x) {
  if constexpr (kLanes<T> == 1) {
    return x;
  } else {
    T sum = 0;
    for (int64_t i = 0; i < kLanes<T>; ++i) sum += x[i];
    return sum;
  }
}

// Columns [count, kBlock] of rows [games, count]; those that fill the last vectors are zeros.
template <typename T>
void to_columns(const T* rows, int64_t count, int64_t games, int64_t padded, T* columns) {
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t g = 0; g < games; ++g) columns[i * kBlock + g] = rows[g * count + i];
    for (int64_t g = games; g < padded; ++g) columns[i * kBlock + g] = 0;
  }
}

template <int kUnits, int kInputs, typename T>
LOQA_HD void hidden_tile(const TanhNetwork<const T>& net, int64_t unit, const T* x, T* hidden) {
  constexpr int kColumns = 2 * kWide;
  using V = Lanes<T>;
  V sum[kUnits][kColumns];
  for (int u = 0; u < kUnits; ++u) {
    for (int c = 0; c < kColumns; ++c) sum[u][c] = V{} + net.bias[unit + u];
  }
  for (int i = 0; i < kInputs; ++i) {
    const T* weight = net.weight + i * net.hidden + unit;
    for (int c = 0; c < kColumns; ++c) {
      const V input = load<V>(x + i * kBlock + c * kLanes<T>);
      for (int u = 0; u < kUnits; ++u) sum[u][c] += input * weight[u];
    }
  }
  for (int u = 0; u < kUnits; ++u) {
    for (int c = 0; c < kColumns; ++c) {
      store(tanh_of(sum[u][c]), hidden + u * kBlock + c * kLanes<T>);
    }
  }
}

// Hidden units [hidden, kBlock] and outputs [kOutputs, kBlock] of inputs [kInputs, kBlock].
template <int kInputs, int kOutputs, typename T>
void forward(const TanhNetwork<const T>& net, const T* x, int64_t games, T* hidden, T* out) {
  using V = Lanes<T>;
  constexpr int64_t kStep = 2 * kWide * kLanes<T>;
  const int64_t whole = net.hidden / 4 * 4;
  for (int64_t unit = 0; unit < whole; unit += 4) {
    for (int64_t g = 0; g < games; g += kStep) {
      hidden_tile<4, kInputs>(net, unit, x + g, hidden + unit * kBlock + g);
    }
  }
  for (int64_t unit = whole; unit < net.hidden; ++unit) {
    for (int64_t g = 0; g < games; g += kStep) {
      hidden_tile<1, kInputs>(net, unit, x + g, hidden + unit * kBlock + g);
    }
  }
  constexpr int kColumns = kOutputs == 1 ? 2 * kWide : kWide;
  for (int64_t g = 0; g < games; g += kColumns * kLanes<T>) {
    V sum[kOutputs][kColumns];
    for (int o = 0; o < kOutputs; ++o) {
      for (int c = 0; c < kColumns; ++c) sum[o][c] = V{} + net.last_bias[o];
    }
    for (int64_t unit = 0; unit < net.hidden; ++unit) {
      for (int c = 0; c < kColumns; ++c) {
        const V h = load<V>(hidden + unit * kBlock + g + c * kLanes<T>);
        for (int o = 0; o < kOutputs; ++o) sum[o][c] += h * net.last[unit * kOutputs + o];
      }
    }
    for (int o = 0; o < kOutputs; ++o) {
      for (int c = 0; c < kColumns; ++c) store(sum[o][c], out + o * kBlock + g + c * kLanes<T>);
    }
  }
}

template <int kUnits, int kInputs, int kOutputs, typename T>
LOQA_HD void backward_tile(const TanhNetwork<const T>& net, int64_t unit, const T* x,
                           const T* hidden, const T* grad, int64_t games, T* before,
                           const TanhNetwork<T>& into) {
  using V = Lanes<T>;
  V last[kUnits][kOutputs] = {};
  for (int64_t g = 0; g < games; g += kLanes<T>) {
    V h[kUnits], of_h[kUnits] = {};
    for (int u = 0; u < kUnits; ++u) h[u] = load<V>(hidden + (unit + u) * kBlock + g);
    for (int o = 0; o < kOutputs; ++o) {
      const V of_output = load<V>(grad + o * kBlock + g);
      for (int u = 0; u < kUnits; ++u) {
        last[u][o] += h[u] * of_output;
        of_h[u] += of_output * net.last[(unit + u) * kOutputs + o];
      }
    }
    for (int u = 0; u < kUnits; ++u) store(of_h[u] * (1 - h[u] * h[u]), before + u * kBlock + g);
  }
  V weight[kUnits][kInputs] = {}, bias[kUnits] = {};
  for (int64_t g = 0; g < games; g += kLanes<T>) {
    V of_sum[kUnits];
    for (int u = 0; u < kUnits; ++u) bias[u] += of_sum[u] = load<V>(before + u * kBlock + g);
    for (int i = 0; i < kInputs; ++i) {
      const V input = load<V>(x + i * kBlock + g);
      for (int u = 0; u < kUnits; ++u) weight[u][i] += of_sum[u] * input;
    }
  }
  for (int u = 0; u < kUnits; ++u) {
    for (int o = 0; o < kOutputs; ++o) {
      into.last[(unit + u) * kOutputs + o] += sum_of<T>(last[u][o]);
    }
    for (int i = 0; i < kInputs; ++i) {
      into.weight[i * net.hidden + unit + u] += sum_of<T>(weight[u][i]);
    }
    into.bias[unit + u] += sum_of<T>(bias[u]);
  }
}

// Adds the gradient of parameters to `into`, given that of the outputs [kOutputs, kBlock].
template <int kInputs, int kOutputs, typename T>
void backward(const TanhNetwork<const T>& net, const T* x, const T* hidden, const T* grad,
              int64_t games, T* before, const TanhNetwork<T>& into) {
  const int64_t whole = net.hidden / kWide * kWide;
  for (int64_t unit = 0; unit < whole; unit += kWide) {
    backward_tile<kWide, kInputs, kOutputs>(net, unit, x, hidden, grad, games, before, into);
  }
  for (int64_t unit = whole; unit < net.hidden; ++unit) {
    backward_tile<1, kInputs, kOutputs>(net, unit, x, hidden, grad, games, before, into);
  }
  for (int o = 0; o < kOutputs; ++o) {
    Lanes<T> sum = {};
    for (int64_t g = 0; g < games; g += kLanes<T>) sum += load<Lanes<T>>(grad + o * kBlock + g);
    into.last_bias[o] += sum_of<T>(sum);
  }
}

}  // namespace
}  // namespace loqa::LOQA_ISA
