"""Figures of runs of public goods: what is answered, and what that is worth."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loqa.plotting import rewards
from loqa.plotting.runs import NUMBERS, Check, Group, is_number
from loqa.plotting.style import BLACK, VERMILION, draw_spread, series

REQUIRED: dict[str, Check] = {"reward": NUMBERS}
OPTIONAL: dict[str, Check] = {
    "p_cooperate": rewards.ANSWERS,
    "lone_defector": ("a number", is_number),
}
about = rewards.about
draw_comparison = rewards.draw_comparison


def draw_run(group: Group, together: bool) -> dict[str, Figure]:
    """Answers on the left, rewards on the right; rewards alone where there is no table of answers."""
    return rewards.draw_answers_and_worth(
        group, together, "p_cooperate", _draw_answers, _draw_worth
    )


def _draw_answers(axes: Axes, group: Group) -> None:
    title = "own C or D, and so many others who gave"
    rewards.draw_states(axes, group, "p_cooperate", _style, title, "probability of giving")


def _style(number: int, name: str) -> tuple[Any, Any]:
    colour = BLACK if name == "start" else series(int(name[1:]))[0]
    return colour, "--" if name[0] == "D" else "-"


def _draw_worth(axes: Axes, group: Group) -> None:
    rewards.draw_self_play(axes, group, "mean reward per step")
    if "lone_defector" in group.runs[0].metrics[0]:
        x, values = group.curves(lambda line: line.get("lone_defector"), "iteration")
        draw_spread(axes, x, values, VERMILION, "--", "who never gives, among its copies")
    axes.legend(frameon=False)
