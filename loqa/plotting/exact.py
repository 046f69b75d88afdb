"""Share of runs that find tit-for-tat against the factor of public goods, as Zhao et al. (2022) draw it."""

from __future__ import annotations

from pathlib import Path

from matplotlib.ticker import PercentFormatter

from loqa.plotting.style import SERIES, check_suffix, legend_above, new_figure, save
from loqa.storage.reading import read_object, reading


def plot_tit_for_tat(results: str | Path, out: Path) -> Path:
    """A line for each learner and policy; returns `out`.

    Args:
        results: a JSON file with "tit-for-tat": "runs" of each point, "factors", "rows": name -> factor, as
            text -> "found", how many runs did. Names that differ after a second comma are tries of one
            learner with other rates: the best is drawn at each factor.
        out: the figure, in the format of its suffix.

    Raises:
        FileNotFoundError: there are no results.
        ValueError: they are something else (`FileError`), or `out` has an unknown suffix.
    """
    check_suffix(out)
    with reading(Path(results), "has no results of tit-for-tat"):
        found = read_object(Path(results))["tit-for-tat"]
        factors, runs = [float(one) for one in found["factors"]], int(found["runs"])
        shares: dict[str, list[float]] = {}
        for name, row in found["rows"].items():
            share = [int(row[str(factor)]["found"]) / runs for factor in factors]
            title = ", ".join(name.split(", ")[:2])
            shares[title] = [max(two) for two in zip(share, shares.get(title, share), strict=True)]
    figure, (axes,) = new_figure(1, width=6.4)
    for (name, share), (colour, line, marker) in zip(shares.items(), SERIES, strict=False):
        filled = colour if name.startswith("POLA") else "white"
        axes.plot(factors, share, color=colour, ls=line, marker=marker, mfc=filled, lw=2, ms=7,
                  clip_on=False, label=name)  # fmt: skip
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xticks(factors, [f"{factor:g}" for factor in factors])
    axes.set(
        xlabel="factor f of public goods", ylabel=f"share of {runs} runs that find tit-for-tat"
    )
    handles, labels = axes.get_legend_handles_labels()
    legend_above(figure, handles, labels)
    return save(figure, out)
