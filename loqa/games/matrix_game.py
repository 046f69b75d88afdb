"""The records of matrix games: the iterated prisoner's dilemma and its kin."""

from __future__ import annotations

from loqa.games.base import Game
from loqa.games.registry import register

IPD = register(Game(name="ipd", env_name="ipd"))
