"""`loqa plot` and `loqa report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from loqa.cli.terminal import DONE, Terminal
from loqa.plotting.plot import plot_comparison, plot_run, plot_wall_clock
from loqa.reports.page import write_report


def add_plot(one: argparse.ArgumentParser) -> None:
    one.add_argument("directories", nargs="+", metavar="DIR")
    one.add_argument(
        "--wall-clock",
        action="store_true",
        help="time to the thresholds by board, beside published times",
    )
    one.add_argument(
        "--out",
        metavar="FILE",
        help="one figure, in the format its suffix names [comparison.png or wall_clock.png; one run: "
        "several, in its figures/]",
    )
    one.add_argument(
        "--label",
        action="append",
        metavar="NAME",
        help="of a configuration in the figure; once for each, in order",
    )
    one.set_defaults(run=_plot)


def _plot(options: argparse.Namespace, console: Terminal) -> int:
    if options.wall_clock:
        if options.label:
            raise ValueError("--label names runs, --wall-clock draws boards")
        files = [plot_wall_clock(options.directories, Path(options.out or "wall_clock.png"))]
    elif len(options.directories) == 1:
        out = Path(options.out) if options.out else None
        files = plot_run(options.directories[0], out, options.label)
    else:
        out = Path(options.out or "comparison.png")
        files = [plot_comparison(options.directories, out, options.label)]
    for file in files:
        console.say(str(file))
    return DONE


def add_report(one: argparse.ArgumentParser) -> None:
    one.add_argument("directories", nargs="+", metavar="DIR", help="of a run, a sweep or a league")
    one.add_argument("--out", metavar="FILE", help="[report.html in DIR; of several, here]")
    one.set_defaults(run=_report)


def _report(options: argparse.Namespace, console: Terminal) -> int:
    with console.busy("drawing"):
        file = write_report(options.directories, options.out)
    console.say(str(file))
    return DONE
