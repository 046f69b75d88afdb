"""Figures of runs of any game: what its players earn. What a game draws itself has the same names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from loqa.plotting.runs import NUMBERS, Check, Group
from loqa.plotting.style import draw_spread, legend_above, new_figure, series, wrap

REQUIRED: dict[str, Check] = {"reward": NUMBERS}
"""What every line of metrics has."""
OPTIONAL: dict[str, Check] = {}
"""What it may have."""


def about(config: dict[str, Any]) -> str:
    """What a run's title says of its game, whatever the settings are."""
    return ""


def draw_run(group: Group, together: bool) -> dict[str, Figure]:
    """A group of one run: figures by name; one if they are to be `together`."""
    figure, axes = new_figure(1)
    for player in range(len(group.runs[0].metrics[0]["reward"])):
        x, values = group.curves(partial(_reward, player=player), "iteration")
        draw_spread(axes[0], x, values, *series(player), f"player {player}")
    axes[0].set(xlabel="iteration", ylabel="mean reward per step, while exploring")
    axes[0].set_title(wrap(group.label, 4.6, 12))
    axes[0].legend(frameon=False)
    return {"reward": figure}


def draw_comparison(groups: Sequence[Group]) -> Figure:
    """Groups of seeds in one figure."""
    figure, axes = new_figure(1)
    for number, group in enumerate(groups):
        x, values = group.curves(
            lambda line: sum(line["reward"]) / len(line["reward"]), "iteration"
        )
        draw_spread(axes[0], x, values, *series(number), group.counted)
    axes[0].set(xlabel="iteration", ylabel="mean reward per step, of all players")
    legend_above(figure, *axes[0].get_legend_handles_labels())
    return figure


def _reward(line: dict[str, Any], player: int) -> float:
    return float(line["reward"][player])
