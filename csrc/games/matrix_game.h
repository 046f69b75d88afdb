#pragma once

#include <cstdint>

#include "core/macros.h"
#include "core/philox.h"

// Two-player matrix game, repeated: both players choose one of K actions at once and see the joint
// action afterwards. Everything a player sees is relative: its own action first.
// csrc/games/README.md says what a game must have.

namespace loqa {

inline constexpr int kMatrixPlayers = 2;
inline constexpr int8_t kNoAction = -1;  // the last action before the first step

// What a block of random numbers is for: the fourth word of its Philox counter (environment,
// episode, step, draw).
enum MatrixDraw : uint32_t { kDrawNoise = 0, kDrawEnd = 1, kDrawPolicy = 2 };

// The joint action as a player sees it, in 0 .. K*K-1. For K = 2: CC, CD, DC, DD.
LOQA_HD int joint_action(int own, int other, int num_actions) { return own * num_actions + other; }

// The observation "index": 0 before the first step, then 1 + the joint action.
LOQA_HD int joint_observation(int own, int other, int num_actions) {
  return own < 0 ? 0 : 1 + joint_action(own, other, num_actions);
}

// Payoff of joint action 0..3 of a game with two actions, without a memory access so that it
// vectorises; equal to payoff[joint].
LOQA_HD float payoff_of_four(int joint, float p0, float p1, float p2, float p3) {
  const float if_first = (joint & 1) != 0 ? p1 : p0;
  const float if_second = (joint & 1) != 0 ? p3 : p2;
  return (joint & 2) != 0 ? if_second : if_first;
}

// The action that is played: with probability `noise` another one than chosen, uniformly.
LOQA_HD int noisy_action(int chosen, int num_actions, float noise, uint32_t word_if,
                         uint32_t word_which) {
  if (!(uniform(word_if) < noise)) return chosen;
  const int other = static_cast<int>(bounded(word_which, static_cast<uint32_t>(num_actions - 1)));
  return other < chosen ? other : other + 1;
}

// Replaces the actions of both players by what is played at step t.
LOQA_HD void play_noisily(uint64_t seed, uint32_t env, uint32_t episode, uint32_t t,
                          int num_actions, float noise, uint8_t* actions) {
  const PhiloxBlock random = philox(seed, env, episode, t, kDrawNoise);
  for (int player = 0; player < kMatrixPlayers; ++player) {
    actions[player] =
        static_cast<uint8_t>(noisy_action(actions[player], num_actions, noise, random.word[player],
                                          random.word[kMatrixPlayers + player]));
  }
}

// Whether step t is the last of an episode that ends at random.
LOQA_HD bool ends_at_random(uint64_t seed, uint32_t env, uint32_t episode, uint32_t t,
                            float end_probability) {
  return uniform(philox(seed, env, episode, t, kDrawEnd).word[0]) < end_probability;
}

inline constexpr int kMemory1States = 5;  // observations of a game with two actions

// A memory-1 player of a game with two actions: plays action 0 with probability p of what it sees,
// mixed with uniform play: p (1 - exploration) + exploration / 2.
LOQA_HD float explored_probability(float p, float exploration) {
  return p * (1.0f - exploration) + 0.5f * exploration;
}

LOQA_HD uint8_t memory1_action(float p, float exploration, uint32_t word) {
  return uniform(word) < explored_probability(p, exploration) ? 0 : 1;
}

}  // namespace loqa
