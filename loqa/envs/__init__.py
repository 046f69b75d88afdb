"""Vectorised environments over the native simulators."""

from importlib import import_module
from typing import TYPE_CHECKING

from loqa._lazy import lazy

if TYPE_CHECKING:
    from loqa.envs import gymnasium as gymnasium
    from loqa.envs import pettingzoo as pettingzoo
    from loqa.envs.base import EnvSpec as EnvSpec
    from loqa.envs.coin_game.env import CoinGame as CoinGame
    from loqa.envs.matrix_game.env import MatrixGame as MatrixGame
    from loqa.envs.native import VectorEnv as VectorEnv
    from loqa.envs.registry import make as make
    from loqa.games.registry import register as register

_get, __all__ = lazy(
    __name__,
    {
        "CoinGame": "loqa.envs.coin_game.env",
        "EnvSpec": "loqa.envs.base",
        "MatrixGame": "loqa.envs.matrix_game.env",
        "VectorEnv": "loqa.envs.native",
        "make": "loqa.envs.registry",
        "register": "loqa.games.registry",
    },
)


def __getattr__(name: str) -> object:
    if name in ("gymnasium", "pettingzoo"):  # not in __all__: what they need may be missing
        return import_module(f"{__name__}.{name}")
    return _get(name)
