"""Figures of runs of continuous games: what is answered, and what is earned."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loqa.plotting import rewards
from loqa.plotting.runs import NUMBERS, Check, Group, is_number
from loqa.plotting.style import BLUE, draw_spread, new_figure, series, wrap

REQUIRED: dict[str, Check] = {"reward": NUMBERS}
OPTIONAL: dict[str, Check] = {
    "answers": (
        "a number for each state",
        lambda value: isinstance(value, dict) and all(map(is_number, value.values())),
    ),
}
about = rewards.about
draw_comparison = rewards.draw_comparison


def draw_run(group: Group, together: bool) -> dict[str, Figure]:
    """Answers on the left, rewards on the right; rewards alone where the agent remembers more than a step."""
    if "answers" not in group.runs[0].metrics[0]:
        return rewards.draw_run(group, together)
    figure, axes = new_figure(2)
    draw_answers(axes[0], group)
    _draw_rewards(axes[1], group)
    figure.suptitle(wrap(group.label, figure.get_figwidth() - 1, 12))
    return {"run" if together else "answers": figure}


def draw_answers(axes: Axes, group: Group) -> None:
    """The action in each state over iterations."""
    for number, name in enumerate(group.runs[0].metrics[0]["answers"]):
        x, values = group.curves(partial(_answer, name=name), "iteration")
        label = "first move" if name == "start" else f"after {name}"
        draw_spread(axes, x, values, *series(number), label)
    axes.set(xlabel="iteration", ylabel="action", ylim=(-0.03, 1.03))
    axes.set_title("C: best for all, D: equilibrium; own first", fontsize="medium")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")


def _answer(line: dict[str, Any], name: str) -> float:
    return float(line["answers"][name])


def _draw_rewards(axes: Axes, group: Group) -> None:
    def mean(line: dict[str, Any]) -> float | None:
        paid: Sequence[float] | None = line.get("self_play")
        return None if paid is None else sum(paid) / len(paid)

    x, values = group.curves(mean, "iteration")
    draw_spread(axes, x, values, BLUE, "-", "self-play")
    axes.set(xlabel="iteration", ylabel="mean reward per step, without noise")
    axes.legend(frameon=False)
