"""Draws what trainings of published length would take on one core, by the side of the board.

    python benchmarks/published_lengths.py

CPU seconds of an update as benchmarks/results/update_costs.json has them, times the parts that make a whole
update, times the published number of updates (`update_costs.PUBLISHED`). Nothing was trained that long: the
figure says what lengths cost, not what is learned in them. Draws figures/published_lengths.png.
"""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.ticker import FuncFormatter, NullLocator
from update_costs import GRIDS, PUBLISHED, RESULTS

from loqa.plotting.style import SERIES, legend_above, new_figure, save

FIGURE = Path(__file__).parent / "figures" / "published_lengths.png"
_HOUR, _DAY = 3600, 86_400
_TICKS = {
    60: "1 min",
    600: "10 min",
    _HOUR: "1 h",
    10 * _HOUR: "10 h",
    4 * _DAY: "4 days",
    40 * _DAY: "40 days",
}


def seconds() -> dict[str, list[float]]:
    """Of a whole training, by title: a number for each of `GRIDS`."""
    costs = json.loads(RESULTS.read_text())["updates"]
    found: dict[str, list[float]] = {}
    for name, one in PUBLISHED.items():
        each = [costs[f"{name}, published {grid}"]["seconds"] for grid in GRIDS]
        whole = [cost * one.parts * one.updates for cost in each]
        before = found.get(one.title, [0.0] * len(GRIDS))
        found[one.title] = [sum(pair) for pair in zip(before, whole, strict=True)]
    return found


def main() -> None:
    figure, (axes,) = new_figure(1, width=7.2)
    figure.set_figheight(4.6)
    for (title, times), (colour, line, marker) in zip(seconds().items(), SERIES, strict=False):
        axes.plot(GRIDS, times, color=colour, ls=line, marker=marker, lw=2, ms=7, label=title)
        print(
            title,
            ", ".join(
                f"{grid}: {time / _HOUR:.2f} h" for grid, time in zip(GRIDS, times, strict=True)
            ),
        )
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in _TICKS if low <= tick <= high])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: _TICKS[tick]))
    axes.set_xticks(GRIDS, [f"{grid} x {grid}" for grid in GRIDS])
    axes.set(xlabel="board", ylabel="measured cost x published updates")
    legend_above(figure, *axes.get_legend_handles_labels())
    save(figure, FIGURE)


if __name__ == "__main__":
    main()
