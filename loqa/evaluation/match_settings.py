"""Which game is played: what was asked for, else what the players were made for, else the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loqa import _checks
from loqa.agents.player import Player
from loqa.evaluation.players import common_game
from loqa.games import registry
from loqa.games.matches import MatchRules
from loqa.runtime.torch_settings import usual_torch
from loqa.training.run_names import value_text


@dataclass(frozen=True)
class Settings:
    """How matches are played.

    Attributes:
        game: as the environment's spec has it.
        make: further settings of the environment (preset, height, width, episode_length, payoff...).
        discount: of the discounted return; the preset's by default.
        seed: of everything random.
    """

    game: str
    make: Mapping[str, Any] = field(default_factory=dict)
    discount: float | None = None
    seed: int = 0

    @property
    def matches(self) -> MatchRules[Any]:
        """The game's."""
        return registry.matches_of(self.game)


def settings_of(
    players: Sequence[Player],
    game: str | None,
    settings: Mapping[str, Any],
    discount: float | None,
    seed: int,
) -> Settings:
    """The settings of matches among players.

    Each setting is the one that is given, else the one that the players were made for (a run's payoff,
    episode length, board...), else the preset's. A preset that is given stands for its whole game: its
    payoff, episode length and discount are not the players' then. The discount is that of the first
    player that was made for one.

    Args:
        players: all that meet.
        game: its name, or None for the first that all play.
        settings: what is asked for, by name; None is not asked for.
        discount: of the discounted return, or None.
        seed: of everything random.

    Raises:
        TypeError: the game has no such setting.
        ValueError: the players were made for games that differ in what is not given, cannot play what
            is given, or have no game in common.
    """
    game = common_game(players, game)
    given = {name: value for name, value in settings.items() if value is not None}
    rules = registry.matches_of(game)
    for name in given:
        if name not in rules.settings:
            known = ", ".join(rules.settings)
            hint = _checks.nearest(name, rules.settings)
            raise TypeError(f"matches of {game} have no setting {name!r}{hint} (they have {known})")
    free = [name for name in rules.settings if not {name, rules.replaced.get(name)} & {*given}]
    make = rules.agree(players, {**_made_for(players, given, free), **given})
    if discount is None and "preset" not in given:
        own = [one.made_for["discount"] for one in players if "discount" in one.made_for]
        discount = own[0] if own else None
    return Settings(game, make, discount, seed)


def _made_for(
    players: Sequence[Player], given: Mapping[str, Any], names: Sequence[str]
) -> dict[str, Any]:
    """What all players that were made for one game were made for, less what is given."""
    if "preset" in given:
        return {}
    found, clashes = {}, []
    for name in names:
        whose: dict[str, tuple[str, Any]] = {}
        for one in players:
            if name in one.made_for:
                value = one.made_for[name]
                whose.setdefault(value_text(np.asarray(value).tolist()), (one.name, value))
        if len(whose) > 1:
            told = ", ".join(f"{value} ({who})" for value, (who, _) in whose.items())
            clashes.append((name, f"{name} {told}"))
        elif whose:
            found[name] = next(iter(whose.values()))[1]
    if clashes:
        raise ValueError(
            f"the players were made for different games: {'; '.join(text for _, text in clashes)}; "
            f"give {' and '.join(name for name, _ in clashes)} to say what is played"
        )
    return found


@usual_torch()
def make_env(settings: Settings, num_envs: int, seed: int, num_threads: int | None = None) -> Any:
    """The environment of matches."""
    how = {"seed": seed, "num_threads": num_threads, "device": "cpu"}
    return settings.matches.make(num_envs, **{**settings.make, **how})
