"""Sweeps: many runs side by side, resumed where they were stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from loqa import _checks
from loqa.runtime.cluster import ENGINES, cluster
from loqa.storage.files import output_directory
from loqa.sweeps.directory import SweepDirectory, named
from loqa.sweeps.grid import Grid
from loqa.sweeps.table import SweepTable, read_sweep, write_table
from loqa.sweeps.work import Engine, Outcome, Task
from loqa.training.config import TrainConfig
from loqa.training.stopping import StopRequest

Report = Callable[[str, Outcome, int, int], None]
"""Is told of each run that has ended: its name, how it ended, how many have ended by now, of how many."""


def sweep(
    configs: Grid | Iterable[TrainConfig],
    out: str | Path | None = None,
    *,
    workers: int | None = None,
    engine: str = "local",
    report: Report | None = None,
) -> SweepTable:
    """Trains configurations side by side, and summarises their results over seeds.

    If it is called again, runs that have ended are skipped and the others continue from their newest
    checkpoints, bit for bit.

    Args:
        configs: for example `Grid("ipd", range(10), {"softmax_temperature": [3, 26]})`, or configurations.
        out: the directory; by default a name below runs/ that is always the same for these configurations.
        workers: number of runs at a time; by default the number of cores.
        engine: "local", processes of this machine, of one thread each; or "ray", a Ray cluster.
        report: called when a run ends.

    Returns:
        The table that is also written to table.json. Its `failed` and `unfinished` name the runs that
        failed and those that were interrupted by one of `loqa.training.stopping.SIGNALS` (all runs save
        first).

    Raises:
        FileExistsError: the directory holds another sweep.
        BlockingIOError: another process writes in it.
        ValueError: two configurations are equal, or Ray is not installed.
    """
    _checks.one_of("engine", engine, ENGINES)
    if workers is not None:
        workers = _checks.integer("workers", workers, 1, 10_000)
    fields = configs.fields if isinstance(configs, Grid) else []
    runs = named(list(configs))
    directory = SweepDirectory(SweepDirectory.usual(runs) if out is None else Path(out))
    with output_directory(directory.path, "sweep"):
        directory.open(runs, fields)
        left = [name for name in runs if directory.summary(name) is None]
        outcomes: dict[str, Outcome] = {}
        if left:
            with _engine(engine, workers) as running, StopRequest() as stop:
                for name, outcome in _all(running, _tasks(directory, runs, left), stop):
                    outcomes[name] = outcome
                    if report is not None:
                        done = len(runs) - len(left) + len(outcomes)
                        report(name, outcome, done, len(runs))
        failed = {name: one.error for name, one in outcomes.items() if one.status == "failed"}
        table = read_sweep(directory.path, failed)
        write_table(table)
    return table


@contextmanager
def _engine(name: str, workers: int | None) -> Iterator[Engine]:
    if name == "ray":
        from loqa.sweeps.cluster import RayEngine

        with cluster() as ray, RayEngine(ray, workers) as on_ray:
            yield on_ray
        return
    from loqa.sweeps.local import LocalEngine

    with LocalEngine(workers) as local:
        yield local


def _tasks(
    directory: SweepDirectory, runs: Mapping[str, TrainConfig], left: Iterable[str]
) -> dict[str, Task]:
    return {
        name: Task(
            str((directory.path / name).absolute()),
            {"game": runs[name].game, **runs[name].to_dict()},
        )
        for name in left
    }


def _all(
    engine: Engine, tasks: Mapping[str, Task], stop: StopRequest
) -> Iterator[tuple[str, Outcome]]:
    """Does the tasks, as many at a time as the engine has workers; yields each as it ends."""
    waiting = deque(tasks.values())
    names = {task.path: name for name, task in tasks.items()}
    while waiting or engine.running:
        if stop.requested:
            waiting.clear()
            engine.interrupt()
        while waiting and engine.running < engine.workers:
            engine.start(waiting.popleft())
        if engine.running:
            for task, outcome in engine.ended(seconds=0.2):
                yield names[task.path], outcome
