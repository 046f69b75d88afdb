"""Runs of one configuration on several seeds, one after the other in this process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import loqa
from loqa.training.config import TrainConfig


def train(
    config_of: Callable[[int], TrainConfig],
    seeds: Iterable[int],
    say: Callable[[dict[str, Any]], object],
    read: Callable[[Path], dict[str, Any]] = lambda run: {},
) -> list[dict[str, Any]]:
    """The summary of each run, with "cpu_seconds" of this process and what `read` finds in the run's
    directory; `say` is told of each."""
    runs = []
    for seed in seeds:
        began = time.process_time()
        with tempfile.TemporaryDirectory() as name:
            out = Path(name) / "run"
            run = loqa.train(config_of(seed), out)
            run |= read(out)
        if run["status"] != "finished":  # a signal: the seeds after it would go on
            raise SystemExit(f"seed {seed}: {run['status']}")
        runs.append({**run, "cpu_seconds": time.process_time() - began})
        say(runs[-1])
    return runs


def spread(values: list[float]) -> list[float]:
    """Lowest, mean and highest."""
    return [round(value, 4) for value in (min(values), sum(values) / len(values), max(values))]
