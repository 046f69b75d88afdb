#pragma once

#include <vector>

#include "sim/coin_game_batch.h"

namespace loqa {

// Codes from Python; both throw std::invalid_argument for what is not one.
ActionType coin_action_type(int code);
CoinPlayers coin_players(const CoinGameBatch& batch, const std::vector<int>& kinds,
                         bool tie_episode);

}  // namespace loqa
