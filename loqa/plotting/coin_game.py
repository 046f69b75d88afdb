"""Figures of Coin Game runs: learning curves, and what the agents do in the end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loqa.envs.coin_game.thresholds import THRESHOLDS, score
from loqa.plotting.coin_wall_clock import plot_wall_clock as plot_wall_clock
from loqa.plotting.runs import NUMBER, NUMBERS, Check, Group, Run
from loqa.plotting.style import (
    BLUE,
    GREY,
    ORANGE,
    draw_seed_range,
    draw_spread,
    legend_above,
    new_figure,
    say_empty,
    series,
    wrap,
)

# key of the metrics -> title of its panel
PANELS = {
    "self_play": "self-play",
    "vs_always_cooperate": "against always-cooperate",
    "vs_always_defect": "against always-defect",
    "own_coin_share": "own coins among those taken",
}


REQUIRED: dict[str, Check] = {}
OPTIONAL: dict[str, Check] = {
    **dict.fromkeys(list(PANELS)[:3], NUMBERS),
    "own_coin_share": NUMBER,
}


def about(config: dict[str, Any]) -> str:
    return f"{config['height']} x {config['width']}"


def draw_run(group: Group, together: bool = True) -> dict[str, Figure]:
    """A group of one run: both players' rewards in each kind of match, and the share of own coins."""
    (run,) = group.runs
    figure, axes = new_figure(2, rows=2, width=5.0)
    for place, (key, title) in zip(axes, PANELS.items(), strict=True):
        sides = ["agent", "its copy" if key == "self_play" else "opponent"]
        if key == "own_coin_share":
            sides = ["agent"]
        for side, (name, colour, line) in enumerate(
            zip(sides, (BLUE, ORANGE), ("-", "--"), strict=False)
        ):
            x, values = group.curves(partial(_value, key=key, side=side), "env_steps")
            if np.isnan(values).all():
                place.set_title(title)
                say_empty(place, "not evaluated yet")
                break
            draw_spread(place, x / 1e6, values, colour, line, name)
        else:
            _finish(place, key, title, [run])
            if len(sides) > 1:
                place.legend(frameon=False, fontsize="small", loc="best")
    figure.suptitle(wrap(group.label, figure.get_figwidth() - 1, 12))
    return {"learning": figure}


def draw_comparison(groups: Sequence[Group]) -> Figure:
    """Groups of seeds: learning curves above, the newest evaluation below."""
    runs = [run for group in groups for run in group.runs]
    lines = [line for run in runs for line in run.metrics]
    # Of more than two players no line says whose coins were taken.
    panels = {key: title for key, title in PANELS.items()
              if key != "own_coin_share" or any(key in line for line in lines)}  # fmt: skip
    figure, axes = new_figure(len(panels), rows=2, width=4.2)
    for column, (key, title) in enumerate(panels.items()):
        above, below = axes[column], axes[len(panels) + column]
        for number, group in enumerate(groups):
            colour, line = series(number)
            x, values = group.curves(partial(_value, key=key), "env_steps")
            draw_spread(above, x / 1e6, values, colour, line, group.counted)
        _finish(above, key, title, runs)
        _draw_bars(below, groups, key)
    # The lines by their place: matplotlib's own list leaves out labels that begin with "_".
    numbers = [f"{place}  " if len(groups) > 1 else "" for place in range(1, len(groups) + 1)]
    labels = [number + group.counted for number, group in zip(numbers, groups, strict=True)]
    legend_above(figure, axes[0].lines[: len(groups)], labels)
    return figure


def _draw_bars(axes: Axes, groups: Sequence[Group], key: str) -> None:
    """A bar for each group, of the seeds that have a value; the legend says what its number means."""
    found = [group.last(partial(_value, key=key)) for group in groups]
    values = [seeds[~np.isnan(seeds)] for seeds in found]
    for place, seeds in enumerate(values):
        if not len(seeds):
            continue
        median = float(np.median(seeds))
        up = median >= 0
        axes.bar(place, median, color=series(place)[0], width=0.6)
        axes.annotate(f"{round(median, 2) + 0.0:.2f}", (place, seeds.max() if up else seeds.min()),
                      xytext=(0, 3 if up else -3), textcoords="offset points", ha="center",
                      fontsize="medium" if len(groups) < 6 else "x-small",
                      va="bottom" if up else "top")  # fmt: skip
    draw_seed_range(axes, values)
    axes.axhline(0, color="black", lw=0.8)
    axes.margins(x=0.1, y=0.18)
    numbers = range(1, len(groups) + 1) if len(groups) > 1 else []
    axes.set_xticks([number - 1 for number in numbers], [str(number) for number in numbers])
    axes.set_xlim(-0.6, len(groups) - 0.4)
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
        _say(axes, "every coin alike", 0.5)
        return
    axes.axhline(0, color="black", lw=0.8)
    boards = {(run.config["height"], run.config["width"]) for run in runs}
    if key == "vs_always_cooperate" or len(boards) != 1:
        return
    factor = score(1.0, *boards.pop())
    for name, values in THRESHOLDS.items():
        level = values[0 if key == "self_play" else 1] / factor
        axes.axhline(level, color=GREY, lw=0.8, ls=":")
        # Levels can be close: their names stand side by side.
        _say(axes, f"{name} threshold", level, right=0.74 if name == "medium" else 1.0)


def _say(axes: Axes, text: str, level: float, right: float = 1.0) -> None:
    """What a dotted line means, above it; the text ends at a share of the axes' width."""
    axes.annotate(text, (right, level), xycoords=("axes fraction", "data"), xytext=(-2, 1),
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
        return sum(map(float, found)) / len(found)
    return float(found[side or 0])
