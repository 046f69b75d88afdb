"""Wall clock against grid size: own runs beside what was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from loqa.envs.coin_game.thresholds import THRESHOLDS
from loqa.plotting.runs import Run, read_run
from loqa.plotting.style import BLACK, BLUE, GREY, ORANGE, VERMILION, check_suffix, new_figure, save

PUBLISHED_SIZES = (3, 4, 5, 6, 7)
PUBLISHED: Mapping[tuple[str, str], tuple[float, ...]] = {
    ("LOQA", "weak"): (157, 163, 239, 392, 1194),
    ("LOQA", "medium"): (157, 218, 340, 575, 2670),
    ("LOQA", "strong"): (237, 312, 644, 1224, 2805),
    ("POLA", "weak"): (1581, 1595, 2582, 2746, 5247),
    ("M-FOS", "weak"): (2308, 5618, 8436, 8542, 4321),
}
"""Mean seconds to a threshold on square boards of `PUBLISHED_SIZES`, on an A100 (three runs each; strong
on 7 x 7: the two that reached it). Source: Aghajohari et al. 2024, figure of wall-clock time against
grid size. Strong, which POLA reached on 3 x 3 only (23,895 s) and M-FOS never, is left out for both."""

_LAST = list(THRESHOLDS)[-1]
_Style = str | tuple[float, tuple[float, ...]]
_STYLES: tuple[_Style, ...] = (
    "-",
    ":",
    "-.",
    (0, (6, 1, 1, 1, 1, 1)),
)  # CPU, CUDA, absolute planes
_COLOURS = {"weak": ORANGE, "medium": BLUE, "strong": VERMILION}
_MARKERS = {"weak": "o", "medium": "s", "strong": "^"}
_TICKS = (1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10_800, 36_000, 108_000, 360_000)


@dataclass(frozen=True)
class Times:
    """When a run met the thresholds.

    Attributes:
        series: what is drawn as one line, such as "CPU".
        board: height and width.
        first: of each threshold, the seconds until it was met first; None if it never was.
        held: the seconds from which on the last threshold held to the end; None if it did not.
    """

    series: str
    board: tuple[int, int]
    first: Mapping[str, float | None]
    held: float | None


def plot_wall_clock(directories: Sequence[str | Path], out: Path) -> Path:
    """Seconds to each threshold by board, own runs and published means; returns `out`.

    Own runs by device and view: the median over those that reached a threshold, a bar from the fastest
    to the slowest, and "n/m" where only n of m did. The strong threshold is drawn where it holds to the
    end; a small mark is where it was met first.

    Raises:
        FileNotFoundError: a directory holds no run.
        ValueError: a run is damaged, not finished, or not of the Coin Game.
    """
    runs = [read_run(directory) for directory in directories]
    for run in runs:
        if run.game != "coin":
            raise ValueError(
                f"{run.path} is a run of {run.game!r}; wall clock needs Coin Game runs"
            )
        for name in ("seconds_to_threshold", "seconds_to_threshold_for_good"):
            if set(THRESHOLDS) - set(run.summary.get(name, {})):
                raise ValueError(f"{run.path} has no {name} in its summary.json yet")
    return draw_wall_clock([_times(run) for run in runs], out)


def _times(run: Run) -> Times:
    device = str(run.summary.get("device", "cpu"))
    view = "" if run.settings.egocentric else ", absolute planes"
    board = int(run.config["height"]), int(run.config["width"])
    first, held = (
        run.summary["seconds_to_threshold"],
        run.summary["seconds_to_threshold_for_good"][_LAST],
    )
    return Times(f"{device.partition(':')[0].upper()}{view}", board, first, held)


def draw_wall_clock(times: Sequence[Times], out: Path) -> Path:
    """The figure of `plot_wall_clock` from times.

    Raises:
        ValueError: more than four series.
    """
    check_suffix(out)
    series = list(dict.fromkeys(one.series for one in times))
    if len(series) > len(_STYLES):
        raise ValueError(f"wall clock draws {len(_STYLES)} series at most, got {', '.join(series)}")
    figure, (axes,) = new_figure(1, width=7.6)
    figure.set_figheight(4.8)
    _draw_published(axes)
    for name, style in zip(series, _STYLES, strict=False):
        _draw_own(axes, [one for one in times if one.series == name], style)
    boards = {(size, size) for size in PUBLISHED_SIZES} | {one.board for one in times}
    ordered = sorted(boards, key=_place)
    axes.set_xticks([_place(board) for board in ordered], [f"{h} x {w}" for h, w in ordered])
    axes.set_yscale("log")
    axes.margins(x=0.06, y=0.08)
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in _TICKS if low <= tick <= high])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: _words(seconds)))
    axes.set(xlabel="board", ylabel="training time to the threshold")
    handles = [Line2D([], [], color=_COLOURS[name], marker=_MARKERS[name], lw=2.2,
                      label=f"{name}, for good" if name == _LAST else name)
               for name in THRESHOLDS]  # fmt: skip
    handles += [
        Line2D([], [], color=BLACK, marker="o", lw=2.2, ls=style, label=f"loqa, {name}")
        for name, style in zip(series, _STYLES, strict=False)
    ]
    handles += [
        Line2D([], [], color=BLACK, marker="o", mfc="white", lw=1.2, ls="--",
               label="LOQA, published (A100)"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False,
                  fontsize="small")  # fmt: skip
    return save(figure, out)


def _draw_published(axes: Axes) -> None:
    for (algorithm, name), seconds in PUBLISHED.items():
        loqa = algorithm == "LOQA"
        colour = _COLOURS[name] if loqa else GREY
        axes.plot(PUBLISHED_SIZES, seconds, "--", color=colour, marker=_MARKERS[name], mfc="white",
                  lw=1.2, ms=5, alpha=0.9)  # fmt: skip
        if not loqa:
            axes.annotate(f"{algorithm}, weak", (5, seconds[2]), xytext=(0, 7), ha="center",
                          textcoords="offset points", fontsize="small", color=GREY)  # fmt: skip


def _draw_own(axes: Axes, times: Sequence[Times], style: _Style) -> None:
    boards = sorted({one.board for one in times}, key=_place)
    for offset, name in zip((-0.07, 0.0, 0.07), THRESHOLDS, strict=True):
        places, medians = [], []
        for board in boards:
            mine = [one for one in times if one.board == board]
            place = _place(board) + offset
            met = [one.held if name == _LAST else one.first[name] for one in mine]
            reached = np.array([time for time in met if time is not None], np.float64)
            if name == _LAST:
                first = [time for one in mine if (time := one.first[name]) is not None]
                axes.plot([place] * len(first), first, _MARKERS[name], color=_COLOURS[name], ms=3,
                          alpha=0.5)  # fmt: skip
            if not len(reached):
                continue
            places.append(place)
            medians.append(float(np.median(reached)))
            axes.vlines(place, reached.min(), reached.max(), color=_COLOURS[name], lw=1.5)
            if len(reached) < len(mine):
                axes.annotate(f"{len(reached)}/{len(mine)}", (place, reached.max()), xytext=(0, 4),
                              textcoords="offset points", ha="center", fontsize="x-small",
                              color=_COLOURS[name])  # fmt: skip
        axes.plot(places, medians, ls=style, color=_COLOURS[name], marker=_MARKERS[name], lw=2.2,
                  ms=7, zorder=5)  # fmt: skip


def _place(board: tuple[int, int]) -> float:
    return (board[0] + board[1]) / 2


def _words(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 3600 else f"{seconds / 3600:g} h"
