"""What the middle asks of a game."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loqa.games.matches import MatchRules
from loqa.games.view import View, reward_outcome, reward_view


@dataclass(frozen=True)
class Game:
    """All that is particular to a game.

    Attributes:
        name: on the command line and in config.json, "coin".
        env_name: of `loqa.make` and of its environments' specs, "coin_game".
        kin: further names of `loqa.make`, whose environments this record knows too.
        view: makes what is seen of a run's metrics.
        outcome: what is said of a run's summary.
        gains_from_threads: whether the default of one thread is slow on several free cores.
        figures: module that draws runs of it, as `loqa.plotting.rewards` draws those of any game.
        film: module whose `frames_of`, `text_frame` and `save_gif` show it, as those of the Coin Game do; ""
            where there is none.
        matches: what players of it do when they meet; None where they cannot.
    """

    name: str
    env_name: str
    kin: tuple[str, ...] = ()
    view: Callable[[], View] = lambda: reward_view
    outcome: Callable[[dict[str, Any]], str] = reward_outcome
    gains_from_threads: bool = False
    figures: str = "loqa.plotting.rewards"
    film: str = ""
    matches: MatchRules[Any] | None = None
