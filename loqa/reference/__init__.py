"""The slow, obvious version of every game and kernel: the specification that the tests hold the
native code to, and the baseline of the benchmarks. NumPy in, NumPy out for the games."""

from __future__ import annotations

from typing import Any

from loqa.envs.continuous_game.presets import CONTINUOUS_PRESETS
from loqa.envs.matrix_game.presets import MATRIX_PRESETS
from loqa.envs.public_goods.presets import PUBLIC_GOODS_PRESETS
from loqa.reference.coin_game import CoinGame, make_coin_game
from loqa.reference.continuous_game import ContinuousGame, make_continuous_game
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
from loqa.reference.matrix_game import MatrixGame, make_matrix_game
from loqa.reference.philox import bounded, philox, uniform
from loqa.reference.public_goods import PublicGoods, make_public_goods

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


def make(
    game: str, num_envs: int = 1, *, preset: str | None = None, **settings: Any
) -> MatrixGame | CoinGame | PublicGoods | ContinuousGame:
    """The reference environment of a game, with the settings of `loqa.make` that decide numbers."""
    if game in MATRIX_PRESETS:
        return make_matrix_game(game, preset, num_envs, **settings)
    if game.replace("_", "-") == "coin-game":
        return make_coin_game(preset, num_envs, **settings)
    if game in PUBLIC_GOODS_PRESETS:
        return make_public_goods(game, preset, num_envs, **settings)
    if game in CONTINUOUS_PRESETS:
        return make_continuous_game(game, preset, num_envs, **settings)
    raise ValueError(f"there is no reference for game {game!r}")
