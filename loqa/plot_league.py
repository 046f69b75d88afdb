"""The heatmap of a league: who earns what against whom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loqa.checkpoint import atomic_path

_MOST_NUMBERS = 24  # rows up to which each cell shows its number
_DARK = 0.55  # share of the colour scale beyond which numbers are white


def plot_heatmap(
    names: Sequence[str], matrix: np.ndarray, path: Path, groups: Sequence[str] | None = None
) -> Path:
    """Draws mean rewards per step of row against column; returns `path`.

    Colours go from orange (loss) over white (0) to purple (gain) and stay apart for every common
    colour blindness. Lines part the groups.

    Args:
        names: of rows and columns, `[N]`.
        matrix: `[N, N]`.
        path: its suffix says png, svg or pdf.
        groups: algorithm of each row, neighbours alike.
    """
    count = len(names)
    side = max(3.4, 0.42 * count + 2.2)
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    limit = max(0.01, float(np.nanmax(np.abs(matrix))))
    image = axes.imshow(matrix, cmap="PuOr", vmin=-limit, vmax=limit)
    axes.set_xticks(range(count), names, rotation=90 if count > 6 else 0)
    axes.set_yticks(range(count), names)
    axes.set(xlabel="against", ylabel="reward of")
    axes.tick_params(length=0, labelsize="small")
    axes.spines[:].set_visible(False)
    if count <= _MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(matrix):
            colour = "white" if abs(value) > _DARK * limit else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour,
                      fontsize="x-small" if count > 6 else "medium")  # fmt: skip
    edge = -0.5
    for _, members in groupby(groups or []):
        edge += len(list(members))
        if edge < count - 0.6:
            axes.axhline(edge, color="black", lw=1)
            axes.axvline(edge, color="black", lw=1)
    figure.colorbar(image, ax=axes, label="mean reward per step", shrink=0.8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=120, metadata=None)
    return path
