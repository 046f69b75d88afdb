#include "core/interrupt.h"
#include "sim/game_driver.h"
#include "sim/pack_actions.h"

namespace loqa::LOQA_ISA {
namespace {

constexpr int64_t kBlock = 512;        // environments whose actions are packed at once
constexpr int64_t kBetweenLooks = 32;  // steps of a block, which may be small

int64_t block_of(int64_t first, int64_t end) { return end - first < kBlock ? end - first : kBlock; }

// Calls body with the number of players as a constant of the compiler: twice as fast.
template <typename Body, int... kPlayers>
void with_constant(int players, const Body& body, const Fixed<kPlayers>&... constants) {
  ((kPlayers == players ? body(constants) : void()), ...);
}

template <typename Body>
void with_players(int players, const Body& body) {
  static_assert(kMaxPlayers == 8);
  with_constant(players, body, Fixed<2>{}, Fixed<3>{}, Fixed<4>{}, Fixed<5>{}, Fixed<6>{},
                Fixed<7>{}, Fixed<8>{});
}

// `count` actions from the one numbered `first`; whether all are legal.
template <typename Game>
bool take_actions(const GameJob& job, const typename Game::Rules& rules, int64_t first,
                  int64_t count, typename Game::Action* actions) {
  if constexpr (kIsBox<Game>) {
    const float* given = static_cast<const float*>(job.actions) + first;
    bool legal = true;
    for (int64_t i = 0; i < count; ++i) {
      actions[i] = given[i];
      legal &= Game::legal(rules, given[i]);
    }
    return legal;
  } else {
    return Game::legal(rules, pack_any(job.actions, job.action_type, first, count, actions));
  }
}

template <typename Game, typename Players, typename Element>
void play_span(const GameJob& given, Players players, int64_t begin, int64_t end) {
  GameJob job = given;  // what is written cannot be this
  job.autoreset = Autoreset::kOff;
  const auto rules = rules_of<Game>(given);
  auto* states = static_cast<typename Game::State*>(job.states);
  const auto at = [&](int64_t env) {
    return GameEnv<Game, Players, Element>{env,         players,    rules,
                                           states[env], job.t[env], job.episode[env]};
  };
  for (int64_t env = begin; job.restart != nullptr && env < end; ++env) {
    if (job.restart[env] != 0) at(env).start(job);
  }
  for (int64_t env = begin; job.observe_first && env < end; ++env) at(env).observe(job, job.obs, 0);
  for (int64_t env = begin; job.only_choose && env < end; ++env) at(env).choose_at(job, 0);
  typename Game::Action actions[kMaxPlayers * kBlock];
  for (int64_t step = 0; step < job.steps; ++step) {
    if (step % kBetweenLooks == 0 && interrupted()) return;
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t count = block_of(first, end);
      if (job.chosen != nullptr) {
        for (int64_t env = first; env < first + count; ++env) {
          auto me = at(env);
          me.step(job, step, me.choose_at(job, step));
          job.t[env] = me.t;
        }
        continue;
      }
      const int64_t from = (step * job.num_envs + first) * players;
      take_actions<Game>(job, rules, from, count * players, actions);
      for (int64_t i = 0; i < count * players; ++i) {  // another thread of Python may write to them
        actions[i] = Game::legal(rules, actions[i]) ? actions[i] : typename Game::Action{0};
      }
      for (int64_t i = 0; i < count; ++i) {
        auto me = at(first + i);
        me.step(job, step, actions + i * players);
        job.t[first + i] = me.t;
      }
    }
  }
}

}  // namespace

bool game_actions_legal(const GameJob& job, int64_t begin, int64_t end) {
  bool legal = true;
  const int64_t players = job.num_players;
  with_game(job.game, NativeGames{}, [&](auto of) {
    using Game = typename decltype(of)::Type;
    const auto rules = rules_of<Game>(job);
    typename Game::Action actions[kMaxPlayers * kBlock];
    for (int64_t step = 0; step < job.steps && legal; ++step) {
      if (step % kBetweenLooks == 0 && interrupted()) return;
      for (int64_t first = begin; first < end && legal; first += kBlock) {
        const int64_t from = (step * job.num_envs + first) * players;
        const int64_t count = block_of(first, end) * players;
        legal = take_actions<Game>(job, rules, from, count, actions);
      }
    }
  });
  return legal;
}

void game_play(const GameJob& job, int64_t begin, int64_t end) {
  with_game(job.game, NativeGames{}, [&](auto of) {
    with_obs_type(job.obs_type, [&](auto element) {
      with_players(job.num_players, [&](auto players) {
        using Game = typename decltype(of)::Type;
        using Element = typename decltype(element)::Type;
        play_span<Game, decltype(players), Element>(job, players, begin, end);
      });
    });
  });
}

}  // namespace loqa::LOQA_ISA
