"""What a person sees while a run trains: one live line on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from loqa.games.view import Part, View
from loqa.training.train import Report

_SECONDS_BETWEEN_LINES = 10.0
_SHARE_BETWEEN_LINES = 1 / 20
_BAR = (8, 30)  # narrowest and widest, in columns
_WIDTH_WITH_BAR = 60


class Pace:
    """How far a run is and how long it still takes, at the mean speed since it began or was resumed.

    Args:
        iterations: in all.
        done: iterations before this session.
        seconds: of training before this session.
        time_limit: seconds of training that this session may take.
    """

    def __init__(
        self, iterations: int, done: int = 0, seconds: float = 0.0, time_limit: float | None = None
    ) -> None:
        self.iterations, self.iteration = iterations, done
        self._first = (done, seconds)
        self._ends = math.inf if time_limit is None else seconds + time_limit
        self.left: float | None = None
        """Seconds from the newest line to the end; None before it is known."""

    def note(self, line: dict[str, Any]) -> None:
        """Takes a line of metrics."""
        iteration, seconds = int(line["iteration"]), float(line["seconds"])
        self.iteration = iteration
        begun, before = self._first
        if (
            iteration <= begun or seconds < before
        ):  # the newest checkpoint was older than the metrics
            self._first = (iteration, seconds)
            return
        each = (seconds - before) / (iteration - begun)
        self.left = max(0.0, min(each * (self.iterations - iteration), self._ends - seconds))


@contextmanager
def training_progress(console: Console, view: View, pace: Pace) -> Iterator[Report]:
    """Shows a run's metrics as it reports them: a live line on a terminal, plain lines elsewhere.

    Plain lines come for the first report, then for every twentieth of the run and whenever 10 seconds
    of training have passed.
    """
    # A file stays a file, also where the environment asks for colours.
    if not (console.is_interactive and console.file.isatty()):
        yield _plain_lines(console, view, pace)
        return
    shown = _LiveLine(pace)
    with Live(shown, console=console, refresh_per_second=4) as live:

        def report(line: dict[str, Any]) -> None:
            pace.note(line)
            shown.note(view(line))

        yield report
        live.refresh()


def fit_line(
    width: int, pace: Pace, parts: Sequence[Part], left: float | None, ascii_only: bool = False
) -> Text:
    """One line of at most `width` columns: bar, iteration, time left, and the parts that have room.

    Args:
        width: in columns; from 60 on there is a bar, below it a percentage.
        pace: how far the run is.
        parts: of which those of the highest ranks are left out.
        left: seconds to the end, or None.
        ascii_only: whether the terminal shows nothing else.
    """
    share = min(1.0, pace.iteration / pace.iterations)
    count = f"{pace.iteration}/{pace.iterations}"
    wait = f"{duration(left)} left"
    barred = width >= _WIDTH_WITH_BAR
    pieces = [Text(piece) for piece in ((count, wait) if barred else (count, f"{share:.0%}", wait))]
    texts = [Text.from_markup(part.text) for part in parts]

    def columns(shown: Sequence[Text]) -> int:
        return sum(piece.cell_len + 2 for piece in shown) - 2

    room = width - columns(pieces) - (_BAR[0] + 2 if barred else 0)
    kept = set()
    for number in sorted(range(len(parts)), key=lambda number: parts[number].rank):
        needed = texts[number].cell_len + 2
        if needed > room:
            break
        kept.add(number)
        room -= needed
    while len(pieces) > 1 and columns(pieces) > width:
        pieces.pop()
    pieces += [texts[number] for number in sorted(kept)]
    if barred:
        whole = min(_BAR[1], _BAR[0] + max(0, room))
        full = round(share * whole)
        mark = "-" if ascii_only else "\N{BOX DRAWINGS HEAVY HORIZONTAL}"
        rest = " " if ascii_only else mark
        pieces.insert(
            0, Text.assemble((mark * full, "green"), (rest * (whole - full), "bright_black"))
        )
    line = Text("  ", no_wrap=True, overflow="crop").join(pieces)
    line.truncate(width, overflow="crop")
    return line


class _LiveLine:
    """The newest line, as wide as the terminal now is; the time left runs down between two lines."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._parts: Sequence[Part] = ()
        self._noted = 0.0

    def note(self, parts: Sequence[Part]) -> None:
        self._parts, self._noted = parts, time.monotonic()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        left = self._pace.left
        if left is not None:
            left = max(0.0, left - (time.monotonic() - self._noted))
        yield fit_line(options.max_width, self._pace, self._parts, left, options.ascii_only)


def _plain_lines(console: Console, view: View, pace: Pace) -> Report:
    next_iteration, next_seconds = 0.0, 0.0

    def report(line: dict[str, Any]) -> None:
        nonlocal next_iteration, next_seconds
        pace.note(line)
        parts = view(line)  # a view may remember what an earlier line said
        iteration, seconds = line["iteration"], line["seconds"]
        if iteration < min(next_iteration, pace.iterations) and seconds < next_seconds:
            return
        next_iteration = iteration + pace.iterations * _SHARE_BETWEEN_LINES
        next_seconds = seconds + _SECONDS_BETWEEN_LINES
        total = str(pace.iterations)
        said = [
            f"{iteration:>{len(total)}}/{total}",
            f"{iteration / pace.iterations:>4.0%}",
            f"{duration(pace.left)} left",
            *(part.text for part in parts),
        ]
        console.print(Text.from_markup("  ".join(said)), soft_wrap=True)

    return report


def duration(seconds: float | None) -> str:
    """ "3:05", "1:02:03" or "2 d 3 h"; "?" where it is not known."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    minutes, hours = whole // 60, whole // 3600
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    if hours:
        return f"{hours}:{minutes % 60:02d}:{whole % 60:02d}"
    return f"{minutes}:{whole % 60:02d}"
