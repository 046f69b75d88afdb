#pragma once

#include <cstdint>

#include "core/thread_block.h"
#include "kernels/gru_formulas.h"
#include "kernels/gru_tiles.h"

// One step of recurrent heads (loqa.agents.networks.GRUHead) for a batch of games, as the threads
// of a GPU make it, all heads of all seats in one launch: the first layer, the GRU with its
// products, the last layer, and the draw of an action. By torch's operators that is some 15
// launches a head, each of which takes longer than its work.
//
// A block of threads steps 32 games of one head. Its weights come from the second-level cache, once
// for all 32, a few rows at a time: while these are multiplied the next are on their way.

namespace loqa {

inline constexpr int kHeadThreads = 256;
inline constexpr int kHeadGames = 32;
inline constexpr int kMaxHeads = 16;
inline constexpr int kMaxHeadOutputs = 8;
inline constexpr int kMaxHeadUnits = 128;  // a thread has one tile
inline constexpr int kMaxHeadFeatures = 1024;

enum class SeenType : int { kUint8, kInt16, kInt32, kFloat32 };

// Parameter sets one after the other, of each its weights [inputs, outputs]; and of the games what
// the head keeps, says and does.
struct StepHead {
  const float* first;  // [features, hidden]
  const float* first_bias;
  const float* gates;  // [hidden, 3 hidden], gates in the order r, z, n
  const float* gates_bias;
  const float* memory;       // [hidden, 3 hidden]
  const float* memory_bias;  // [hidden], of the gate n
  const float* end;          // [hidden, outputs]
  const float* end_bias;
  int32_t features;  // the step index, which comes last, included
  int32_t hidden;    // a multiple of kStageRows
  int32_t outputs;
  int32_t seat;
  bool reads_time;
  bool acts;       // its outputs are logits, and actions are drawn
  int64_t each;    // games of a parameter set
  int64_t blocks;  // of threads
  float* state;    // [games, hidden]
  float* said;     // [steps + 1, games, outputs] log-probabilities or values; null: not wanted
};

struct HeadStep {
  StepHead heads[kMaxHeads];
  int32_t num_heads;
  int32_t players;
  int32_t width;  // numbers of an observation
  SeenType type;  // integers are places of ones among features that are 0 elsewhere
  int32_t t;      // of this step
  int32_t steps;
  float exploration;
  int64_t games;
  const void* obs;     // [steps + 1, games, players, width]
  const float* draws;  // [steps, players, games]
  uint8_t* actions;    // [steps, games, players]
};

inline int64_t head_blocks(const StepHead& head, int64_t games) {
  return games / head.each * ((head.each + kHeadGames - 1) / kHeadGames);
}

using HeadTiles = threads::TilesOf<kHeadGames, 8>;
inline constexpr int kGamesStride = HeadTiles::kStride;
// Rows of the gates' weights that are in shared memory at a time.
inline constexpr int kStageRows = 8;
// Into so many sums a number of the last layer is cut.
inline constexpr int kEndParts = 8;

// Floats of shared memory.
inline int64_t head_words(const HeadStep& job) {
  int64_t hidden = 0;
  for (int h = 0; h < job.num_heads; ++h) {
    hidden = job.heads[h].hidden > hidden ? job.heads[h].hidden : hidden;
  }
  return hidden * (2 * kGamesStride + 2 * kStageRows * 3) +
         int64_t{kHeadGames} * (job.width + kMaxHeadOutputs * kEndParts);
}

namespace threads {

// A thread's two units of eight games, and its part of the rows that come next.
struct HeadThread {
  static constexpr int kMost = kStageRows * 3 * kMaxHeadUnits / 4 / kHeadThreads;
  int unit, game;
  Tile<8> r, z, n, hn;
  Four coming[kMost];
};

LOQA_HD int32_t place_of(const void* obs, SeenType type, int64_t at) {
  switch (type) {
    case SeenType::kUint8:
      return static_cast<const uint8_t*>(obs)[at];
    case SeenType::kInt16:
      return static_cast<const int16_t*>(obs)[at];
    default:
      return static_cast<const int32_t*>(obs)[at];
  }
}

// The block's games of a head, its parameters, and where they lie in shared memory.
struct HeadGames {
  StepHead head;
  int64_t first;
  int32_t count;
  float *inputs, *before;  // [hidden, kGamesStride] of the GRU; then the state after it
  float* rows;             // [2, kStageRows, 3 hidden] of weights, in turn
  float* seen;             // [width, kHeadGames]; places as the bits of integers
  float* sums;             // [kEndParts, outputs, kHeadGames]
};

LOQA_HD HeadGames games_of_block(const HeadStep& job, int64_t index, uint32_t* shared) {
  int h = 0;
  while (index >= job.heads[h].blocks) index -= job.heads[h++].blocks;
  HeadGames at;
  StepHead& head = at.head;
  head = job.heads[h];
  const int64_t each_blocks = (head.each + kHeadGames - 1) / kHeadGames;
  const int64_t set = index / each_blocks, within = index % each_blocks * kHeadGames;
  at.first = set * head.each + within;
  at.count =
      static_cast<int32_t>(head.each - within < kHeadGames ? head.each - within : kHeadGames);
  const int64_t hidden = head.hidden, outputs = head.outputs;
  head.first += set * head.features * hidden;
  head.first_bias += set * hidden;
  head.gates += set * 3 * hidden * hidden;
  head.gates_bias += set * 3 * hidden;
  head.memory += set * 3 * hidden * hidden;
  head.memory_bias += set * hidden;
  head.end += set * hidden * outputs;
  head.end_bias += set * outputs;
  at.inputs = reinterpret_cast<float*>(shared);
  at.before = at.inputs + hidden * kGamesStride;
  at.rows = at.before + hidden * kGamesStride;
  at.sums = at.rows + 2 * kStageRows * 3 * hidden;
  at.seen = at.sums + kHeadGames * kMaxHeadOutputs * kEndParts;
  return at;
}

// Reads what the block works on. Some games at a time: a thread waits once for all of them.
LOQA_HD void load_block(const HeadStep& job, const HeadGames& at, int thread) {
  const StepHead& head = at.head;
  constexpr int kAtOnce = 8;
  for (int unit = thread; unit < head.hidden; unit += kHeadThreads) {
    for (int first = 0; first < kHeadGames; first += kAtOnce) {
      float values[kAtOnce];
      LOQA_UNROLL(8)
      for (int g = 0; g < kAtOnce; ++g) {
        const int64_t game = at.first + first + g;
        const bool known = first + g < at.count && job.t > 0;
        values[g] = known ? head.state[game * head.hidden + unit] : 0.0f;
      }
      LOQA_UNROLL(2)
      for (int g = 0; g < kAtOnce; g += 4) {
        put(Four{{values[g], values[g + 1], values[g + 2], values[g + 3]}},
            at.before + unit * kGamesStride + first + g);
      }
    }
  }
  for (int item = thread; item < kHeadGames * job.width; item += kHeadThreads) {
    const int game = item / job.width, i = item % job.width;
    const int64_t place = ((job.t * job.games + at.first + game) * job.players + head.seat) *
                              static_cast<int64_t>(job.width) +
                          i;
    float value = 0;
    if (game < at.count) {
      value = job.type == SeenType::kFloat32
                  ? static_cast<const float*>(job.obs)[place]
                  : __builtin_bit_cast(float, place_of(job.obs, job.type, place));
    }
    at.seen[i * kHeadGames + game] = value;
  }
}

// The layer before the GRU.
LOQA_HD void first_layer(const HeadStep& job, const HeadGames& at, int thread) {
  const StepHead& head = at.head;
  const int hidden = head.hidden;
  for (int item = thread; item < HeadTiles::items(hidden); item += kHeadThreads) {
    const int unit = HeadTiles::unit(item), game = HeadTiles::game(item);
    if (unit >= hidden) continue;
    const float* weights = head.first + unit;
    Tile<8> sum;
    sum.fill(wide<Pair>(head.first_bias + unit));
    if (head.reads_time) {
      const float time = static_cast<float>(job.t);
      const float times[8] = {time, time, time, time, time, time, time, time};
      sum.add(wide<Pair>(weights + (head.features - 1) * hidden), times);
    }
    for (int i = 0; i < job.width; ++i) {
      float seen[8];
      threads::load_games(at.seen + i * kHeadGames + game, seen);
      if (job.type == SeenType::kFloat32) {
        sum.add(wide<Pair>(weights + i * hidden), seen);
        continue;
      }
      LOQA_UNROLL(8)
      for (int g = 0; g < 8; ++g) {
        const Pair weight = wide<Pair>(weights + __builtin_bit_cast(int32_t, seen[g]) * hidden);
        sum.of[0][g] += weight.of[0];
        sum.of[1][g] += weight.of[1];
      }
    }
    LOQA_UNROLL(2)
    for (int k = 0; k < 2; ++k) {
      LOQA_UNROLL(8)
      for (int g = 0; g < 8; ++g) sum.of[k][g] = sum.of[k][g] > 0.0f ? sum.of[k][g] : 0.0f;
    }
    sum.put_games(at.inputs + unit * kGamesStride + game, kGamesStride);
  }
}

// Stages of rows: those of the gates' weights, then those of the memory's.
LOQA_HD int stages(const StepHead& head) { return 2 * head.hidden / kStageRows; }

LOQA_HD void fetch_rows(const HeadGames& at, int stage, int thread, HeadThread& me) {
  const StepHead& head = at.head;
  const int each = stages(head) / 2, numbers = kStageRows * 3 * head.hidden;
  const float* from =
      stage < each ? head.gates + stage * numbers : head.memory + (stage - each) * numbers;
  LOQA_UNROLL(3)
  for (int i = 0; i < HeadThread::kMost; ++i) {
    const int number = 4 * (thread + i * kHeadThreads);
    if (number < numbers) me.coming[i] = wide<Four>(from + number);
  }
}

LOQA_HD void keep_rows(const HeadGames& at, int stage, int thread, const HeadThread& me) {
  const int numbers = kStageRows * 3 * at.head.hidden;
  LOQA_UNROLL(3)
  for (int i = 0; i < HeadThread::kMost; ++i) {
    const int number = 4 * (thread + i * kHeadThreads);
    if (number < numbers) put(me.coming[i], at.rows + stage % 2 * numbers + number);
  }
}

// Where a thread's tile is, and the biases.
LOQA_HD void begin_tile(const HeadGames& at, int thread, HeadThread& me) {
  const StepHead& head = at.head;
  me.unit = HeadTiles::unit(thread);
  me.game = HeadTiles::game(thread);
  if (me.unit >= head.hidden) return;
  me.r.fill(wide<Pair>(head.gates_bias + me.unit));
  me.z.fill(wide<Pair>(head.gates_bias + head.hidden + me.unit));
  me.n.fill(wide<Pair>(head.gates_bias + 2 * head.hidden + me.unit));
  me.hn.fill(wide<Pair>(head.memory_bias + me.unit));
}

LOQA_HD void add_rows(const HeadGames& at, int stage, HeadThread& me) {
  const int hidden = at.head.hidden, each = stages(at.head) / 2;
  if (me.unit >= hidden) return;
  const float* weights = at.rows + stage % 2 * kStageRows * 3 * hidden + me.unit;
  const int first = (stage < each ? stage : stage - each) * kStageRows * kGamesStride + me.game;
  const auto add = [&](const float* x, Tile<8>& n) LOQA_INLINE {
    LOQA_UNROLL(8)
    for (int i = 0; i < kStageRows; ++i, x += kGamesStride, weights += 3 * hidden) {
      float inputs[8];
      threads::load_games(x, inputs);
      me.r.add(wide<Pair>(weights), inputs);
      me.z.add(wide<Pair>(weights + hidden), inputs);
      n.add(wide<Pair>(weights + 2 * hidden), inputs);
    }
  };
  if (stage < each) {
    add(at.inputs + first, me.n);
  } else {
    add(at.before + first, me.hn);
  }
}

// The next state, in the place of the inputs.
LOQA_HD void finish_tile(const HeadGames& at, HeadThread& me) {
  if (me.unit >= at.head.hidden) return;
  const int place = me.unit * kGamesStride + me.game;
  LOQA_UNROLL(2)
  for (int i = 0; i < 2; ++i) {
    float before[8];
    threads::load_games(at.before + place + i * kGamesStride, before);
    LOQA_UNROLL(8)
    for (int g = 0; g < 8; ++g) {
      const GruGates<float> gates =
          gru_gates<Fast>(me.r.of[i][g], me.z.of[i][g], me.n.of[i][g], me.hn.of[i][g]);
      me.n.of[i][g] = gru_next(gates, before[g]);
    }
  }
  me.n.put_games(at.inputs + place, kGamesStride);
}

// Keeps the state and cuts the last layer's sums into parts.
LOQA_HD void last_layer(const HeadGames& at, int thread) {
  const StepHead& head = at.head;
  for (int game = 0; game < at.count; ++game) {
    float* state = head.state + (at.first + game) * head.hidden;
    for (int unit = thread; unit < head.hidden; unit += kHeadThreads) {
      state[unit] = at.inputs[unit * kGamesStride + game];
    }
  }
  const int items = kEndParts * head.outputs * kHeadGames;
  for (int item = thread; item < items; item += kHeadThreads) {
    const int game = item % kHeadGames, output = item / kHeadGames % head.outputs;
    float sum = 0;
    for (int unit = item / (kHeadGames * head.outputs); unit < head.hidden; unit += kEndParts) {
      sum = ::fmaf(at.inputs[unit * kGamesStride + game], head.end[unit * head.outputs + output],
                   sum);
    }
    at.sums[item] = sum;
  }
}

// log softmax
LOQA_HD void normalise(float (&logits)[kMaxHeadOutputs], int count) {
  float largest = logits[0], sum = 0;
  for (int k = 1; k < count; ++k) largest = logits[k] > largest ? logits[k] : largest;
  for (int k = 0; k < count; ++k) sum += ::expf(logits[k] - largest);
  const float log_sum = ::logf(sum);
  for (int k = 0; k < count; ++k) logits[k] = logits[k] - largest - log_sum;
}

// What the head says of a game, and does.
LOQA_HD void say(const HeadStep& job, const HeadGames& at, int game) {
  const StepHead& head = at.head;
  const int count = head.outputs;
  float outputs[kMaxHeadOutputs];
  for (int k = 0; k < count; ++k) {
    outputs[k] = head.end_bias[k];
    for (int part = 0; part < kEndParts; ++part) {
      outputs[k] += at.sums[(part * count + k) * kHeadGames + game];
    }
  }
  const int64_t number = at.first + game;
  if (head.acts) normalise(outputs, count);
  if (head.said != nullptr) {
    float* said = head.said + (job.t * job.games + number) * count;
    for (int k = 0; k < count; ++k) said[k] = outputs[k];
  }
  if (!head.acts || job.t == job.steps) return;
  const float draw = job.draws[(int64_t{job.t} * job.players + head.seat) * job.games + number];
  const float uniform = job.exploration / static_cast<float>(count);
  uint8_t action = 0;
  float edge = 0;
  for (int k = 0; k + 1 < count; ++k) {
    edge += ::expf(outputs[k]) * (1.0f - job.exploration) + uniform;
    action = static_cast<uint8_t>(action + (draw >= edge ? 1 : 0));
  }
  job.actions[(job.t * job.games + number) * job.players + head.seat] = action;
}

template <typename Block>
LOQA_BLOCK void step_heads(const HeadStep& job, Block& block) {
  const HeadGames at = games_of_block(job, block.index, block.shared);
  block.all_then_wait([&](HeadThread& me, int thread) {
    fetch_rows(at, 0, thread, me);
    load_block(job, at, thread);
    keep_rows(at, 0, thread, me);
  });
  block.all_then_wait([&](HeadThread& me, int thread) {
    first_layer(job, at, thread);
    begin_tile(at, thread, me);
  });
  const int last = stages(at.head) - 1;
  for (int stage = 0; stage < last; ++stage) {
    block.all_then_wait([&](HeadThread& me, int thread) {
      fetch_rows(at, stage + 1, thread, me);
      add_rows(at, stage, me);
      keep_rows(at, stage + 1, thread, me);
    });
  }
  block.all_then_wait([&](HeadThread& me, int) {
    add_rows(at, last, me);
    finish_tile(at, me);
  });
  block.all_then_wait([&](HeadThread&, int thread) { last_layer(at, thread); });
  block.all([&](HeadThread&, int thread) {
    if (thread < at.count) say(job, at, thread);
  });
}

}  // namespace threads

// Enqueues on `stream`, throws std::runtime_error if the launch fails.
void step_heads_cuda(const HeadStep& job, void* stream);

}  // namespace loqa
