#pragma once

#include <vector>

#include "bindings/bindings.h"
#include "bindings/memory.h"
#include "sim/game_job.h"

namespace loqa {

// Who plays each seat, and what memory-1 players do.
struct GamePlayers {
  std::vector<int> kinds;  // GamePlayer
  MemoryPtr probabilities;
  bool each_env;  // has its own
  bool last_too;  // the last action's probability is there too, though nobody reads it
  float exploration;
  bool tie_episode;
};

// A batch of a game and the memory that it is in.
struct GameSetup {
  GameJob batch = {};
  MemoryPtr states, t, episode, table;

  // The start of results of `steps` steps, of the right size.
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

  // A job of no step that starts episodes where `which` is set.
  GameJob start(GameJob job, const MemoryPtr& which) const;
  // A job of `steps` steps whose results are not the environment's own.
  GameJob trajectory(GameJob job, int64_t steps, const MemoryPtr& seen,
                     const MemoryPtr& paid) const;
  // A job in which players are played; `steps` of it are in `chosen`.
  GameJob played(GameJob job, const GamePlayers& players, int64_t steps,
                 const MemoryPtr& chosen) const;
  GameJob only_choose(GameJob job, const GamePlayers& players, const MemoryPtr& chosen) const;
};

}  // namespace loqa
