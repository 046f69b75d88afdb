"""Figures of runs of matrix games: answers over time, the strategy learned, and rewards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loqa.games.answers import COOPERATES, DEFECTS, STATES
from loqa.plotting.runs import TWO_NUMBERS, Check, Group, is_number
from loqa.plotting.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    VERMILION,
    draw_seed_range,
    draw_spread,
    legend_above,
    new_figure,
    wrap,
)

REQUIRED: dict[str, Check] = {
    "p_cooperate": (
        "a number for each state",
        lambda value: (
            isinstance(value, dict) and all(is_number(value.get(state)) for state in STATES)
        ),
    ),
    "reward": TWO_NUMBERS,
}
OPTIONAL: dict[str, Check] = {"self_play": TWO_NUMBERS}
STATE_STYLES = {
    "start": (BLACK, "-"),
    "CC": (BLUE, "-"),
    "CD": (ORANGE, "--"),
    "DC": (GREEN, "-"),
    "DD": (VERMILION, "--"),
}
STATE_LABELS = {
    "start": "first move",
    "CC": "after CC",
    "CD": "after CD (exploited)",
    "DC": "after DC (exploiting)",
    "DD": "after DD",
}


def about(config: dict[str, Any]) -> str:
    return ""


def draw_run(group: Group, together: bool) -> dict[str, Figure]:
    panels = {"cooperation": _draw_cooperation, "strategy": _draw_bars, "reward": _draw_rewards}
    if together:
        figure, axes = new_figure(len(panels))
        for place, draw in zip(axes, panels.values(), strict=True):
            draw(place, group)
        figure.suptitle(wrap(_title(group), figure.get_figwidth() - 1, 12))
        return {"run": figure}
    figures = {}
    for name, draw in panels.items():
        figures[name], axes = new_figure(1)
        draw(axes[0], group)
        axes[0].set_title(wrap(_title(group), 4.6, 12))
    return figures


def draw_comparison(groups: Sequence[Group]) -> Figure:
    """Cooperation over time above, the learned answers below."""
    width = max(3.4, min(5.6, 22 / len(groups)))
    figure, axes = new_figure(len(groups), rows=2, width=width)
    for column, group in enumerate(groups):
        _draw_cooperation(axes[column], group, legend=False)
        axes[column].set_title(wrap(_title(group), width - 1, 11), fontsize=11)
        _draw_bars(axes[len(groups) + column], group)
    legend_above(figure, *axes[0].get_legend_handles_labels())
    return figure


def _title(group: Group) -> str:
    """The learner, and what its seeds came to, the most frequent first."""
    label = group.counted
    found = Counter(run.summary["strategy"] for run in group.runs if "strategy" in run.summary)
    if not found:
        return label
    if len(found) == 1:
        return f"{label}: {next(iter(found))}"
    return f"{label}: " + ", ".join(f"{count} {name}" for name, count in found.most_common())


def _draw_cooperation(axes: Axes, group: Group, legend: bool = True) -> None:
    for state in STATES:
        colour, line = STATE_STYLES[state]
        x, values = group.curves(partial(_inner, key="p_cooperate", part=state), "iteration")
        draw_spread(axes, x, values, colour, line, STATE_LABELS[state])
    axes.set(xlabel="iteration", ylabel="probability of cooperating", ylim=(-0.03, 1.03))
    if legend:  # beside the axes: curves may be anywhere
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")


def _draw_bars(axes: Axes, group: Group) -> None:
    values = np.array([group.last(partial(_inner, key="p_cooperate", part=state))
                       for state in STATES])  # fmt: skip
    medians = np.median(values, 1)
    tops = [
        float(seeds.max()) - float(median) for seeds, median in zip(values, medians, strict=True)
    ]
    axes.bar(
        range(len(STATES)), medians, color=[BLUE if value >= 0.5 else ORANGE for value in medians]
    )
    draw_seed_range(axes, values)
    for place, (median, top) in enumerate(zip(medians, tops, strict=True)):
        axes.annotate(f"{median:.2f}", (place, median + top), xytext=(0, 3),
                      textcoords="offset points", ha="center", va="bottom")  # fmt: skip
    for bound, said in ((COOPERATES, "cooperates"), (DEFECTS, "defects")):
        axes.axhline(bound, color=BLACK, lw=0.8, ls=":")
        axes.annotate(f"{said}\n{'from' if bound == COOPERATES else 'up to'} {bound:g}", (1, bound),
                      xycoords=("axes fraction", "data"), xytext=(4, 0), va="center",
                      textcoords="offset points", fontsize="x-small")  # fmt: skip
    axes.set_xticks(range(len(STATES)), ["first\nmove", *(f"after\n{s}" for s in STATES[1:])])
    axes.set(ylabel="probability of cooperating", ylim=(0, 1.1))


def _draw_rewards(axes: Axes, group: Group) -> None:
    for seat, (label, colour) in enumerate((("agent", BLUE), ("its copy", ORANGE))):
        x, values = group.curves(partial(_inner, key="reward", part=seat), "iteration")
        draw_spread(axes, x, values, colour, "-", label)
    x, values = group.curves(lambda line: (line.get("self_play") or [None])[0], "iteration")
    draw_spread(axes, x, values, BLACK, "--", "both, without exploration")
    axes.set(xlabel="iteration", ylabel="mean reward per step, while exploring")
    axes.legend(frameon=False)


def _inner(line: dict[str, Any], key: str, part: str | int) -> float:
    return float(line[key][part])
