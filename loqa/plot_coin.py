"""Figures of Coin Game runs: learning curves, and what the agents do in the end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loqa.plot_runs import Group, Run
from loqa.plot_style import (
    BLUE,
    GREY,
    ORANGE,
    SERIES,
    draw_seed_range,
    draw_spread,
    new_figure,
)
from loqa.thresholds import THRESHOLDS, score

# key of the metrics -> title of its panel
PANELS = {
    "self_play": "self-play",
    "vs_always_cooperate": "against always-cooperate",
    "vs_always_defect": "against always-defect",
    "own_coin_share": "own coins among those taken",
}


def draw_run(run: Run) -> Figure:
    """One run: both players' rewards in each kind of match, and the share of own coins."""
    group = Group(run.learner, (run,))
    figure, axes = new_figure(2, rows=2, width=5.0)
    for place, (key, title) in zip(axes, PANELS.items(), strict=True):
        sides = ["agent", "its copy" if key == "self_play" else "opponent"]
        if key == "own_coin_share":
            sides = ["agent"]
        for side, (name, colour, line) in enumerate(
            zip(sides, (BLUE, ORANGE), ("-", "--"), strict=False)
        ):
            x, values = group.curves(partial(_value, key=key, side=side), "env_steps")
            draw_spread(place, x / 1e6, values, colour, line, name)
        _finish(place, key, title, [run])
        if len(sides) > 1:
            place.legend(frameon=False, fontsize="small", loc="best")
    figure.suptitle(f"{run.learner}, {_board(run)}")
    return figure


def draw_comparison(groups: Sequence[Group]) -> Figure:
    """Groups of seeds: learning curves above, the newest evaluation below."""
    runs = [run for group in groups for run in group.runs]
    figure, axes = new_figure(len(PANELS), rows=2, width=4.2)
    for column, (key, title) in enumerate(PANELS.items()):
        above, below = axes[column], axes[len(PANELS) + column]
        for number, group in enumerate(groups):
            colour, line, _ = SERIES[number % len(SERIES)]
            x, values = group.curves(partial(_value, key=key), "env_steps")
            draw_spread(above, x / 1e6, values, colour, line, _counted(group))
        _finish(above, key, title, runs)
        _draw_bars(below, groups, key)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    return figure


def _draw_bars(axes: Axes, groups: Sequence[Group], key: str) -> None:
    values = [group.last(partial(_value, key=key)) for group in groups]
    places = [float(number) for number in range(len(groups))]
    medians = [float(np.median(seeds)) for seeds in values]
    axes.bar(
        places, medians, color=[SERIES[n % len(SERIES)][0] for n in range(len(groups))], width=0.6
    )
    for place, median, seeds in zip(places, medians, values, strict=True):
        edge = seeds.max() if median >= 0 else seeds.min()
        axes.annotate(f"{round(median, 2) + 0.0:.2f}", (place, edge), xytext=(0, 3 if median >= 0 else -3),
                      textcoords="offset points", ha="center",
                      va="bottom" if median >= 0 else "top")  # fmt: skip
    draw_seed_range(axes, places, values)  # type: ignore[arg-type]
    axes.axhline(0, color="black", lw=0.8)
    axes.margins(x=0.1, y=0.18)
    axes.set_xticks(places, [group.label.replace(", ", ",\n").replace(" (", "\n(") for group in groups],
                    fontsize="small")  # fmt: skip
    axes.set_ylabel(
        "share at the end" if key == "own_coin_share" else "reward per step, at the end"
    )


def _finish(axes: Axes, key: str, title: str, runs: Sequence[Run]) -> None:
    """Title, labels, and the published thresholds where all runs have one board."""
    share = key == "own_coin_share"
    axes.set(title=title, xlabel="million env steps",
             ylabel="share" if share else "reward per step")  # fmt: skip
    if share:
        axes.set_ylim(0, 1.03)
        axes.axhline(0.5, color=GREY, lw=0.8, ls=":")
        return
    axes.axhline(0, color="black", lw=0.8)
    boards = {(run.config["height"], run.config["width"]) for run in runs}
    if key == "vs_always_cooperate" or len(boards) != 1:
        return
    factor = score(1.0, *boards.pop())
    for name, values in THRESHOLDS.items():
        level = values[0 if key == "self_play" else 1] / factor
        axes.axhline(level, color=GREY, lw=0.8, ls=":")
        axes.annotate(name, (1, level), xycoords=("axes fraction", "data"), xytext=(-2, 1),
                      textcoords="offset points", ha="right", va="bottom", color=GREY,
                      fontsize="x-small")  # fmt: skip


def _value(line: dict[str, Any], key: str, side: int | None = None) -> float | None:
    """What a line says, None if it says nothing: of one side; else the mean of self-play, or the
    agent's."""
    found = line.get(key)
    if found is None:
        return None
    if isinstance(found, int | float):
        return float(found)
    if side is None and key == "self_play":
        return (float(found[0]) + float(found[1])) / 2
    return float(found[side or 0])


def _counted(group: Group) -> str:
    return group.label if len(group.runs) == 1 else f"{group.label}, {len(group.runs)} seeds"


def _board(run: Run) -> str:
    return f"{run.config['height']} x {run.config['width']}, seed {run.config['seed']}"
