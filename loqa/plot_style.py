"""What all figures share: colours, axes, saving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from loqa.checkpoint import atomic_path

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


def new_figure(columns: int, rows: int = 1, width: float = 5.6) -> tuple[Figure, list[Axes]]:
    """An empty figure and its axes, row by row."""
    figure = Figure(figsize=(width * columns, 3.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", alpha=0.25)
    return figure, axes


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
    axes.plot(x, np.nanmedian(values, 0), line, color=colour, lw=2, label=label)
    if len(values) > 1:
        low, high = np.nanmin(values, 0), np.nanmax(values, 0)
        axes.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)


def draw_seed_range(axes: Axes, places: list[float], values: NDArray[np.float64]) -> None:
    """Whiskers from the lowest to the highest seed, and a dot for each; `values [bars, seeds]`."""
    for place, seeds in zip(places, values, strict=True):
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
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=120)
    return path
