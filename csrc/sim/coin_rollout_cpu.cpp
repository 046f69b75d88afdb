#include "core/interrupt.h"
#include "kernels/gru_policy_lanes.h"
#include "sim/coin_rollout.h"

namespace loqa::LOQA_ISA {
namespace {

constexpr int64_t kLine = 64;  // of the cache
constexpr int64_t kMaxHeads = 3;
constexpr int64_t kMaxActions = 8;
constexpr int64_t kMaxOnes = 2 + kMaxCoins;  // of an observation with two players
constexpr int64_t kStateBytes = kCoinBlock * (2 * (2 + kMaxCoins) + 1);

// Hands out pieces of the scratch; from address 0 it only counts them.
struct Arena {
  uintptr_t begin;
  int64_t used = 0;

  template <typename T>
  T* take(int64_t count) {
    T* piece = reinterpret_cast<T*>(begin + static_cast<uintptr_t>(used));
    used += (count * static_cast<int64_t>(sizeof(T)) + kLine - 1) / kLine * kLine;
    return piece;
  }
};

// A head with the sets that the present block needs. Set g is in slot g % slots.
struct Head {
  const GruSets* sets;
  int seat;
  PolicyLayout layout;
  int64_t each;  // episodes of a set
  int64_t slots;
  int64_t* packed;  // [slots] which set is there, -1: none
  void* weights;    // [slots, layout.weights]
  float* biases;    // [slots, layout.biases]
  float* state;     // [rows, padded_hidden]
  float* next;
  float* out;  // [rows, padded_outputs]
};

// Everything of one thread.
struct Player {
  Head heads[kMaxHeads];
  int num_heads;
  float* scratch;   // of a step of the policies
  int32_t* places;  // [rows, 2, ones]
  uint8_t* state;   // of the environments, as the other three
  uint32_t* words;
  int32_t* tag;
  int32_t* t;
  uint32_t* episode;
  uint8_t* truncated;
};

template <typename Source>
void take_weights(Arena& arena, Head& head) {
  head.weights = arena.take<KeptAs<Source>>(head.slots * head.layout.weights);
}

Head make_head(Arena& arena, const GruSets* sets, int seat, int64_t num_envs, int64_t rows) {
  Head head = {};
  head.sets = sets;
  head.seat = seat;
  head.each = num_envs / sets->sets;
  head.layout = layout_of(*sets, head.each < rows ? head.each : rows);
  const int64_t most = (rows + head.each - 2) / head.each + 1;  // that rows in a row can meet
  head.slots = most < sets->sets ? most : sets->sets;
  head.packed = arena.take<int64_t>(head.slots);
  if (sets->half) {
    take_weights<Half>(arena, head);
  } else {
    take_weights<float>(arena, head);
  }
  head.biases = arena.take<float>(head.slots * head.layout.biases);
  head.state = arena.take<float>(rows * head.layout.padded_hidden);
  head.next = arena.take<float>(rows * head.layout.padded_hidden);
  head.out = arena.take<float>(rows * head.layout.padded_outputs);
  return head;
}

Player make_player(Arena& arena, const CoinGameBatch& batch, const CoinRollout& job, int64_t rows) {
  Player player = {};
  for (int seat = 0; seat < 2; ++seat) {
    if (job.actor[seat] == nullptr) continue;
    player.heads[player.num_heads++] =
        make_head(arena, job.actor[seat], seat, batch.num_envs, rows);
  }
  if (job.critic != nullptr) {
    player.heads[player.num_heads++] = make_head(arena, job.critic, 1, batch.num_envs, rows);
  }
  int64_t scratch = 0;
  for (int i = 0; i < player.num_heads; ++i) {
    const int64_t needed = rows * policy_scratch(player.heads[i].layout);
    scratch = needed > scratch ? needed : scratch;
  }
  player.scratch = arena.take<float>(scratch);
  player.places = arena.take<int32_t>(rows * 2 * kMaxOnes);
  player.state = arena.take<uint8_t>(kStateBytes);
  player.words = arena.take<uint32_t>(batch.rules.num_coins * 4 * kCoinBlock);
  player.tag = arena.take<int32_t>(kCoinBlock);
  player.t = arena.take<int32_t>(kCoinBlock);
  player.episode = arena.take<uint32_t>(kCoinBlock);
  player.truncated = arena.take<uint8_t>(kCoinBlock);
  return player;
}

// Episodes [first, first + rows) as a batch of their own at its first step, with observations of a
// type.
CoinGameBatch games_of(const CoinGameBatch& batch, const Player& player, int64_t first,
                       int64_t rows, CoinObs type) {
  CoinGameBatch games = batch;
  games.num_envs = rows;
  games.stride = kCoinBlock;
  games.first_env = batch.first_env + static_cast<uint32_t>(first);
  games.obs_type = type;
  games.state = player.state;
  games.t = player.t;
  games.episode = player.episode;
  games.words = player.words;
  games.tag = player.tag;
  return games;
}

template <typename Source>
void step_rows(Head& head, const Player& player, int64_t set, int64_t begin, int64_t end,
               int64_t ones, int64_t t) {
  using Weight = KeptAs<Source>;
  const PolicyLayout& at = head.layout;
  const int64_t slot = set % head.slots;
  Weight* weights = static_cast<Weight*>(head.weights) + slot * at.weights;
  float* biases = head.biases + slot * at.biases;
  if (head.packed[slot] != set) {
    pack_policy<Source>(*head.sets, at, set, weights, biases);
    head.packed[slot] = set;
  }
  policy_step(at, weights, biases, player.places + (2 * begin + head.seat) * ones, 2 * ones, ones,
              t, end - begin, head.state + begin * at.padded_hidden,
              head.next + begin * at.padded_hidden, head.out + begin * at.padded_outputs,
              player.scratch);
}

// One step of the episodes [first, first + rows): each row by its own set.
void step_head(Head& head, const Player& player, int64_t first, int64_t rows, int64_t ones,
               int64_t t) {
  for (int64_t begin = 0; begin < rows;) {
    const int64_t set = (first + begin) / head.each;
    const int64_t next_set = (set + 1) * head.each - first;
    const int64_t end = next_set < rows ? next_set : rows;
    if (head.sets->half) {
      step_rows<Half>(head, player, set, begin, end, ones, t);
    } else {
      step_rows<float>(head, player, set, begin, end, ones, t);
    }
    begin = end;
  }
  float* next = head.next;
  head.next = head.state;
  head.state = next;
}

// log softmax
inline void log_probs_of(const float* logits, int64_t count, float* log_probs) {
  float largest = logits[0];
  for (int64_t i = 1; i < count; ++i) largest = logits[i] > largest ? logits[i] : largest;
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += __builtin_expf(logits[i] - largest);
  const float log_sum = __builtin_logf(sum);
  for (int64_t i = 0; i < count; ++i) log_probs[i] = logits[i] - largest - log_sum;
}

// The action in whose interval of the cumulative probabilities a uniform number lies.
inline uint8_t action_of(const float* log_probs, int64_t count, float draw) {
  uint8_t action = 0;
  float edge = 0;
  for (int64_t i = 0; i + 1 < count; ++i) {
    edge += __builtin_expf(log_probs[i]);
    action = static_cast<uint8_t>(action + (draw >= edge ? 1 : 0));
  }
  return action;
}

// What an actor does at step t, and what it and its critic say of it if that is kept. `t` is T for
// the last observation, which nobody acts on.
void act(const CoinRollout& job, const Head& actor, int64_t num_envs, int64_t first, int64_t rows,
         int64_t t) {
  const int64_t count = actor.layout.outputs;
  for (int64_t row = 0; row < rows; ++row) {
    float log_probs[kMaxActions];
    log_probs_of(actor.out + row * actor.layout.padded_outputs, count, log_probs);
    const int64_t env = first + row;
    if (job.critic != nullptr && actor.seat == 1) {
      float* to = job.log_probs + (t * num_envs + env) * count;
      for (int64_t i = 0; i < count; ++i) to[i] = log_probs[i];
    }
    if (t == job.steps) continue;
    const float draw = job.draws[(t * 2 + actor.seat) * num_envs + env];
    job.actions[(t * num_envs + env) * 2 + actor.seat] = action_of(log_probs, count, draw);
  }
}

// What the networks say and do at step t of a block.
void think(const CoinRollout& job, Player& player, int64_t num_envs, int64_t first, int64_t rows,
           int64_t ones, int64_t t) {
  for (int i = 0; i < player.num_heads; ++i) {
    Head& head = player.heads[i];
    if (t == job.steps && head.seat == 0) continue;
    step_head(head, player, first, rows, ones, t);
    if (head.sets != job.critic) {
      act(job, head, num_envs, first, rows, t);
      continue;
    }
    const int64_t count = head.layout.outputs;
    for (int64_t row = 0; row < rows; ++row) {
      float* to = job.q_values + (t * num_envs + first + row) * count;
      for (int64_t k = 0; k < count; ++k) to[k] = head.out[row * head.layout.padded_outputs + k];
    }
  }
}

void play_block(const CoinGameBatch& batch, const CoinRollout& job, Player& player, int64_t first,
                int64_t rows) {
  const CoinGameBatch seen = games_of(batch, player, first, rows, CoinObs::kCells32);
  const CoinGameBatch kept = games_of(batch, player, first, rows, batch.obs_type);
  const int64_t ones = coin_obs_size(seen);
  const int64_t obs_bytes = 2 * coin_obs_size(kept) * coin_element_size(kept.obs_type);
  const int64_t num_envs = batch.num_envs;
  const auto obs = [&](int64_t t) {
    return static_cast<uint8_t*>(job.obs) + (t * num_envs + first) * obs_bytes;
  };
  for (int64_t l = 0; l < kCoinBlock; ++l) player.episode[l] = 0;
  for (int i = 0; i < player.num_heads; ++i) {
    Head& head = player.heads[i];
    for (int64_t k = 0; k < rows * head.layout.padded_hidden; ++k) head.state[k] = 0;
  }
  coin_reset(kept, nullptr, 0, rows);
  coin_observe(kept, obs(0), 0, rows);
  for (int64_t t = 0;; ++t) {
    if (t == job.steps && job.critic == nullptr) return;
    if (interrupted()) return;
    coin_observe(seen, player.places, 0, rows);
    think(job, player, num_envs, first, rows, ones, t);
    if (t == job.steps) return;
    const int64_t at = (t * num_envs + first) * 2;
    const CoinResults results{obs(t + 1), job.rewards + at, player.truncated, false};
    coin_play(kept, job.players, 1, job.actions + at, results, 0, rows);
  }
}

}  // namespace

int64_t coin_rollout_scratch(const CoinGameBatch& batch, const CoinRollout& job, int64_t rows) {
  Arena arena{0};
  make_player(arena, batch, job, rows);
  return arena.used;
}

void coin_rollout(const CoinGameBatch& batch, const CoinRollout& job, int64_t rows, int64_t begin,
                  int64_t end, void* scratch) {
  Arena arena{reinterpret_cast<uintptr_t>(scratch)};
  Player player = make_player(arena, batch, job, rows);
  for (int i = 0; i < player.num_heads; ++i) {
    for (int64_t s = 0; s < player.heads[i].slots; ++s) player.heads[i].packed[s] = -1;
  }
  // Lanes beyond the last episode hold states like any other.
  for (int64_t i = 0; i < kStateBytes; ++i) player.state[i] = 0;
  for (int64_t l = 0; l < kCoinBlock; ++l) player.t[l] = 0;
  for (int64_t l = 0; l < kCoinBlock; ++l) player.tag[l] = -1;
  for (int64_t block = begin; block < end && !interrupted(); ++block) {
    const int64_t first = block * rows;
    const int64_t last = first + rows < batch.num_envs ? first + rows : batch.num_envs;
    play_block(batch, job, player, first, last - first);
  }
}

}  // namespace loqa::LOQA_ISA
