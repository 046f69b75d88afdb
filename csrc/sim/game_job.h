#pragma once

#include <cstddef>
#include <cstdint>

#include "core/isa.h"
#include "games/fields.h"
#include "sim/actions.h"
#include "sim/autoreset.h"

namespace loqa {

enum class ObsType : int { kInt8, kInt64, kFloat32 };

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
  ObsType obs_type;
  int64_t obs_width;
  int32_t episode_length;
  uint32_t first_env;  // number of environment 0 in the random counters
  const uint64_t* seed;
  void* states;       // [B] of the game's State
  int32_t* t;         // [B]
  uint32_t* episode;  // [B]

  const uint8_t* restart;  // [B], or null
  const void* actions;     // [steps, B, A]
  ActionType action_type;
  // Or the players are played: of seats that are not given, what they choose is written to
  // `chosen` [steps, B, A], of the game's Action (uint8 or float), where the others' actions are.
  void* chosen;
  bool only_choose;            // and step nothing: chosen is [1, B, A]
  int player[kMaxPlayers];     // GamePlayer
  const float* probabilities;  // of memory-1 players: of K actions after S observations
  int64_t env_stride;          // 0: [A, S, K]; A S K: [B, A, S, K]
  float exploration;           // their share of uniform play

  int32_t* bad_action;  // set to 1 by an action that is not legal, which is taken for 0; or null
  Autoreset autoreset;
  int64_t steps;
  bool observe_first;   // obs begins with what is seen before the first step
  void* obs;            // [steps (+ 1), B, A, width]
  void* final_obs;      // [B, A, width] of episodes that end, with kSameStep
  float* rewards;       // [steps, B, A]
  uint8_t* terminated;  // [B], or null
  uint8_t* truncated;   // [B], or null
};

// What a game says of itself.
struct GameLayout {
  const char* name;
  int min_players;
  int64_t state_bytes;
  const Field* state;
  int num_state;
  const Field* rules;
  int num_rules;
  const char* const* scripts;
  int num_scripts;
  int (*obs_width)(const GameJob&);
  int64_t (*memory1_size)(const GameJob&);  // S K, 0 where players of memory 1 cannot tell
};

// Of the game with this number, null if there is none.
const GameLayout* game_layout(int game);

LOQA_DECLARE_ISA(
    // Whether every action of environments [begin, end) is legal.
    bool game_actions_legal(const GameJob& job, int64_t begin, int64_t end);
    // Does the job for environments [begin, end); without autoreset.
    void game_play(const GameJob& job, int64_t begin, int64_t end);)

// By threads of the device, one an environment, or (for tests on machines without one) by a loop
// over those threads on the host. Throws std::runtime_error if the launch fails.
void game_play_host(const GameJob& job);
#if defined(LOQA_WITH_CUDA)
void game_play_cuda(const GameJob& job, void* stream);
#endif

}  // namespace loqa
