#pragma once

#include <cstdint>

#include "core/thread_block.h"
#include "kernels/gru_formulas.h"
#include "kernels/gru_tiles.h"

// A GRU over whole sequences, and its gradient, in one launch each: as the threads of a GPU do it.
// A block of threads has 16 sequences from their first step to their last, with the recurrent
// weights in shared memory. By steps that is a product and an elementwise kernel for each of T
// steps, all of which wait for one another.

namespace loqa {

inline constexpr int kSequenceThreads = 256;
inline constexpr int kSequenceGames = 16;
inline constexpr int kMaxSequenceUnits = 128;  // whose weights fit into shared memory

struct GruSequence {
  const float* input;   // [steps, rows, 3 size]
  const float* weight;  // [size, 3 size], W_h transposed
  const float* bias_hn;
  float* states;  // [steps + 1, rows, size], the first of zeros
  float* saved;   // [steps, rows, 4 size]: r, z, n, hn for the gradient; null if none is wanted
  int64_t steps, rows;
  int32_t size;
};

struct GruSequenceVjp {
  const float* grad;   // [steps, rows, size] of states 1 to T
  const float* saved;  // of the forward pass, as the next
  const float* states;
  const float* weight;  // [3 size, size], W_h
  float* grad_input;    // [steps, rows, 3 size]
  float* grad_hidden;   // [steps, rows, 3 size], of W_h h + (0, 0, bias)
  int64_t steps, rows;
  int32_t size;
};

namespace threads {

using SequenceTiles = TilesOf<kSequenceGames, 4>;
using SequenceTile = Tile<4>;
inline constexpr int kSequenceStride = SequenceTiles::kStride;

// Floats of shared memory: the weights, and two states or the gradient of the gates.
inline int64_t sequence_words(const GruSequence& job) {
  return int64_t{job.size} * (3 * job.size + 2 * kSequenceStride);
}
inline int64_t sequence_words(const GruSequenceVjp& job) {
  return int64_t{3} * job.size * (job.size + kSequenceStride);
}

inline int64_t sequence_blocks(int64_t rows) {
  return (rows + kSequenceGames - 1) / kSequenceGames;
}

// A thread's two units of four sequences: where, and what it keeps from one piece of work to the
// next.
struct SequenceThread {
  int unit, game;
  int games;  // that there are
  SequenceTile tile[6];
};

template <typename Job>
LOQA_HD void begin(const Job& job, int64_t block, int thread, SequenceThread& me) {
  me.unit = SequenceTiles::unit(thread);
  me.game = SequenceTiles::game(thread);
  const int64_t left = job.rows - (block * kSequenceGames + me.game);
  me.games = me.unit < job.size ? static_cast<int>(left < 4 ? (left < 0 ? 0 : left) : 4) : 0;
}

// Calls body(sequence of the tile, its place in an array [rows, width]) for those that there are.
template <typename Body>
LOQA_HD void each_game(const SequenceThread& me, int64_t block, int64_t width, const Body& body) {
  const int64_t first = (block * kSequenceGames + me.game) * width + me.unit;
  LOQA_UNROLL(4)
  for (int g = 0; g < 4; ++g) {
    if (g < me.games) body(g, first + g * width);
  }
}

LOQA_HD void read(const float* from, SequenceTile& tile, int g) {
  const Pair pair = wide<Pair>(from);
  tile.of[0][g] = pair.of[0];
  tile.of[1][g] = pair.of[1];
}
LOQA_HD void write(const SequenceTile& tile, int g, float* to) {
  put(Pair{{tile.of[0][g], tile.of[1][g]}}, to);
}

LOQA_HD void copy_weights(const float* from, int64_t count, int thread, float* to) {
  for (int64_t i = 4 * thread; i < count; i += 4 * kSequenceThreads)
    put(wide<Four>(from + i), to + i);
}

// What enters the gates at step t, into tiles 0 to 2.
LOQA_HD void read_input(const GruSequence& job, int64_t block, int64_t t, SequenceThread& me) {
  const float* input = job.input + t * job.rows * 3 * job.size;
  each_game(me, block, 3 * job.size, [&](int g, int64_t at) LOQA_INLINE {
    LOQA_UNROLL(3)
    for (int gate = 0; gate < 3; ++gate) read(input + at + gate * job.size, me.tile[gate], g);
  });
}

LOQA_HD void sequence_step(const GruSequence& job, int64_t block, int64_t t, const float* weights,
                           const float* before, float* after, SequenceThread& me) {
  if (me.unit >= job.size) return;
  SequenceTile r = me.tile[0], z = me.tile[1], n = me.tile[2], hn;
  hn.fill(wide<Pair>(job.bias_hn + me.unit));
  if (t + 1 < job.steps) read_input(job, block, t + 1, me);  // on its way meanwhile
  if (t > 0) {
    add_products<3, 4>(weights + me.unit, 3 * job.size, job.size, job.size, before + me.game,
                       kSequenceStride, {&r, &z, &hn});
  }
  const int place = me.unit * kSequenceStride + me.game;
  SequenceTile state;
  LOQA_UNROLL(2)
  for (int i = 0; i < 2; ++i) {
    float old[4] = {};
    if (t > 0) load_games(before + place + i * kSequenceStride, old);
    LOQA_UNROLL(4)
    for (int g = 0; g < 4; ++g) {
      const GruGates<float> gates =
          gru_gates<Fast>(r.of[i][g], z.of[i][g], n.of[i][g], hn.of[i][g]);
      state.of[i][g] = gru_next(gates, old[g]);
      r.of[i][g] = gates.r;
      z.of[i][g] = gates.z;
      n.of[i][g] = gates.n;
    }
  }
  state.put_games(after + place, kSequenceStride);
  const int64_t size = job.size;
  float* states = job.states + (t + 1) * job.rows * size;
  each_game(me, block, size, [&](int g, int64_t at) LOQA_INLINE { write(state, g, states + at); });
  if (job.saved == nullptr) return;
  float* saved = job.saved + t * job.rows * 4 * size;
  each_game(me, block, 4 * size, [&](int g, int64_t at) LOQA_INLINE {
    write(r, g, saved + at);
    write(z, g, saved + at + size);
    write(n, g, saved + at + 2 * size);
    write(hn, g, saved + at + 3 * size);
  });
}

template <typename Block>
LOQA_BLOCK void run_sequence(const GruSequence& job, Block& block) {
  float* weights = reinterpret_cast<float*>(block.shared);
  float* before = weights + 3 * job.size * job.size;
  float* after = before + job.size * kSequenceStride;
  const int64_t index = block.index;
  block.all_then_wait([&](SequenceThread& me, int thread) {
    copy_weights(job.weight, 3 * job.size * job.size, thread, weights);
    begin(job, index, thread, me);
    LOQA_UNROLL(3)
    for (int gate = 0; gate < 3; ++gate) me.tile[gate].fill(Pair{});
    if (job.steps > 0) read_input(job, index, 0, me);
    const SequenceTile zeros = {};
    each_game(me, index, job.size,
              [&](int g, int64_t at) LOQA_INLINE { write(zeros, g, job.states + at); });
  });
  for (int64_t t = 0; t < job.steps; ++t) {
    block.all_then_wait(
        [&](SequenceThread& me, int) { sequence_step(job, index, t, weights, before, after, me); });
    float* swapped = before;
    before = after;
    after = swapped;
  }
}

// What the gradient at step t depends on but what comes from later steps: r, z, n, hn, the state
// before, and the gradient of the one after.
LOQA_HD void read_saved(const GruSequenceVjp& job, int64_t block, int64_t t, SequenceThread& me) {
  const int64_t size = job.size;
  const float* saved = job.saved + t * job.rows * 4 * size;
  each_game(me, block, 4 * size, [&](int g, int64_t at) LOQA_INLINE {
    LOQA_UNROLL(4)
    for (int i = 0; i < 4; ++i) read(saved + at + i * size, me.tile[i], g);
  });
  const float* states = job.states + t * job.rows * size;
  const float* grad = job.grad + t * job.rows * size;
  each_game(me, block, size, [&](int g, int64_t at) LOQA_INLINE {
    read(states + at, me.tile[4], g);
    read(grad + at, me.tile[5], g);
  });
}

// The gradient of what enters the gates, to memory and to `gates` [3 size, kSequenceStride] for the
// product with the weights; the rest of what the state before gets becomes tile 0.
LOQA_HD void gates_gradient(const GruSequenceVjp& job, int64_t block, int64_t t,
                            const SequenceTile& carried, float* gates, SequenceThread& me,
                            SequenceTile& direct) {
  if (me.unit >= job.size) return;
  const int64_t size = job.size;
  SequenceTile r, z, n, hidden_n;
  LOQA_UNROLL(2)
  for (int i = 0; i < 2; ++i) {
    LOQA_UNROLL(4)
    for (int g = 0; g < 4; ++g) {
      const GruGates<float> saved = {me.tile[0].of[i][g], me.tile[1].of[i][g], me.tile[2].of[i][g],
                                     me.tile[3].of[i][g]};
      const GruGradients<float> grads =
          gru_vjp(saved, me.tile[4].of[i][g], carried.of[i][g] + me.tile[5].of[i][g]);
      r.of[i][g] = grads.r;
      z.of[i][g] = grads.z;
      n.of[i][g] = grads.n;
      hidden_n.of[i][g] = grads.hidden_n;
      direct.of[i][g] = grads.state;
    }
  }
  const int place = me.unit * kSequenceStride + me.game;
  r.put_games(gates + place, kSequenceStride);
  z.put_games(gates + place + size * kSequenceStride, kSequenceStride);
  hidden_n.put_games(gates + place + 2 * size * kSequenceStride, kSequenceStride);
  float* input = job.grad_input + t * job.rows * 3 * size;
  float* hidden = job.grad_hidden + t * job.rows * 3 * size;
  each_game(me, block, 3 * size, [&](int g, int64_t at) LOQA_INLINE {
    write(r, g, input + at);
    write(z, g, input + at + size);
    write(n, g, input + at + 2 * size);
    write(r, g, hidden + at);
    write(z, g, hidden + at + size);
    write(hidden_n, g, hidden + at + 2 * size);
  });
}

struct SequenceVjpThread {
  SequenceThread saved;
  SequenceTile carried;  // the gradient of the state, from later steps
};

template <typename Block>
LOQA_BLOCK void run_sequence(const GruSequenceVjp& job, Block& block) {
  float* weights = reinterpret_cast<float*>(block.shared);
  float* gates = weights + 3 * job.size * job.size;
  const int64_t index = block.index;
  block.all_then_wait([&](SequenceVjpThread& me, int thread) {
    copy_weights(job.weight, 3 * job.size * job.size, thread, weights);
    begin(job, index, thread, me.saved);
    me.carried.fill(Pair{});
    LOQA_UNROLL(6)
    for (int i = 0; i < 6; ++i) me.saved.tile[i].fill(Pair{});
    if (job.steps > 0) read_saved(job, index, job.steps - 1, me.saved);
  });
  for (int64_t t = job.steps - 1; t >= 0; --t) {
    block.all_then_wait([&](SequenceVjpThread& me, int) {
      SequenceTile direct = me.carried;
      gates_gradient(job, index, t, me.carried, gates, me.saved, direct);
      me.carried = direct;
    });
    block.all_then_wait([&](SequenceVjpThread& me, int) {
      if (t == 0 || me.saved.unit >= job.size) return;
      read_saved(job, index, t - 1, me.saved);  // on its way meanwhile
      add_products<1, 4>(weights + me.saved.unit, job.size, 0, 3 * job.size, gates + me.saved.game,
                         kSequenceStride, {&me.carried});
    });
  }
}

template <typename Job>
struct ThreadOf;
template <>
struct ThreadOf<GruSequence> {
  using Type = SequenceThread;
};
template <>
struct ThreadOf<GruSequenceVjp> {
  using Type = SequenceVjpThread;
};

}  // namespace threads

// Enqueues on `stream`, throws std::runtime_error if the launch fails.
void run_gru_sequence_cuda(const GruSequence& job, void* stream);
void run_gru_sequence_cuda(const GruSequenceVjp& job, void* stream);

}  // namespace loqa
