#pragma once

#include <cstdint>

#include "games/fields.h"
#include "games/random.h"

// Public goods: n players contribute one of K levels at once, again and again. Of each level of
// another player everybody gains `gain`; an own level adds `own` (negative: contributing costs).
// csrc/games/README.md says what a game must have.

namespace loqa {

struct PublicGoods {
  static constexpr const char* kName = "public-goods";
  static constexpr int kMinPlayers = 2;
  static constexpr int kMostPlayers = kMaxPlayers;
  static constexpr int64_t kGrain = 1 << 13;
  static constexpr uint32_t kDrawPlayers = 1u << 31;
  static constexpr int8_t kNoLevel = -1;  // the last level before the first step

  using Action = uint8_t;

  enum Obs : int32_t { kIndex, kCount, kJoint };

  // Scripted players. A conditional cooperator gives what the others gave on average, rounded down,
  // and all at first (Fischbacher, Gaechter and Fehr 2001); grim gives all if everybody did, or
  // nothing.
  static constexpr const char* kScripts[] = {"always-cooperate", "always-defect",
                                             "conditional-cooperator", "grim"};
  enum Script : int { kAlwaysCooperate, kAlwaysDefect, kConditional, kGrim };

  struct Rules {
    int32_t num_levels;  // K
    int32_t obs;         // Obs
    float base;
    float gain;
    float own;
  };
  static constexpr Field kRules[] = {
      {"num_levels", FieldType::kInt32, offsetof(Rules, num_levels), 1},
      {"obs", FieldType::kInt32, offsetof(Rules, obs), 1},
      {"base", FieldType::kFloat32, offsetof(Rules, base), 1},
      {"gain", FieldType::kFloat32, offsetof(Rules, gain), 1},
      {"own", FieldType::kFloat32, offsetof(Rules, own), 1},
  };

  struct State {
    int8_t last[kMaxPlayers];
  };
  static constexpr Field kState[] = {
      {"last_actions", FieldType::kInt8, offsetof(State, last), kEachPlayer},
  };

  static LOQA_HD bool legal(const Rules& rules, Action level) { return level < rules.num_levels; }

  // The sums of the others' levels that there are.
  static LOQA_HD int num_sums(const Rules& rules, int players) {
    return (players - 1) * (rules.num_levels - 1) + 1;
  }

  // What a player tells apart who remembers one step: the start, then 1 + own * sums + the others'
  // sum.
  static LOQA_HD int num_seen(const Rules& rules, int players) {
    return 1 + rules.num_levels * num_sums(rules, players);
  }
  static LOQA_HD int seen_index(int own, int others, int sums) {
    return own == kNoLevel ? 0 : 1 + own * sums + others;
  }
  static LOQA_HD int seen(const Rules& rules, int players, const State& state, int player) {
    const int own = state.last[player];
    return seen_index(own, sum_of(players, state) - own, num_sums(rules, players));
  }

  static LOQA_HD int num_actions(const Rules& rules) { return rules.num_levels; }

  static LOQA_HD Action scripted(int script, const Rules& rules, int players, const State& state,
                                 int player) {
    const int all = rules.num_levels - 1;
    const int own = state.last[player];
    const int others = players - 1;
    const int given = own == kNoLevel ? others * all : sum_of(players, state) - own;
    switch (script) {
      case kAlwaysDefect:
        return 0;
      case kConditional:
        return static_cast<Action>(given / others);
      case kGrim:
        return static_cast<Action>((own == kNoLevel || own == all) && given == others * all ? all
                                                                                            : 0);
      default:
        return static_cast<Action>(all);
    }
  }

  static LOQA_HD int obs_width(const Rules& rules, int players) {
    if (rules.obs == kIndex) return 1;
    const int others =
        rules.obs == kCount ? num_sums(rules, players) : (players - 1) * rules.num_levels;
    return rules.num_levels + others;
  }

  template <typename Players>
  static LOQA_HD int sum_of(Players players, const State& state) {
    int sum = 0;
    for (int p = 0; p < players; ++p) sum += state.last[p];
    return sum;
  }

  template <typename Players>
  static LOQA_HD void reset(const Rules&, Players players, const GameRandom&, State& state) {
    for (int p = 0; p < players; ++p) state.last[p] = kNoLevel;
  }

  // Whether the game has ended, which it never does.
  template <typename Players>
  static LOQA_HD bool step(const Rules& rules, Players players, const GameRandom&, State& state,
                           const Action* levels, float* rewards) {
    int sum = 0;
    for (int p = 0; p < players; ++p) sum += levels[p];
    for (int p = 0; p < players; ++p) {
      const float others = static_cast<float>(sum - levels[p]);
      rewards[p] = rules.base + rules.gain * others + rules.own * static_cast<float>(levels[p]);
      state.last[p] = static_cast<int8_t>(levels[p]);
    }
    return false;
  }

  // Index: what is `seen`. Count: one-hot own level, one-hot sum of the others. Joint: one-hot
  // levels, own first, then those of the seats after it in turn. Both are zeros at the start.
  template <typename Players, typename Element>
  static LOQA_HD void observe(const Rules& rules, Players players, const State& state,
                              Element* obs) {
    const int sums = num_sums(rules, players);
    const bool started = state.last[0] != kNoLevel;
    const int sum = sum_of(players, state);
    if (rules.obs == kIndex) {
      for (int p = 0; p < players; ++p) {
        const int own = state.last[p];
        obs[p] = static_cast<Element>(seen_index(own, sum - own, sums));
      }
      return;
    }
    const int levels = rules.num_levels;
    const int width = obs_width(rules, players);
    for (int i = 0; i < players * width; ++i) obs[i] = 0;
    if (!started) return;
    for (int p = 0; p < players; ++p, obs += width) {
      const int own = state.last[p];
      obs[own] = 1;
      if (rules.obs == kCount) {
        obs[levels + sum - own] = 1;
        continue;
      }
      for (int k = 1; k < players; ++k) {
        const int seat = p + k < players ? p + k : p + k - players;
        obs[k * levels + state.last[seat]] = 1;
      }
    }
  }
};

}  // namespace loqa
