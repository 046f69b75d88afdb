#pragma once

#include "games/coin_game.h"
#include "games/continuous_game.h"
#include "games/matrix_game.h"
#include "games/public_goods.h"

// The games of the generic driver (csrc/sim/game_driver.h). A game enters here.

namespace loqa {

template <typename... Games>
struct GameList {};

using NativeGames = GameList<CoinGame, MatrixGame, PublicGoods, ContinuousGame>;

}  // namespace loqa
