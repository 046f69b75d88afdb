"""Figures of runs of continuous games: what is answered, and what is earned."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loqa.plotting import rewards
from loqa.plotting.runs import NUMBERS, Check, Group
from loqa.plotting.style import series

REQUIRED: dict[str, Check] = {"reward": NUMBERS}
OPTIONAL: dict[str, Check] = {"answers": rewards.ANSWERS}
about = rewards.about
draw_comparison = rewards.draw_comparison


def draw_run(group: Group, together: bool) -> dict[str, Figure]:
    """Answers on the left, rewards on the right; rewards alone where the agent remembers more than a step."""
    return rewards.draw_answers_and_worth(group, together, "answers", draw_answers, _draw_worth)


def draw_answers(axes: Axes, group: Group) -> None:
    """The action in each state over iterations."""
    title = "C: best for all, D: equilibrium; own first"
    rewards.draw_states(axes, group, "answers", lambda number, _: series(number), title, "action")


def _draw_worth(axes: Axes, group: Group) -> None:
    rewards.draw_self_play(axes, group, "mean reward per step, without noise")
    axes.legend(frameon=False)
