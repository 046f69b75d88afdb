"""Figures of sweeps: learning curves with bands, and what the settings come to beside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from loqa.plotting.runs import Group, read_run
from loqa.plotting.style import GREY, legend_above, new_figure, say_empty, series, wrap
from loqa.sweeps.directory import SweepDirectory
from loqa.sweeps.statistics import bootstrap, interquartile_mean
from loqa.sweeps.table import Comparison, labels_of, numbers_of, read_sweep, rewards_among
from loqa.training.config import TrainConfig

_CURVE_REPEATS = 1000  # resamples at each point of a curve
_MOST_POINTS = 200  # of a curve
_LEAST_SPAN = 0.02  # of rewards: less than that is nothing


def draw_sweep(path: str | Path) -> dict[str, Figure]:
    """The figures of a sweep, by name: "curves" of its runs that have begun, "comparison" of its settings.

    Raises:
        FileNotFoundError: there is no sweep.
        FileError: a file of it is damaged.
    """
    table = read_sweep(path)
    figures = {"curves": draw_curves(groups_of(path)), "comparison": draw_table(table.settings)}
    for name, comparison in table.fields.items():
        figures[f"comparison_{name}"] = draw_table(comparison)
    return figures


def groups_of(path: str | Path) -> list[Group]:
    """The runs of a sweep that have begun, seeds together."""
    directory = SweepDirectory(Path(path))
    runs: dict[TrainConfig, list[str]] = {}
    for name, config in directory.runs().items():
        runs.setdefault(config.replace(seed=0), []).append(name)
    groups = []
    for label, names in zip(labels_of(list(runs)), runs.values(), strict=True):
        begun = [name for name in names if directory.run(name).metrics_file.exists()]
        groups.append(Group(label, tuple(read_run(directory.path / name) for name in begun)))
    return groups


def draw_curves(groups: Sequence[Group]) -> Figure:
    """Interquartile means over the runs of each setting, in bands of their 95% bootstrap intervals, pointwise
    (Agarwal et al. 2021, appendix A.4): one panel for the reward while exploring, one for each evaluation."""
    names = dict.fromkeys(
        name for group in groups for run in group.runs for line in run.metrics
        for name in rewards_among(numbers_of(line))
    )  # fmt: skip
    panels = ["reward", *names]
    figure, axes = new_figure(len(panels), width=4.6)
    for place, name in zip(axes, panels, strict=True):
        for number, group in enumerate(groups):
            if group.runs:
                _draw_curve(place, group, partial(_number, name=name), number)
        said = "while exploring" if name == "reward" else name.replace("_", " ")
        place.set(xlabel="iteration", ylabel=f"reward per step, {said}")
        if not place.lines:
            say_empty(place, "no run has begun")
    legend_above(figure, *axes[0].get_legend_handles_labels())
    return figure


def draw_table(found: Comparison) -> Figure:
    """What the settings come to: interquartile mean and interval of each reward, and a dot for each run."""
    rewards = rewards_among(dict.fromkeys(name for row in found.rows for name in row.measures))
    figure, axes = new_figure(max(1, len(rewards)), width=4.6)
    figure.set_figheight(1.2 + 0.5 * len(found.rows))
    for column, (place, name) in enumerate(zip(axes, rewards, strict=False)):
        for number, row in enumerate(found.rows):
            if name not in row.measures:
                continue
            measure, colour = row.measures[name], series(number)[0]
            known = [one for one in measure.values if one is not None]
            place.plot(known, [number] * len(known), ".", color=GREY, alpha=0.6, ms=5)
            place.hlines(number, measure.iqm.low, measure.iqm.high, color=colour, lw=7, alpha=0.4)
            place.plot(measure.iqm.value, number, "|", color=colour, ms=14, mew=2.5)
        left, right = place.get_xlim()
        if right - left < _LEAST_SPAN:
            middle = (left + right) / 2
            place.set_xlim(middle - _LEAST_SPAN / 2, middle + _LEAST_SPAN / 2)
        place.xaxis.set_major_locator(MaxNLocator(5))
        labels = [wrap(row.label, 2.5) for row in found.rows]
        place.set_yticks(range(len(labels)), labels if column == 0 else [""] * len(labels))
        place.set_ylim(len(labels) - 0.5, -0.5)
        place.set_xlabel(f"reward per step, {name.replace('_', ' ')}")
        place.grid(axis="x", alpha=0.25)
    if not rewards:
        say_empty(axes[0], "no run has ended")
    return figure


def _draw_curve(
    axes: Axes, group: Group, value: Callable[[dict[str, Any]], float | None], number: int
) -> None:
    x, values = group.curves(value, "iteration")
    places = np.flatnonzero(~np.isnan(values).all(0))
    if len(places) > _MOST_POINTS:
        places = places[np.linspace(0, len(places) - 1, _MOST_POINTS).astype(int)]
    colour, line = series(number)
    columns = [values[:, place][~np.isnan(values[:, place])] for place in places]
    middle = [float(interquartile_mean(one)) for one in columns]
    axes.plot(x[places], middle, line, marker="." if len(places) == 1 else "", color=colour, lw=2,
              label=group.counted)  # fmt: skip
    if len(group.runs) > 1:
        bands = [bootstrap([one], repeats=_CURVE_REPEATS) for one in columns]
        axes.fill_between(x[places], [one.low for one in bands], [one.high for one in bands],
                          color=colour, alpha=0.18, lw=0)  # fmt: skip


def _number(line: dict[str, Any], name: str) -> float | None:
    return numbers_of({name: line.get(name)}).get(name)
