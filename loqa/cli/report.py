"""`loqa report`."""

from __future__ import annotations

import argparse

from loqa.cli.terminal import DONE, Terminal
from loqa.reports.page import write_report


def add_report(one: argparse.ArgumentParser) -> None:
    one.add_argument("directories", nargs="+", metavar="DIR", help="of a run, a sweep or a league")
    one.add_argument("--out", metavar="FILE", help="[report.html in DIR; of several, here]")
    one.set_defaults(run=_report)


def _report(options: argparse.Namespace, console: Terminal) -> int:
    with console.busy("drawing"):
        file = write_report(options.directories, options.out)
    console.say(str(file))
    return DONE
