"""The slow, obvious version of every game and kernel: the specification that the tests hold the
native code to, and the baseline of the benchmarks. NumPy in, NumPy out for the games."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loqa import _checks
from loqa.envs.coin_game.presets import COIN_PRESETS
from loqa.envs.continuous_game.presets import CONTINUOUS_PRESETS
from loqa.envs.matrix_game.presets import MATRIX_PRESETS
from loqa.envs.public_goods.presets import PUBLIC_GOODS_PRESETS
from loqa.reference.coin_game import CoinGame
from loqa.reference.continuous_game import ContinuousGame
from loqa.reference.kernels import (
    dice_weights,
    discounted_returns,
    generalized_advantage,
    loaded_dice_q_values,
    loaded_dice_returns,
    magic_box,
    n_step_dice_returns,
    n_step_returns,
)
from loqa.reference.matrix_game import MatrixGame
from loqa.reference.philox import bounded, philox, uniform
from loqa.reference.public_goods import PublicGoods

__all__ = [
    "CoinGame",
    "ContinuousGame",
    "MatrixGame",
    "PublicGoods",
    "bounded",
    "dice_weights",
    "discounted_returns",
    "generalized_advantage",
    "loaded_dice_q_values",
    "loaded_dice_returns",
    "magic_box",
    "make",
    "n_step_dice_returns",
    "n_step_returns",
    "philox",
    "uniform",
]


_GAMES: tuple[tuple[Mapping[str, Any], Any], ...] = (
    (MATRIX_PRESETS, MatrixGame),
    ({"coin-game": COIN_PRESETS}, CoinGame),
    (PUBLIC_GOODS_PRESETS, PublicGoods),
    (CONTINUOUS_PRESETS, ContinuousGame),
)


def make(
    game: str, num_envs: int = 1, *, preset: str | None = None, **settings: Any
) -> MatrixGame | CoinGame | PublicGoods | ContinuousGame:
    """The reference environment of a game, with the settings of `loqa.make` that decide numbers."""
    name = game.replace("_", "-")
    for games, kind in _GAMES:
        if name in games:
            rules = _checks.preset_of(games[name], preset)
            made: MatrixGame | CoinGame | PublicGoods | ContinuousGame
            made = kind(num_envs, rules, **settings)
            return made
    raise ValueError(f"there is no reference for game {game!r}")
