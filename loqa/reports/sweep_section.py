"""What a page says of a sweep."""

from __future__ import annotations

from pathlib import Path

from loqa._checks import plural
from loqa.plotting.sweeps import draw_sweep
from loqa.reports.sections import Section, Table, drawing, flat
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
    runs = []
    for row in table.settings.rows:
        for name in row.runs:
            said = dict(flat(read_object(directory.run(name).summary_file)))
            runs.append(Table(name, ("", ""), list(said.items())))
    return Section(f"Sweep {path.name}", lines, tables, pictures, runs)


def _tables(found: Comparison) -> list[Table]:
    rewards = rewards_among(dict.fromkeys(name for row in found.rows for name in row.measures))
    rows = []
    for row in found.rows:
        cells = [_cell(row.measures[name].iqm) if name in row.measures else "" for name in rewards]
        counts = ["; ".join(f"{count} {text}" for text, count in one.items())
                  for one in row.counts.values()]  # fmt: skip
        rows.append([row.label, str(len(row.runs)), *cells, *counts[:1]])
    head = ["setting", "runs", *(name.replace("_", " ") for name in rewards), "came to"]
    tables = [
        Table(
            "Reward per step: interquartile mean over runs and 95% bootstrap interval", head, rows
        )
    ]
    for measure, matrix in found.improvement.items():
        labels = [row.label for row in found.rows]
        chances = [[label, *map(_cell, line)] for label, line in zip(labels, matrix, strict=True)]
        said = measure.replace("_", " ")
        caption = f"Probability that a run of the row earns more than one of the column, {said}"
        tables.append(Table(caption, ["", *labels], chances))
    return tables


def _cell(one: Interval | None) -> str:
    return "" if one is None else f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
