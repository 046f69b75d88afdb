#pragma once

#include "games/native_games.h"
#include "sim/game_job.h"

// What the drivers of the CPU and of a device share: one environment, one step.

namespace loqa {
namespace {

template <typename T>
struct TypeOf {
  using Type = T;
};

// A number that the compiler knows.
template <int kValue>
struct Fixed {
  static constexpr int value = kValue;
  LOQA_HD constexpr operator int() const { return kValue; }
};

template <int kMost, typename Body, int... kNumbers>
void with_fixed(int number, const Body& body, const Fixed<kNumbers>&... numbers) {
  const auto call = [&]<int kNumber>(const Fixed<kNumber>& fixed) {
    if constexpr (kNumber <= kMost) {
      if (kNumber == number) body(fixed);
    }
  };
  (call(numbers), ...);
}

// Calls body with the number of players as a constant.
template <int kMost, typename Body>
void with_players(int players, const Body& body) {
  static_assert(kMost <= 8);
  with_fixed<kMost>(players, body, Fixed<2>{}, Fixed<3>{}, Fixed<4>{}, Fixed<5>{}, Fixed<6>{},
                    Fixed<7>{}, Fixed<8>{});
}

// Calls body(TypeOf<Game>) of the game with this number.
template <typename Body, typename... Games>
void with_game(int game, GameList<Games...>, const Body& body) {
  int number = 0;
  ((number++ == game ? body(TypeOf<Games>{}) : void()), ...);
}

// A game without a State has a driver of its own.
template <typename Game>
inline constexpr bool kHasDriver = !requires { typename Game::State; };

template <typename Body>
void with_obs_type(ObsType type, const Body& body) {
  switch (type) {
    case ObsType::kInt8:
      return body(TypeOf<int8_t>{});
    case ObsType::kInt64:
      return body(TypeOf<int64_t>{});
    default:
      return body(TypeOf<float>{});
  }
}

// Calls own() of a game that has its driver, else body(TypeOf<Game>, TypeOf<element of obs>).
template <typename Own, typename Body>
void with_driver(const GameJob& job, const Own& own, const Body& body) {
  with_game(job.game, NativeGames{}, [&](auto game) {
    if constexpr (kHasDriver<typename decltype(game)::Type>) {
      own();
    } else {
      with_obs_type(job.obs_type, [&](auto element) { body(game, element); });
    }
  });
}

template <typename Game>
LOQA_HD typename Game::Rules rules_of(const GameJob& job) {
  static_assert(sizeof(typename Game::Rules) <= GameJob::kRulesBytes);
  typename Game::Rules rules;
  __builtin_memcpy(&rules, job.rules, sizeof(rules));
  if constexpr (requires { rules.table; }) rules.table = job.table;
  return rules;
}

LOQA_HD GameRandom random_of(const GameJob& job, int64_t env, uint32_t episode, int32_t t) {
  return {*job.seed, job.first_env + static_cast<uint32_t>(env), episode, static_cast<uint32_t>(t)};
}

// Games choose from integers, which come in any integer type, or from a box of floats.
template <typename Game>
inline constexpr bool kIsBox = sizeof(typename Game::Action) == sizeof(float);

// The scripted players of a game that has any.
template <typename Game>
LOQA_HD constexpr int num_scripts() {
  if constexpr (requires { Game::kScripts; }) return sizeof(Game::kScripts) / sizeof(const char*);
  return 0;
}

// A memory-1 player's action: with probabilities p (1 - e) + e / K of its K actions, by inversion.
LOQA_HD uint8_t memory1_action(const float* probabilities, int num_actions, float exploration,
                               uint32_t word) {
  const float at = uniform(word);
  const float own = 1.0f - exploration, any = exploration / static_cast<float>(num_actions);
  float edge = probabilities[0] * own + any;
  int action = at < edge ? 0 : 1;
  for (int k = 1; k < num_actions - 1; ++k) {
    edge += probabilities[k] * own + any;
    action += at < edge ? 0 : 1;
  }
  return static_cast<uint8_t>(action);
}

// What the player of a seat chooses that is not given.
template <typename Game>
LOQA_HD typename Game::Action choose_seat(const GameJob& job, const typename Game::Rules& rules,
                                          int64_t env, const typename Game::State& state,
                                          int player, uint32_t word) {
  constexpr int kAtRandom = num_scripts<Game>();
  const int who = job.player[player];
  if constexpr (kAtRandom > 0) {
    if (who >= 0 && who < kAtRandom) {
      return Game::scripted(who, rules, job.num_players, state, player);
    }
  }
  if constexpr (kIsBox<Game>) {
    return uniform(word);
  } else {
    const int actions = Game::num_actions(rules);
    if (who == kAtRandom) {
      return static_cast<uint8_t>(bounded(word, static_cast<uint32_t>(actions)));
    }
    const int seen = Game::seen(rules, job.num_players, state, player);
    const int64_t row = int64_t{player} * Game::num_seen(rules, job.num_players) + seen;
    return memory1_action(job.probabilities + env * job.env_stride + row * job.row, actions,
                          job.exploration, word);
  }
}

// Where the actions of an environment lie that are played.
template <typename Game>
LOQA_HD typename Game::Action* chosen_at(const GameJob& job, int64_t step, int64_t env) {
  return static_cast<typename Game::Action*>(job.chosen) +
         (step * job.num_envs + env) * job.num_players;
}

template <typename Game>
LOQA_LANES void choose(const GameJob& job, const typename Game::Rules& rules, int64_t env,
                       uint32_t episode, int32_t t, const typename Game::State& state,
                       typename Game::Action* actions) {
  constexpr int kWords = 4;
  PhiloxBlock words = {};
  for (int p = 0; p < job.num_players; ++p) {
    if (p % kWords == 0) {
      words = random_of(job, env, episode, t)
                  .block(Game::kDrawPlayers + static_cast<uint32_t>(p / kWords));
    }
    if (job.player[p] == kGiven) continue;
    actions[p] = choose_seat<Game>(job, rules, env, state, p, words.word[p % kWords]);
  }
}

// An environment while it is stepped.
template <typename Game, typename Players, typename Element>
struct GameEnv {
  using State = typename Game::State;

  int64_t env;
  Players players;
  typename Game::Rules rules;
  State& state;  // in the batch, or a thread's own
  int32_t t;
  uint32_t episode;

  LOQA_HD void start(const GameJob& job) {
    Game::reset(rules, players, random_of(job, env, episode, 0), state);
  }
  LOQA_HD void start_next(const GameJob& job) {
    t = 0;
    job.episode[env] = ++episode;
    start(job);
  }

  // `slot`: of how many observations of the batch come before.
  LOQA_HD void observe(const GameJob& job, void* obs, int64_t slot) const {
    Element* row =
        static_cast<Element*>(obs) + (slot * job.num_envs + env) * players * job.obs_width;
    Game::observe(rules, players, state, row);
  }

  // Returns the actions of this environment.
  LOQA_HD const typename Game::Action* choose_at(const GameJob& job, int64_t step) const {
    auto* actions = chosen_at<Game>(job, step, env);
    choose<Game>(job, rules, env, episode, t, state, actions);
    return actions;
  }

  LOQA_HD void step(const GameJob& job, int64_t step, const typename Game::Action* actions) {
    float* rewards = job.rewards + (step * job.num_envs + env) * players;
    bool ended = false;
    if (job.autoreset == Autoreset::kNextStep && (job.terminated[env] | job.truncated[env]) != 0) {
      start_next(job);
      for (int p = 0; p < players; ++p) rewards[p] = 0;
      job.terminated[env] = job.truncated[env] = 0;
    } else {
      float paid[kMaxPlayers];
      const bool over =
          Game::step(rules, players, random_of(job, env, episode, t), state, actions, paid);
      for (int p = 0; p < players; ++p) rewards[p] = paid[p];
      t += t < INT32_MAX ? 1 : 0;
      const bool cut = t >= job.episode_length;
      if (job.terminated != nullptr) {
        job.terminated[env] = over ? 1 : 0;
        job.truncated[env] = cut ? 1 : 0;
      }
      ended = over || cut;
    }
    if (job.autoreset == Autoreset::kSameStep && ended) {
      observe(job, job.final_obs, 0);
      start_next(job);
    }
    observe(job, job.obs, step + (job.observe_first ? 1 : 0));
  }
};

// All that a job does to one environment: what a thread of a device does.
template <typename Game, typename Element>
LOQA_HD void play_thread(const GameJob& job, int64_t env) {
  auto* states = static_cast<typename Game::State*>(job.states);
  auto state = states[env];
  GameEnv<Game, int, Element> me{env,   job.num_players, rules_of<Game>(job),
                                 state, job.t[env],      job.episode[env]};
  if (job.restart != nullptr && job.restart[env] != 0) me.start(job);
  if (job.observe_first) me.observe(job, job.obs, 0);
  if (job.only_choose) me.choose_at(job, 0);
  for (int64_t step = 0; step < job.steps; ++step) {
    typename Game::Action actions[kMaxPlayers];
    if (job.chosen != nullptr) me.choose_at(job, step);
    for (int p = 0; p < me.players; ++p) {
      const int64_t at = (step * job.num_envs + env) * me.players + p;
      if (job.chosen != nullptr) {
        actions[p] = static_cast<const typename Game::Action*>(job.chosen)[at];
      } else if constexpr (kIsBox<Game>) {
        actions[p] = static_cast<const float*>(job.actions)[at];
      } else {
        actions[p] = action_at(job.actions, job.action_type, at);
      }
      if (Game::legal(me.rules, actions[p])) continue;
      actions[p] = 0;
      *job.bad_action = 1;
    }
    me.step(job, step, actions);
  }
  states[env] = state;
  job.t[env] = me.t;
}

}  // namespace
}  // namespace loqa
