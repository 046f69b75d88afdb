"""Figures of runs of any matrix game: as of the prisoner's dilemma where there are two actions."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from matplotlib.figure import Figure

from loqa.plotting import matrix_game, rewards
from loqa.plotting.runs import Check, Group

REQUIRED: dict[str, Check] = rewards.REQUIRED
OPTIONAL: dict[str, Check] = {**matrix_game.REQUIRED, **matrix_game.OPTIONAL}
about = matrix_game.about


def draw_run(group: Group, together: bool) -> dict[str, Figure]:
    figures: dict[str, Figure] = _module([group]).draw_run(group, together)
    return figures


def draw_comparison(groups: Sequence[Group]) -> Figure:
    figure: Figure = _module(groups).draw_comparison(groups)
    return figure


def _module(groups: Sequence[Group]) -> ModuleType:
    lines = [line for group in groups for run in group.runs for line in run.metrics]
    return matrix_game if all("p_cooperate" in line for line in lines) else rewards
