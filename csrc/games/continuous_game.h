#pragma once

#include <cstdint>

#include "games/fields.h"
#include "games/random.h"

// Continuous games: n players choose a number in [0, 1] at once, again and again. Of an action a,
// where S is the sum of the others' actions, a player earns
// base + own a + others S + square a a + cross a S, in float32, from left to right. If all play
// `cooperate`, they earn the most together; if all play `defect`, none gains by another action.

namespace loqa {

struct ContinuousGame {
  static constexpr const char* kName = "continuous-game";
  static constexpr int kMinPlayers = 2;
  static constexpr int kMostPlayers = kMaxPlayers;
  static constexpr int64_t kGrain = 1 << 13;
  static constexpr uint32_t kDrawPlayers = 1u << 31;
  static constexpr float kNoAction = -1;  // the last action before the first step

  using Action = float;

  // Scripted players. Tit-for-tat plays what the others played on average, and cooperates at first.
  static constexpr const char* kScripts[] = {"always-cooperate", "always-defect", "tit-for-tat"};
  enum Script : int { kAlwaysCooperate, kAlwaysDefect, kTitForTat };

  struct Rules {
    float base;
    float own;
    float others;
    float square;
    float cross;
    float cooperate;
    float defect;
  };
  static constexpr Field kRules[] = {
      {"base", FieldType::kFloat32, offsetof(Rules, base), 1},
      {"own", FieldType::kFloat32, offsetof(Rules, own), 1},
      {"others", FieldType::kFloat32, offsetof(Rules, others), 1},
      {"square", FieldType::kFloat32, offsetof(Rules, square), 1},
      {"cross", FieldType::kFloat32, offsetof(Rules, cross), 1},
      {"cooperate", FieldType::kFloat32, offsetof(Rules, cooperate), 1},
      {"defect", FieldType::kFloat32, offsetof(Rules, defect), 1},
  };

  struct State {
    float last[kMaxPlayers];
  };
  static constexpr Field kState[] = {
      {"last_actions", FieldType::kFloat32, offsetof(State, last), kEachPlayer},
  };

  static LOQA_HD bool legal(const Rules&, Action action) {
    return action >= 0 && action <= 1;  // NaN is neither
  }

  static LOQA_HD Action scripted(int script, const Rules& rules, int players, const State& state,
                                 int player) {
    if (script == kAlwaysDefect) return rules.defect;
    if (script == kAlwaysCooperate || state.last[player] < 0) return rules.cooperate;
    return others_of(players, state.last, player) / static_cast<float>(players - 1);
  }

  // In the order of seats.
  template <typename Players>
  static LOQA_HD float others_of(Players players, const float* actions, int player) {
    float sum = 0;
    for (int j = 0; j < players; ++j) sum += j == player ? 0.0f : actions[j];
    return sum;
  }

  static LOQA_HD int obs_width(const Rules&, int players) { return 1 + players; }

  template <typename Players>
  static LOQA_HD void reset(const Rules&, Players players, const GameRandom&, State& state) {
    for (int p = 0; p < players; ++p) state.last[p] = kNoAction;
  }

  // Whether the game has ended, which it never does.
  template <typename Players>
  static LOQA_HD bool step(const Rules& rules, Players players, const GameRandom&, State& state,
                           const Action* actions, float* rewards) {
    for (int p = 0; p < players; ++p) {
      const float a = actions[p];
      const float sum = others_of(players, actions, p);
      rewards[p] = rules.base + rules.own * a + rules.others * sum + rules.square * (a * a) +
                   rules.cross * (a * sum);
      state.last[p] = a;
    }
    return false;
  }

  // 1 after the first step; the own last action, then those of the seats after it in turn. All
  // zeros at the start.
  template <typename Players, typename Element>
  static LOQA_HD void observe(const Rules&, Players players, const State& state, Element* obs) {
    const bool started = state.last[0] >= 0;
    for (int p = 0; p < players; ++p, obs += 1 + players) {
      obs[0] = static_cast<Element>(started ? 1 : 0);
      for (int k = 0; k < players; ++k) {
        const int seat = p + k < players ? p + k : p + k - players;
        obs[1 + k] = static_cast<Element>(started ? state.last[seat] : 0);
      }
    }
  }
};

}  // namespace loqa
