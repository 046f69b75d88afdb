#include "sim/game_driver.h"

// What the games say of themselves, and a device's work in a loop over its threads, for tests.

namespace loqa {
namespace {

template <typename Game>
int obs_width_of(const GameJob& job) {
  return Game::obs_width(rules_of<Game>(job), job.num_players);
}

template <typename Game>
int64_t memory1_size_of(const GameJob& job) {
  if constexpr (kIsBox<Game>) {
    return 0;
  } else {
    const auto rules = rules_of<Game>(job);
    return int64_t{Game::num_seen(rules, job.num_players)} * Game::num_actions(rules);
  }
}

template <typename Game>
constexpr GameLayout kLayoutOf = {
    Game::kName,
    Game::kMinPlayers,
    sizeof(typename Game::State),
    Game::kState,
    sizeof(Game::kState) / sizeof(Field),
    Game::kRules,
    sizeof(Game::kRules) / sizeof(Field),
    Game::kScripts,
    sizeof(Game::kScripts) / sizeof(const char*),
    &obs_width_of<Game>,
    &memory1_size_of<Game>,
};

}  // namespace

const GameLayout* game_layout(int game) {
  const GameLayout* layout = nullptr;
  with_game(game, NativeGames{},
            [&](auto of) { layout = &kLayoutOf<typename decltype(of)::Type>; });
  return layout;
}

void game_play_host(const GameJob& job) {
  with_game(job.game, NativeGames{}, [&](auto of) {
    with_obs_type(job.obs_type, [&](auto element) {
      using Game = typename decltype(of)::Type;
      using Element = typename decltype(element)::Type;
      for (int64_t env = 0; env < job.num_envs; ++env) play_thread<Game, Element>(job, env);
    });
  });
}

}  // namespace loqa
