#pragma once

#include <vector>

#include "sim/coin_game_batch.h"

namespace loqa {

// Codes from Python; throws std::invalid_argument for what is not one.
CoinPlayers coin_players(const CoinGameBatch& batch, const std::vector<int>& kinds,
                         bool tie_episode);

}  // namespace loqa
