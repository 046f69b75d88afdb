"""Which game is played: what was asked for, else what the players were made for, else the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from loqa import _checks
from loqa._torch_settings import usual_torch
from loqa.envs.coin_game.env import CoinGame, make_coin_game
from loqa.envs.matrix_game.env import MatrixGame, make_matrix_game
from loqa.evaluation.players import COIN, IPD, Player, check_rules, common_game, common_grid
from loqa.training.run_names import value_text

_KNOWN = {
    COIN: ("preset", "height", "width", "episode_length", "egocentric", "zero_last_reward"),
    IPD: ("preset", "payoff", "contribution_factor", "episode_length", "noise"),
}


@dataclass(frozen=True)
class Settings:
    """How matches are played.

    Attributes:
        game: "coin_game" or "ipd".
        make: further settings of the environment (preset, height, width, episode_length, payoff...).
        discount: of the discounted return; the preset's by default.
        seed: of everything random.
    """

    game: str
    make: Mapping[str, Any] = field(default_factory=dict)
    discount: float | None = None
    seed: int = 0


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
        game: "coin_game", "ipd" or None for the one that all play.
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
    for name in given:
        if name not in _KNOWN[game]:
            known = ", ".join(_KNOWN[game])
            hint = _checks.nearest(name, _KNOWN[game])
            raise TypeError(f"matches of {game} have no setting {name!r}{hint} (they have {known})")
    make = {**_made_for(players, given, _KNOWN[game]), **given}
    if game == COIN:
        make["preset"] = check_rules(players, make.get("preset"))
        for one in players:  # a network reads the planes it was made for
            knows = bool(one.made_for.get("egocentric"))
            if one.grid is not None and knows != bool(make.get("egocentric")):
                raise ValueError(f"{one.name} was made for egocentric={knows} observations")
        make["height"], make["width"] = common_grid(players, make.get("height"), make.get("width"))
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
        if name in given or (name == "payoff" and "contribution_factor" in given):
            continue
        whose: dict[str, tuple[str, Any]] = {}
        for one in players:
            if name in one.made_for:
                value = one.made_for[name]
                plain = np.asarray(value).tolist() if name == "payoff" else value
                whose.setdefault(value_text(plain), (one.name, value))
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
def make_env(
    settings: Settings, num_envs: int, seed: int, num_threads: int | None = None
) -> CoinGame | MatrixGame:
    """The environment of matches; the prisoner's dilemma shows the state index."""
    common = {**settings.make, "seed": seed, "num_threads": num_threads, "device": "cpu"}
    preset = common.pop("preset", None)
    if settings.game == COIN:
        return make_coin_game(preset, num_envs, **common)
    return make_matrix_game(
        "ipd", preset, num_envs, **{**common, "obs": "index", "obs_dtype": torch.int64}
    )


def rules_of(env: CoinGame | MatrixGame) -> dict[str, Any]:
    """All that decides what is played in an environment, as plain numbers: the same for the same game,
    however it was asked for."""
    spec = env.spec
    rules: dict[str, Any] = {
        "preset": spec.preset,
        "version": spec.version,
        "episode_length": spec.episode_length,
    }
    if isinstance(env, MatrixGame):
        return {**rules, "payoff": env.payoff.tolist(), "noise": env.noise}
    names = ("height", "width", "num_players", "egocentric", "zero_last_reward")
    return {**rules, **{name: getattr(env, name) for name in names}}
