"""The files of a sweep: sweep.json, table.json, figures, and a run directory for each run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loqa._checks import plural
from loqa.storage.files import write_json
from loqa.storage.reading import read_object, reading, wrong
from loqa.training.config import NOT_LEARNED, TrainConfig
from loqa.training.run_directory import RunDirectory, config_of
from loqa.training.run_names import differences, run_name

_ODD = re.compile("[^A-Za-z0-9.,=_+-]")  # not every file system has the others
_LONGEST = 100  # of a name
ENDED = ("finished", "time limit")
"""What the summary of a run says that has come to its end."""


class SweepDirectory:
    """The files of a sweep.

    Args:
        path: the directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sweep_file = path / "sweep.json"
        self.table_file = path / "table.json"
        self.figures = path / "figures"

    @classmethod
    def usual(cls, runs: Mapping[str, TrainConfig]) -> Path:
        """Where a sweep goes if nobody says: the same place whenever it is started again."""
        games = "-".join(dict.fromkeys(one.game for one in runs.values()))
        digest = hashlib.sha256(json.dumps(_plain(runs), sort_keys=True).encode()).hexdigest()
        return Path("runs") / f"sweep-{games}-{digest[:8]}"

    def open(self, runs: Mapping[str, TrainConfig], fields: Sequence[str]) -> None:
        """Writes sweep.json, or sees that it is of these runs.

        Args:
            runs: configurations by the names of their directories.
            fields: that were varied.

        Raises:
            FileExistsError: the directory holds another sweep, or something else.
        """
        if self.sweep_file.exists():
            there = self.runs()
            if there == dict(runs):
                return
            missing = [name for name in there if there[name] != runs.get(name)]
            new = [name for name in runs if runs[name] != there.get(name)]
            first = (missing or new)[0]
            raise FileExistsError(
                f"{self.path} holds another sweep: of its {len(there)} {plural(len(there), 'run')} "
                f"{len(missing)} are not of this one, and {len(new)} of this one are not there (first: "
                f"{first}); give another --out"
            )
        others = [one.name for one in self.path.iterdir() if not one.name.startswith(".")]
        if others:
            raise FileExistsError(
                f"{self.path} is not empty and holds no sweep ({others[0]}); give another --out"
            )
        write_json(self.sweep_file, {"fields": list(fields), "runs": _plain(runs)})

    def runs(self) -> dict[str, TrainConfig]:
        """The configurations, by the names of their directories.

        Raises:
            FileNotFoundError: this is no sweep.
            FileError: sweep.json is damaged.
        """
        with reading(self.sweep_file):
            runs = self._content().get("runs")
            if not isinstance(runs, dict) or not all(
                isinstance(one, dict) for one in runs.values()
            ):
                raise wrong("runs", "configurations by name", runs)
            if any(Path(name).name != name for name in runs):
                raise wrong("runs", "names of directories", list(runs))
            return {name: config_of(one, self.sweep_file) for name, one in runs.items()}

    def fields(self) -> list[str]:
        """The fields that were varied; errors as `runs`."""
        with reading(self.sweep_file):
            fields = self._content().get("fields")
            if not isinstance(fields, list) or not all(isinstance(one, str) for one in fields):
                raise wrong("fields", "names", fields)
            return fields

    def run(self, name: str) -> RunDirectory:
        """The directory of a run."""
        return RunDirectory(self.path / name)

    def summary(self, name: str) -> dict[str, Any] | None:
        """The summary of a run that has come to its end, None of another."""
        file = self.run(name).summary_file
        summary = read_object(file) if file.exists() else {}
        return summary if summary.get("status") in ENDED else None

    def _content(self) -> dict[str, Any]:
        if not self.sweep_file.is_file():
            raise FileNotFoundError(f"{self.path} is no sweep: it has no sweep.json")
        return read_object(self.sweep_file)


def named(configs: Sequence[TrainConfig]) -> dict[str, TrainConfig]:
    """The configurations by names for their directories, such as "softmax_temperature=26-seed3": what tells
    the setting from the others, and the seed.

    Raises:
        ValueError: there are none, or two are equal.
    """
    runs: dict[str, TrainConfig] = {}
    settings = list(dict.fromkeys(one.replace(seed=0) for one in configs))
    told = dict(zip(settings, differences(settings, ignore={"seed"}), strict=True))
    for one in configs:
        said = told[one.replace(seed=0)] or f"{one.game}-{one.algo}"
        name = f"{said.replace(', ', '-').replace(' ', '=')}-seed{one.seed}"
        if _ODD.search(name) or len(name) > _LONGEST:
            name = run_name(one)
        if name in runs:
            raise ValueError(f"two runs of the sweep are equal: {name}")
        runs[name] = one
    if not runs:
        raise ValueError("a sweep has one run or more, got none")
    return runs


def check_same(config: TrainConfig, run: RunDirectory) -> None:
    """ValueError unless the run is of this configuration, in all that changes learning."""
    there = run.config()
    free = {name: getattr(config, name) for name in NOT_LEARNED}
    if there.replace(**free) != config:
        said = differences([there, config], ignore=NOT_LEARNED)
        raise ValueError(f"{run.path} was changed: it is {said[0]}, the sweep's is {said[1]}")


def _plain(runs: Mapping[str, TrainConfig]) -> dict[str, Any]:
    return {name: {"game": one.game, **one.to_dict()} for name, one in runs.items()}
