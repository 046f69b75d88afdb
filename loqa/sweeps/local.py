"""Runs side by side in processes of this machine."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from typing import IO

from loqa._native import core
from loqa.sweeps.work import Outcome, Task

# Modules are found where they are found here, also a user's own environment.
_CODE = "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); import loqa.sweeps.worker as w; w.main()"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class LocalEngine:
    """Processes that import torch once and do runs one after the other, each in one thread.

    A process that dies (it was killed, or memory ran out) fails its run alone; the next run gets a new one.

    Args:
        workers: how many at a time; by default as many as there are cores for this process.
    """

    def __init__(self, workers: int | None) -> None:
        self.workers = core.default_num_threads() if workers is None else workers
        self._selector = selectors.DefaultSelector()
        self._workers: list[_Worker] = []
        self._stopping = False

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.interrupt()
        while self._workers:
            self.ended(1.0)
        self._selector.close()

    @property
    def running(self) -> int:
        return sum(one.task is not None for one in self._workers)

    def start(self, task: Task) -> None:
        idle = next((one for one in self._workers if one.task is None), None)
        if idle is None:
            idle = _Worker()
            self._workers.append(idle)
            self._selector.register(idle.answers, selectors.EVENT_READ, idle)
        idle.give(task)

    def ended(self, seconds: float) -> list[tuple[Task, Outcome]]:
        found = []
        for key, _ in self._selector.select(seconds):
            worker: _Worker = key.data
            task, line = worker.task, worker.answers.readline()
            worker.task = None
            if line and task is not None:
                found.append((task, Outcome(**json.loads(line))))
                continue
            self._selector.unregister(worker.answers)
            self._workers.remove(worker)
            why = worker.ended()
            if task is not None:
                outcome = Outcome("interrupted") if self._stopping else Outcome("failed", why)
                found.append((task, outcome))
        return found

    def interrupt(self) -> None:
        self._stopping = True
        for one in self._workers:
            one.stop()


class _Worker:
    """A process of `loqa.sweeps.worker`, and the run that it does."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `ended`)
        # Ctrl-C on a terminal is for all of its processes: this one answers it for all. The signal mask
        # is inherited, so the new process never sees one, and none is lost here.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CODE, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env={**os.environ, **_ONE_THREAD},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._tasks, self.answers = self._process.stdin, self._process.stdout

    def give(self, task: Task) -> None:
        self.task = task
        with suppress(BrokenPipeError):  # it has died: the end of its answers says so
            self._tasks.write(json.dumps(asdict(task)).encode() + b"\n")
            self._tasks.flush()

    def stop(self) -> None:
        with suppress(BrokenPipeError):
            self._tasks.close()

    def ended(self) -> str:
        """Waits for the end of the process; returns how it ended."""
        self.stop()
        code = self._process.wait()
        self.answers.close()
        with self._said:
            self._said.seek(0)
            said = self._said.read().decode(errors="replace").strip().splitlines()
        how = f"exit code {code}"
        if code < 0:
            how = f"killed by {signal.Signals(-code).name}"
        return f"its process ended: {how}" + (f" ({said[-1]})" if said else "")
