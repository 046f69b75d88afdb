"""What the runs of a sweep come to together."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loqa.algos import registry as algorithms
from loqa.storage.files import write_json
from loqa.sweeps.directory import SweepDirectory
from loqa.sweeps.statistics import Floats, Interval, bootstrap, probability_of_improvement
from loqa.training.config import TrainConfig
from loqa.training.run_names import differences, value_text

_ABOUT = ("status", "game")  # of a summary, besides fields of the configuration


@dataclass(frozen=True)
class Measure:
    """A number of the summaries.

    Attributes:
        iqm: interquartile mean of the runs that have it, with its stratified bootstrap interval.
        values: of each run, in the order of `Row.runs`; None where a run has none.
    """

    iqm: Interval
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Row:
    """A setting, or a value of a field over all settings of the others.

    Attributes:
        label: what tells it from the other rows.
        runs: that have ended, by name.
        measures: numbers of their summaries, by name.
        counts: how many runs came to what, for each text of their summaries: "strategy" -> counts.
    """

    label: str
    runs: tuple[str, ...]
    measures: dict[str, Measure]
    counts: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Comparison:
    """Rows beside each other.

    Attributes:
        rows: of them.
        improvement: reward -> [row][row] probability that a run of the first earns more than one of the
            second; None where one of them has no run.
    """

    rows: tuple[Row, ...]
    improvement: dict[str, list[list[Interval | None]]]


@dataclass(frozen=True)
class SweepTable:
    """What a sweep has come to.

    Attributes:
        path: its directory.
        settings: a row for each setting.
        fields: where several fields were varied, for each of them a row for each of its values: the tasks of
            its strata are the settings of the other fields.
        failed: errors of runs, by name.
        unfinished: runs that have not come to their end, by name.
    """

    path: Path
    settings: Comparison
    fields: dict[str, Comparison]
    failed: dict[str, str]
    unfinished: tuple[str, ...]


@dataclass(frozen=True)
class _Run:
    name: str
    numbers: dict[str, float]
    texts: dict[str, str]


def read_sweep(path: str | Path, failed: Mapping[str, str] | None = None) -> SweepTable:
    """The table of a sweep, from the summaries of its runs.

    Args:
        path: its directory.
        failed: errors of runs, by name.

    Raises:
        FileNotFoundError: there is no sweep.
        FileError: a file of it is damaged.
    """
    directory = SweepDirectory(Path(path))
    configs, fields = directory.runs(), directory.fields()
    failed = dict(failed or {})
    runs: dict[TrainConfig, list[_Run]] = {}
    unfinished = []
    for name, config in configs.items():
        members = runs.setdefault(config.replace(seed=0), [])
        summary = directory.summary(name)
        if summary is None:
            unfinished.append(name)
        else:
            said = {key: one for key, one in summary.items()
                    if key not in _ABOUT and key not in config.to_dict()}  # fmt: skip
            texts = {key: one for key, one in said.items() if isinstance(one, str)}
            members.append(_Run(name, numbers_of(said), texts))
    labels = labels_of(list(runs))
    settings = [
        (label, {"": members}) for label, members in zip(labels, runs.values(), strict=True)
    ]
    return SweepTable(
        directory.path,
        _compared(settings),
        {name: _compared(_by_value(runs, name, fields)) for name in fields if len(fields) > 1},
        failed,
        tuple(name for name in unfinished if name not in failed),
    )


def write_table(table: SweepTable) -> None:
    """Writes table.json."""
    plain = dataclasses.asdict(table)
    del plain["path"]
    write_json(SweepDirectory(table.path).table_file, plain)


def labels_of(settings: Sequence[TrainConfig]) -> list[str]:
    """What tells each setting from the others; of one alone its algorithm."""
    told = differences(settings, ignore={"seed"})
    return [
        said or algorithms.entry(one.algo).title for said, one in zip(told, settings, strict=True)
    ]


def numbers_of(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a summary or of a line of metrics, under flat names.

    Of self-play and of rewards the mean of all seats; of "vs_always_defect" and the like the agent's under
    that name, and the mean of its opponents under "vs_always_defect.opponent"; of other lists and mappings
    each number under "name.key". What is None is left out.
    """
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, int | float):
            found[name] = float(value)
        elif isinstance(value, list) and name in ("self_play", "reward") and value:
            found[name] = sum(value) / len(value)
        elif isinstance(value, list) and name.startswith("vs_") and len(value) > 1:
            found[name] = float(value[0])
            found[f"{name}.opponent"] = sum(value[1:]) / (len(value) - 1)
        elif isinstance(value, list | dict):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            inner = numbers_of({str(key): one for key, one in items})
            found |= {f"{name}.{key}": one for key, one in inner.items()}
    return found


def rewards_among(names: Iterable[str]) -> list[str]:
    """Those of the measures that are rewards of the agent: more is better."""
    plain = [name for name in names if "." not in name]
    return [name for name in plain if name == "self_play" or name.startswith("vs_")]


def _by_value(
    runs: Mapping[TrainConfig, list[_Run]], field: str, fields: Sequence[str]
) -> list[tuple[str, dict[str, list[_Run]]]]:
    """For each value of a field the runs by the settings of the other fields."""
    found: dict[str, dict[str, list[_Run]]] = {}
    for config, members in runs.items():
        said = {name: f"{name} {value_text(getattr(config, name))}" for name in fields}
        others = ", ".join(text for name, text in said.items() if name != field)
        found.setdefault(said[field], {})[others] = members
    return list(found.items())


def _compared(rows: Sequence[tuple[str, Mapping[str, list[_Run]]]]) -> Comparison:
    made = tuple(_row(label, strata) for label, strata in rows)
    names = dict.fromkeys(name for row in made for name in row.measures)
    improvement = {
        measure: [[_improvement(mine, other, measure) for _, other in rows] for _, mine in rows]
        for measure in rewards_among(names)
        if len(rows) > 1
    }
    return Comparison(made, improvement)


def _row(label: str, strata: Mapping[str, list[_Run]]) -> Row:
    runs = [run for members in strata.values() for run in members]
    measures = {}
    for name in dict.fromkeys(name for run in runs for name in run.numbers):
        values = tuple(run.numbers.get(name) for run in runs)
        known = [one for members in strata.values() if len(one := _values(members, name))]
        measures[name] = Measure(bootstrap(known), values)
    texts = dict.fromkeys(name for run in runs for name in run.texts)
    counts = {
        name: dict(Counter(run.texts[name] for run in runs if name in run.texts).most_common())
        for name in texts
    }
    return Row(label, tuple(run.name for run in runs), measures, counts)


def _improvement(
    mine: Mapping[str, list[_Run]], other: Mapping[str, list[_Run]], measure: str
) -> Interval | None:
    pairs = [(_values(mine[key], measure), _values(other[key], measure))
             for key in mine if key in other]  # fmt: skip
    pairs = [pair for pair in pairs if all(map(len, pair))]
    if not pairs:
        return None
    ours, theirs = zip(*pairs, strict=True)
    return probability_of_improvement(ours, theirs)


def _values(runs: Sequence[_Run], name: str) -> Floats:
    return np.array([run.numbers[name] for run in runs if name in run.numbers], np.float64)
