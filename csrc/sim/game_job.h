#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/isa.h"
#include "games/fields.h"
#include "sim/actions.h"
#include "sim/autoreset.h"

namespace loqa {

// The games of the generic driver know the first three.
enum class ObsType : int { kInt8, kInt64, kFloat32, kUint8, kInt16, kInt32, kFloat16, kBfloat16 };

LOQA_HD int64_t bytes_of_type(ObsType type) {
  switch (type) {
    case ObsType::kInt8:
    case ObsType::kUint8:
      return 1;
    case ObsType::kInt16:
    case ObsType::kFloat16:
    case ObsType::kBfloat16:
      return 2;
    case ObsType::kInt64:
      return 8;
    default:
      return 4;
  }
}

// Who plays a seat: a scripted player by its number in the game's kScripts, after the last of them
// uniform play, or one of these.
enum GamePlayer : int { kGiven = -1, kMemory1 = -2 };

// Environments of one game, and what is done to them: first the state of those in `restart` is
// that of a new episode, then `steps` steps are made. Arrays belong to the caller.
struct GameJob {
  static constexpr int kRulesBytes = 64;

  int game;  // its number in NativeGames
  int32_t num_players;
  int64_t num_envs;
  alignas(8) unsigned char rules[kRulesBytes];  // the game's Rules
  const float* table;                           // of a game whose rules are more numbers than that
  ObsType obs_type;
  int64_t obs_width;
  int32_t episode_length;
  uint32_t first_env;  // number of environment 0 in the random counters
  const uint64_t* seed;
  void* states;       // [B] of the game's State, or as the game says
  int32_t* t;         // [B]
  uint32_t* episode;  // [B]
  void* cache;        // on the CPU: what a driver keeps between jobs of a seed, at first ones

  const uint8_t* restart;  // [B], or null
  const void* actions;     // [steps, B, A]
  ActionType action_type;
  bool taken;  // actions are as game_take wrote them: legal, and of the game's Action
  // Or the players are played: of seats that are not given, what they choose is written to
  // `chosen` [steps, B, A], of the game's Action (uint8 or float), where the others' actions are.
  void* chosen;
  bool only_choose;            // and step nothing: chosen is [1, B, A]
  int player[kMaxPlayers];     // GamePlayer
  bool tie_episode;            // scripts draw ties once an episode, else every step
  const float* probabilities;  // of memory-1 players: [A, S, row] or [B, A, S, row]
  int64_t row;                 // K actions, or all but the last
  int64_t env_stride;          // from one environment's to the next's; 0: all have the same
  float exploration;           // their share of uniform play

  bool unchecked;       // the game's own driver does something about actions that are not legal
  int32_t* bad_action;  // of a device: set to 1 by an action that is not legal; null: unchecked
  Autoreset autoreset;
  int64_t steps;
  bool observe_first;   // obs begins with what is seen before the first step
  void* obs;            // [steps (+ 1), B, A, width]
  void* final_obs;      // [B, A, width] of episodes that end, with kSameStep
  float* rewards;       // [steps, B, A]
  uint8_t* terminated;  // [B], or null
  uint8_t* truncated;   // [B], or null
};

struct GameSizes {
  bool fit;  // rules, players and the rest of the batch; else the others say nothing
  int64_t obs_width;
  int64_t seen;     // S, what memory-1 players tell apart; 0 where there are none
  int64_t actions;  // K, where they are finitely many
  int64_t table;    // numbers
  int64_t states;   // bytes
  int64_t cache;    // bytes
};

// What a game says of itself.
struct GameLayout {
  const char* name;
  int min_players;
  int most_players;
  int64_t action_bytes;
  int64_t grain;  // steps below which a second thread costs more than it brings
  std::span<const Field> state;
  std::span<const Field> rules;
  std::span<const char* const> scripts;
  GameSizes (*sizes)(const GameJob&);  // of a job with its batch
};

// Of the game with this number, null if there is none.
const GameLayout* game_layout(int game);

LOQA_DECLARE_ISA(
    // Whether the actions of environments [begin, end) in a step are legal; writes them to `taken`
    // [B, A], of the game's Action.
    bool game_take(const GameJob& job, int64_t step, void* taken, int64_t begin, int64_t end);
    // Does the job for environments [begin, end), without autoreset, until an action is not legal.
    // Whether all were; bad_action is not looked at.
    bool game_play(const GameJob& job, int64_t begin, int64_t end);)

// By threads of the device, one an environment, or (for tests on machines without one) by a loop
// over those threads on the host. Throws std::runtime_error if the launch fails.
void game_play_host(const GameJob& job);
void game_play_cuda(const GameJob& job, void* stream);

}  // namespace loqa
