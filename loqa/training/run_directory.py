"""The files of a run: where they are, who may write them, and what they must look like."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loqa.games import registry as games
from loqa.storage.files import locked, output_directory, remove_leftovers, write_json
from loqa.storage.reading import FileError, read_lines, read_object, reading, wrong
from loqa.training.config import TrainConfig, config_class

if TYPE_CHECKING:
    from loqa.training.exact import ExactConfig

POLICIES = "checkpoints/policies.safetensors"
"""Of a run in an exact game."""
_EVERY_LINE: dict[str, type | tuple[type, ...]] = {
    "iteration": int,
    "env_steps": int,
    "seconds": (int, float),
}


class RunDirectory:
    """The files of a run: config.json, metrics.jsonl, checkpoints/, figures/, summary.json."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.json"
        self.metrics_file = path / "metrics.jsonl"
        self.summary_file = path / "summary.json"
        self.checkpoints = path / "checkpoints"
        self.figures = path / "figures"

    @classmethod
    @contextmanager
    def create(
        cls, path: Path | None, config: TrainConfig | ExactConfig, name: str
    ) -> Iterator[RunDirectory]:
        """A new run directory, locked while it is open; without a path the first that is free below runs/.

        If an error ends it before there is a checkpoint or a line of metrics, what was made is removed.

        Raises:
            FileExistsError: the directory already holds a run.
            BlockingIOError: another process writes in it.
            OSError: it cannot be written.
        """
        run = cls(_new_directory(name) if path is None else path)
        fresh = not (run.path.is_dir() and any(run.path.iterdir()))
        with output_directory(run.path, "run"):
            if run.config_file.exists():
                raise FileExistsError(
                    f"{run.path} already holds a run; go on with `loqa resume {run.path}` or give "
                    f"another --out"
                )
            try:
                run.checkpoints.mkdir(exist_ok=True)
                run.figures.mkdir(exist_ok=True)
                run.write_config(config)
                yield run
            except BaseException:
                run._discard(fresh)
                raise

    def _discard(self, fresh: bool) -> None:
        """Removes what was written for a run that has come to nothing."""
        if self.latest_checkpoint() is not None or (
            self.metrics_file.exists() and self.metrics_file.stat().st_size
        ):
            return
        self.config_file.unlink(missing_ok=True)
        self.metrics_file.unlink(missing_ok=True)
        if fresh:
            for name in ("replay", "tensorboard"):
                shutil.rmtree(self.path / name, ignore_errors=True)
        for directory in (self.checkpoints, self.figures):
            with suppress(OSError):
                directory.rmdir()

    @contextmanager
    def reopened(self) -> Iterator[None]:
        """Locks an old run directory as `create` does, and removes what killed processes left."""
        with locked(self.path, "run"):
            for directory in (self.path, self.checkpoints, self.figures, self.path / "replay"):
                remove_leftovers(directory)
            yield

    def write_config(self, config: TrainConfig | ExactConfig) -> None:
        """Writes config.json."""
        write_json(self.config_file, {"game": config.game, **config.to_dict()})

    @classmethod
    def unused(cls, name: str) -> Path:
        """The first of name, name-2, ... that is free below runs/."""
        base = Path("runs", name)
        paths = chain([base], (Path(f"{base}-{number}") for number in count(2)))
        return next(path for path in paths if not path.exists())

    def config(self) -> TrainConfig:
        """The run's configuration.

        Raises:
            FileNotFoundError, ValueError: this is no run directory, or one of a run in an exact game.
            FileError: config.json is damaged, or of another version of loqa.
        """
        if not self.config_file.is_file():
            raise FileNotFoundError(f"{self.path} is no run directory: it has no config.json")
        values = read_object(self.config_file)
        check_sampled(values, self.path)
        return config_of(values, self.config_file)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, less a last one cut short by a crash; FileError names a damaged one."""
        return read_lines(self.metrics_file, _EVERY_LINE)

    def checkpoint_file(self, iteration: int) -> Path:
        """Where the checkpoint of an iteration is."""
        return self.checkpoints / f"iteration_{iteration:08d}.safetensors"

    def all_checkpoints(self) -> list[Path]:
        """The checkpoints, the newest first."""
        return sorted(self.checkpoints.glob("iteration_*.safetensors"), reverse=True)

    def latest_checkpoint(self) -> Path | None:
        """The newest checkpoint, None before the first."""
        return next(iter(self.all_checkpoints()), None)


def check_sampled(values: dict[str, Any], path: Path) -> None:
    """Raises ValueError if config.json is of a run in an exact game: it cannot go on."""
    if values.get("exact"):
        raise ValueError(
            f"{path} is a run in an exact game, which is computed in one go: start it anew with `loqa train "
            f"matrix --exact`; its results are in summary.json, its policies in {POLICIES}"
        )


def config_of(
    values: dict[str, Any], path: Path, says: str = "is damaged", whole: bool = True
) -> TrainConfig:
    """The configuration that the JSON of a file is, or FileError. Of a `whole` one every field is asked for,
    else those that the file is older than are what they were."""
    with reading(path, says):
        fields = dict(values)
        game = fields.pop("game", None)
        if not isinstance(game, str) or game not in games.names():
            raise wrong("game", f"one of {', '.join(games.names())}", game)
        kind = config_class(game)
        if not whole:
            return kind.of_file(fields)
        missing = kind.field_types(fields.get("algo", "loqa")).keys() - fields.keys()
        if missing:  # their defaults would make it another run
            raise FileError(
                "another version of loqa made this run, go on with that one",
                path,
                f"lacks {', '.join(sorted(missing))}",
            )
        return kind.from_dict(fields)


def _new_directory(name: str) -> Path:
    """Makes the first free directory below runs/: no two processes get the same."""
    while True:
        path = RunDirectory.unused(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir()
            return path
