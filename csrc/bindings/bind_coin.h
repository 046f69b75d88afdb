#pragma once

#include <vector>

#include "bindings/memory.h"
#include "sim/coin_game_batch.h"

namespace loqa {

// A batch of Coin Games and the memory that it is in.
struct CoinSetup {
  CoinGameBatch batch;
  std::vector<MemoryPtr> kept;

  // The start of results of `steps` steps, of the right size.
  void* obs(const MemoryPtr& memory, int64_t steps) const {
    return bytes_of(memory, "obs",
                    {steps, batch.num_envs, batch.rules.num_players, coin_obs_size(batch)},
                    coin_element_size(batch.obs_type));
  }
  float* rewards(const MemoryPtr& memory, int64_t steps) const {
    return array_of<float>(memory, "rewards", {steps, batch.num_envs, batch.rules.num_players});
  }
  uint8_t* played(const MemoryPtr& memory, int64_t steps) const {
    return array_of<uint8_t>(memory, "actions", {steps, batch.num_envs, batch.rules.num_players});
  }
};

// Codes from Python; throws std::invalid_argument for what is not one.
CoinPlayers coin_players(const CoinGameBatch& batch, const std::vector<int>& kinds,
                         bool tie_episode);

}  // namespace loqa
