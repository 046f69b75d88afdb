"""Kills runs at random moments and resumes them; see README.md beside this file."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from loqa import CoinConfig, IPDConfig, resume, train
from loqa.training.checkpoint import load_checkpoint
from loqa.training.config import TrainConfig
from loqa.training.run_directory import RunDirectory

TINY = {"batch_size": 4, "episode_length": 4, "actor_hidden": 3, "critic_hidden": 3,
        "iterations": 10**6, "log_every": 1}  # fmt: skip
# More agents between two checkpoints than the pool has places: each needs other blocks.
COIN = {"opponents": 2, "evaluation_episodes": 4, "evaluate_every": 5, "replay_every": 1,
        "replay_capacity": 40, "checkpoint_every": 70}  # fmt: skip


def configurations() -> dict[str, TrainConfig]:
    """What is killed, by name."""
    return {
        "coin": CoinConfig.of_preset(**TINY, **COIN),
        "ipd": IPDConfig.of_preset(**TINY, checkpoint_every=3),
    }


def kill(config: TrainConfig, out: Path, kills: int, rng: random.Random) -> int:
    """Starts a run and kills it so many times, each after one more checkpoint at least; returns its
    newest checkpoint's iteration."""
    context = multiprocessing.get_context("forkserver")  # torch is imported once
    context.set_forkserver_preload(["loqa.training.train"])
    run = RunDirectory(out)
    process = context.Process(target=train, args=(config, out))
    for _ in range(kills):
        before = _iteration(run)
        process.start()
        deadline = time.monotonic() + 300
        while _iteration(run) <= before:
            if not process.is_alive() or time.monotonic() > deadline:
                raise RuntimeError(f"no progress after iteration {before}")
            time.sleep(0.001)
        time.sleep(rng.random() * 0.1)
        process.kill()
        process.join()
        process = context.Process(target=resume, args=(out,))
    return _iteration(run)


def difference(one: Path, other: Path) -> str:
    """Where the metrics and newest checkpoints of two runs differ, less the seconds; or nothing."""
    for name, left, right in (
        ("metrics", RunDirectory(one).metrics(), RunDirectory(other).metrics()),
        ("checkpoint", _newest(one), _newest(other)),
    ):
        first, second = dict(_leaves(left)), dict(_leaves(right))
        if first.keys() != second.keys():
            return f"{name}: {sorted(first.keys() ^ second.keys())[0]} is in one only"
        for place, value in first.items():
            tensor = isinstance(value, torch.Tensor)
            if not (torch.equal(value, second[place]) if tensor else value == second[place]):
                return f"{name}{place}: {value} and {second[place]}"
    return ""


def check(config: TrainConfig, directory: Path, kills: int, rng: random.Random) -> str:
    """Kills and resumes a run, and runs it undisturbed; how the two differ."""
    reached = kill(config, directory / "killed", kills, rng)
    resume(directory / "killed", iterations=reached + 1)
    leftovers = [file.name for file in (directory / "killed").rglob(".*")]
    if leftovers:
        return f"left over: {leftovers}"
    train(type(config).from_dict({**config.to_dict(), "iterations": reached + 1}),
          directory / "whole")  # fmt: skip
    return difference(directory / "killed", directory / "whole")


def _iteration(run: RunDirectory) -> int:
    newest = run.latest_checkpoint()
    return 0 if newest is None else int(newest.stem.partition("_")[2])


def _newest(path: Path) -> dict[str, Any]:
    newest = RunDirectory(path).latest_checkpoint()
    assert newest is not None
    return load_checkpoint(newest)


def _leaves(tree: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            if "seconds" not in str(key):
                yield from _leaves(value, f"{where}/{key}")
    else:
        yield where, tree


def main() -> int:
    """Returns 1 if a run was not what it is undisturbed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="in all, shared by the games")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(options.seed)
    wrong = 0
    for name, config in configurations().items():
        share = options.kills // len(configurations())
        with tempfile.TemporaryDirectory() as directory:
            differs = check(config, Path(directory), share, rng)
            lines = len(RunDirectory(Path(directory) / "killed").metrics())
        print(json.dumps({"game": name, "kills": share, "metrics": lines,
                          "differs": differs or None}), flush=True)  # fmt: skip
        wrong += bool(differs)
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
