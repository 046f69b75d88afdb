#include "bindings/bind_game.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings/simulator.h"
#include "core/interrupt.h"
#include "games/matrix_game.h"

// One binding for every game of the generic driver.

namespace py = pybind11;

namespace loqa {
namespace {

// A step whose players are played takes up to so many times as long as one of given actions.
constexpr int64_t kPlayedSteps = 16;
constexpr int64_t kBetweenLooks = 32;  // steps of actions that are checked
// The game whose rollouts find illegal actions on their way: to look first takes a sixth as long.
constexpr std::string_view kLooksOnce = MatrixGame::kName;
constexpr int64_t kAlign = 64;  // environments, so that threads never share a cache line

int64_t bytes_of_type(FieldType type) { return type == FieldType::kInt8 ? 1 : 4; }

std::pair<int, const GameLayout*> find_game(const std::string& name) {
  for (int game = 0;; ++game) {
    const GameLayout* layout = game_layout(game);
    if (layout == nullptr) throw std::invalid_argument("there is no native game " + name);
    if (layout->name == name) return {game, layout};
  }
}

template <typename T>
void put(double value, unsigned char* to) {
  const T number = static_cast<T>(value);
  std::memcpy(to, &number, sizeof(number));
}

// Puts numbers into a game's rules by the names of its fields.
void write_rules(const GameLayout& layout, const std::map<std::string, double>& given,
                 unsigned char* rules) {
  if (given.size() != layout.rules.size()) {
    throw std::invalid_argument(std::string(layout.name) + " has " +
                                std::to_string(layout.rules.size()) + " rules, got " +
                                std::to_string(given.size()));
  }
  for (const Field& field : layout.rules) {
    const double value = given.at(field.name);
    unsigned char* to = rules + field.offset;
    if (field.type == FieldType::kFloat32) {
      put<float>(value, to);
    } else if (field.type == FieldType::kInt32) {
      put<int32_t>(value, to);
    } else {
      put<uint8_t>(value, to);
    }
  }
}

GameSetup make_setup(const std::string& game, const std::map<std::string, double>& rules,
                     int64_t num_envs, int num_players, int obs_type, int32_t episode_length,
                     uint32_t first_env, bool checked, const MemoryPtr& table,
                     const MemoryPtr& states, const MemoryPtr& t, const MemoryPtr& episode) {
  const auto [number, layout] = find_game(game);
  GameSetup setup = {{}, states, t, episode, table};
  GameJob& batch = setup.batch;
  batch.game = number;
  batch.num_players = num_players;
  batch.num_envs = num_envs;
  write_rules(*layout, rules, batch.rules);
  batch.obs_type = static_cast<ObsType>(obs_type);
  batch.unchecked = !checked;
  const GameSizes sizes = layout->sizes(batch);
  if (num_envs < 1 || num_players < layout->min_players || num_players > layout->most_players ||
      obs_type < 0 || obs_type > static_cast<int>(ObsType::kBfloat16) || !sizes.fit) {
    throw std::invalid_argument("GameBatch: a size is out of range");
  }
  batch.table = array_of<const float>(table, "table", {sizes.table});
  batch.obs_width = sizes.obs_width;
  batch.episode_length = episode_length;
  batch.first_env = first_env;
  batch.states = bytes_of(states, "states", {sizes.states}, 1);
  batch.t = array_of<int32_t>(t, "t", {num_envs});
  batch.episode = array_of<uint32_t>(episode, "episode", {num_envs});
  return setup;
}

// A game in the host's memory.
class GameSimulator : public HostSimulator {
 public:
  GameSimulator(const GameSetup& setup, const MemoryPtr& obs, const MemoryPtr& rewards,
                const MemoryPtr& terminated, const MemoryPtr& truncated, int num_threads)
      : HostSimulator(setup.batch.t, setup.batch.num_envs, {obs, rewards, terminated, truncated},
                      num_threads),
        setup_(setup),
        shape_{setup.batch.num_envs, setup.batch.num_players},
        layout_(*game_layout(setup.batch.game)),
        cache_(layout_.sizes(setup.batch).cache / sizeof(int32_t), -1),
        taken_(static_cast<size_t>(shape_[0] * shape_[1] * layout_.action_bytes) / sizeof(float) +
               1) {
    job_ = setup_.batch;
    job_.seed = &seed_;
    job_.obs = setup_.obs(obs, 1);
    job_.rewards = setup_.rewards(rewards, 1);
    job_.terminated = setup_.flags(terminated, "terminated");
    job_.truncated = setup_.flags(truncated, "truncated");
    job_.cache = cache_.data();
    step_ = job_;
    step_.steps = 1;
    kept_.add(job_.states, setup_.states->bytes());
    kept_.add(job_.t, setup_.t->bytes());
  }

  void set_seed(uint64_t seed) {
    seed_ = seed;
    std::fill(cache_.begin(), cache_.end(), -1);
  }

  void observe() {
    forget_room();
    GameJob job = job_;
    job.observe_first = true;
    do_at_once(job);
  }

  void start(const MemoryPtr& which) { do_at_once(setup_.start(job_, which)); }

  py::object step(py::handle actions) {
    return step_with(actions, shape_, [&](const ActionArray& given) {
      step_.actions = given.data;
      step_.action_type = given.type;
      step_.taken = !step_.unchecked && !is_block();
      if (step_.taken) {
        if (!all_legal(step_)) return StepOutcome::kOutOfRange;
        step_.actions = taken_.data();
        step_.action_type = ActionType::kUint8;
      }
      return run(step_, 1);
    });
  }

  void choose(const GamePlayers& players, const MemoryPtr& chosen) {
    do_at_once(setup_.only_choose(job_, players, chosen));
  }

  int play(const GamePlayers& players, int64_t steps, const MemoryPtr& chosen, const MemoryPtr& obs,
           const MemoryPtr& rewards) {
    const GameJob job =
        setup_.played(setup_.trajectory(job_, steps, obs, rewards), players, steps, chosen);
    const Working::How how = how_for(steps, kPlayedSteps);
    const Working working(busy(), how, how == Working::kLong ? &kept_ : nullptr);
    return code(run(job, kPlayedSteps));
  }

  int rollout(py::handle actions, int64_t steps, const MemoryPtr& obs, const MemoryPtr& rewards) {
    GameJob job = setup_.trajectory(job_, steps, obs, rewards);
    ActionArray given;
    if (!read_actions(actions, {steps, job.num_envs, job.num_players}, &given)) {
      return code(StepOutcome::kUnread);
    }
    job.actions = given.data;
    job.action_type = given.type;
    const Working::How how = how_for(steps);
    const bool looks_once = layout_.name == kLooksOnce || is_block();
    const bool keeps = how == Working::kLong || looks_once;
    const Working working(busy(), how, keeps ? &kept_ : nullptr);
    if (!looks_once && !job.unchecked) {
      if (!all_legal(job)) return code(StepOutcome::kOutOfRange);
      job.unchecked = true;
    }
    const StepOutcome outcome = run(job, 1);
    if (outcome == StepOutcome::kOutOfRange && keeps) kept_.put_back();
    return code(outcome);
  }

 private:
  // A batch that drivers do at once: they refuse a step before anything has changed.
  bool is_block() const { return setup_.batch.num_envs <= kAlign; }

  // Whether part(begin, end) holds for all parts of the batch.
  template <typename Part>
  bool for_all(int64_t steps, const Part& part) const {
    std::atomic<bool> all{true};
    for_parts(steps, layout_.grain, kAlign, [&](int64_t begin, int64_t end) {
      if (!part(begin, end)) all = false;
    });
    return all;
  }

  // Whether all actions are legal; those of the last step are in taken_ then.
  bool all_legal(const GameJob& job) {
    return for_all(job.steps, [&](int64_t begin, int64_t end) {
      for (int64_t step = 0; step < job.steps; ++step) {
        if ((step + 1) % kBetweenLooks == 0 && interrupted()) break;
        if (!LOQA_DISPATCH(game_take, job, step, taken_.data(), begin, end)) return false;
      }
      return true;
    });
  }

  // A job of no step.
  void do_at_once(const GameJob& job) {
    const Working working(busy(), Working::kWithoutGil);
    for_all(1,
            [&](int64_t begin, int64_t end) { return LOQA_DISPATCH(game_play, job, begin, end); });
  }

  // A step of it takes `times` as long as one of given actions.
  StepOutcome run(const GameJob& job, int64_t times) {
    if (!take_room(job.steps)) return StepOutcome::kNoRoom;
    const bool legal = for_all(times * job.steps, [&](int64_t begin, int64_t end) {
      return LOQA_DISPATCH(game_play, job, begin, end);
    });
    if (!legal) forget_room();
    return legal ? StepOutcome::kDone : StepOutcome::kOutOfRange;
  }

  GameSetup setup_;
  GameJob job_ = {};
  GameJob step_;  // whose actions change
  Kept kept_;
  uint64_t seed_ = 0;
  std::vector<int64_t> shape_;
  const GameLayout& layout_;
  std::vector<int32_t> cache_;
  std::vector<float> taken_;  // or bytes
};

// A game in a device's memory: every call enqueues on `stream` (of the current device) and returns.
// With `on_host` the same work is done in a loop on the host, for tests.
class GameSimulatorDevice {
 public:
  GameSimulatorDevice(const GameSetup& setup, const MemoryPtr& seed, const MemoryPtr& bad_action,
                      int autoreset, const MemoryPtr& obs, const MemoryPtr& rewards,
                      const MemoryPtr& terminated, const MemoryPtr& truncated,
                      const MemoryPtr& final_obs, bool on_host)
      : setup_(setup),
        results_{obs, rewards, terminated, truncated},
        kept_{seed, bad_action, final_obs},
        job_(setup.batch),
        on_host_(on_host) {
    if (!on_host && !kWithCuda) {
      throw std::invalid_argument("GameSimulatorDevice: this build has no CUDA");
    }
    if (autoreset < 0 || autoreset > static_cast<int>(Autoreset::kSameStep)) {
      throw std::invalid_argument("unknown code of autoreset");
    }
    job_.seed = array_of<const uint64_t>(seed, "seed", {1});
    if (!job_.unchecked) job_.bad_action = array_of<int32_t>(bad_action, "bad_action", {1});
    job_.autoreset = static_cast<Autoreset>(autoreset);
    job_.obs = setup_.obs(obs, 1);
    job_.rewards = setup_.rewards(rewards, 1);
    job_.terminated = setup_.flags(terminated, "terminated");
    job_.truncated = setup_.flags(truncated, "truncated");
    if (job_.autoreset == Autoreset::kSameStep) {
      job_.final_obs = setup_.obs(final_obs, 1);
      results_.push_back(final_obs);
    }
  }

  void show(const py::tuple& tensors) { shown_.show(tensors); }
  bool intact() const { return shown_.intact(); }

  void observe(std::uintptr_t stream) const {
    GameJob job = job_;
    job.observe_first = true;
    run(job, stream);
  }

  void start(const MemoryPtr& which, std::uintptr_t stream) const {
    run(setup_.start(job_, which), stream);
  }

  int step(const MemoryPtr& actions, int type, std::uintptr_t stream) const {
    // Actions that lie in what a step writes are read from a copy.
    if (actions != nullptr && any_overlaps(results_, actions->data(), actions->bytes())) {
      return code(StepOutcome::kUnread);
    }
    GameJob job = job_;
    job.steps = 1;
    take(job, actions, type);
    run(job, stream);
    return code(StepOutcome::kDone);
  }

  void choose(const GamePlayers& players, const MemoryPtr& chosen, std::uintptr_t stream) const {
    run(setup_.only_choose(job_, players, chosen), stream);
  }

  int play(const GamePlayers& players, int64_t steps, const MemoryPtr& chosen, const MemoryPtr& obs,
           const MemoryPtr& rewards, std::uintptr_t stream) const {
    run(setup_.played(setup_.trajectory(job_, steps, obs, rewards), players, steps, chosen),
        stream);
    return code(StepOutcome::kDone);
  }

  int rollout(const MemoryPtr& actions, int type, int64_t steps, const MemoryPtr& obs,
              const MemoryPtr& rewards, std::uintptr_t stream) const {
    GameJob job = setup_.trajectory(job_, steps, obs, rewards);
    take(job, actions, type);
    run(job, stream);
    return code(StepOutcome::kDone);
  }

 private:
  static void take(GameJob& job, const MemoryPtr& actions, int type) {
    job.action_type = action_type_of(type);
    job.actions = bytes_of(actions, "actions", {job.steps, job.num_envs, job.num_players},
                           action_bytes(job.action_type));
  }

  void run(const GameJob& job, [[maybe_unused]] std::uintptr_t stream) const {
    const WithoutGil released;
    if (on_host_) return game_play_host(job);
    if constexpr (kWithCuda) game_play_cuda(job, pointer<void>(stream));
  }

  GameSetup setup_;
  std::vector<MemoryPtr> results_, kept_;
  ShownResults shown_;
  GameJob job_;
  bool on_host_;
};

py::dict layout_of(const std::string& game) {
  const GameLayout& layout = *find_game(game).second;
  py::dict state;
  for (const Field& field : layout.state) {
    state[field.name] = py::make_tuple(static_cast<int>(field.type),
                                       field.offset / bytes_of_type(field.type), field.count);
  }
  GameJob one = {};
  one.num_envs = 1;
  py::dict found;
  found["state_bytes"] = layout.sizes(one).states;
  found["state"] = state;
  found["scripts"] = std::vector<std::string>(layout.scripts.begin(), layout.scripts.end());
  return found;
}

}  // namespace

GameJob GameSetup::start(GameJob job, const MemoryPtr& which) const {
  job.restart = flags(which, "which");
  return job;
}

GameJob GameSetup::trajectory(GameJob job, int64_t steps, const MemoryPtr& seen,
                              const MemoryPtr& paid) const {
  job.autoreset = Autoreset::kOff;
  job.steps = steps;
  job.observe_first = true;
  job.obs = obs(seen, product_of({steps}) + 1);
  job.rewards = rewards(paid, steps);
  job.terminated = job.truncated = nullptr;
  return job;
}

GameJob GameSetup::played(GameJob job, const GamePlayers& players, int64_t steps,
                          const MemoryPtr& chosen) const {
  const GameLayout& layout = *game_layout(job.game);
  if (players.kinds.size() != static_cast<size_t>(job.num_players)) {
    throw std::invalid_argument("GamePlayers: one kind for each player");
  }
  const GameSizes sizes = layout.sizes(job);
  job.row = sizes.actions - (players.last_too ? 0 : 1);
  const int64_t size = sizes.seen * job.row;
  for (size_t p = 0; p < players.kinds.size(); ++p) {
    const int kind = job.player[p] = players.kinds[p];
    if (kind < kMemory1 || kind > static_cast<int>(layout.scripts.size()) ||
        (kind == kMemory1 && sizes.seen == 0)) {
      throw std::invalid_argument("GamePlayers: no such player");
    }
    if (kind != kMemory1) continue;
    const int64_t tables = players.each_env ? job.num_envs : 1;
    job.probabilities = array_of<const float>(players.probabilities, "probabilities",
                                              {tables, job.num_players, size});
  }
  job.env_stride = players.each_env ? job.num_players * size : 0;
  job.exploration = players.exploration;
  job.tie_episode = players.tie_episode;
  job.chosen =
      bytes_of(chosen, "chosen", {steps, job.num_envs, job.num_players}, layout.action_bytes);
  return job;
}

GameJob GameSetup::only_choose(GameJob job, const GamePlayers& players,
                               const MemoryPtr& chosen) const {
  job = played(job, players, 1, chosen);
  job.only_choose = true;
  return job;
}

void bind_game(py::module_& module) {
  module.def(
      "game_layout", &layout_of, py::arg("game"),
      "Bytes of a state, and of each field of it: the code of its type, where it begins "
      "(counted in numbers of its type) and how many there are (0: one for each player); the "
      "names of the scripted players.");
  py::class_<GamePlayers>(module, "GamePlayers")
      .def(py::init<std::vector<int>, MemoryPtr, bool, bool, float, bool>(), py::kw_only(),
           py::arg("kinds"), py::arg("probabilities") = nullptr, py::arg("each_env") = false,
           py::arg("last_too") = true, py::arg("exploration") = 0.0f,
           py::arg("tie_episode") = false);
  py::class_<GameSetup>(module, "GameBatch")
      .def(py::init(&make_setup), py::kw_only(), py::arg("game"), py::arg("rules"),
           py::arg("num_envs"), py::arg("num_players"), py::arg("obs_type"),
           py::arg("episode_length"), py::arg("first_env"), py::arg("checked") = true,
           py::arg("table") = nullptr, py::arg("states"), py::arg("t"), py::arg("episode"));
  py::class_<GameSimulator>(module, "GameSimulator")
      .def(py::init<const GameSetup&, const MemoryPtr&, const MemoryPtr&, const MemoryPtr&,
                    const MemoryPtr&, int>(),
           py::arg("batch"), py::arg("obs"), py::arg("rewards"), py::arg("terminated"),
           py::arg("truncated"), py::arg("num_threads"))
      .def("show", &GameSimulator::show, py::arg("tensors"))
      .def("intact", &GameSimulator::intact)
      .def("set_seed", &GameSimulator::set_seed, py::arg("seed"))
      .def("observe", &GameSimulator::observe)
      .def("start", &GameSimulator::start, py::arg("which"))
      .def("step", &GameSimulator::step, py::arg("actions"))
      .def("choose", &GameSimulator::choose, py::arg("players"), py::arg("chosen"))
      .def("play", &GameSimulator::play, py::arg("players"), py::arg("steps"), py::arg("chosen"),
           py::arg("obs"), py::arg("rewards"))
      .def("rollout", &GameSimulator::rollout, py::arg("actions"), py::arg("steps"), py::arg("obs"),
           py::arg("rewards"));
  py::class_<GameSimulatorDevice>(module, "GameSimulatorDevice")
      .def(py::init<const GameSetup&, const MemoryPtr&, const MemoryPtr&, int, const MemoryPtr&,
                    const MemoryPtr&, const MemoryPtr&, const MemoryPtr&, const MemoryPtr&, bool>(),
           py::kw_only(), py::arg("batch"), py::arg("seed"), py::arg("bad_action"),
           py::arg("autoreset"), py::arg("obs"), py::arg("rewards"), py::arg("terminated"),
           py::arg("truncated"), py::arg("final_obs"), py::arg("on_host"))
      .def("show", &GameSimulatorDevice::show, py::arg("tensors"))
      .def("intact", &GameSimulatorDevice::intact)
      .def("observe", &GameSimulatorDevice::observe, py::arg("stream"))
      .def("start", &GameSimulatorDevice::start, py::arg("which"), py::arg("stream"))
      .def("step", &GameSimulatorDevice::step, py::arg("actions"), py::arg("action_type"),
           py::arg("stream"))
      .def("choose", &GameSimulatorDevice::choose, py::arg("players"), py::arg("chosen"),
           py::arg("stream"))
      .def("play", &GameSimulatorDevice::play, py::arg("players"), py::arg("steps"),
           py::arg("chosen"), py::arg("obs"), py::arg("rewards"), py::arg("stream"))
      .def("rollout", &GameSimulatorDevice::rollout, py::arg("actions"), py::arg("action_type"),
           py::arg("steps"), py::arg("obs"), py::arg("rewards"), py::arg("stream"));
}

}  // namespace loqa
