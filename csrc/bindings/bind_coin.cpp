#include "bindings/bind_coin.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/device_memory.h"
#include "bindings/simulator.h"
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

CoinSetup make_setup(int64_t num_envs, int height, int width, int num_players, int num_coins,
                     const std::vector<int>& actions, bool distinct_start, bool coin_anywhere,
                     bool first_takes, bool relative, bool channels_last, bool egocentric,
                     bool history, bool zero_last_reward, int32_t episode_length, int obs_type,
                     const std::array<uint32_t, 5>& values, uint32_t first_env,
                     const MemoryPtr& state, const MemoryPtr& t, const MemoryPtr& episode) {
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
  const int64_t rows =
      2 * (num_players + num_coins) + (num_coins == 1 ? 1 : 0) + (history ? num_players : 0);
  batch.state = array_of<uint8_t>(state, "state", {rows, batch.stride});
  batch.t = array_of<int32_t>(t, "t", {num_envs});
  batch.episode = array_of<uint32_t>(episode, "episode", {num_envs});
  return {batch, {state, t, episode}};
}

class CoinGame : public HostSimulator {
 public:
  CoinGame(const CoinSetup& setup, const MemoryPtr& obs, const MemoryPtr& rewards,
           const MemoryPtr& terminated, const MemoryPtr& truncated, int num_threads)
      : HostSimulator(setup.batch.t, setup.batch.num_envs, {obs, rewards, terminated, truncated},
                      num_threads),
        setup_(setup),
        batch_(setup_.batch),
        results_{setup.obs(obs, 1), setup.rewards(rewards, 1),
                 array_of<uint8_t>(truncated, "truncated", {batch_.num_envs}), false},
        terminated_(array_of<uint8_t>(terminated, "terminated", {batch_.num_envs})),
        words_(static_cast<size_t>(4 * batch_.rules.num_coins * batch_.stride)),
        tag_(static_cast<size_t>(batch_.stride), -1) {
    batch_.words = words_.data();
    batch_.tag = tag_.data();
  }

  void set_seed(uint64_t seed) {
    batch_.seed = seed;
    std::fill(tag_.begin(), tag_.end(), -1);
  }

  void reset(const MemoryPtr& mask) {
    const auto* which = array_of<uint8_t>(mask, "mask", {batch_.num_envs});
    const Working working(busy(), Working::kHoldingGil);
    LOQA_DISPATCH(coin_reset, batch_, which, 0, batch_.num_envs);
  }

  void observe() {
    const Working working(busy(), Working::kWithoutGil);
    forget_room();
    observe_into(results_.obs);
  }

  py::object step(py::handle actions) {
    return step_with(actions, shape_, [&](const ActionArray& given) {
      if (check_actions_ && !all_valid(given, 1)) return StepOutcome::kOutOfRange;
      if (!take_room(1)) return StepOutcome::kNoRoom;
      // No episode is terminated, but the caller may have written to it.
      std::memset(terminated_, 0, static_cast<size_t>(batch_.num_envs));
      for_parts(1, kGrain, kCoinBlock, [&](int64_t begin, int64_t end) {
        LOQA_DISPATCH(coin_steps, batch_, given.data, given.type, 1, results_, begin, end);
      });
      return StepOutcome::kDone;
    });
  }

  int rollout(py::handle actions, int64_t steps, const MemoryPtr& obs, const MemoryPtr& rewards) {
    const CoinResults results = trajectory(steps, obs, rewards);
    ActionArray given;
    if (!read_actions(actions, {steps, shape_[0], shape_[1]}, &given)) {
      return code(StepOutcome::kUnread);
    }
    Working working(busy(), how_for(steps));
    if (check_actions_ && !all_valid(given, steps)) return code(StepOutcome::kOutOfRange);
    if (!take_room(steps)) return code(StepOutcome::kNoRoom);
    observe_into(obs->data());
    if (steps == 0) return code(StepOutcome::kDone);
    // Random words are computed anew where they are of another step.
    working.keep(batch_.state, setup_.kept.front()->bytes());
    for_parts(steps, kGrain, kCoinBlock, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(coin_steps, batch_, given.data, given.type, steps, results, begin, end);
    });
    advance(steps);
    return code(StepOutcome::kDone);
  }

  void choose(const std::vector<int>& kinds, bool tie_episode, const MemoryPtr& actions) {
    const CoinPlayers players = coin_players(batch_, kinds, tie_episode);
    uint8_t* chosen = setup_.played(actions, 1);
    const Working working(busy(), how_for(1));
    for_parts(16, kGrain, kCoinBlock, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(coin_choose, batch_, players, chosen, begin, end);
    });
  }

  int play(const std::vector<int>& kinds, bool tie_episode, int64_t steps, const MemoryPtr& actions,
           const MemoryPtr& obs, const MemoryPtr& rewards) {
    const CoinPlayers players = coin_players(batch_, kinds, tie_episode);
    const CoinResults results = trajectory(steps, obs, rewards);
    uint8_t* played = setup_.played(actions, steps);
    Working working(busy(), how_for(steps));
    if (!take_room(steps)) return code(StepOutcome::kNoRoom);
    observe_into(obs->data());
    if (steps == 0) return code(StepOutcome::kDone);
    // Random words are computed anew where they are of another step.
    working.keep(batch_.state, setup_.kept.front()->bytes());
    for_parts(16 * steps, kGrain, kCoinBlock, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(coin_play, batch_, players, steps, played, results, begin, end);
    });
    advance(steps);
    return code(StepOutcome::kDone);
  }

  // The environment's own state is not touched.
  void play_networks(const std::array<const GruSets*, 2>& actors, const GruSets* critic,
                     const std::vector<int>& kinds, int64_t steps, uint64_t seed,
                     const MemoryPtr& draws, const MemoryPtr& obs, const MemoryPtr& actions,
                     const MemoryPtr& rewards, const MemoryPtr& log_probs,
                     const MemoryPtr& q_values) const {
    const CoinPlayers players = coin_players(batch_, kinds, false);
    if (batch_.rules.num_players != 2 || batch_.rules.history) {
      throw std::invalid_argument("play_networks: two players and observations without history");
    }
    const int64_t envs = batch_.num_envs;
    const int64_t with_last = product_of({steps}) + 1;
    const int64_t told = critic == nullptr ? 0 : with_last;
    const CoinRollout job{
        {actors[0], actors[1]},
        critic,
        players,
        steps,
        array_of<float>(draws, "draws", {steps, 2, envs}),
        setup_.obs(obs, with_last),
        setup_.played(actions, steps),
        setup_.rewards(rewards, steps),
        array_of<float>(log_probs, "log_probs", {told, envs, batch_.rules.num_actions}),
        array_of<float>(q_values, "q_values", {told, envs, batch_.rules.num_actions})};
    check_networks(job);
    const NativeCall call(/*is_long=*/true);
    CoinGameBatch batch = batch_;
    batch.seed = seed;
    const int64_t rows = rollout_rows(job);
    const int64_t blocks = (batch.num_envs + rows - 1) / rows;
    parallel_for(blocks, 1, 1, num_threads(), [&](int64_t begin, int64_t end) {
      const int64_t bytes = LOQA_DISPATCH(coin_rollout_scratch, batch, job, rows);
      const std::unique_ptr<CacheLine[]> scratch(
          new CacheLine[static_cast<size_t>(bytes) / sizeof(CacheLine)]);
      LOQA_DISPATCH(coin_rollout, batch, job, rows, begin, end, scratch.get());
    });
  }

  bool check_actions() const { return check_actions_; }
  void set_check_actions(bool check) { check_actions_ = check; }

 private:
  void check_networks(const CoinRollout& job) const {
    const CoinRules& rules = batch_.rules;
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

  // Whether all of actions [steps, B, A] are in range: known before any state changes.
  bool all_valid(const ActionArray& actions, int64_t steps) const {
    const int64_t players = batch_.rules.num_players;
    const int64_t size = action_bytes(actions.type) * players;
    const int64_t count = steps * batch_.num_envs;
    const auto* bytes = static_cast<const uint8_t*>(actions.data);
    std::atomic<bool> valid{true};
    const auto check = [&](int64_t begin, int64_t end) {
      const uint8_t largest = LOQA_DISPATCH(coin_largest_action, bytes + begin * size, actions.type,
                                            (end - begin) * players);
      if (largest >= batch_.rules.num_actions) valid = false;
    };
    if (count * size <= kCheckAlone) {
      check(0, count);
    } else {
      parallel_for(count, kGrain, kCoinBlock, num_threads(), check);
    }
    return valid;
  }

  void observe_into(void* obs) const {
    for_parts(1, kGrain, kCoinBlock, [&](int64_t begin, int64_t end) {
      LOQA_DISPATCH(coin_observe, batch_, obs, begin, end);
    });
  }

  // Results of a rollout: the observation before the first step comes first in `obs`.
  CoinResults trajectory(int64_t steps, const MemoryPtr& obs, const MemoryPtr& rewards) const {
    auto* seen = static_cast<uint8_t*>(setup_.obs(obs, product_of({steps}) + 1));
    const int64_t bytes = obs->bytes() / (steps + 1);
    return {seen + bytes, setup_.rewards(rewards, steps), nullptr, steps * bytes > kStreamFrom};
  }

  void advance(int64_t steps) const {
    for (int64_t env = 0; env < batch_.num_envs; ++env) {
      batch_.t[env] += static_cast<int32_t>(steps);
    }
  }

  CoinSetup setup_;
  CoinGameBatch batch_;
  CoinResults results_;
  uint8_t* terminated_;
  bool check_actions_ = true;
  std::vector<int64_t> shape_{batch_.num_envs, batch_.rules.num_players};
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
  py::class_<CoinSetup>(module, "CoinBatch")
      .def(py::init(&make_setup), py::kw_only(), py::arg("num_envs"), py::arg("height"),
           py::arg("width"), py::arg("num_players"), py::arg("num_coins"), py::arg("actions"),
           py::arg("distinct_start"), py::arg("coin_anywhere"), py::arg("first_takes"),
           py::arg("relative"), py::arg("channels_last"), py::arg("egocentric"), py::arg("history"),
           py::arg("zero_last_reward"), py::arg("episode_length"), py::arg("obs_type"),
           py::arg("values"), py::arg("first_env"), py::arg("state"), py::arg("t"),
           py::arg("episode"));
  py::class_<CoinGame>(module, "CoinGame")
      .def(py::init<const CoinSetup&, const MemoryPtr&, const MemoryPtr&, const MemoryPtr&,
                    const MemoryPtr&, int>(),
           py::arg("batch"), py::arg("obs"), py::arg("rewards"), py::arg("terminated"),
           py::arg("truncated"), py::arg("num_threads"))
      .def("show", &CoinGame::show, py::arg("tensors"))
      .def("intact", &CoinGame::intact)
      .def("set_seed", &CoinGame::set_seed, py::arg("seed"))
      .def("reset", &CoinGame::reset, py::arg("mask"))
      .def("observe", &CoinGame::observe)
      .def("step", &CoinGame::step, py::arg("actions"))
      .def("rollout", &CoinGame::rollout, py::arg("actions"), py::arg("steps"), py::arg("obs"),
           py::arg("rewards"))
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
