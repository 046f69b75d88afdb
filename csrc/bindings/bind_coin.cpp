#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/bind_game.h"
#include "core/thread_pool.h"
#include "games/coin_game.h"
#include "sim/coin_rollout.h"

namespace py = pybind11;

namespace loqa {
namespace {

// Bytes of a core's cache that the parameters of a block of episodes may fill, and the episodes in
// a block whose parameters are few.
constexpr int64_t kCacheBytes = 7 << 18;
constexpr int64_t kRolloutRows = 32;

struct alignas(64) CacheLine {
  uint8_t bytes[64];
};

std::array<const GruSets*, 3> networks_of(const CoinRollout& job) {
  return {job.actor[0], job.actor[1], job.critic};
}

void check_networks(const CoinRollout& job, const CoinRules& rules) {
  if (job.game.num_players != 2 || rules.history) {
    throw std::invalid_argument("play_networks: two players and observations without history");
  }
  if (job.game.steps < 1 || job.game.steps > INT32_MAX) {
    throw std::invalid_argument("play_networks: steps must be at least 1");
  }
  for (int seat = 0; seat < 2; ++seat) {
    if ((job.actor[seat] == nullptr) != (job.game.player[seat] >= 0)) {
      throw std::invalid_argument("play_networks: a seat is a network or a script");
    }
  }
  if (job.critic != nullptr && job.actor[1] == nullptr) {
    throw std::invalid_argument("play_networks: a critic needs the actor of seat 1");
  }
  if ((job.canonical[0] || job.canonical[1]) &&
      (!rules.egocentric || rules.channels_last || !rules.relative)) {
    throw std::invalid_argument("play_networks: canonical images are of egocentric planes");
  }
  const int64_t places = int64_t{coin_planes(rules)} * rules.height * rules.width;
  for (const GruSets* sets : networks_of(job)) {
    if (sets == nullptr) continue;
    if (job.game.num_envs % sets->sets != 0) {
      throw std::invalid_argument("play_networks: " + std::to_string(sets->sets) +
                                  " parameter sets do not divide " +
                                  std::to_string(job.game.num_envs) + " episodes");
    }
    if (sets->features != places + (sets->reads_time ? 1 : 0) ||
        sets->outputs != rules.num_actions) {
      throw std::invalid_argument("play_networks: a network of " + std::to_string(sets->features) +
                                  " features and " + std::to_string(sets->outputs) +
                                  " outputs does not fit the game's " + std::to_string(places) +
                                  " and " + std::to_string(rules.num_actions));
    }
  }
}

// Episodes in a block: as many as leave the parameter sets that they need in the cache. It does not
// depend on the number of threads.
int64_t rollout_rows(const CoinRollout& job) {
  int64_t rows = std::min(kRolloutRows, job.game.num_envs);
  const auto bytes = [&] {
    int64_t sum = 0;
    for (const GruSets* sets : networks_of(job)) {
      if (sets == nullptr) continue;
      const int64_t each = job.game.num_envs / sets->sets;
      sum += (rows + each - 1) / each * sets->bytes();
    }
    return sum;
  };
  while (rows > 1 && bytes() > kCacheBytes) rows /= 2;
  return rows;
}

// The states of the batch are not touched.
void play_networks(const GameSetup& batch, int num_threads,
                   const std::array<const GruSets*, 2>& actors, const GruSets* critic,
                   const std::array<bool, 2>& canonical, const std::vector<int>& kinds,
                   int64_t steps, uint64_t seed, const MemoryPtr& draws, const MemoryPtr& obs,
                   const MemoryPtr& actions, const MemoryPtr& rewards, const MemoryPtr& log_probs,
                   const MemoryPtr& q_values) {
  if (game_layout(batch.batch.game)->name != std::string(CoinGame::kName)) {
    throw std::invalid_argument("play_networks: not a Coin Game");
  }
  CoinRules rules;
  std::memcpy(&rules, batch.batch.rules, sizeof(rules));
  const GamePlayers players{kinds, nullptr, false, false, 0.0f, false};
  CoinRollout job = {};
  job.game =
      batch.played(batch.trajectory(batch.batch, steps, obs, rewards), players, steps, actions);
  job.game.seed = &seed;
  job.actor[0] = actors[0];
  job.actor[1] = actors[1];
  job.critic = critic;
  std::copy(canonical.begin(), canonical.end(), job.canonical);
  const int64_t envs = job.game.num_envs;
  const int64_t told = critic == nullptr ? 0 : steps + 1;
  job.draws = array_of<float>(draws, "draws", {steps, 2, envs});
  job.log_probs = array_of<float>(log_probs, "log_probs", {told, envs, rules.num_actions});
  job.q_values = array_of<float>(q_values, "q_values", {told, envs, rules.num_actions});
  check_networks(job, rules);
  const NativeCall call(/*is_long=*/true);
  const int64_t rows = rollout_rows(job);
  parallel_for((envs + rows - 1) / rows, 1, 1, num_threads, [&](int64_t begin, int64_t end) {
    const int64_t bytes = LOQA_DISPATCH(coin_rollout_scratch, job, rows);
    const std::unique_ptr<CacheLine[]> scratch(
        new CacheLine[static_cast<size_t>(bytes) / sizeof(CacheLine)]);
    LOQA_DISPATCH(coin_rollout, job, rows, begin, end, scratch.get());
  });
}

}  // namespace

void bind_coin(py::module_& module) {
  module.def("play_networks", &play_networks, py::kw_only(), py::arg("batch"),
             py::arg("num_threads"), py::arg("actors"), py::arg("critic"), py::arg("canonical"),
             py::arg("kinds"), py::arg("steps"), py::arg("seed"), py::arg("draws"), py::arg("obs"),
             py::arg("actions"), py::arg("rewards"), py::arg("log_probs"), py::arg("q_values"));
}

}  // namespace loqa
