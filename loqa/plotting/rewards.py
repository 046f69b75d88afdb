"""Figures of runs of any game: what its players earn, and what they answer in each state.

What a game draws itself has the names of this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loqa.plotting.runs import NUMBERS, Check, Group, is_number
from loqa.plotting.style import BLUE, draw_spread, legend_above, new_figure, series, wrap

REQUIRED: dict[str, Check] = {"reward": NUMBERS}
"""What every line of metrics has."""
OPTIONAL: dict[str, Check] = {}
"""What it may have."""
ANSWERS: Check = (
    "a number for each state",
    lambda value: isinstance(value, dict) and all(map(is_number, value.values())),
)
"""What a line says of answers, if it does."""


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


def draw_answers_and_worth(
    group: Group,
    together: bool,
    key: str,
    answers: Callable[[Axes, Group], None],
    worth: Callable[[Axes, Group], None],
) -> dict[str, Figure]:
    """`draw_run` with answers on the left and what they are worth on the right; rewards alone where lines
    have no `key`."""
    if key not in group.runs[0].metrics[0]:
        return draw_run(group, together)
    figure, axes = new_figure(2)
    answers(axes[0], group)
    worth(axes[1], group)
    figure.suptitle(wrap(group.label, figure.get_figwidth() - 1, 12))
    return {"run" if together else "answers": figure}


def draw_states(
    axes: Axes,
    group: Group,
    key: str,
    style: Callable[[int, str], tuple[Any, Any]],
    title: str,
    ylabel: str,
) -> None:
    """The answers `key` of lines, a number in [0, 1] for each state, over iterations.

    Args:
        style: colour and dashes of a state, by its number and name.
    """
    for number, name in enumerate(group.runs[0].metrics[0][key]):
        x, values = group.curves(partial(_answer, key=key, name=name), "iteration")
        label = "first move" if name == "start" else f"after {name}"
        draw_spread(axes, x, values, *style(number, name), label)
    axes.set(xlabel="iteration", ylabel=ylabel, ylim=(-0.03, 1.03))
    axes.set_title(title, fontsize="medium")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")


def draw_self_play(axes: Axes, group: Group, ylabel: str) -> None:
    """What the agent earns in self-play, the mean of all seats, over iterations."""
    x, values = group.curves(_self_play, "iteration")
    draw_spread(axes, x, values, BLUE, "-", "self-play")
    axes.set(xlabel="iteration", ylabel=ylabel)


def _answer(line: dict[str, Any], key: str, name: str) -> float:
    return float(line[key][name])


def _self_play(line: dict[str, Any]) -> float | None:
    paid: Sequence[float] | None = line.get("self_play")
    return None if paid is None else sum(paid) / len(paid)


def _reward(line: dict[str, Any], player: int) -> float:
    return float(line["reward"][player])
