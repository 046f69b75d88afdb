"""Vectorised environments over the native simulators."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from loqa import _checks
from loqa.envs.base import Preset
from loqa.envs.coin_game.presets import COIN_PRESETS
from loqa.envs.continuous_game.presets import CONTINUOUS_PRESETS
from loqa.envs.matrix_game.presets import MATRIX_PRESETS
from loqa.envs.public_goods.presets import PUBLIC_GOODS_PRESETS

if TYPE_CHECKING:
    from loqa.envs.native import VectorEnv

# For each name its presets, and the room in whose env.py it is made.
_GAMES: dict[str, tuple[Mapping[str, Preset], str]] = {
    **{game: (presets, "matrix_game") for game, presets in MATRIX_PRESETS.items()},
    "coin-game": (COIN_PRESETS, "coin_game"),
    **{game: (presets, "public_goods") for game, presets in PUBLIC_GOODS_PRESETS.items()},
    **{game: (presets, "continuous_game") for game, presets in CONTINUOUS_PRESETS.items()},
}


def names() -> list[str]:
    """Of all games that `make` knows."""
    return list(_GAMES)


def _maker(name: str) -> Callable[..., VectorEnv]:
    """Makes a game's environments from a preset, B and the settings."""
    room: Any = import_module(f"loqa.envs.{_GAMES[name][1]}.env")
    return room.MAKES[name]  # type: ignore[no-any-return]


def _split_name(game: str, preset: str | None) -> tuple[str, str | None]:
    """`ipd-lola18` is the preset `lola18` of `ipd`; `-` and `_` are the same."""
    for what, given in (("game", game), ("preset", preset)):
        if not isinstance(given, str) and (what, given) != ("preset", None):
            raise TypeError(f"{what} must be a name, got {given!r}")
    name, preset = game.replace("_", "-"), preset and preset.replace("_", "-")
    for known, (presets, _) in _GAMES.items():
        if name == known:
            return known, preset
        for variant in presets:
            if name == f"{known}-{variant}":
                if preset not in (None, variant):
                    raise ValueError(
                        f"game {game!r} names a preset, but preset={preset!r} was given too"
                    )
                return known, variant
    return _checks.one_of("game", game, _GAMES), preset


def make(game: str, num_envs: int = 1, *, preset: str | None = None, **settings: Any) -> VectorEnv:
    """Makes B = `num_envs` copies of a game, stepped together by the native simulator.

    Args:
        game: `coin_game`, `ipd`, `matching-pennies`, `chicken`, `stag-hunt`, `matrix-game` (its `payoff`
            must be given), `public-goods`, `n-ipd`, `continuous-ipd` or `cournot`.
        num_envs: B, the number of copies.
        preset: the paper or code whose rules are played, such as "lola18"; by default the game's first.
        settings: seed (0), device ("cpu"; or "cuda", "cuda:1"), num_threads (of the CPU: all cores),
            first_env (0: number of the first environment in the random counters, for splitting a batch
            over processes), episode_length, obs, obs_dtype, autoreset (False, "next_step" or
            "same_step"). Matrix games: payoff, contribution_factor (pola22), noise, end_probability;
            obs is `bits`, `index`, `onehot` or `actions`. Coin Game: height (3), width (3), num_players
            (2), obs (`planes` or `cells`), check_actions (True; False takes an action out of range for
            staying put), egocentric (False; True shows each player the board with itself in the middle),
            and for pax23 zero_last_reward (False). Public goods: num_players (3), num_levels (2), factor
            (public-goods: 1.6), benefit and cost (n-ipd: 2 and 1), obs (`count`, `joint` or `index`).
            Continuous games: num_players (2).
    Raises:
        ValueError, TypeError: an unknown name (the nearest valid one is given) or a value out of range.
        RuntimeError: device "cuda" where loqa or torch has no CUDA, or there is no GPU.
    """
    name, preset = _split_name(game, preset)
    _checks.known_settings(f"loqa.make({game!r})", settings, settings_of(name))
    return _maker(name)(_checks.preset_of(_GAMES[name][0], preset), num_envs, **settings)


def settings_of(game: str) -> list[str]:
    """Names of what `loqa.make` takes for a game, after its name."""
    name, _ = _split_name(game, None)
    kind: Any = _maker(name)
    kind = getattr(kind, "func", kind)  # the class, maybe in a partial call
    known = list(inspect.signature(kind.__init__).parameters.values())
    own = [parameter.name for parameter in known if parameter.kind is parameter.KEYWORD_ONLY]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known):
        from loqa.envs.native_game import Common

        own += Common.__annotations__
    return ["num_envs", "preset", *own]
