#include "bindings/bind_coin.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "core/thread_pool.h"
#include "sim/coin_game_batch.h"

namespace py = pybind11;

namespace loqa {
namespace {

// Environment steps below which a second thread costs more than it brings.
constexpr int64_t kGrain = 1 << 12;
// Bytes of actions that the caller's thread checks alone.
constexpr int64_t kCheckAlone = 1 << 18;
// Results of more bytes than this are written past the cache.
constexpr int64_t kStreamFrom = 4 << 20;

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
    for_parts(1, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(coin_observe, batch_, pointer<void>(obs), begin, end);
    });
  }

  bool step(std::uintptr_t actions, int type, std::uintptr_t obs, std::uintptr_t rewards,
            std::uintptr_t /*terminated: never*/, std::uintptr_t truncated) const {
    const void* source = pointer<const void>(actions);
    const ActionType action_type = action_type_of(type);
    py::gil_scoped_release released;
    if (check_actions_ && !all_valid(source, action_type)) return false;
    const CoinResults results{pointer<void>(obs), pointer<float>(rewards),
                              pointer<uint8_t>(truncated), false};
    for_parts(1, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(coin_steps, batch_, source, action_type, 1, results, batch_.state, begin, end);
    });
    return true;
  }

  bool rollout(std::uintptr_t actions, int type, int64_t steps, std::uintptr_t obs,
               std::uintptr_t rewards) {
    const void* source = pointer<const void>(actions);
    const ActionType action_type = action_type_of(type);
    if (steps < 0) throw std::invalid_argument("rollout: steps must not be negative");
    py::gil_scoped_release released;
    observe(obs);
    if (steps == 0) return true;
    const CoinResults results = trajectory(steps, obs, rewards);
    next_state_.resize(static_cast<size_t>(state_bytes()));
    std::atomic<bool> valid{true};
    for_parts(steps, [&](int64_t begin, int64_t end) {
      const uint8_t largest = LOQA_DISPATCH(coin_steps, batch_, source, action_type, steps, results,
                                            next_state_.data(), begin, end);
      if (check_actions_ && largest >= batch_.rules.num_actions) valid = false;
    });
    if (!valid) return false;
    std::memcpy(batch_.state, next_state_.data(), next_state_.size());
    advance(steps);
    return true;
  }

  void choose(const std::vector<int>& kinds, bool tie_episode, std::uintptr_t actions) const {
    const CoinPlayers players = coin_players(batch_, kinds, tie_episode);
    py::gil_scoped_release released;
    for_parts(16, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(coin_choose, batch_, players, pointer<uint8_t>(actions), begin, end);
    });
  }

  void play(const std::vector<int>& kinds, bool tie_episode, int64_t steps, std::uintptr_t actions,
            std::uintptr_t obs, std::uintptr_t rewards) const {
    if (steps < 0) throw std::invalid_argument("play: steps must not be negative");
    const CoinPlayers players = coin_players(batch_, kinds, tie_episode);
    py::gil_scoped_release released;
    observe(obs);
    if (steps == 0) return;
    const CoinResults results = trajectory(steps, obs, rewards);
    for_parts(16 * steps, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(coin_play, batch_, players, steps, pointer<uint8_t>(actions), results, begin,
                    end);
    });
    advance(steps);
  }

  bool check_actions() const { return check_actions_; }
  void set_check_actions(bool check) { check_actions_ = check; }

 private:
  template <typename Body>
  void for_parts(int64_t steps, const Body& body) const {
    parallel_for(batch_.num_envs, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, steps)),
                 kCoinBlock, num_threads_, body);
  }

  bool all_valid(const void* actions, ActionType type) const {
    constexpr std::array<int64_t, 5> kSize{1, 1, 2, 4, 8};
    const int64_t players = batch_.rules.num_players;
    const int64_t size = kSize[static_cast<size_t>(type)] * players;
    const auto* bytes = static_cast<const uint8_t*>(actions);
    std::atomic<bool> valid{true};
    const auto check = [&](int64_t begin, int64_t end) {
      const uint8_t largest =
          LOQA_DISPATCH(coin_largest_action, bytes + begin * size, type, (end - begin) * players);
      if (largest >= batch_.rules.num_actions) valid = false;
    };
    if (batch_.num_envs * size <= kCheckAlone) {
      check(0, batch_.num_envs);
    } else {
      for_parts(1, check);
    }
    return valid;
  }

  int64_t state_bytes() const { return coin_state_rows(batch_.rules) * batch_.stride; }

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
  std::vector<uint8_t> next_state_;  // of a rollout whose actions are not known to be valid yet
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
      .def_property("check_actions", &CoinGame::check_actions, &CoinGame::set_check_actions);
}

}  // namespace loqa
