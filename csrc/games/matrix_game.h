#pragma once

#include <cstdint>

#include "games/fields.h"
#include "games/random.h"

// Two-player matrix game, repeated: both players choose one of K actions at once and see the joint
// action afterwards. Everything a player sees is relative: its own action first.
// csrc/games/README.md says what a game must have.

namespace loqa {

struct MatrixGame {
  static constexpr const char* kName = "matrix-game";
  static constexpr int kMinPlayers = 2;
  static constexpr int kMostPlayers = 2;
  static constexpr int64_t kGrain = 1 << 14;
  static constexpr int8_t kNoAction = -1;  // the last action before the first step

  using Action = uint8_t;

  // Fourth word of the Philox counter (environment, episode, step, draw).
  enum Draw : uint32_t { kDrawNoise = 0, kDrawEnd = 1, kDrawPlayers = 2 };

  struct Rules {
    int32_t num_actions;    // K in 2..11
    int32_t obs_width;      // of a row of the table; 0: what is `seen`
    float noise;            // probability that an action is replaced by another one
    float end_probability;  // of each step being the last
    // Payoffs [2, K, K]: player, own action, other's action; observations [1 + K * K, width].
    const float* table;
  };
  static constexpr Field kRules[] = {
      {"num_actions", FieldType::kInt32, offsetof(Rules, num_actions), 1},
      {"obs_width", FieldType::kInt32, offsetof(Rules, obs_width), 1},
      {"noise", FieldType::kFloat32, offsetof(Rules, noise), 1},
      {"end_probability", FieldType::kFloat32, offsetof(Rules, end_probability), 1},
  };

  struct State {
    int8_t last[kMostPlayers];
  };
  static constexpr Field kState[] = {
      {"last_actions", FieldType::kInt8, offsetof(State, last), kEachPlayer},
  };

  static LOQA_HD bool fits(const Rules& rules, int) {
    return rules.num_actions >= 2 && rules.num_actions <= 11 && rules.obs_width >= 0;
  }

  static LOQA_HD int num_payoffs(const Rules& rules) {
    return kMostPlayers * rules.num_actions * rules.num_actions;
  }
  static LOQA_HD int64_t table_size(const Rules& rules) {
    return num_payoffs(rules) + int64_t{num_seen(rules, kMostPlayers)} * rules.obs_width;
  }

  static LOQA_HD bool legal(const Rules& rules, Action action) {
    return action < rules.num_actions;
  }
  static LOQA_HD int num_actions(const Rules& rules) { return rules.num_actions; }

  // The joint action as a player sees it, in 0 .. K*K-1. For K = 2: CC, CD, DC, DD.
  static LOQA_HD int joint_action(int own, int other, int num_actions) {
    return own * num_actions + other;
  }
  // The observation "index": 0 before the first step, then 1 + the joint action.
  static LOQA_HD int seen_index(int own, int other, int num_actions) {
    return own < 0 ? 0 : 1 + joint_action(own, other, num_actions);
  }
  static LOQA_HD int num_seen(const Rules& rules, int) {
    return 1 + rules.num_actions * rules.num_actions;
  }
  static LOQA_HD int seen(const Rules& rules, int, const State& state, int player) {
    return seen_index(state.last[player], state.last[1 - player], rules.num_actions);
  }

  static LOQA_HD int obs_width(const Rules& rules, int) {
    return rules.obs_width == 0 ? 1 : rules.obs_width;
  }

  // The action that is played: with probability `noise` another one than chosen, uniformly.
  static LOQA_HD int noisy_action(int chosen, int num_actions, float noise, uint32_t word_if,
                                  uint32_t word_which) {
    if (!(uniform(word_if) < noise)) return chosen;
    const int other = static_cast<int>(bounded(word_which, static_cast<uint32_t>(num_actions - 1)));
    return other < chosen ? other : other + 1;
  }
  // Replaces the actions of both players by what is played.
  static LOQA_HD void play_noisily(int num_actions, float noise, const GameRandom& random,
                                   Action* actions) {
    const PhiloxBlock block = random.block(kDrawNoise);
    for (int p = 0; p < kMostPlayers; ++p) {
      actions[p] = static_cast<Action>(noisy_action(actions[p], num_actions, noise, block.word[p],
                                                    block.word[kMostPlayers + p]));
    }
  }

  // Whether a step is the last of an episode that ends at random.
  static LOQA_HD bool ends(const Rules& rules, const GameRandom& random) {
    return rules.end_probability > 0 &&
           uniform(random.block(kDrawEnd).word[0]) < rules.end_probability;
  }

  template <typename Players>
  static LOQA_HD void reset(const Rules&, Players, const GameRandom&, State& state) {
    for (int p = 0; p < kMostPlayers; ++p) state.last[p] = kNoAction;
  }

  template <typename Players>
  static LOQA_HD bool step(const Rules& rules, Players, const GameRandom& random, State& state,
                           const Action* actions, float* rewards) {
    Action played[kMostPlayers] = {actions[0], actions[1]};
    if (rules.noise > 0) play_noisily(rules.num_actions, rules.noise, random, played);
    const int size = rules.num_actions * rules.num_actions;
    for (int p = 0; p < kMostPlayers; ++p) {
      state.last[p] = static_cast<int8_t>(played[p]);
      rewards[p] =
          rules.table[p * size + joint_action(played[p], played[1 - p], rules.num_actions)];
    }
    return ends(rules, random);
  }

  template <typename Players, typename Element>
  static LOQA_HD void observe(const Rules& rules, Players, const State& state, Element* obs) {
    for (int p = 0; p < kMostPlayers; ++p) {
      const int index = seen(rules, kMostPlayers, state, p);
      if (rules.obs_width == 0) *obs++ = static_cast<Element>(index);
      const float* row = rules.table + num_payoffs(rules) + index * rules.obs_width;
      for (int i = 0; i < rules.obs_width; ++i) *obs++ = static_cast<Element>(row[i]);
    }
  }
};

}  // namespace loqa
