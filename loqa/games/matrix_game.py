"""The records of matrix games: the iterated prisoner's dilemma and its kin."""

from __future__ import annotations

from loqa.envs.matrix_game.presets import MATRIX_PRESETS
from loqa.games.base import Game
from loqa.games.matrix_matches import MatrixMatches
from loqa.games.matrix_view import outcome, view
from loqa.games.registry import register

IPD = register(
    Game(
        name="ipd",
        env_name="ipd",
        kin=tuple(MATRIX_PRESETS),
        view=lambda: view,
        outcome=outcome,
        figures="loqa.plotting.matrix_game",
        matches=MatrixMatches("ipd"),
    )
)
