"""The heatmap of a league: who earns what against whom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loqa.plotting.style import save, wrap

_MOST_NUMBERS = 24  # rows up to which each cell shows its number
_NAME = 2.4  # widest line of a name, in inches
_POINTS = 8.5  # font size of the names


def plot_heatmap(
    names: Sequence[str], matrix: np.ndarray, path: Path, groups: Sequence[str] | None = None
) -> Path:
    """Draws mean rewards per step of row against column; returns `path`.

    Where there are losses and gains, colours go from orange (loss) over white (0) to purple (gain);
    else from the lowest to the highest number in one direction. Both stay apart for every common
    colour blindness. Lines part the groups.

    Args:
        names: of rows and columns, `[N]`.
        matrix: `[N, N]`.
        path: its suffix says png, svg or pdf.
        groups: algorithm of each row, neighbours alike.
    """
    count = len(names)
    numbers = count <= _MOST_NUMBERS
    cell = (1.0 if count <= 6 else 0.55) if numbers else 0.3
    said = [wrap(name, _NAME, _POINTS) for name in names]
    longest = max(len(line) for name in said for line in name.split("\n"))
    label = longest * 0.62 * _POINTS / 72
    lines = max(name.count("\n") + 1 for name in said)
    cell = max(cell, lines * 1.3 * _POINTS / 72)
    upright = label > cell
    across, down = label + 1.9, (label if upright else 0.2 * lines) + 0.7
    figure = Figure(figsize=(cell * count + across, cell * count + down), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    low, high, colours = _scale(matrix)
    image = axes.imshow(matrix, cmap=colours, vmin=low, vmax=high)
    axes.set_xticks(range(count), said, rotation=90 if upright else 0, fontsize=_POINTS)
    axes.set_yticks(range(count), said, fontsize=_POINTS)
    axes.set(xlabel="against", ylabel="reward of")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if numbers:
        for (row, column), value in np.ndenumerate(matrix):
            red, green, blue, _ = image.to_rgba(value)
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            axes.text(column, row, f"{value:.2f}", ha="center", va="center",
                      color="white" if dark else "black",
                      fontsize="x-small" if count > 6 else "medium")  # fmt: skip
    edge = -0.5
    for _, members in groupby(groups or []):
        edge += len(list(members))
        if edge < count - 0.6:
            axes.axhline(edge, color="black", lw=1)
            axes.axvline(edge, color="black", lw=1)
    figure.colorbar(image, ax=axes, label="mean reward per step", shrink=0.8)
    return save(figure, path)


def _scale(matrix: np.ndarray) -> tuple[float, float, mpl.colors.Colormap]:
    """Lowest and highest number of the colour scale, and its colours."""
    low, high = float(np.nanmin(matrix)), float(np.nanmax(matrix))
    if low < 0 < high:
        limit = max(-low, high)
        return -limit, limit, mpl.colormaps["PuOr"]
    if high - low < 0.02:  # one number everywhere is no contrast
        low, high = low - 0.01, high + 0.01
    return low, high, mpl.colormaps["cividis"]
