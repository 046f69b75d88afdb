"""Figures of runs of public goods: what is answered, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loqa.plotting import rewards
from loqa.plotting.runs import NUMBERS, Check, Group, is_number
from loqa.plotting.style import BLACK, BLUE, VERMILION, draw_spread, new_figure, series, wrap

REQUIRED: dict[str, Check] = {"reward": NUMBERS}
OPTIONAL: dict[str, Check] = {
    "p_cooperate": (
        "a number for each state",
        lambda value: isinstance(value, dict) and all(map(is_number, value.values())),
    ),
    "lone_defector": ("a number", is_number),
}
about = rewards.about
draw_comparison = rewards.draw_comparison


def draw_run(group: Group, together: bool) -> dict[str, Figure]:
    """Answers on the left, rewards on the right; rewards alone where there is no table of answers."""
    if "p_cooperate" not in group.runs[0].metrics[0]:
        return rewards.draw_run(group, together)
    figure, axes = new_figure(2)
    _draw_answers(axes[0], group)
    _draw_worth(axes[1], group)
    figure.suptitle(wrap(group.label, figure.get_figwidth() - 1, 12))
    return {"run" if together else "answers": figure}


def _draw_answers(axes: Axes, group: Group) -> None:
    names = list(group.runs[0].metrics[0]["p_cooperate"])
    for name in names:
        x, values = group.curves(partial(_answer, name=name), "iteration")
        colour = BLACK if name == "start" else series(int(name[1:]))[0]
        label = "first move" if name == "start" else f"after {name}"
        draw_spread(axes, x, values, colour, "--" if name[0] == "D" else "-", label)
    axes.set(xlabel="iteration", ylabel="probability of giving", ylim=(-0.03, 1.03))
    axes.set_title("own C or D, and so many others who gave", fontsize="medium")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")


def _answer(line: dict[str, Any], name: str) -> float:
    return float(line["p_cooperate"][name])


def _draw_worth(axes: Axes, group: Group) -> None:
    def mean(line: dict[str, Any]) -> float | None:
        paid: Sequence[float] | None = line.get("self_play")
        return None if paid is None else sum(paid) / len(paid)

    x, values = group.curves(mean, "iteration")
    draw_spread(axes, x, values, BLUE, "-", "self-play")
    if "lone_defector" in group.runs[0].metrics[0]:
        x, values = group.curves(lambda line: line.get("lone_defector"), "iteration")
        draw_spread(axes, x, values, VERMILION, "--", "who never gives, among its copies")
    axes.set(xlabel="iteration", ylabel="mean reward per step")
    axes.legend(frameon=False)
