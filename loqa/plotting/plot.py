"""Figures of training runs, drawn from config.json, metrics.jsonl and summary.json alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from loqa._reading import FileError, read_object, reading
from loqa.plotting import coin_game as plot_coin
from loqa.plotting.league import plot_heatmap
from loqa.plotting.runs import Group, group_runs, label_groups, read_run
from loqa.plotting.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    VERMILION,
    check_suffix,
    draw_seed_range,
    draw_spread,
    legend_above,
    new_figure,
    save,
    wrap,
)
from loqa.training.ipd import COOPERATES, DEFECTS, STATES

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


def plot_run(
    directory: str | Path, out: Path | None = None, labels: Sequence[str] | None = None
) -> list[Path]:
    """Draws a run or a league, and returns the files.

    Args:
        directory: of a run or a league.
        out: one file for everything; by default a run's figures go into its figures/ and a league's
            heatmaps beside its league.json.
        labels: one name for the run, instead of what its configuration says.

    Raises:
        FileNotFoundError: the directory holds neither.
        ValueError: its files are damaged, it has no metrics yet, or `out` has an unknown suffix.
    """
    if out is not None:
        check_suffix(out)
    if (Path(directory) / "league.json").is_file():
        if labels:
            raise ValueError("--label names runs, a league names its agents itself")
        return _plot_league(Path(directory), out)
    run = read_run(directory)
    figures = run.path / "figures"
    (group,) = label_groups([Group(run.title, (run,))], labels)
    if run.game == "coin":
        return [save(plot_coin.draw_run(group), out or figures / "learning.png")]
    panels = {"cooperation": _draw_cooperation, "strategy": _draw_bars, "reward": _draw_rewards}
    if out is not None:
        figure, axes = new_figure(len(panels))
        for place, draw in zip(axes, panels.values(), strict=True):
            draw(place, group)
        figure.suptitle(wrap(_title(group), figure.get_figwidth() - 1, 12))
        return [save(figure, out)]
    files = []
    for name, draw in panels.items():
        figure, axes = new_figure(1)
        draw(axes[0], group)
        axes[0].set_title(wrap(_title(group), 4.6, 12))
        files.append(save(figure, figures / f"{name}.png"))
    return files


def plot_comparison(
    directories: Sequence[str | Path], out: Path, labels: Sequence[str] | None = None
) -> Path:
    """Runs side by side, seeds of one configuration together (median, lowest and highest); returns
    `out`.

    The prisoner's dilemma: cooperation over time above, the learned answers below. The Coin Game:
    learning curves above, the newest evaluation below.

    Args:
        directories: of the runs.
        out: the figure, in the format of its suffix.
        labels: a name for each configuration in order of appearance, instead of what tells it from
            the others.

    Raises:
        FileNotFoundError, ValueError: as `plot_run`, for any of the directories; runs of different
            games.
    """
    check_suffix(out)
    runs = [read_run(directory) for directory in directories]
    if len({run.game for run in runs}) != 1:
        raise ValueError("runs of one game can be compared, these are of ipd and coin")
    groups = label_groups(group_runs(runs), labels)
    if runs[0].game == "coin":
        figure = plot_coin.draw_comparison(groups)
    else:
        width = max(3.4, min(5.6, 22 / len(groups)))
        figure, axes = new_figure(len(groups), rows=2, width=width)
        for column, group in enumerate(groups):
            _draw_cooperation(axes[column], group, legend=False)
            axes[column].set_title(wrap(_title(group), width - 1, 11), fontsize=11)
            _draw_bars(axes[len(groups) + column], group)
        legend_above(figure, *axes[0].get_legend_handles_labels())
    return save(figure, out)


def _title(group: Group) -> str:
    """The learner, and what its seeds came to, the most frequent first."""
    label = group.label if len(group.runs) == 1 else f"{group.label}, {len(group.runs)} seeds"
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


def _plot_league(directory: Path, out: Path | None) -> list[Path]:
    path = directory / "league.json"
    with reading(path):
        found = read_object(path)
        matrix = np.array(found["matrix"], np.float64)
        names, groups = list(found["names"]), list(found["groups"])
        if not all(isinstance(name, str) for name in (*names, *groups)):
            raise FileError("names and groups: expected texts")
        if matrix.shape != (len(names), len(names)) or len(groups) != len(names):
            raise FileError(f"its matrix must be {len(names)} x {len(names)}")
    files = [directory / f"agents.{kind}" for kind in ("png", "svg")] if out is None else [out]
    return [plot_heatmap(names, matrix, file, groups) for file in files]
