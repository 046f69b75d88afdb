"""The Coin Game's record."""

from __future__ import annotations

from loqa.games.base import Game
from loqa.games.coin_matches import CoinMatches
from loqa.games.coin_view import CoinView, outcome
from loqa.games.registry import register

COIN = register(
    Game(
        name="coin",
        env_name="coin_game",
        view=CoinView,
        outcome=outcome,
        gains_from_threads=True,
        figures="loqa.plotting.coin_game",
        film="loqa.envs.coin_game.film",
        matches=CoinMatches(),
    )
)
