"""Opponent shaping at hardware speed: simulators, DiCE kernels and LOQA."""

from importlib.metadata import version

from loqa import ops, reference
from loqa.config import CoinConfig, IPDConfig
from loqa.envs import make
from loqa.evaluate import evaluate
from loqa.league import league
from loqa.train import load_agent, resume, train

__version__ = version("loqa")
__all__ = [
    "CoinConfig",
    "IPDConfig",
    "evaluate",
    "league",
    "load_agent",
    "make",
    "ops",
    "reference",
    "resume",
    "train",
]
