#include "core/interrupt.h"
#include "sim/coin_game_batch.h"
#include "sim/game_driver.h"
#include "sim/matrix_game_lanes.h"
#include "sim/pack_actions.h"

namespace loqa::LOQA_ISA {
namespace {

constexpr int64_t kBlock = 512;  // environments whose actions are packed at once

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
bool play_span(const GameJob& given, Players players, int64_t begin, int64_t end) {
  const auto rules = rules_of<Game>(given);
  if constexpr (std::is_same_v<Game, MatrixGame>) {
    if (by_lanes(given, rules)) return play_lanes(given, rules, begin, end);
  }
  GameJob job = given;  // what is written cannot be this
  job.autoreset = Autoreset::kOff;
  auto* states = static_cast<typename Game::State*>(job.states);
  const auto at = [&](int64_t env) {
    return GameEnv<Game, Players, Element>{env,         players,    rules,
                                           states[env], job.t[env], job.episode[env]};
  };
  for (int64_t env = begin; job.restart != nullptr && env < end; ++env) {
    if (job.restart[env] != 0) at(env).start(job);
  }
  for (int64_t env = begin; job.only_choose && env < end; ++env) at(env).choose_at(job, 0);
  for (int64_t env = begin; job.observe_first && env < end; ++env) at(env).observe(job, job.obs, 0);
  typename Game::Action actions[kMaxPlayers * kBlock];
  for (int64_t step = 0; step < job.steps; ++step) {
    if ((step + 1) % kBetweenLooks == 0 && interrupted()) return true;
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t count = block_of(first, end, kBlock);
      if (job.chosen != nullptr) {
        for (int64_t env = first; env < first + count; ++env) {
          auto me = at(env);
          me.step(job, step, me.choose_at(job, step));
          job.t[env] = me.t;
        }
        continue;
      }
      const int64_t from = (step * job.num_envs + first) * players;
      // Copied in any case: then nothing that is written can be them. Numbers of a box that
      // somebody looked at are not looked at again: nothing is found by them in memory.
      if (job.taken || (kIsBox<Game> && job.unchecked)) {
        __builtin_memcpy(actions, static_cast<const typename Game::Action*>(job.actions) + from,
                         static_cast<size_t>(count * players) * sizeof(actions[0]));
      } else if (!take_actions<Game>(job, rules, from, count * players, actions)) {
        return false;
      }
      for (int64_t i = 0; i < count; ++i) {
        auto me = at(first + i);
        me.step(job, step, actions + i * players);
        job.t[first + i] = me.t;
      }
    }
  }
  return true;
}

}  // namespace

bool game_take(const GameJob& job, int64_t step, void* taken, int64_t begin, int64_t end) {
  bool legal = false;
  with_game(job.game, NativeGames{}, [&](auto of) {
    using Game = typename decltype(of)::Type;
    const int64_t first = begin * job.num_players, count = (end - begin) * job.num_players;
    legal =
        take_actions<Game>(job, rules_of<Game>(job), step * job.num_envs * job.num_players + first,
                           count, static_cast<typename Game::Action*>(taken) + first);
  });
  return legal;
}

bool game_play(const GameJob& job, int64_t begin, int64_t end) {
  bool legal = true;
  with_driver(
      job, [&] { legal = coin_play(job, begin, end); },
      [&](auto game, auto element) {
        using Game = typename decltype(game)::Type;
        using Element = typename decltype(element)::Type;
        // Twice as fast as with a number of players that the compiler does not
        // know.
        with_players<Game::kMostPlayers>(job.num_players, [&](auto players) {
          legal = play_span<Game, decltype(players), Element>(job, players, begin, end);
        });
      });
  return legal;
}

}  // namespace loqa::LOQA_ISA
