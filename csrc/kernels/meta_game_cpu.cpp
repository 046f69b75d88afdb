#include "kernels/meta_game_lanes.h"

namespace loqa::LOQA_ISA {
namespace {

// The network of a run.
template <int kInputs, int kOutputs, typename T>
TanhNetwork<T> of_run(const TanhNetwork<T>& net, int64_t run) {
  return {net.weight + run * kInputs * net.hidden, net.bias + run * net.hidden,
          net.last + run * net.hidden * kOutputs, net.last_bias + run * kOutputs, net.hidden};
}

// Columns of a block of games.
template <typename T, int S>
struct Columns {
  explicit Columns(T* workspace)
      : states(workspace),
        actions(states + 2 * S * kBlock),
        out(actions + S * kBlock),
        grad(out + 2 * S * kBlock),
        values(grad + 2 * S * kBlock),
        log_probs(values + kBlock),
        returns(log_probs + kBlock),
        before(returns + kBlock),
        hidden(before + kWide * kBlock) {}
  T *states, *actions, *out, *grad, *values, *log_probs, *returns, *before, *hidden;
};

// Calls body(first game, games, games with those that fill the last vectors) for blocks of a run.
template <typename T, typename Body>
LOQA_HD void for_blocks(int64_t games, const Body& body) {
  constexpr int64_t kStep = 2 * kWide * kLanes<T>;
  for (int64_t first = 0; first < games; first += kBlock) {
    const int64_t left = games - first, count = left < kBlock ? left : kBlock;
    body(first, count, (count + kStep - 1) / kStep * kStep);
  }
}

// N(a; m, v), v = softplus(spread), of one of the numbers of an action.
template <typename T>
struct Gaussian {
  using V = Lanes<T>;
  static constexpr T kLogTwoPi = static_cast<T>(1.8378770664093454836);

  LOQA_HD Gaussian(V action, V mean, V spread)
      : variance(softplus(spread)),
        scaled((action - mean) / variance),
        square((action - mean) * scaled),
        log_term(log_of(variance) + kLogTwoPi) {}

  LOQA_HD V log_prob() const { return -(square + log_term) / 2; }
  LOQA_HD V entropy() const { return (log_term + 1) / 2; }

  V variance, scaled, square, log_term;
};

template <int S, typename T>
void one_run(const MetaAct<T>& job, int64_t run, T* workspace) {
  using V = Lanes<T>;
  const Columns<T, S> at(workspace);
  const auto actor = of_run<2 * S, 2 * S>(job.actor, run);
  for_blocks<T>(job.games, [&](int64_t first, int64_t games, int64_t padded) {
    const int64_t row = run * job.games + first;
    to_columns(job.states + row * 2 * S, 2 * S, games, padded, at.states);
    to_columns(job.noise + row * S, S, games, padded, at.actions);
    forward<2 * S, 2 * S>(actor, at.states, padded, at.hidden, at.out);
    for (int64_t g = 0; g < padded; g += kLanes<T>) {
      V log_prob = {};
      for (int s = 0; s < S; ++s) {
        const V mean = load<V>(at.out + s * kBlock + g);
        const V spread = load<V>(at.out + (S + s) * kBlock + g);
        T* action = at.actions + s * kBlock + g;
        const V drawn = mean + sqrt_of(softplus(spread)) * load<V>(action);
        store(drawn, action);
        log_prob += Gaussian<T>(drawn, mean, spread).log_prob();
      }
      store(log_prob, at.log_probs + g);
    }
    for (int64_t g = 0; g < games; ++g) {
      for (int s = 0; s < S; ++s) job.actions[(row + g) * S + s] = at.actions[s * kBlock + g];
      job.log_probs[row + g] = at.log_probs[g];
    }
  });
}

// The loss of the critic, [games], and its gradient in `grad`; `share` of a game is 1 / N, or 0.
template <typename T>
LOQA_HD Lanes<T> of_value(Lanes<T> value, Lanes<T> wanted, Lanes<T> share, T* grad) {
  const Lanes<T> error = value - wanted;
  store(error * share, grad);
  return error * error * share / 2;
}

template <int S, typename T>
LOQA_HD Lanes<T> of_action(const MetaPpo<T>& job, const Columns<T, S>& at, int64_t g,
                           Lanes<T> share) {
  using V = Lanes<T>;
  V log_prob = {}, entropy = {}, by_mean[S], by_spread[S], entropy_by_spread[S];
  for (int s = 0; s < S; ++s) {
    const V spread = load<V>(at.out + (S + s) * kBlock + g);
    const Gaussian<T> one(load<V>(at.actions + s * kBlock + g), load<V>(at.out + s * kBlock + g),
                          spread);
    log_prob += one.log_prob();
    entropy += one.entropy();
    const V slope = sigmoid(spread) / (2 * one.variance);
    by_mean[s] = one.scaled;
    by_spread[s] = (one.square - 1) * slope;
    entropy_by_spread[s] = slope;
  }
  const V ratio = exp_of(V(log_prob - load<V>(at.log_probs + g)));
  const V advantage = load<V>(at.returns + g) - load<V>(at.values + g);
  const V low = V{} + (1 - job.clip), high = V{} + (1 + job.clip);
  const V raised = ratio < low ? low : ratio;
  const V clipped = raised > high ? high : raised;
  const V free = ratio * advantage, bound = clipped * advantage;
  // Inside the bounds both are one; outside the smaller of the two counts.
  const V surrogate = bound < free ? bound : free;
  const V climbs = bound < free ? V{} : free * share;
  for (int s = 0; s < S; ++s) {
    store(-climbs * by_mean[s], at.grad + s * kBlock + g);
    store(-(climbs * by_spread[s] + job.entropy_bonus * share * entropy_by_spread[s]),
          at.grad + (S + s) * kBlock + g);
  }
  return -(surrogate + job.entropy_bonus * entropy) * share;
}

template <int S, typename T>
void one_run(const MetaPpo<T>& job, int64_t run, T* workspace) {
  using V = Lanes<T>;
  const Columns<T, S> at(workspace);
  const auto actor = of_run<2 * S, 2 * S>(job.actor, run);
  const auto critic = of_run<2 * S, 1>(job.critic, run);
  const auto actor_gradient = of_run<2 * S, 2 * S>(job.actor_gradient, run);
  const auto critic_gradient = of_run<2 * S, 1>(job.critic_gradient, run);
  double loss = 0;
  for_blocks<T>(job.games, [&](int64_t first, int64_t games, int64_t padded) {
    const int64_t row = run * job.games + first;
    to_columns(job.states + row * 2 * S, 2 * S, games, padded, at.states);
    to_columns(job.actions + row * S, S, games, padded, at.actions);
    to_columns(job.log_probs + row, 1, games, padded, at.log_probs);
    to_columns(job.returns + row, 1, games, padded, at.returns);
    T shares[kBlock];
    for (int64_t g = 0; g < padded; ++g) shares[g] = g < games ? T{1} / job.games : T{0};
    V sum = {};
    forward<2 * S, 1>(critic, at.states, padded, at.hidden, at.values);
    for (int64_t g = 0; g < padded; g += kLanes<T>) {
      sum += of_value(load<V>(at.values + g), load<V>(at.returns + g), load<V>(shares + g),
                      at.grad + g);
    }
    backward<2 * S, 1>(critic, at.states, at.hidden, at.grad, padded, at.before, critic_gradient);
    forward<2 * S, 2 * S>(actor, at.states, padded, at.hidden, at.out);
    for (int64_t g = 0; g < padded; g += kLanes<T>) {
      sum += of_action(job, at, g, load<V>(shares + g));
    }
    backward<2 * S, 2 * S>(actor, at.states, at.hidden, at.grad, padded, at.before, actor_gradient);
    loss += sum_of<T>(sum);
  });
  job.loss[run] = static_cast<T>(loss);
}

template <typename T>
void exact_gradient(const ExactGradient<T>& job, int64_t first, int64_t games) {
  using V = Lanes<T>;
  constexpr int64_t kCount = kLanes<T>;
  // CD and DC change places where I see the other's states.
  constexpr int kSeen[] = {0, 1, 3, 2, 4};
  V p[5], q[5];
  T lanes[2][5][kCount] = {};
  for (int64_t g = 0; g < games; ++g) {
    for (int s = 0; s < 5; ++s) {
      lanes[0][s][g] = job.mine[(first + g) * 5 + s];
      lanes[1][s][g] = job.theirs[(first + g) * 5 + kSeen[s]];
    }
  }
  V other_p[5], other_q[5];  // 1 - p would lose what is near 0
  for (int s = 0; s < 5; ++s) {
    p[s] = sigmoid(load<V>(lanes[0][s]));
    q[s] = sigmoid(load<V>(lanes[1][s]));
    other_p[s] = sigmoid(V(-load<V>(lanes[0][s])));
    other_q[s] = sigmoid(V(-load<V>(lanes[1][s])));
  }
  const V start[4] = {p[0] * q[0], p[0] * other_q[0], other_p[0] * q[0], other_p[0] * other_q[0]};
  // A = I - g M, its own factors after this; rows sum to 1 - g, so that no pivot is small.
  V a[4][4], inverse[4];
  for (int i = 0; i < 4; ++i) {
    const V row[4] = {p[i + 1] * q[i + 1], p[i + 1] * other_q[i + 1], other_p[i + 1] * q[i + 1],
                      other_p[i + 1] * other_q[i + 1]};
    for (int j = 0; j < 4; ++j) a[i][j] = (i == j ? T{1} : T{0}) - job.discount * row[j];
  }
  for (int k = 0; k < 4; ++k) {
    inverse[k] = 1 / a[k][k];
    for (int i = k + 1; i < 4; ++i) {
      a[i][k] *= inverse[k];
      for (int j = k + 1; j < 4; ++j) a[i][j] -= a[i][k] * a[k][j];
    }
  }
  // A w = r: what follows each outcome is worth to me and to the other.
  V worth[2][4];
  for (int who = 0; who < 2; ++who) {
    V* w = worth[who];
    for (int i = 0; i < 4; ++i) {
      w[i] = V{} + job.payoffs[who][i];
      for (int k = 0; k < i; ++k) w[i] -= a[i][k] * w[k];
    }
    for (int i = 3; i >= 0; --i) {
      for (int k = i + 1; k < 4; ++k) w[i] -= a[i][k] * w[k];
      w[i] *= inverse[i];
    }
  }
  // c A = start: how often each outcome comes.
  V c[4];
  for (int i = 0; i < 4; ++i) {
    c[i] = start[i];
    for (int k = 0; k < i; ++k) c[i] -= a[k][i] * c[k];
    c[i] *= inverse[i];
  }
  for (int i = 3; i >= 0; --i) {
    for (int k = i + 1; k < 4; ++k) c[i] -= a[k][i] * c[k];
  }
  for (int who = 0; who < 2; ++who) {
    V value = {};
    for (int i = 0; i < 4; ++i) value += start[i] * worth[who][i];
    store(value, lanes[0][who]);
  }
  const V* w = worth[1];
  for (int s = 0; s < 5; ++s) {
    const V of_q = p[s] * (w[0] - w[1]) + other_p[s] * (w[2] - w[3]);
    const V reached = s == 0 ? V{} + 1 : job.discount * c[s == 0 ? 0 : s - 1];
    store(reached * of_q * q[s] * other_q[s], lanes[1][kSeen[s]]);
  }
  for (int64_t g = 0; g < games; ++g) {
    for (int who = 0; who < 2; ++who) job.values[who * job.games + first + g] = lanes[0][who][g];
    for (int s = 0; s < 5; ++s) job.gradient[(first + g) * 5 + s] = lanes[1][s][g];
  }
}

template <typename Job, typename T>
void by_states(const Job& job, int64_t begin, int64_t end, T* workspace) {
  for (int64_t run = begin; run < end; ++run) {
    if (job.num_states == 1) {
      one_run<1>(job, run, workspace);
    } else {
      one_run<5>(job, run, workspace);
    }
  }
}

template <typename T>
void by_lanes(const ExactGradient<T>& job, int64_t begin, int64_t end) {
  for (int64_t first = begin; first < end; first += kLanes<T>) {
    exact_gradient(job, first, end - first < kLanes<T> ? end - first : kLanes<T>);
  }
}

}  // namespace

#define LOQA_DEFINE_META_GAME(T)                                                     \
  void run_meta(const MetaAct<T>& job, int64_t begin, int64_t end, T* workspace) {   \
    by_states(job, begin, end, workspace);                                           \
  }                                                                                  \
  void run_meta(const MetaPpo<T>& job, int64_t begin, int64_t end, T* workspace) {   \
    by_states(job, begin, end, workspace);                                           \
  }                                                                                  \
  void run_exact_gradient(const ExactGradient<T>& job, int64_t begin, int64_t end) { \
    by_lanes(job, begin, end);                                                       \
  }
LOQA_DEFINE_META_GAME(float)
LOQA_DEFINE_META_GAME(double)

}  // namespace loqa::LOQA_ISA
