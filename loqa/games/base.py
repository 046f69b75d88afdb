"""What the middle asks of a game."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Game:
    """All that is particular to a game.

    Attributes:
        name: on the command line and in config.json, "coin".
        env_name: of `loqa.make` and of its environments' specs, "coin_game".
    """

    name: str
    env_name: str
