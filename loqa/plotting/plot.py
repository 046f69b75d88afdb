"""Figures of training runs, drawn from config.json, metrics.jsonl and summary.json alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from loqa.plotting.league import plot_heatmap
from loqa.plotting.runs import Group, figures_of, group_runs, label_groups, read_run
from loqa.plotting.style import check_suffix, save
from loqa.plotting.sweeps import draw_sweep
from loqa.storage.reading import FileError, read_object, reading


def plot_run(
    directory: str | Path, out: Path | None = None, labels: Sequence[str] | None = None
) -> list[Path]:
    """Draws a run, a sweep or a league, and returns the files.

    Args:
        directory: of a run, a sweep or a league.
        out: one file for everything, of a sweep its curves; by default the figures of a run or a sweep go
            into its figures/ and a league's heatmaps beside its league.json.
        labels: one name for the run, instead of what its configuration says.

    Raises:
        FileNotFoundError: the directory holds none of them.
        ValueError: its files are damaged, it has no metrics yet, or `out` has an unknown suffix.
    """
    if out is not None:
        check_suffix(out)
    if (Path(directory) / "sweep.json").is_file():
        if labels:
            raise ValueError("--label names runs, a sweep names its settings itself")
        return _plot_sweep(Path(directory), out)
    if (Path(directory) / "league.json").is_file():
        if labels:
            raise ValueError("--label names runs, a league names its agents itself")
        return _plot_league(Path(directory), out)
    run = read_run(directory)
    (group,) = label_groups([Group(run.title, (run,))], labels)
    drawn = figures_of(run.game).draw_run(group, together=out is not None)
    return [
        save(figure, out or run.path / "figures" / f"{name}.png") for name, figure in drawn.items()
    ]


def plot_comparison(
    directories: Sequence[str | Path], out: Path, labels: Sequence[str] | None = None
) -> Path:
    """Runs of a game side by side, seeds of one configuration together (median, lowest and highest);
    returns `out`.

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
    games = sorted({run.game for run in runs})
    if len(games) != 1:
        raise ValueError(f"runs of one game can be compared, these are of {' and '.join(games)}")
    groups = label_groups(group_runs(runs), labels)
    return save(figures_of(games[0]).draw_comparison(groups), out)


def plot_wall_clock(directories: Sequence[str | Path], out: Path) -> Path:
    """Seconds to thresholds beside published ones, in a game that has them; returns `out`.

    Raises:
        FileNotFoundError, ValueError: as `plot_run`; a game without published times.
    """
    run = read_run(directories[0])
    draw = getattr(figures_of(run.game), "plot_wall_clock", None)
    if draw is None:
        raise ValueError(f"{run.path} is a run of {run.game!r}, which has no published times")
    drawn: Path = draw(directories, out)
    return drawn


def _plot_sweep(directory: Path, out: Path | None) -> list[Path]:
    drawn = draw_sweep(directory)
    if out is not None:
        return [save(drawn["curves"], out)]
    return [save(one, directory / "figures" / f"{name}.png") for name, one in drawn.items()]


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
