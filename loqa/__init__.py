"""Opponent shaping at hardware speed: simulators, DiCE kernels and LOQA."""

from importlib.metadata import version

from loqa.envs import make

__version__ = version("loqa")
__all__ = ["make"]
