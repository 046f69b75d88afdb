#include "bindings/bind_coin.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "core/thread_pool.h"
#include "sim/coin_game_batch.h"
#include "sim/coin_rollout.h"

namespace py = pybind11;

namespace loqa {
namespace {

// Environment steps below which a second thread costs more than it brings.
constexpr int64_t kGrain = 1 << 12;
// Bytes of actions that the caller's thread checks alone.
constexpr int64_t kCheckAlone = 1 << 18;
// Results of more bytes than this are written past the cache.
constexpr int64_t kStreamFrom = 4 << 20;
// Bytes of a core's cache that the parameters of a block of episodes may fill, and the episodes in
// a block whose parameters are few.
constexpr int64_t kCacheBytes = 7 << 18;
constexpr int64_t kRolloutRows = 32;

struct alignas(64) CacheLine {
  uint8_t bytes[64];
};

// Code of the `direction`-th of left, right, up, down, stay in a list of directions by code.
uint8_t code_of(const std::vector<int>& actions, int direction) {
  const auto found = std::find(actions.begin(), actions.end(), direction);
  return found == actions.end() ? kNoMove : static_cast<uint8_t>(found - actions.begin());
}

CoinGameBatch make_batch(int64_t num_envs, int height, int width, int num_players, int num_coins,
                         const std::vector<int>& actions, bool distinct_start, bool coin_anywhere,
                         bool first_takes, bool relative, bool channels_last, bool egocentric,
                         bool history, bool zero_last_reward, int32_t episode_length, int obs_type,
                         const std::array<uint32_t, 5>& values, uint32_t first_env,
                         std::uintptr_t state, std::uintptr_t t, std::uintptr_t episode) {
  const bool sizes = num_envs >= 1 && height >= 1 && height <= 255 && width >= 1 && width <= 255 &&
                     num_players >= 2 && num_players <= kMaxCoinPlayers &&
                     (num_coins == 1 || (num_coins == 2 && num_players == 2)) &&
                     height * width > num_players && obs_type >= 0 &&
                     obs_type <= static_cast<int>(CoinObs::kCells64) && actions.size() <= 8;
  if (!sizes) throw std::invalid_argument("CoinBatch: a size is out of range");
  CoinGameBatch batch = {};
  batch.rules = {height,
                 width,
                 num_players,
                 num_coins,
                 static_cast<int32_t>(actions.size()),
                 code_of(actions, 0),
                 code_of(actions, 1),
                 code_of(actions, 2),
                 code_of(actions, 3),
                 distinct_start,
                 coin_anywhere,
                 first_takes,
                 relative,
                 channels_last,
                 egocentric,
                 history,
                 zero_last_reward};
  batch.num_envs = num_envs;
  batch.stride = (num_envs + kCoinBlock - 1) / kCoinBlock * kCoinBlock;
  batch.first_env = first_env;
  batch.episode_length = episode_length;
  batch.obs_type = static_cast<CoinObs>(obs_type);
  std::copy(values.begin(), values.end(), batch.values);
  batch.state = pointer<uint8_t>(state);
  batch.t = pointer<int32_t>(t);
  batch.episode = pointer<uint32_t>(episode);
  return batch;
}

class CoinGame {
 public:
  CoinGame(const CoinGameBatch& batch, int num_threads) : batch_(batch), num_threads_(num_threads) {
    if (num_threads < 1) throw std::invalid_argument("CoinGame: num_threads must be 1 or more");
    words_.resize(static_cast<size_t>(4 * batch_.rules.num_coins * batch_.stride));
    tag_.assign(static_cast<size_t>(batch_.stride), -1);
    batch_.words = words_.data();
    batch_.tag = tag_.data();
  }

  CoinGame(const CoinGame&) = delete;

  void set_seed(uint64_t seed) {
    batch_.seed = seed;
    std::fill(tag_.begin(), tag_.end(), -1);
  }

  void reset(std::uintptr_t mask) const {
    LOQA_DISPATCH(coin_reset, batch_, pointer<const uint8_t>(mask), 0, batch_.num_envs);
  }

  void observe(std::uintptr_t obs) const {
    const WithoutGil released;
    show(obs);
  }

  void show(std::uintptr_t obs) const {
    for_parts(1, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(coin_observe, batch_, pointer<void>(obs), begin, end);
    });
  }

  bool step(std::uintptr_t actions, int type, std::uintptr_t obs, std::uintptr_t rewards,
            std::uintptr_t /*terminated: never*/, std::uintptr_t truncated) const {
    const void* source = pointer<const void>(actions);
    const ActionType action_type = action_type_of(type);
    const WithoutGil released;
    if (check_actions_ && !all_valid(source, action_type, 1)) return false;
    const CoinResults results{pointer<void>(obs), pointer<float>(rewards),
                              pointer<uint8_t>(truncated), false};
    for_parts(1, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(coin_steps, batch_, source, action_type, 1, results, begin, end);
    });
    return true;
  }

  bool rollout(std::uintptr_t actions, int type, int64_t steps, std::uintptr_t obs,
               std::uintptr_t rewards) const {
    const void* source = pointer<const void>(actions);
    const ActionType action_type = action_type_of(type);
    if (steps < 0) throw std::invalid_argument("rollout: steps must not be negative");
    NativeCall call(steps * batch_.num_envs >= kLongWork);
    if (check_actions_ && !all_valid(source, action_type, steps)) return false;
    show(obs);
    if (steps == 0) return true;
    keep_state(call);
    const CoinResults results = trajectory(steps, obs, rewards);
    for_parts(steps, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(coin_steps, batch_, source, action_type, steps, results, begin, end);
    });
    advance(steps);
    return true;
  }

  void choose(const std::vector<int>& kinds, bool tie_episode, std::uintptr_t actions) const {
    const CoinPlayers players = coin_players(batch_, kinds, tie_episode);
    const NativeCall call(batch_.num_envs >= kLongWork);
    for_parts(16, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(coin_choose, batch_, players, pointer<uint8_t>(actions), begin, end);
    });
  }

  void play(const std::vector<int>& kinds, bool tie_episode, int64_t steps, std::uintptr_t actions,
            std::uintptr_t obs, std::uintptr_t rewards) const {
    if (steps < 0) throw std::invalid_argument("play: steps must not be negative");
    const CoinPlayers players = coin_players(batch_, kinds, tie_episode);
    NativeCall call(steps * batch_.num_envs >= kLongWork);
    show(obs);
    if (steps == 0) return;
    keep_state(call);
    const CoinResults results = trajectory(steps, obs, rewards);
    for_parts(16 * steps, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(coin_play, batch_, players, steps, pointer<uint8_t>(actions), results, begin,
                    end);
    });
    advance(steps);
  }

  void play_networks(const std::array<const GruSets*, 2>& actors, const GruSets* critic,
                     const std::vector<int>& kinds, int64_t steps, uint64_t seed,
                     std::uintptr_t draws, std::uintptr_t obs, std::uintptr_t actions,
                     std::uintptr_t rewards, std::uintptr_t log_probs,
                     std::uintptr_t q_values) const {
    const CoinPlayers players = coin_players(batch_, kinds, false);
    const CoinRollout job{{actors[0], actors[1]},
                          critic,
                          players,
                          steps,
                          pointer<float>(draws),
                          pointer<float>(obs),
                          pointer<uint8_t>(actions),
                          pointer<float>(rewards),
                          pointer<float>(log_probs),
                          pointer<float>(q_values)};
    check_networks(job);
    const NativeCall call(/*is_long=*/true);
    CoinGameBatch batch = batch_;
    batch.seed = seed;
    const int64_t rows = rollout_rows(job);
    const int64_t blocks = (batch.num_envs + rows - 1) / rows;
    parallel_for(blocks, 1, 1, num_threads_, [&](int64_t begin, int64_t end) {
      const int64_t bytes = LOQA_DISPATCH(coin_rollout_scratch, batch, job, rows);
      const std::unique_ptr<CacheLine[]> scratch(
          new CacheLine[static_cast<size_t>(bytes) / sizeof(CacheLine)]);
      LOQA_DISPATCH(coin_rollout, batch, job, rows, begin, end, scratch.get());
    });
  }

  bool check_actions() const { return check_actions_; }
  void set_check_actions(bool check) { check_actions_ = check; }

 private:
  // What a rollout changes before its end; random words are computed anew where they are of another
  // step.
  void keep_state(NativeCall& call) const {
    const CoinRules& rules = batch_.rules;
    const int64_t rows = 2 * (rules.num_players + rules.num_coins) +
                         (rules.num_coins == 1 ? 1 : 0) + (rules.history ? rules.num_players : 0);
    call.keep(batch_.state, static_cast<size_t>(rows * batch_.stride));
  }

  void check_networks(const CoinRollout& job) const {
    const CoinRules& rules = batch_.rules;
    if (rules.num_players != 2 || rules.history) {
      throw std::invalid_argument("play_networks: two players and observations without history");
    }
    if (job.steps < 1 || job.steps > INT32_MAX) {
      throw std::invalid_argument("play_networks: steps must be at least 1");
    }
    for (int seat = 0; seat < 2; ++seat) {
      if ((job.actor[seat] == nullptr) != (job.players.kind[seat] >= 0)) {
        throw std::invalid_argument("play_networks: a seat is a network or a script");
      }
    }
    if (job.critic != nullptr && job.actor[1] == nullptr) {
      throw std::invalid_argument("play_networks: a critic needs the actor of seat 1");
    }
    const int64_t places = int64_t{coin_planes(rules)} * rules.height * rules.width;
    for (const GruSets* sets : {job.actor[0], job.actor[1], job.critic}) {
      if (sets == nullptr) continue;
      if (batch_.num_envs % sets->sets != 0) {
        throw std::invalid_argument("play_networks: " + std::to_string(sets->sets) +
                                    " parameter sets do not divide " +
                                    std::to_string(batch_.num_envs) + " episodes");
      }
      if (sets->features != places + (sets->reads_time ? 1 : 0) ||
          sets->outputs != rules.num_actions) {
        throw std::invalid_argument(
            "play_networks: a network of " + std::to_string(sets->features) + " features and " +
            std::to_string(sets->outputs) + " outputs does not fit the game's " +
            std::to_string(places) + " and " + std::to_string(rules.num_actions));
      }
    }
  }

  // Episodes in a block: as many as leave the parameter sets that they need in the cache. It does
  // not depend on the number of threads.
  int64_t rollout_rows(const CoinRollout& job) const {
    int64_t rows = std::min(kRolloutRows, batch_.num_envs);
    const auto bytes = [&] {
      int64_t sum = 0;
      for (const GruSets* sets : {job.actor[0], job.actor[1], job.critic}) {
        if (sets == nullptr) continue;
        const int64_t each = batch_.num_envs / sets->sets;
        sum += (rows + each - 1) / each * sets->bytes();
      }
      return sum;
    };
    while (rows > 1 && bytes() > kCacheBytes) rows /= 2;
    return rows;
  }

  template <typename Body>
  void for_parts(int64_t steps, const Body& body) const {
    parallel_for(batch_.num_envs, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, steps)),
                 kCoinBlock, num_threads_, body);
  }

  // Whether all of actions [steps, B, A] are in range: known before any state changes.
  bool all_valid(const void* actions, ActionType type, int64_t steps) const {
    constexpr std::array<int64_t, 5> kSize{1, 1, 2, 4, 8};
    const int64_t players = batch_.rules.num_players;
    const int64_t size = kSize[static_cast<size_t>(type)] * players;
    const int64_t count = steps * batch_.num_envs;
    const auto* bytes = static_cast<const uint8_t*>(actions);
    std::atomic<bool> valid{true};
    const auto check = [&](int64_t begin, int64_t end) {
      const uint8_t largest =
          LOQA_DISPATCH(coin_largest_action, bytes + begin * size, type, (end - begin) * players);
      if (largest >= batch_.rules.num_actions) valid = false;
    };
    const int64_t grain = count * size <= kCheckAlone ? count : kGrain;
    parallel_for(count, grain, kCoinBlock, num_threads_, check);
    return valid;
  }

  // Results of a rollout: the observation before the first step comes first in `obs`.
  CoinResults trajectory(int64_t steps, std::uintptr_t obs, std::uintptr_t rewards) const {
    const int64_t bytes = batch_.num_envs * batch_.rules.num_players * coin_obs_size(batch_) *
                          coin_element_size(batch_.obs_type);
    return {pointer<uint8_t>(obs) + bytes, pointer<float>(rewards), nullptr,
            steps * bytes > kStreamFrom};
  }

  void advance(int64_t steps) const {
    for (int64_t env = 0; env < batch_.num_envs; ++env) {
      batch_.t[env] += static_cast<int32_t>(steps);
    }
  }

  CoinGameBatch batch_ = {};
  int num_threads_;
  bool check_actions_ = true;
  std::vector<uint32_t> words_;
  std::vector<int32_t> tag_;
};

}  // namespace

CoinPlayers coin_players(const CoinGameBatch& batch, const std::vector<int>& kinds,
                         bool tie_episode) {
  CoinPlayers players = {};
  if (static_cast<int>(kinds.size()) != batch.rules.num_players) {
    throw std::invalid_argument("CoinGame: one kind for each player");
  }
  for (size_t p = 0; p < kinds.size(); ++p) {
    if (kinds[p] < -1 || kinds[p] > static_cast<int>(ScriptedCoin::kRandom)) {
      throw std::invalid_argument("CoinGame: unknown kind of scripted player");
    }
    players.kind[p] = kinds[p];
  }
  players.tie_episode = tie_episode;
  return players;
}

void bind_coin(py::module_& module) {
  py::class_<CoinGameBatch>(module, "CoinBatch")
      .def(py::init(&make_batch), py::kw_only(), py::arg("num_envs"), py::arg("height"),
           py::arg("width"), py::arg("num_players"), py::arg("num_coins"), py::arg("actions"),
           py::arg("distinct_start"), py::arg("coin_anywhere"), py::arg("first_takes"),
           py::arg("relative"), py::arg("channels_last"), py::arg("egocentric"), py::arg("history"),
           py::arg("zero_last_reward"), py::arg("episode_length"), py::arg("obs_type"),
           py::arg("values"), py::arg("first_env"), py::arg("state"), py::arg("t"),
           py::arg("episode"));
  py::class_<CoinGame>(module, "CoinGame")
      .def(py::init<const CoinGameBatch&, int>(), py::arg("batch"), py::arg("num_threads"))
      .def("set_seed", &CoinGame::set_seed, py::arg("seed"))
      .def("reset", &CoinGame::reset, py::arg("mask"))
      .def("observe", &CoinGame::observe, py::arg("obs"))
      .def("step", &CoinGame::step, py::arg("actions"), py::arg("action_type"), py::arg("obs"),
           py::arg("rewards"), py::arg("terminated"), py::arg("truncated"))
      .def("rollout", &CoinGame::rollout, py::arg("actions"), py::arg("action_type"),
           py::arg("steps"), py::arg("obs"), py::arg("rewards"))
      .def("choose", &CoinGame::choose, py::arg("kinds"), py::arg("tie_episode"),
           py::arg("actions"))
      .def("play", &CoinGame::play, py::arg("kinds"), py::arg("tie_episode"), py::arg("steps"),
           py::arg("actions"), py::arg("obs"), py::arg("rewards"))
      .def("play_networks", &CoinGame::play_networks, py::kw_only(), py::arg("actors"),
           py::arg("critic"), py::arg("kinds"), py::arg("steps"), py::arg("seed"), py::arg("draws"),
           py::arg("obs"), py::arg("actions"), py::arg("rewards"), py::arg("log_probs"),
           py::arg("q_values"))
      .def_property("check_actions", &CoinGame::check_actions, &CoinGame::set_check_actions);
}

}  // namespace loqa
