"""The Coin Game's record."""

from __future__ import annotations

from loqa.games.base import Game
from loqa.games.coin_matches import CoinMatches
from loqa.games.registry import register

COIN = register(
    Game(
        name="coin",
        env_name="coin_game",
        film="loqa.envs.coin_game.film",
        matches=CoinMatches(),
    )
)
