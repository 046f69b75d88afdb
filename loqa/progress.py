"""What a person sees while a run trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loqa.ipd import STATES
from loqa.train import Report

_LINES_WITHOUT_TERMINAL = 10


@contextmanager
def ipd_progress(console: Console, iterations: int, done: int = 0) -> Iterator[Report]:
    """Shows the five cooperation probabilities, reward and speed as a run reports them.

    A live bar on a terminal; about ten plain lines elsewhere.
    """
    if not console.is_terminal:
        yield _plain_lines(console, iterations)
        return
    progress = Progress(
        BarColumn(bar_width=18),
        MofNCompleteColumn(),
        TextColumn("P(C) {task.fields[cooperation]}"),
        TextColumn("reward {task.fields[reward]}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=console,
    )
    with progress:
        task = progress.add_task(
            "train", total=iterations, completed=done, cooperation="", reward="", speed=""
        )

        def report(line: dict[str, Any]) -> None:
            progress.update(
                task,
                completed=line["iteration"],
                cooperation=_cooperation(line, markup=True),
                reward=_reward(line),
                speed=_speed(line),
            )

        yield report
        progress.refresh()


def _plain_lines(console: Console, iterations: int) -> Report:
    every = max(1, iterations // _LINES_WITHOUT_TERMINAL)
    following = 0

    def report(line: dict[str, Any]) -> None:
        nonlocal following
        if line["iteration"] >= following:
            following = line["iteration"] - line["iteration"] % every + every
            console.print(
                f"{line['iteration']:>7}/{iterations}  P(C) {_cooperation(line)}  "
                f"reward {_reward(line)}  {_speed(line)}",
                highlight=False,
                soft_wrap=True,
            )

    return report


def _cooperation(line: dict[str, Any], markup: bool = False) -> str:
    parts = []
    for state in STATES:
        p = line["p_cooperate"][state]
        number = f"{p:.2f}"
        colour = "dodger_blue1" if p >= 0.5 else "dark_orange"
        parts.append(f"{state} [{colour}]{number}[/]" if markup else f"{state} {number}")
    return " ".join(parts)


def _reward(line: dict[str, Any]) -> str:
    return f"{sum(line['reward']) / len(line['reward']):.2f}"


def _speed(line: dict[str, Any]) -> str:
    return f"{line['env_steps'] / max(line['seconds'], 1e-9) / 1e6:.1f}M steps/s"
