"""What a page says of a sweep."""

from __future__ import annotations

from pathlib import Path

from loqa._checks import plural
from loqa.plotting.sweeps import draw_sweep
from loqa.reports.sections import Section, Table, drawing
from loqa.storage.reading import read_object
from loqa.sweeps.directory import SweepDirectory
from loqa.sweeps.statistics import Interval
from loqa.sweeps.table import Comparison, read_sweep, rewards_among


def sweep_section(path: Path) -> Section:
    """A sweep: what its settings come to, curves, probabilities of improvement, and every run.

    Raises:
        FileNotFoundError: the directory holds no sweep.
        ValueError: its files are damaged.
    """
    table = read_sweep(path)
    directory = SweepDirectory(path)
    ended = sum(len(row.runs) for row in table.settings.rows)
    lines = [f"directory: {path}", f"{ended} {plural(ended, 'run')} ended"]
    if table.unfinished:
        lines.append(f"not ended: {', '.join(table.unfinished)}")
    comparisons = [table.settings, *table.fields.values()]
    tables = [one for found in comparisons for one in _tables(found)]
    pictures = [drawing(name, figure) for name, figure in draw_sweep(path).items()]
    return Section(
        f"Sweep {path.name}", lines, tables, pictures, [_runs(table.settings, directory)]
    )


def _runs(found: Comparison, directory: SweepDirectory) -> Table:
    """A row for each run that has ended."""
    rewards = _rewards(found)
    texts = list(dict.fromkeys(name for row in found.rows for name in row.counts))
    rows = []
    for row in found.rows:
        for place, name in enumerate(row.runs):
            summary = read_object(directory.run(name).summary_file)
            values = [row.measures[one].values[place] if one in row.measures else None
                      for one in rewards]  # fmt: skip
            numbers = ["" if one is None else f"{one:.4f}" for one in values]
            said = [str(summary.get(one, "")) for one in texts]
            rows.append([name, summary["status"], f"{summary['seconds']:.1f}", *numbers, *said])
    head = ["run", "ended", "seconds", *map(_plain, rewards), *map(_plain, texts)]
    return Table("Runs", head, rows)


def _tables(found: Comparison) -> list[Table]:
    rewards = _rewards(found)
    rows = []
    for row in found.rows:
        cells = [_cell(row.measures[name].iqm) if name in row.measures else "" for name in rewards]
        counts = ["; ".join(f"{count} {text}" for text, count in one.items())
                  for one in row.counts.values()]  # fmt: skip
        rows.append([row.label, str(len(row.runs)), *cells, *counts[:1]])
    head = ["setting", "runs", *map(_plain, rewards), "learned"]
    tables = [
        Table(
            "Reward per step: interquartile mean over runs and 95% bootstrap interval", head, rows
        )
    ]
    for measure, matrix in found.improvement.items():
        labels = [row.label for row in found.rows]
        chances = [[label, *map(_cell, line)] for label, line in zip(labels, matrix, strict=True)]
        what = "a run of the row earns more than one of the column"
        caption = f"Probability that {what}, {_plain(measure)}"
        tables.append(Table(caption, ["", *labels], chances))
    return tables


def _rewards(found: Comparison) -> list[str]:
    return rewards_among(dict.fromkeys(name for row in found.rows for name in row.measures))


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _cell(one: Interval | None) -> str:
    return "" if one is None else f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
