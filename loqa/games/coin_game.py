"""The Coin Game's record."""

from __future__ import annotations

from loqa.games.base import Game
from loqa.games.registry import register

COIN = register(Game(name="coin", env_name="coin_game"))
