"""`loqa sweep`."""

from __future__ import annotations

import argparse
import sys

from rich import box
from rich.table import Table

from loqa._checks import plural
from loqa.cli.terminal import DONE, FAILED, INTERRUPTED, Terminal
from loqa.runtime.cluster import ENGINES
from loqa.sweeps.grid import Grid, seeds_of, settings_of
from loqa.sweeps.statistics import Interval
from loqa.sweeps.sweep import sweep
from loqa.sweeps.table import Comparison, rewards_among
from loqa.sweeps.work import Outcome

_MOST_PAIRS = 3  # whose probabilities of improvement are said; table.json has all


def add_sweep(one: argparse.ArgumentParser) -> None:
    one.add_argument("game", metavar="GAME", help="as of `loqa train`")
    one.add_argument("--seed", default="0", metavar="SEEDS", help="0..9, or 0..4,10,12 [0]")
    one.add_argument(
        "--set",
        dest="settings",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=VALUE,...",
        help="options of `loqa train GAME`, each with one value or several: every combination is run",
    )
    one.add_argument("--workers", type=int, metavar="N", help="runs at a time [the cores here]")
    one.add_argument("--engine", choices=ENGINES, default="local", help="[local]")
    one.add_argument(
        "--out", metavar="DIR", help="[a name in runs/, the same for the same command]"
    )
    one.set_defaults(run=_sweep, instead=" (options of the runs are given as --set NAME=VALUE)")


def _sweep(options: argparse.Namespace, console: Terminal) -> int:
    grid = Grid(options.game, seeds_of(options.seed), settings_of(options.game, options.settings))

    with console.busy("training") as say:

        def report(name: str, outcome: Outcome, done: int, total: int) -> None:
            console.say(f"{done:>{len(str(total))}}/{total}  {outcome.status}  {name}")
            say(f"training: {done} of {total} runs have ended")

        table = sweep(
            grid, options.out, workers=options.workers, engine=options.engine, report=report
        )
    for comparison in (table.settings, *table.fields.values()):
        _say_comparison(console, comparison)
    console.say(f"{table.path}: table.json; figures: loqa plot {table.path}")
    for name, error in table.failed.items():
        print(f"loqa: {name} failed: {error}", file=sys.stderr)
    if table.unfinished:
        left = len(table.unfinished)
        console.say(
            f"Interrupted and saved, {left} {plural(left, 'run')} to go. The same command goes on."
        )
        return FAILED if table.failed else INTERRUPTED
    return FAILED if table.failed else DONE


def _say_comparison(console: Terminal, found: Comparison) -> None:
    """What the runs of a sweep come to."""
    rewards = rewards_among(dict.fromkeys(name for row in found.rows for name in row.measures))
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True,
                  caption="interquartile mean over runs, and 95% bootstrap interval")  # fmt: skip
    shown.add_column("setting", overflow="fold")
    shown.add_column("runs", justify="right")
    for name in rewards:
        shown.add_column(name.replace("_", " "), justify="right")
    told = any(row.counts for row in found.rows)
    if told:
        shown.add_column("learned", overflow="fold")
    for row in found.rows:
        cells = [_cell(row.measures[name].iqm) if name in row.measures else "" for name in rewards]
        came_to = next(iter(row.counts.values()), {})
        counts = ", ".join(f"{count} {name}" for name, count in came_to.items())
        shown.add_row(row.label, str(len(row.runs)), *cells, *([counts] if told else []))
    console.print(shown)
    pairs = [(first, second) for first in range(len(found.rows)) for second in range(first)]
    for measure, matrix in found.improvement.items() if len(pairs) <= _MOST_PAIRS else ():
        for first, second in pairs:
            if (one := matrix[first][second]) is not None:
                mine, other = found.rows[first].label, found.rows[second].label
                said = measure.replace("_", " ")
                console.say(f"P({mine} earns more than {other}), {said}: {_cell(one)}")


def _cell(one: Interval) -> str:
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
