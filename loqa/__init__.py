"""Opponent shaping at hardware speed: simulators, DiCE kernels and LOQA."""

import sys
from typing import TYPE_CHECKING

from loqa._lazy import lazy

if TYPE_CHECKING:
    from loqa import algos as algos
    from loqa import envs as envs
    from loqa import games as games
    from loqa import ops as ops
    from loqa import reference as reference
    from loqa.envs.base import EnvSpec as EnvSpec
    from loqa.envs.registry import make as make
    from loqa.evaluation.evaluate import evaluate as evaluate
    from loqa.evaluation.league import league as league
    from loqa.sweeps.grid import Grid as Grid
    from loqa.sweeps.sweep import sweep as sweep
    from loqa.training.config import CoinConfig as CoinConfig
    from loqa.training.config import ContinuousIPDConfig as ContinuousIPDConfig
    from loqa.training.config import CournotConfig as CournotConfig
    from loqa.training.config import IPDConfig as IPDConfig
    from loqa.training.config import MatrixConfig as MatrixConfig
    from loqa.training.config import PublicGoodsConfig as PublicGoodsConfig
    from loqa.training.train import load_agent as load_agent
    from loqa.training.train import resume as resume
    from loqa.training.train import train as train

    __version__: str

_get, __all__ = lazy(
    __name__,
    {
        "CoinConfig": "loqa.training.config",
        "EnvSpec": "loqa.envs.base",
        "Grid": "loqa.sweeps.grid",
        "IPDConfig": "loqa.training.config",
        "algos": "loqa.algos",
        "envs": "loqa.envs",
        "games": "loqa.games",
        "MatrixConfig": "loqa.training.config",
        "PublicGoodsConfig": "loqa.training.config",
        "ContinuousIPDConfig": "loqa.training.config",
        "CournotConfig": "loqa.training.config",
        "evaluate": "loqa.evaluation.evaluate",
        "league": "loqa.evaluation.league",
        "load_agent": "loqa.training.train",
        "make": "loqa.envs.registry",
        "ops": "loqa.ops",
        "reference": "loqa.reference",
        "resume": "loqa.training.train",
        "sweep": "loqa.sweeps.sweep",
        "train": "loqa.training.train",
    },
)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("loqa")
        except PackageNotFoundError:  # sources on the path
            return "not installed"
    if name == "_core":  # also where it lies in the installed package, and the sources here
        from loqa._native import core

        return core
    return _get(name)


if "gymnasium" in sys.modules:  # then its ids are cheap
    from loqa.envs.adapters.gymnasium_ids import register_ids

    register_ids()
