"""What a person sees while a run trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loqa.ipd import STATES
from loqa.train import Report

_LINES_WITHOUT_TERMINAL = 10

View = Callable[[dict[str, Any]], str]
"""Says a line of metrics, with rich's markup."""


@contextmanager
def training_progress(
    console: Console, view: View, iterations: int, done: int = 0
) -> Iterator[Report]:
    """Shows a run's metrics as it reports them: a live bar on a terminal, about ten lines elsewhere."""
    if not console.is_terminal:
        yield _plain_lines(console, view, iterations)
        return
    progress = Progress(
        BarColumn(bar_width=18),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}"),
        TimeRemainingColumn(),
        console=console,
    )
    with progress:
        task = progress.add_task("train", total=iterations, completed=done, said="")

        def report(line: dict[str, Any]) -> None:
            progress.update(task, completed=line["iteration"], said=view(line))

        yield report
        progress.refresh()


def _plain_lines(console: Console, view: View, iterations: int) -> Report:
    every = max(1, iterations // _LINES_WITHOUT_TERMINAL)
    following = 0

    def report(line: dict[str, Any]) -> None:
        nonlocal following
        said = view(line)  # a view may remember what an earlier line said
        if line["iteration"] >= following:
            following = line["iteration"] - line["iteration"] % every + every
            console.print(
                f"{line['iteration']:>7}/{iterations}  {said}", highlight=False, soft_wrap=True
            )

    return report


def ipd_view(line: dict[str, Any]) -> str:
    """The five cooperation probabilities, reward and speed."""
    parts = []
    for state in STATES:
        p = line["p_cooperate"][state]
        colour = "dodger_blue1" if p >= 0.5 else "dark_orange"
        parts.append(f"{state} [{colour}]{p:.2f}[/]")
    return f"P(C) {' '.join(parts)}  reward {_mean(line['reward']):.2f}  {_speed(line)}"


class CoinView:
    """The newest evaluation, thresholds met, speed, and where the time goes."""

    def __init__(self) -> None:
        self._evaluation = "not evaluated yet"
        self._met = "no threshold yet"

    def __call__(self, line: dict[str, Any]) -> str:
        if "self_play" in line:
            share = line["own_coin_share"]
            self._evaluation = (
                f"self {_mean(line['self_play']):+.3f}  "
                f"own coins {'-' if share is None else f'{share:.0%}'}  "
                f"AC {line['vs_always_cooperate'][0]:+.3f}  AD {line['vs_always_defect'][0]:+.3f}"
            )
            met = [
                f"[green]{name} {seconds:.0f}s[/]"
                for name, seconds in line["seconds_to_threshold"].items()
                if seconds is not None
            ]
            self._met = " ".join(met) or self._met
        phases = line["phase_seconds"]
        spent = sum(phases.values()) or 1.0
        times = " ".join(f"{name} {seconds / spent:.0%}" for name, seconds in phases.items())
        return f"{self._evaluation}  {self._met}  {_speed(line)} ({times})"


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def _speed(line: dict[str, Any]) -> str:
    rate = line["env_steps"] / max(line["seconds"], 1e-9)
    return f"{rate / 1e6:.1f}M steps/s" if rate >= 1e6 else f"{rate / 1e3:.0f}k steps/s"
