"""Run directories as figures need them: read without the trainer, grouped by configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loqa._checks import plural
from loqa.algos import registry as algorithms
from loqa.games import registry as records
from loqa.storage.reading import FileError, read_object, reading, wrong
from loqa.training.config import TrainConfig, config_class
from loqa.training.run_directory import RunDirectory, check_sampled
from loqa.training.run_names import alike, changes, differences


@dataclass(frozen=True)
class Run:
    """What a run directory holds.

    Attributes:
        path: of the directory.
        config: of config.json.
        metrics: lines of metrics.jsonl.
        summary: of summary.json; empty before the end.
    """

    path: Path
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    summary: dict[str, Any]

    @property
    def game(self) -> str:
        """Its name."""
        return str(self.config["game"])

    @property
    def settings(self) -> TrainConfig:
        """`config`, checked.

        Raises:
            ValueError: a field is unknown or has a bad value.
        """
        values = {name: value for name, value in self.config.items() if name != "game"}
        return config_class(self.game).of_file(values)

    @property
    def learner(self) -> str:
        """Its algorithm, in words."""
        name = algorithms.entry(self.settings.algo).title
        return name + (", shared reward" if self.config.get("shared_reward") else "")

    @property
    def seed(self) -> tuple[int, str]:
        """The seed and the device, on which the numbers of a seed depend."""
        return self.settings.seed, self.settings.device

    @property
    def learned(self) -> list[dict[str, Any]]:
        """The metrics without times: alike if two runs did the same."""
        timed = (
            "seconds",
            "phase_seconds",
            "seconds_to_threshold",
            "seconds_to_threshold_for_good",
        )
        return [{key: value for key, value in line.items() if key not in timed}
                for line in self.metrics]  # fmt: skip

    @property
    def title(self) -> str:
        """The learner, what differs from its preset, and the seed."""
        config = self.settings
        said = [] if config.preset == "default" else [f"preset {config.preset}"]
        said += changes(config, ignore=("algo", "shared_reward", "seed", "height", "width"))
        brackets = f" ({', '.join(said)})" if said else ""
        said = [self.learner + brackets, figures_of(self.game).about(self.config)]
        return ", ".join([*filter(None, said), f"seed {config.seed}"])


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed only.

    Attributes:
        label: what tells them from other groups.
        runs: in the order given.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def counted(self) -> str:
        """The label, and how many seeds."""
        return self.label if len(self.runs) == 1 else f"{self.label}, {len(self.runs)} seeds"

    def curves(
        self, value: Callable[[dict[str, Any]], Any], by: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """A value of the metrics over `by`, at every place where any run has one.

        Args:
            value: of a line of metrics; None where it has none.
            by: key of the abscissa.

        Returns:
            x `[N]`, and the values `[runs, N]`: interpolated, NaN outside of a run.
        """
        series = []
        for run in self.runs:
            points = [(line[by], value(line)) for line in run.metrics]
            known = [(x, y) for x, y in points if y is not None]
            series.append(np.array(known, np.float64).reshape(-1, 2))
        x = np.unique(np.concatenate([one[:, 0] for one in series]))
        rows = [
            np.interp(x, one[:, 0], one[:, 1], left=np.nan, right=np.nan)
            if len(one)
            else np.full(len(x), np.nan)
            for one in series
        ]
        return x, np.array(rows).reshape(len(series), len(x))

    def last(self, value: Callable[[dict[str, Any]], Any]) -> NDArray[np.float64]:
        """The newest value of each run, `[runs]`; NaN for a run that has none."""
        found = []
        for run in self.runs:
            values = [value(line) for line in run.metrics]
            found.append(next((one for one in reversed(values) if one is not None), np.nan))
        return np.array(found, np.float64)


def read_run(directory: str | Path) -> Run:
    """The contents of a run directory.

    Raises:
        FileNotFoundError: the directory holds no run.
        ValueError: its files are damaged, or it has no metrics yet.
    """
    files = RunDirectory(Path(directory))
    if not files.config_file.is_file():
        raise FileNotFoundError(f"{directory} is no run directory: it has no config.json")
    config = read_object(files.config_file)
    if config.get("game") not in records.names():
        raise ValueError(f"{files.config_file} is damaged: it names no game")
    check_sampled(config, files.path)
    # A run of an older version may lack settings: it ran with what are now their defaults.
    algo = config.get("algo", "loqa")
    if algo in algorithms.names():  # of another's settings nothing is known here
        config = {**config_class(config["game"])(algo=algo).to_dict(), **config}
    metrics = files.metrics()
    if not metrics:
        raise FileError(f"{directory} has no metrics yet")
    drawn = figures_of(config["game"])
    with reading(files.metrics_file):
        for number, line in enumerate(metrics, 1):
            _check(f"line {number}, ", line, drawn.REQUIRED, drawn.OPTIONAL)
    summary = read_object(files.summary_file) if files.summary_file.exists() else {}
    with reading(files.summary_file):
        _check("", summary, {}, _SUMMARY)
    return Run(files.path, config, metrics, summary)


def figures_of(game: str) -> Any:
    """The module that draws a game's runs, see `loqa.plotting.rewards`."""
    return import_module(records.game(game).figures)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_number, value))


Check = tuple[str, Callable[[Any], bool]]
"""What a file should hold somewhere, in words, and whether it does."""
NUMBER: Check = ("a number", is_number)
NUMBERS: Check = ("numbers", _are_numbers)
TWO_NUMBERS: Check = ("two numbers", lambda value: _are_numbers(value) and len(value) == 2)


def _are_times(value: Any) -> bool:
    return isinstance(value, dict) and all(
        time is None or is_number(time) for time in value.values()
    )


_SUMMARY: dict[str, Check] = {
    "strategy": ("a text", lambda value: isinstance(value, str)),
    "seconds_to_threshold": ("times by name", _are_times),
    "seconds_to_threshold_for_good": ("times by name", _are_times),
}


def _check(
    place: str, values: dict[str, Any], required: dict[str, Check], optional: dict[str, Check]
) -> None:
    """FileError unless the values are what the figures expect of them."""
    for key, (expected, holds) in {**required, **optional}.items():
        value = values.get(key)
        if not (holds(value) or (value is None and key in optional)):
            raise wrong(f"{place}{key}", expected, value)


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Runs by configuration, seeds together, in order of appearance.

    The same run given twice counts once. Another run of a seed that is there already, with other
    numbers, is no other seed: it makes a group of its own, named after its directory.

    A group's label is its learner and, in brackets, the settings that are not the same in all groups.
    """
    members: dict[tuple[TrainConfig, str], list[Run]] = {}
    for run in runs:
        key = (alike(run.settings), "")
        twin = next((one for one in members.get(key, []) if one.seed == run.seed), None)
        if twin is not None and twin.learned == run.learned:
            continue
        if twin is not None:
            key = (key[0], run.path.name)
        members.setdefault(key, []).append(run)
    configs = [config for config, _ in members]
    told = differences(configs, ignore=("algo", "shared_reward"))  # the learner's name says these
    groups = []
    for said, ((_, name), group) in zip(told, members.items(), strict=True):
        brackets = ", ".join(part for part in (said, name) if part)
        learner = group[0].learner
        groups.append(Group(f"{learner} ({brackets})" if brackets else learner, tuple(group)))
    return groups


def label_groups(groups: Sequence[Group], labels: Sequence[str] | None) -> list[Group]:
    """The groups under the given names, if any.

    Raises:
        ValueError: there is not one name for each group.
    """
    if not labels:
        return list(groups)
    if len(labels) != len(groups):
        found = "; ".join(f"{n}. {group.label}" for n, group in enumerate(groups, start=1))
        raise ValueError(
            f"--label must be given once for each configuration, {len(groups)} "
            f"{plural(len(groups), 'time')}, got "
            f"{len(labels)}: {found}"
        )
    return [dataclasses.replace(group, label=label)
            for group, label in zip(groups, labels, strict=True)]  # fmt: skip
