#include "sim/coin_game_batch.h"
#include "sim/game_driver.h"

// What the games say of themselves, and a device's work in a loop over its threads, for tests.

namespace loqa {
namespace {

template <typename Game>
GameSizes sizes_of(const GameJob& job) {
  const auto rules = rules_of<Game>(job);
  GameSizes sizes = {};
  sizes.fit = kHasDriver<Game> || (job.obs_type <= ObsType::kFloat32 && !job.unchecked);
  sizes.obs_width = Game::obs_width(rules, job.num_players);
  if constexpr (requires { &Game::fits; }) sizes.fit &= Game::fits(rules, job.num_players);
  if constexpr (requires { &Game::num_seen; }) {
    sizes.seen = Game::num_seen(rules, job.num_players);
    sizes.actions = Game::num_actions(rules);
  }
  if constexpr (requires { &Game::table_size; }) sizes.table = Game::table_size(rules);
  if constexpr (kHasDriver<Game>) {
    sizes.states = Game::states_bytes(rules, job.num_envs);
    sizes.cache = Game::cache_bytes(rules, job.num_envs);
  } else {
    sizes.states = job.num_envs * static_cast<int64_t>(sizeof(typename Game::State));
  }
  return sizes;
}

template <typename Game>
constexpr std::span<const Field> state_of() {
  if constexpr (!kHasDriver<Game>) return Game::kState;
  return {};
}
template <typename Game>
constexpr std::span<const char* const> scripts_of() {
  if constexpr (num_scripts<Game>() > 0) return Game::kScripts;
  return {};
}

template <typename Game>
constexpr GameLayout kLayoutOf = {
    Game::kName,     Game::kMinPlayers, Game::kMostPlayers, sizeof(typename Game::Action),
    Game::kGrain,    state_of<Game>(),  Game::kRules,       scripts_of<Game>(),
    &sizes_of<Game>,
};

}  // namespace

const GameLayout* game_layout(int game) {
  const GameLayout* layout = nullptr;
  with_game(game, NativeGames{},
            [&](auto of) { layout = &kLayoutOf<typename decltype(of)::Type>; });
  return layout;
}

void game_play_host(const GameJob& job) {
  with_driver(
      job, [&] { coin_play_host(job); },
      [&](auto game, auto element) {
        using Game = typename decltype(game)::Type;
        using Element = typename decltype(element)::Type;
        for (int64_t env = 0; env < job.num_envs; ++env) play_thread<Game, Element>(job, env);
      });
}

}  // namespace loqa
