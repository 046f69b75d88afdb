#pragma once

#include <cstdint>

#include "core/isa.h"

// M-FOS in exact games of two players (Lu et al., ICML 2022): loqa/ops/meta_game.py has the
// equations. S states, R runs side by side with networks of their own, N games in each.

namespace loqa {

// inputs - tanh - outputs, [R, inputs, hidden], [R, hidden], [R, hidden, outputs], [R, outputs].
template <typename T>
struct TanhNetwork {
  T* weight;
  T* bias;
  T* last;
  T* last_bias;
  int64_t hidden;
};

// Actions from noise, and their log-probabilities.
template <typename T>
struct MetaAct {
  TanhNetwork<const T> actor;
  const T* states;  // [R, N, 2 S]
  const T* noise;   // [R, N, S]
  T* actions;       // [R, N, S]
  T* log_probs;     // [R, N]
  int64_t num_states, games;
};

// PPO's loss on a batch, and its gradient.
template <typename T>
struct MetaPpo {
  TanhNetwork<const T> actor, critic;
  TanhNetwork<T> actor_gradient, critic_gradient;  // zeros before
  const T* states;                                 // [R, N, 2 S]
  const T* actions;                                // [R, N, S]
  const T* log_probs;                              // [R, N]
  const T* returns;                                // [R, N]
  T* loss;                                         // [R]
  T clip, entropy_bonus;
  int64_t num_states, games;
};

// Returns of a game without end, and the gradient of the other's for the other's logits.
template <typename T>
struct ExactGradient {
  const T* mine;    // [N, 5]
  const T* theirs;  // [N, 5], own action first
  T payoffs[2][4];  // of me and of the other, as I see CC, CD, DC, DD
  T discount;
  T* values;    // [2, N]
  T* gradient;  // [N, 5]
  int64_t games;
};

// Elements that a thread needs for itself: hidden units and a few columns of a block of games.
inline constexpr int64_t kMetaBlock = 512;  // with 256 units half a megabyte
constexpr int64_t meta_workspace(int64_t hidden) { return (hidden + 40) * kMetaBlock; }

#define LOQA_META_GAME_OF(T)                                                      \
  void run_meta(const MetaAct<T>& job, int64_t begin, int64_t end, T* workspace); \
  void run_meta(const MetaPpo<T>& job, int64_t begin, int64_t end, T* workspace); \
  void run_exact_gradient(const ExactGradient<T>& job, int64_t begin, int64_t end);

LOQA_DECLARE_ISA(LOQA_META_GAME_OF(float) LOQA_META_GAME_OF(double))

}  // namespace loqa
