"""One run of a sweep, whoever does it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from loqa.storage.reading import read_object
from loqa.sweeps.directory import ENDED, check_same
from loqa.training.config import TrainConfig
from loqa.training.run_directory import RunDirectory, config_of
from loqa.training.train import TrainingError, resume, train


@dataclass(frozen=True)
class Task:
    """A run to do.

    Attributes:
        path: of its directory, absolute.
        config: as in config.json.
    """

    path: str
    config: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: "finished", "time limit", "interrupted" or "failed".
        error: what went wrong.
    """

    status: str
    error: str = ""


class Engine(Protocol):
    """What does runs side by side.

    Attributes:
        workers: how many at a time.
    """

    workers: int

    @property
    def running(self) -> int:
        """How many now."""

    def start(self, task: Task) -> None:
        """Begins a run; at most `workers` may be running."""

    def ended(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Runs that have ended; waits for one, but no longer than so many seconds."""

    def interrupt(self) -> None:
        """Asks all runs to save and end."""


def work(task: dict[str, Any]) -> dict[str, str]:
    """Does a run, or what is left of it.

    Args:
        task: a `Task` as JSON.

    Returns:
        An `Outcome` as JSON.
    """
    return asdict(_outcome(Task(**task)))


def _outcome(task: Task) -> Outcome:
    run = RunDirectory(Path(task.path))
    try:
        config = config_of(task.config, run.path)
        if not run.config_file.exists():
            return Outcome(train(config, run.path)["status"])
        check_same(config, run)
        if (
            run.summary_file.exists()
            and (status := read_object(run.summary_file)["status"]) in ENDED
        ):
            return Outcome(status)
        return Outcome(resume(run.path, **_time_left(config, run))["status"])
    except (TrainingError, ValueError, OSError) as error:
        return Outcome("failed", str(error))
    except Exception as error:  # of a user's environment, for example: the other runs go on
        return Outcome("failed", f"{type(error).__name__}: {error}")


def _time_left(config: TrainConfig, run: RunDirectory) -> dict[str, Any]:
    """A limit is of the whole run: who was stopped must not learn for longer than the others."""
    lines = run.metrics()
    if config.time_limit is None or not lines:
        return {}
    return {"time_limit": max(0.0, config.time_limit - lines[-1]["seconds"])}
