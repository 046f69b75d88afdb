"""What the middle asks of a game."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loqa.games.matches import MatchRules


@dataclass(frozen=True)
class Game:
    """All that is particular to a game.

    Attributes:
        name: on the command line and in config.json, "coin".
        env_name: of `loqa.make` and of its environments' specs, "coin_game".
        kin: further names of `loqa.make`, whose environments this record knows too.
        film: module whose `frames_of`, `text_frame` and `save_gif` show it, as those of the Coin Game do; ""
            where there is none.
        matches: what players of it do when they meet; None where they cannot.
    """

    name: str
    env_name: str
    kin: tuple[str, ...] = ()
    film: str = ""
    matches: MatchRules[Any] | None = None
