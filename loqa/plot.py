"""Figures of training runs, drawn from metrics.jsonl and summary.json alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loqa.checkpoint import atomic_path
from loqa.ipd import COOPERATES, DEFECTS, STATES
from loqa.train import RunDirectory

# Okabe and Ito's palette, readable with every common colour blindness.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    "#000000",
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
)
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


def plot_run(directory: str | Path) -> list[Path]:
    """Draws a run's figures into its figures/ and returns their files.

    Raises:
        FileNotFoundError: the directory holds no run.
        ValueError: its files are damaged, or it has no metrics yet.
    """
    run = RunDirectory(Path(directory))
    title, metrics, p_cooperate, _ = _read(run)
    run.figures.mkdir(exist_ok=True)

    figure, axes = _figure(1)
    _draw_cooperation(axes[0], metrics)
    axes[0].set_title(title)
    files = [_save(figure, run.figures / "cooperation.png")]

    figure, axes = _figure(1)
    _draw_bars(axes[0], p_cooperate)
    axes[0].set_title(title)
    files.append(_save(figure, run.figures / "strategy.png"))

    figure, axes = _figure(1)
    _draw_rewards(axes[0], metrics)
    axes[0].set_title(title)
    files.append(_save(figure, run.figures / "reward.png"))
    return files


def plot_comparison(directories: Sequence[str | Path], out: Path) -> Path:
    """Runs side by side: cooperation over time above, the learned answers below; returns `out`.

    Raises:
        FileNotFoundError, ValueError: as `plot_run`, for any of the directories.
    """
    runs = [_read(RunDirectory(Path(directory))) for directory in directories]
    figure, axes = _figure(len(runs), rows=2)
    for column, (title, metrics, p_cooperate, _) in enumerate(runs):
        _draw_cooperation(axes[column], metrics, legend=column == 0)
        axes[column].set_title(title)
        _draw_bars(axes[len(runs) + column], p_cooperate)
    out.parent.mkdir(parents=True, exist_ok=True)
    return _save(figure, out)


def _read(
    run: RunDirectory,
) -> tuple[str, list[dict[str, Any]], dict[str, float], dict[str, Any]]:
    config = run.config()
    metrics = run.metrics()
    if not metrics:
        raise ValueError(f"{run.path} has no metrics yet")
    summary: dict[str, Any] = {}
    if run.summary_file.exists():
        summary = json.loads(run.summary_file.read_text(encoding="utf-8"))
    learner = "LOQA" if config.algo == "loqa" else "naive learner"
    reward = ", shared reward" if config.shared_reward else ""
    strategy = f": {summary['strategy']}" if "strategy" in summary else ""
    return f"{learner}{reward}{strategy}", metrics, metrics[-1]["p_cooperate"], summary


def _figure(columns: int, rows: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5.6 * columns, 3.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", alpha=0.25)
    return figure, axes


def _draw_cooperation(axes: Axes, metrics: list[dict[str, Any]], legend: bool = True) -> None:
    steps = [line["iteration"] for line in metrics]
    for state in STATES:
        colour, line_style = STATE_STYLES[state]
        values = [line["p_cooperate"][state] for line in metrics]
        axes.plot(steps, values, line_style, color=colour, lw=2, label=STATE_LABELS[state])
    axes.set(xlabel="iteration", ylabel="probability of cooperating", ylim=(-0.03, 1.03))
    if legend:
        axes.legend(frameon=False, loc="center right", fontsize="small")


def _draw_bars(axes: Axes, p_cooperate: dict[str, float]) -> None:
    values = [p_cooperate[state] for state in STATES]
    bars = axes.bar(
        range(len(STATES)), values, color=[BLUE if value >= 0.5 else ORANGE for value in values]
    )
    axes.bar_label(bars, [f"{value:.2f}" for value in values], padding=2)
    for bound in (COOPERATES, DEFECTS):
        axes.axhline(bound, color=BLACK, lw=0.8, ls=":")
    axes.set_xticks(range(len(STATES)), ["first\nmove", *(f"after\n{s}" for s in STATES[1:])])
    axes.set(ylabel="probability of cooperating", ylim=(0, 1.1))


def _draw_rewards(axes: Axes, metrics: list[dict[str, Any]]) -> None:
    steps = [line["iteration"] for line in metrics]
    for seat, (label, colour) in enumerate((("agent", BLUE), ("its copy", ORANGE))):
        values = [line["reward"][seat] for line in metrics]
        axes.plot(steps, values, color=colour, lw=1.5, label=label, alpha=0.9)
    axes.set(xlabel="iteration", ylabel="mean reward per step, while exploring")
    axes.legend(frameon=False)


def _save(figure: Figure, path: Path) -> Path:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:] or "png", dpi=120)
    return path
