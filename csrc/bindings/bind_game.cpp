#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/device_memory.h"
#include "bindings/simulator.h"
#include "sim/game_job.h"

// One binding for every game of the generic driver.

namespace py = pybind11;

namespace loqa {
namespace {

// Environment steps below which a second thread costs more than it brings.
constexpr int64_t kGrain = 1 << 13;
constexpr int64_t kAlign = 64;  // environments, so that threads never share a cache line

int64_t bytes_of_type(FieldType type) { return type == FieldType::kInt8 ? 1 : 4; }
int64_t bytes_of_type(ObsType type) {
  return type == ObsType::kInt8 ? 1 : (type == ObsType::kInt64 ? 8 : 4);
}

std::pair<int, const GameLayout*> find_game(const std::string& name) {
  for (int game = 0;; ++game) {
    const GameLayout* layout = game_layout(game);
    if (layout == nullptr) throw std::invalid_argument("there is no native game " + name);
    if (layout->name == name) return {game, layout};
  }
}

// Puts numbers into a game's rules by the names of its fields.
void write_rules(const GameLayout& layout, const std::map<std::string, double>& given,
                 unsigned char* rules) {
  if (given.size() != static_cast<size_t>(layout.num_rules)) {
    throw std::invalid_argument(std::string(layout.name) + " has " +
                                std::to_string(layout.num_rules) + " rules, got " +
                                std::to_string(given.size()));
  }
  for (const Field* field = layout.rules; field != layout.rules + layout.num_rules; ++field) {
    const double value = given.at(field->name);
    if (field->type == FieldType::kFloat32) {
      const float number = static_cast<float>(value);
      std::memcpy(rules + field->offset, &number, sizeof(number));
    } else {
      const int32_t number = static_cast<int32_t>(value);
      std::memcpy(rules + field->offset, &number, sizeof(number));
    }
  }
}

// Who plays each seat, and what memory-1 players do.
struct GamePlayers {
  std::vector<int> kinds;  // GamePlayer
  MemoryPtr probabilities;
  int64_t env_stride;
  float exploration;
};

// A batch of a game and the memory that it is in.
struct GameSetup {
  GameJob batch = {};
  std::vector<MemoryPtr> kept;

  void* obs(const MemoryPtr& memory, int64_t steps) const {
    return bytes_of(memory, "obs", {steps, batch.num_envs, batch.num_players, batch.obs_width},
                    bytes_of_type(batch.obs_type));
  }
  float* rewards(const MemoryPtr& memory, int64_t steps) const {
    return array_of<float>(memory, "rewards", {steps, batch.num_envs, batch.num_players});
  }
  uint8_t* flags(const MemoryPtr& memory, const char* name) const {
    return array_of<uint8_t>(memory, name, {batch.num_envs});
  }

  // A job of `steps` steps whose results are not the environment's own.
  GameJob trajectory(GameJob job, int64_t steps, const MemoryPtr& seen,
                     const MemoryPtr& paid) const {
    job.autoreset = Autoreset::kOff;
    job.steps = steps;
    job.observe_first = true;
    job.obs = obs(seen, product_of({steps}) + 1);
    job.rewards = rewards(paid, steps);
    job.terminated = job.truncated = nullptr;
    return job;
  }
  // A job in which players are played; `steps` of it are in `chosen`.
  GameJob played(GameJob job, const GamePlayers& players, int64_t steps,
                 const MemoryPtr& chosen) const {
    const GameLayout& layout = *game_layout(job.game);
    if (players.kinds.size() != static_cast<size_t>(job.num_players)) {
      throw std::invalid_argument("GamePlayers: one number a seat");
    }
    const int64_t size = layout.memory1_size(job);
    for (size_t p = 0; p < players.kinds.size(); ++p) {
      const int kind = job.player[p] = players.kinds[p];
      if (kind < kMemory1 || kind > layout.num_scripts || (kind == kMemory1 && size == 0)) {
        throw std::invalid_argument("GamePlayers: no such player");
      }
      if (kind != kMemory1) continue;
      const int64_t tables = players.env_stride == 0 ? 1 : job.num_envs;
      job.probabilities = array_of<const float>(players.probabilities, "probabilities",
                                                {tables, job.num_players, size});
    }
    job.env_stride = players.env_stride == 0 ? 0 : job.num_players * size;
    job.exploration = players.exploration;
    job.chosen = bytes_of(chosen, "chosen", {steps, job.num_envs, job.num_players},
                          layout.memory1_size(job) == 0 ? sizeof(float) : 1);
    return job;
  }
  GameJob only_choose(const GameJob& job, const GamePlayers& players,
                      const MemoryPtr& chosen) const {
    GameJob one = played(job, players, 1, chosen);
    one.only_choose = true;
    return one;
  }
  // A job of no step that starts episodes where `which` is set.
  GameJob start(GameJob job, const MemoryPtr& which) const {
    job.restart = flags(which, "which");
    return job;
  }
};

GameSetup make_setup(const std::string& game, const std::map<std::string, double>& rules,
                     int64_t num_envs, int num_players, int obs_type, int32_t episode_length,
                     uint32_t first_env, const MemoryPtr& states, const MemoryPtr& t,
                     const MemoryPtr& episode) {
  const auto [number, layout] = find_game(game);
  if (num_envs < 1 || num_players < layout->min_players || num_players > kMaxPlayers ||
      obs_type < 0 || obs_type > static_cast<int>(ObsType::kFloat32)) {
    throw std::invalid_argument("GameBatch: a size is out of range");
  }
  GameSetup setup;
  GameJob& batch = setup.batch;
  batch.game = number;
  batch.num_players = num_players;
  batch.num_envs = num_envs;
  write_rules(*layout, rules, batch.rules);
  batch.obs_type = static_cast<ObsType>(obs_type);
  batch.obs_width = layout->obs_width(batch);
  batch.episode_length = episode_length;
  batch.first_env = first_env;
  batch.states = bytes_of(states, "states", {num_envs, layout->state_bytes}, 1);
  batch.t = array_of<int32_t>(t, "t", {num_envs});
  batch.episode = array_of<uint32_t>(episode, "episode", {num_envs});
  setup.kept = {states, t, episode};
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
        shape_{setup.batch.num_envs, setup.batch.num_players} {
    job_ = setup_.batch;
    job_.seed = &seed_;
    job_.obs = setup_.obs(obs, 1);
    job_.rewards = setup_.rewards(rewards, 1);
    job_.terminated = setup_.flags(terminated, "terminated");
    job_.truncated = setup_.flags(truncated, "truncated");
  }

  void set_seed(uint64_t seed) { seed_ = seed; }

  void observe() {
    const Working working(busy(), Working::kHoldingGil);
    forget_room();
    GameJob job = job_;
    job.observe_first = true;
    LOQA_DISPATCH(game_play, job, 0, job.num_envs);
  }

  void start(const MemoryPtr& which) {
    const GameJob job = setup_.start(job_, which);
    const Working working(busy(), Working::kHoldingGil);
    LOQA_DISPATCH(game_play, job, 0, job.num_envs);
  }

  py::object step(py::handle actions) {
    return step_with(actions, shape_, [&](const ActionArray& given) {
      GameJob job = job_;
      job.steps = 1;
      return checked(job, given) ? run(job) : StepOutcome::kOutOfRange;
    });
  }

  void choose(const GamePlayers& players, const MemoryPtr& chosen) {
    const GameJob job = setup_.only_choose(job_, players, chosen);
    const Working working(busy(), Working::kHoldingGil);
    LOQA_DISPATCH(game_play, job, 0, job.num_envs);
  }

  int play(const GamePlayers& players, int64_t steps, const MemoryPtr& chosen, const MemoryPtr& obs,
           const MemoryPtr& rewards) {
    const GameJob job =
        setup_.played(setup_.trajectory(job_, steps, obs, rewards), players, steps, chosen);
    Working working(busy(), how_for(steps));
    keep(working, job);
    return code(run(job));
  }

  int rollout(py::handle actions, int64_t steps, const MemoryPtr& obs, const MemoryPtr& rewards) {
    GameJob job = setup_.trajectory(job_, steps, obs, rewards);
    ActionArray given;
    if (!read_actions(actions, {steps, job.num_envs, job.num_players}, &given)) {
      return code(StepOutcome::kUnread);
    }
    Working working(busy(), how_for(steps));
    keep(working, job);
    return code(checked(job, given) ? run(job) : StepOutcome::kOutOfRange);
  }

 private:
  void keep(Working& working, const GameJob& job) const {
    working.keep(job.states, static_cast<int64_t>(setup_.kept[0]->bytes()));
    working.keep(job.t, job.num_envs * static_cast<int64_t>(sizeof(int32_t)));
  }

  // Whether the actions, which become the job's, are all legal.
  bool checked(GameJob& job, const ActionArray& given) const {
    job.actions = given.data;
    job.action_type = given.type;
    std::atomic<bool> legal{true};
    for_parts(job.steps, kGrain, kAlign, [&](int64_t begin, int64_t end) {
      if (!LOQA_DISPATCH(game_actions_legal, job, begin, end)) legal = false;
    });
    return legal;
  }

  StepOutcome run(const GameJob& job) {
    if (!take_room(job.steps)) return StepOutcome::kNoRoom;
    for_parts(job.steps, kGrain, kAlign,
              [&](int64_t begin, int64_t end) { LOQA_DISPATCH(game_play, job, begin, end); });
    return StepOutcome::kDone;
  }

  GameSetup setup_;
  GameJob job_ = {};
  uint64_t seed_ = 0;
  std::vector<int64_t> shape_;
};

// A game in a device's memory: every call enqueues on `stream` (of the current device) and returns.
// With `on_host` the same work is done in a loop on the host, for tests.
class GameSimulatorDevice {
 public:
  GameSimulatorDevice(const GameSetup& setup, const DeviceResults& results, bool on_host)
      : setup_(setup), results_(results), on_host_(on_host) {
    require_device(on_host, "GameSimulatorDevice");
    job_ = setup.batch;
    results.put(&job_, setup_);
    array_of<int32_t>(results.bad_action, "bad_action", {1});
    job_.terminated = setup_.flags(results.terminated, "terminated");
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
    if (results_.overlap(actions)) return code(StepOutcome::kUnread);
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

  void run(const GameJob& job, std::uintptr_t stream) const {
    const WithoutGil released;
    if (on_host_) return game_play_host(job);
#if defined(LOQA_WITH_CUDA)
    game_play_cuda(job, pointer<void>(stream));
#endif
    static_cast<void>(stream);
  }

  GameSetup setup_;
  DeviceResults results_;
  ShownResults shown_;
  GameJob job_ = {};
  bool on_host_;
};

py::dict layout_of(const std::string& game) {
  const GameLayout& layout = *find_game(game).second;
  py::dict state;
  for (const Field* field = layout.state; field != layout.state + layout.num_state; ++field) {
    state[field->name] = py::make_tuple(static_cast<int>(field->type),
                                        field->offset / bytes_of_type(field->type), field->count);
  }
  py::dict found;
  found["state_bytes"] = layout.state_bytes;
  found["state"] = state;
  found["scripts"] = std::vector<std::string>(layout.scripts, layout.scripts + layout.num_scripts);
  return found;
}

}  // namespace

void bind_game(py::module_& module) {
  module.def(
      "game_layout", &layout_of, py::arg("game"),
      "Bytes of a state, and of each field of it: the code of its type, where it begins "
      "(counted in numbers of its type) and how many there are (0: one for each player); the "
      "names of the scripted players.");
  py::class_<GamePlayers>(module, "GamePlayers")
      .def(py::init<std::vector<int>, MemoryPtr, int64_t, float>(), py::kw_only(), py::arg("kinds"),
           py::arg("probabilities") = nullptr, py::arg("env_stride") = 0,
           py::arg("exploration") = 0.0f);
  py::class_<GameSetup>(module, "GameBatch")
      .def(py::init(&make_setup), py::kw_only(), py::arg("game"), py::arg("rules"),
           py::arg("num_envs"), py::arg("num_players"), py::arg("obs_type"),
           py::arg("episode_length"), py::arg("first_env"), py::arg("states"), py::arg("t"),
           py::arg("episode"));
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
      .def(py::init(&make_device<GameSimulatorDevice, GameSetup>), py::kw_only(), py::arg("batch"),
           py::arg("seed"), py::arg("bad_action"), py::arg("autoreset"), py::arg("obs"),
           py::arg("rewards"), py::arg("terminated"), py::arg("truncated"), py::arg("final_obs"),
           py::arg("on_host"))
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
