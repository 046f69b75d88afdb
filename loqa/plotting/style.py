"""What all figures share: colours, axes, saving."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from loqa.storage.files import atomic_file

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
GREY = "#767676"
_LETTER = 0.58  # width of a letter, of the font size
# Series differ in line and marker too, for print without colours.
SERIES = (
    (BLUE, "-", "o"),
    (ORANGE, "--", "s"),
    (GREEN, "-.", "^"),
    (VERMILION, ":", "D"),
    (PURPLE, "-", "v"),
    (SKY, "--", "P"),
    (BLACK, "-.", "X"),
)


def series(number: int) -> tuple[str, str]:
    """Colour and line of a curve, counted from 0; no two of the first 21 share both."""
    turn = number // len(SERIES)
    return SERIES[number % len(SERIES)][0], SERIES[(number + turn) % len(SERIES)][1]


def new_figure(columns: int, rows: int = 1, width: float = 5.6) -> tuple[Figure, list[Axes]]:
    """An empty figure and its axes, row by row."""
    figure = Figure(figsize=(width * columns, 3.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", alpha=0.25)
    return figure, axes


def wrap(text: str, inches: float, size: float = 10) -> str:
    """Lines of a text that are no wider than `inches` at a font size in points; long words, such as
    names of runs, are broken too."""
    return textwrap.fill(text, max(8, int(inches * 72 / (_LETTER * size))))


def legend_above(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend over all axes, in as many columns as the figure has room for."""
    width = figure.get_figwidth()
    longest = max((len(label) for label in labels), default=1) * _LETTER * 10 / 72 + 0.7
    columns = max(1, min(len(labels), int(width / longest)))
    said = [wrap(label, width / columns - 0.7) for label in labels]
    figure.legend(
        handles, said, loc="outside upper center", ncols=columns, frameon=False, fontsize=10
    )


def say_empty(axes: Axes, text: str) -> None:
    """Says that there is nothing to draw yet, and hides numbers that would mean nothing."""
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set_xticks([])


def draw_spread(
    axes: Axes,
    x: NDArray[np.float64],
    values: NDArray[np.float64],
    colour: str,
    line: str = "-",
    label: str | None = None,
) -> None:
    """The median over seeds as a line, and a band from the lowest to the highest seed.

    Args:
        axes: to draw on.
        x: `[N]`.
        values: `[seeds, N]`; NaN where a seed has no value.
        colour, line, label: of the line.
    """
    known = ~np.isnan(values).all(0)
    x, values = x[known], values[:, known]
    alone = "." if len(x) == 1 else ""  # one point makes no line
    median = np.nanmedian(values, 0) if len(x) else x
    axes.plot(x, median, line, marker=alone, color=colour, lw=2, label=label)
    if len(values) > 1:
        low, high = np.nanmin(values, 0), np.nanmax(values, 0)
        axes.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)


def draw_seed_range(axes: Axes, values: Iterable[NDArray[np.float64]]) -> None:
    """Whiskers from the lowest to the highest seed, and a dot for each, at 0, 1, ...; each of `values`
    has the seeds of a bar."""
    for place, seeds in enumerate(values):
        if len(seeds) > 1:
            axes.vlines(place, seeds.min(), seeds.max(), color=BLACK, lw=1.2, zorder=3)
            axes.plot([place] * len(seeds), seeds, ".", color=BLACK, ms=4, alpha=0.6, zorder=4)


def check_suffix(path: Path) -> None:
    """Raises ValueError unless figures can be written in the format that the suffix names."""
    known = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        suffixes = ", ".join(f".{kind}" for kind in sorted(known))
        raise ValueError(f"a figure's name must end in one of {suffixes}, got {str(path)!r}")


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure, atomically, in the format that its suffix names.

    Raises:
        ValueError: no figure can have this suffix.
    """
    check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=120)
    return path
