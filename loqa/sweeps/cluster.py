"""Runs side by side on a Ray cluster."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from loqa.runtime.cluster import cores
from loqa.sweeps.work import Outcome, Task, work


class RayEngine:
    """Tasks of Ray, one a run. The sweep's directory must be seen under its path by all machines.

    Args:
        ray: the module, connected (`loqa.runtime.cluster`).
        workers: most runs at a time; by default as many as the cluster has cores.
    """

    def __init__(self, ray: Any, workers: int | None) -> None:
        self._ray = ray
        self.workers = cores(ray) if workers is None else workers
        self._tasks: dict[Any, Task] = {}

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.interrupt()
        while self._tasks:
            self.ended(1.0)

    @property
    def running(self) -> int:
        return len(self._tasks)

    def start(self, task: Task) -> None:
        on_gpu = str(task.config["device"]).startswith("cuda")
        needs = {"num_cpus": task.config["num_threads"], "num_gpus": int(on_gpu), "max_retries": 0}
        remote = self._ray.remote(**needs)(_work)
        self._tasks[remote.remote(asdict(task), os.getcwd())] = task

    def ended(self, seconds: float) -> list[tuple[Task, Outcome]]:
        done, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        return [(self._tasks.pop(one), self._outcome(one)) for one in done]

    def interrupt(self) -> None:
        for one in self._tasks:  # as Ctrl-C does: the run saves
            self._ray.cancel(one, force=False)

    def _outcome(self, one: Any) -> Outcome:
        errors = self._ray.exceptions
        try:
            return Outcome(**self._ray.get(one))
        except errors.TaskCancelledError:
            return Outcome("interrupted")
        except errors.RayError as error:
            said = str(error).strip().splitlines()
            return Outcome("failed", f"{type(error).__name__}: {said[0] if said else ''}")


def _work(task: dict[str, Any], folder: str) -> dict[str, str]:
    os.chdir(folder)  # where a user's environment may be imported from
    return work(task)
