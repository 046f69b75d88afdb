#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/launch.h"
#include "bindings/memory.h"
#include "kernels/head_step.h"

namespace py = pybind11;

namespace loqa {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw std::invalid_argument("HeadSteps: " + what);
}

struct Parameters {
  MemoryPtr first, first_bias, gates, gates_bias, memory, memory_bias, end, end_bias;
};

// A head with what it works on; `games` of the batch.
struct BoundHead {
  Parameters parameters;
  int64_t sets, features, hidden, outputs;
  int seat;
  bool reads_time, acts;
  MemoryPtr state, said;

  StepHead bound(int64_t games, int64_t steps, int64_t players) const {
    // Products of sizes stay far below what an integer of 32 bits holds.
    const auto fits = [](int64_t size, int64_t most) { return size >= 1 && size <= most; };
    if (!fits(hidden, kMaxHeadUnits) || hidden % kStageRows != 0 ||
        !fits(features, kMaxHeadFeatures) || !fits(outputs, kMaxHeadOutputs)) {
      refuse("hidden must be a multiple of " + std::to_string(kStageRows) + " up to " +
             std::to_string(kMaxHeadUnits) + ", features up to " +
             std::to_string(kMaxHeadFeatures) + ", outputs up to " +
             std::to_string(kMaxHeadOutputs));
    }
    if (sets < 1 || games % sets != 0) refuse("sets must divide the games");
    if (seat < 0 || seat >= players) refuse("no such seat");
    StepHead head = {};
    const auto matrix = [&](const MemoryPtr& memory, const char* name, int64_t size) {
      const float* found = array_of<const float>(memory, name, {sets, size});
      if (reinterpret_cast<std::uintptr_t>(found) % alignof(threads::Four) != 0) {
        refuse(std::string(name) + " must be aligned to 16 bytes");
      }
      return found;
    };
    head.first = matrix(parameters.first, "first", features * hidden);
    head.first_bias = matrix(parameters.first_bias, "first_bias", hidden);
    head.gates = matrix(parameters.gates, "gates", 3 * hidden * hidden);
    head.gates_bias = matrix(parameters.gates_bias, "gates_bias", 3 * hidden);
    head.memory = matrix(parameters.memory, "memory", 3 * hidden * hidden);
    head.memory_bias = matrix(parameters.memory_bias, "memory_bias", hidden);
    head.end = array_of<const float>(parameters.end, "end", {sets, hidden, outputs});
    head.end_bias = array_of<const float>(parameters.end_bias, "end_bias", {sets, outputs});
    head.features = static_cast<int32_t>(features);
    head.hidden = static_cast<int32_t>(hidden);
    head.outputs = static_cast<int32_t>(outputs);
    head.seat = seat;
    head.reads_time = reads_time;
    head.acts = acts;
    head.each = games / sets;
    head.blocks = head_blocks(head, games);
    head.state = array_of<float>(state, "state", {games, hidden});
    if (said != nullptr) head.said = array_of<float>(said, "said", {steps + 1, games, outputs});
    return head;
  }
};

// Episodes of T steps between recurrent heads, whose steps it makes.
class HeadSteps {
 public:
  HeadSteps(const std::vector<BoundHead>& heads, const MemoryPtr& obs, int type, int64_t width,
            const MemoryPtr& draws, const MemoryPtr& actions, int64_t steps, int64_t games,
            int64_t players, double exploration, bool on_host)
      : kept_(heads), memory_{obs, draws, actions}, on_host_(on_host) {
    if (!on_host && !kWithCuda) refuse("this build has no CUDA");
    if (heads.empty() || heads.size() > static_cast<size_t>(kMaxHeads)) {
      refuse("1 to " + std::to_string(kMaxHeads) + " heads");
    }
    const auto in_range = [](int64_t size) { return size >= 1 && size <= INT32_MAX; };
    if (!in_range(steps) || !in_range(games) || !in_range(players) || width < 1 ||
        width > kMaxHeadFeatures || type < 0 || type > static_cast<int>(SeenType::kFloat32)) {
      refuse("a size is out of range");
    }
    constexpr int64_t kBytes[] = {1, 2, 4, 4};
    job_.type = static_cast<SeenType>(type);
    job_.obs = bytes_of(obs, "obs", {product_of({steps}) + 1, games, players, width}, kBytes[type]);
    job_.draws = array_of<const float>(draws, "draws", {steps, players, games});
    job_.actions = array_of<uint8_t>(actions, "actions", {steps, games, players});
    job_.players = static_cast<int32_t>(players);
    job_.width = static_cast<int32_t>(width);
    job_.steps = static_cast<int32_t>(steps);
    job_.games = games;
    job_.exploration = static_cast<float>(exploration);
    for (const BoundHead& head : heads) {
      const int64_t read = head.features - (head.reads_time ? 1 : 0);
      if (job_.type == SeenType::kFloat32 ? read != width : read < width) {
        refuse("the features of a head do not fit the observation");
      }
      heads_.push_back(head.bound(games, steps, players));
    }
  }

  // What the heads say and do at step t; at step T those that say something.
  void step(int64_t t, [[maybe_unused]] std::uintptr_t stream) const {
    HeadStep job = job_;
    if (t < 0 || t > job.steps) refuse("no such step");
    job.t = static_cast<int32_t>(t);
    for (const StepHead& head : heads_) {
      if (t < job.steps || head.said != nullptr) job.heads[job.num_heads++] = head;
    }
    if (job.num_heads == 0) return;
    if (on_host_) return run_on_host(job);
    if constexpr (kWithCuda) step_heads_cuda(job, pointer<void>(stream));
  }

 private:
  static void run_on_host(const HeadStep& job) {
    int64_t blocks = 0;
    for (int h = 0; h < job.num_heads; ++h) blocks += job.heads[h].blocks;
    std::vector<threads::Four> shared(static_cast<size_t>(head_words(job)) / 4 + 1);
    HostBlock<threads::HeadThread, kHeadThreads> block;
    block.shared = reinterpret_cast<uint32_t*>(shared.data());
    for (block.index = 0; block.index < blocks; ++block.index) threads::step_heads(job, block);
  }

  std::vector<BoundHead> kept_;
  std::vector<MemoryPtr> memory_;
  std::vector<StepHead> heads_;
  HeadStep job_ = {};
  bool on_host_;
};

}  // namespace

void bind_head_step(py::module_& module) {
  using Weights = const MemoryPtr&;
  py::class_<BoundHead>(module, "StepHead",
                        "A recurrent head: parameter sets one after the other, of each its weights "
                        "[inputs, outputs]; its state, and what it says if that is wanted.")
      .def(py::init([](Weights first, Weights first_bias, Weights gates, Weights gates_bias,
                       Weights memory, Weights memory_bias, Weights end, Weights end_bias,
                       int64_t sets, int64_t features, int64_t hidden, int64_t outputs, int seat,
                       bool reads_time, bool acts, const MemoryPtr& state, const MemoryPtr& said) {
             return BoundHead{
                 {first, first_bias, gates, gates_bias, memory, memory_bias, end, end_bias},
                 sets,
                 features,
                 hidden,
                 outputs,
                 seat,
                 reads_time,
                 acts,
                 state,
                 said};
           }),
           py::kw_only(), py::arg("first"), py::arg("first_bias"), py::arg("gates"),
           py::arg("gates_bias"), py::arg("memory"), py::arg("memory_bias"), py::arg("end"),
           py::arg("end_bias"), py::arg("sets"), py::arg("features"), py::arg("hidden"),
           py::arg("outputs"), py::arg("seat"), py::arg("reads_time"), py::arg("acts"),
           py::arg("state"), py::arg("said"));
  module.def(
      "head_step_fits",
      [](int64_t features, int64_t hidden, int64_t outputs, int64_t width, bool on_host) {
        const bool sizes = hidden % kStageRows == 0 && hidden <= kMaxHeadUnits &&
                           features <= kMaxHeadFeatures && outputs <= kMaxHeadOutputs;
        if (!sizes) return false;
        HeadStep job = {};
        job.num_heads = 1;
        job.heads[0].hidden = static_cast<int32_t>(hidden);
        job.width = static_cast<int32_t>(width);
        return head_words(job) * static_cast<int64_t>(sizeof(uint32_t)) <= block_memory(on_host);
      },
      py::arg("features"), py::arg("hidden"), py::arg("outputs"), py::arg("width"),
      py::arg("on_host"),
      "Whether the current GPU steps such a head that reads observations of so many numbers.");
  py::class_<HeadSteps>(module, "HeadSteps")
      .def(py::init<const std::vector<BoundHead>&, const MemoryPtr&, int, int64_t, const MemoryPtr&,
                    const MemoryPtr&, int64_t, int64_t, int64_t, double, bool>(),
           py::kw_only(), py::arg("heads"), py::arg("obs"), py::arg("type"), py::arg("width"),
           py::arg("draws"), py::arg("actions"), py::arg("steps"), py::arg("games"),
           py::arg("players"), py::arg("exploration"), py::arg("on_host"))
      .def("step", &HeadSteps::step, py::arg("t"), py::arg("stream"));
}

}  // namespace loqa
