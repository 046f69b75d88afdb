#include "core/interrupt.h"
#include "kernels/gru_policy_lanes.h"
#include "sim/coin_images.h"
#include "sim/coin_rollout.h"

namespace loqa::LOQA_ISA {
namespace {

constexpr int64_t kLine = 64;  // of the cache
constexpr int64_t kMaxHeads = 3;
constexpr int64_t kMaxOnes = 2 + kMaxCoins;  // of an observation with two players

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
  int* image;       // [rows, 2] in which the networks of a seat see the board
  CoinImages images;
  uint8_t* states;  // of the environments, as the next three
  uint8_t* cache;
  int32_t* t;
  uint32_t* episode;
  uint8_t* all;  // ones
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

Player make_player(Arena& arena, const CoinRollout& job, int64_t rows) {
  Player player = {};
  const int64_t num_envs = job.game.num_envs;
  for (int seat = 0; seat < 2; ++seat) {
    if (job.actor[seat] == nullptr) continue;
    player.heads[player.num_heads++] = make_head(arena, job.actor[seat], seat, num_envs, rows);
  }
  if (job.critic != nullptr) {
    player.heads[player.num_heads++] = make_head(arena, job.critic, 1, num_envs, rows);
  }
  int64_t scratch = 0;
  for (int i = 0; i < player.num_heads; ++i) {
    const int64_t needed = rows * policy_scratch(player.heads[i].layout);
    scratch = needed > scratch ? needed : scratch;
  }
  player.scratch = arena.take<float>(scratch);
  player.places = arena.take<int32_t>(rows * 2 * kMaxOnes);
  const CoinRules rules = rules_of<CoinGame>(job.game);
  if (job.canonical[0] || job.canonical[1]) {
    player.images.place = arena.take<int32_t>(kMaxImages * rules.height * rules.width);
    player.image = arena.take<int>(rows * 2);
  }
  player.states = arena.take<uint8_t>(CoinGame::states_bytes(rules, rows));
  player.cache = arena.take<uint8_t>(CoinGame::cache_bytes(rules, rows));
  player.t = arena.take<int32_t>(kCoinBlock);
  player.episode = arena.take<uint32_t>(kCoinBlock);
  player.all = arena.take<uint8_t>(kCoinBlock);
  return player;
}

// Episodes [first, first + rows) as a batch of their own.
GameJob games_of(const GameJob& all, const Player& player, int64_t first, int64_t rows) {
  GameJob games = all;
  games.num_envs = rows;
  games.first_env += static_cast<uint32_t>(first);
  games.states = player.states;
  games.t = player.t;
  games.episode = player.episode;
  games.cache = player.cache;
  games.unchecked = true;
  games.steps = 0;
  return games;
}

// The same as the networks see it: cells, into player.places.
GameJob seen_by_networks(const GameJob& games, const Player& player) {
  GameJob seen = games;
  CoinRules rules = rules_of<CoinGame>(games);
  rules.cells = true;
  __builtin_memcpy(seen.rules, &rules, sizeof(rules));
  seen.obs_type = ObsType::kInt32;
  seen.obs_width = CoinGame::obs_width(rules, 2);
  seen.obs = player.places;
  seen.observe_first = true;
  return seen;
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

// What a head says of a row, by the names of the game's actions.
void outputs_of(const CoinRollout& job, const Player& player, const Head& head, int64_t row,
                float* outputs) {
  const float* said = head.out + row * head.layout.padded_outputs;
  const uint8_t* names = nullptr;
  if (job.canonical[head.seat]) names = player.images.action[player.image[2 * row + head.seat]];
  for (int64_t k = 0; k < head.layout.outputs; ++k) {
    outputs[k] = said[names == nullptr ? k : names[k]];
  }
}

// What an actor does at step t, and what it and its critic say of it if that is kept. `t` is T for
// the last observation, which nobody acts on.
void act(const CoinRollout& job, const Player& player, const Head& actor, int64_t num_envs,
         int64_t first, int64_t rows, int64_t t) {
  const int64_t count = actor.layout.outputs;
  for (int64_t row = 0; row < rows; ++row) {
    float logits[kMaxActions], log_probs[kMaxActions];
    outputs_of(job, player, actor, row, logits);
    log_probs_of(logits, count, log_probs);
    const int64_t env = first + row;
    if (job.critic != nullptr && actor.seat == 1) {
      float* to = job.log_probs + (t * num_envs + env) * count;
      for (int64_t i = 0; i < count; ++i) to[i] = log_probs[i];
    }
    if (t == job.game.steps) continue;
    const float draw = job.draws[(t * 2 + actor.seat) * num_envs + env];
    static_cast<uint8_t*>(job.game.chosen)[(t * num_envs + env) * 2 + actor.seat] =
        action_of(log_probs, count, draw);
  }
}

// What the networks say and do at step t of a block.
void think(const CoinRollout& job, Player& player, int64_t num_envs, int64_t first, int64_t rows,
           int64_t ones, int64_t t) {
  for (int i = 0; i < player.num_heads; ++i) {
    Head& head = player.heads[i];
    if (t == job.game.steps && head.seat == 0) continue;
    step_head(head, player, first, rows, ones, t);
    if (head.sets != job.critic) {
      act(job, player, head, num_envs, first, rows, t);
      continue;
    }
    const int64_t count = head.layout.outputs;
    for (int64_t row = 0; row < rows; ++row) {
      outputs_of(job, player, head, row, job.q_values + (t * num_envs + first + row) * count);
    }
  }
}

// Shows networks that want it the board in its canonical image.
void turn_boards(const CoinRollout& job, Player& player, int64_t rows, int64_t ones) {
  for (int seat = 0; seat < 2; ++seat) {
    if (!job.canonical[seat]) continue;
    for (int64_t at = seat; at < 2 * rows; at += 2) {
      player.image[at] = player.images.turn(player.places + at * ones, ones);
    }
  }
}

void play_block(const CoinRollout& job, Player& player, int64_t first, int64_t rows) {
  const int64_t num_envs = job.game.num_envs;
  GameJob games = games_of(job.game, player, first, rows);
  const GameJob seen = seen_by_networks(games, player);
  const int64_t obs_bytes = 2 * games.obs_width * bytes_of_type(games.obs_type);
  const auto play = [&](int64_t t) {  // up to the observation of step t
    games.obs = static_cast<uint8_t*>(job.game.obs) + (t * num_envs + first) * obs_bytes;
    coin_play(games, 0, rows);
  };
  for (int64_t l = 0; l < kCoinBlock; ++l) player.episode[l] = 0;
  for (int i = 0; i < player.num_heads; ++i) {
    Head& head = player.heads[i];
    for (int64_t k = 0; k < rows * head.layout.padded_hidden; ++k) head.state[k] = 0;
  }
  games.restart = player.all;
  games.observe_first = true;
  play(0);
  games.restart = nullptr;
  games.observe_first = false;
  games.steps = 1;
  for (int64_t t = 0;; ++t) {
    if (t == job.game.steps && job.critic == nullptr) return;
    if (interrupted()) return;
    coin_play(seen, 0, rows);
    turn_boards(job, player, rows, seen.obs_width);
    think(job, player, num_envs, first, rows, seen.obs_width, t);
    if (t == job.game.steps) return;
    const int64_t at = (t * num_envs + first) * 2;
    games.rewards = job.game.rewards + at;
    games.chosen = static_cast<uint8_t*>(job.game.chosen) + at;
    play(t + 1);
  }
}

}  // namespace

int64_t coin_rollout_scratch(const CoinRollout& job, int64_t rows) {
  Arena arena{0};
  make_player(arena, job, rows);
  return arena.used;
}

void coin_rollout(const CoinRollout& job, int64_t rows, int64_t begin, int64_t end, void* scratch) {
  Arena arena{reinterpret_cast<uintptr_t>(scratch)};
  Player player = make_player(arena, job, rows);
  for (int i = 0; i < player.num_heads; ++i) {
    for (int64_t s = 0; s < player.heads[i].slots; ++s) player.heads[i].packed[s] = -1;
  }
  // Lanes beyond the last episode hold states like any other.
  const CoinRules rules = rules_of<CoinGame>(job.game);
  if (job.canonical[0] || job.canonical[1]) player.images.fill(rules);
  __builtin_memset(player.states, 0, static_cast<size_t>(CoinGame::states_bytes(rules, rows)));
  __builtin_memset(player.cache, 255, static_cast<size_t>(CoinGame::cache_bytes(rules, rows)));
  for (int64_t l = 0; l < kCoinBlock; ++l) player.t[l] = 0;
  for (int64_t l = 0; l < kCoinBlock; ++l) player.all[l] = 1;
  for (int64_t block = begin; block < end && !interrupted(); ++block) {
    const int64_t first = block * rows;
    const int64_t left = job.game.num_envs - first;
    play_block(job, player, first, left < rows ? left : rows);
  }
}

}  // namespace loqa::LOQA_ISA
