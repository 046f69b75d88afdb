"""What one update of each algorithm takes: CPU seconds and memory, by grid, horizon and inner steps.

    python benchmarks/update_costs.py [--only NAME ...]

The Coin Game, recurrent networks of 32 units (M-FOS: its own), 64 episodes, one thread. Each row runs in a
process of its own: one update to warm up, then the median of three (of fewer, if that takes over 2 s); the
memory is how far the process's peak rises above what it held before the first. The rows "ALGORITHM, published
N" are of the published settings on a board of N x N, of a part of an update where a whole one is too long
(`PUBLISHED`). benchmarks/results/update_costs.json keeps the numbers; report.py puts them into
loqa/algos/README.md, published_lengths.py draws what whole trainings would take.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from about import about

RESULTS = Path(__file__).parent / "results" / "update_costs.json"
_ENOUGH = 2.0  # CPU seconds of measuring, after which a row is not repeated
SIZE = {"batch_size": 64, "actor_hidden": 32, "critic_hidden": 32, "evaluate_every": 0}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "naive": {"algo": "naive", "meets": "self"},
    "loqa": {"algo": "loqa", "meets": "self"},
    "aa": {"algo": "aa", "meets": "self"},
    "ppo": {"algo": "ppo", "meets": "self"},
    "lola": {"algo": "lola", "meets": "self", "objective": "loaded"},
    # One of the outer steps, of which an update has 200.
    "pola": {"algo": "pola", "meets": "self", "outer_steps": 1},
    # As many of the inner episodes, of 16 steps, as the others look ahead; a meta-episode has 16.
    "mfos": {"algo": "mfos", "meets": "naive"},
}
INNER = {"lola": "inner_steps", "pola": "inner_steps", "mfos": "inner_episodes"}
GRIDS, HORIZONS, INNER_STEPS = (3, 4, 5, 6, 7), (25, 50, 100), (1, 2, 4)


@dataclass(frozen=True)
class Published:
    """A training as published, or a part of it.

    Attributes:
        title: of the algorithm; costs of equal titles are added.
        fields: of the configuration that is measured.
        parts: how many times what is measured makes one update of all agents, as if costs were linear in
            agents, outer steps, boards and inner episodes. On a 3 x 3 board M-FOS costs 1.8 times as much
            with twice the boards, or twice the inner episodes: its lengths are about a fifth too long.
        updates: of the training.
    """

    title: str
    fields: dict[str, Any]
    parts: int
    updates: int


_GRU = {"actor_hidden": 64, "critic_hidden": 64, "objective": "loaded", "meets": "self"}
_META = {"algo": "mfos", "meets": "learners", "inner_episodes": 2}
PUBLISHED: dict[str, Published] = {
    "loqa": Published(
        "LOQA, our default settings, 1,500 updates",
        {"batch_size": 1024, "actor_hidden": 64, "critic_hidden": 64},
        1, 1500,
    ),
    "loqa, paper": Published(
        "LOQA, published settings, 10,000 updates",
        {"preset": "paper", "batch_size": 512, "actor_hidden": 128, "critic_hidden": 64},
        1, 10_000,
    ),
    # One of two agents.
    "lola": Published(
        "LOLA-DiCE, 50,001 updates",
        {**_GRU, "algo": "lola", "batch_size": 2000, "inner_steps": 1, "inner_lr": 0.003},
        2, 50_001,
    ),
    # One of 200 outer steps, one of two agents.
    "pola": Published(
        "POLA-DiCE, 251 updates",
        {**_GRU, "algo": "pola", "batch_size": 1000, "inner_steps": 4, "inner_lr": 0.01,
         "inner_kl": 5.0, "outer_kl": 150.0, "outer_steps": 1},
        200 * 2, 251,
    ),
    # 64 of 512 boards, 2 of 16 inner episodes, both agents. By the published schedule they meet in iteration
    # i with probability min(1, 0.005 (i - 1)): in 900 of 1000.
    "mfos, naive": Published("M-FOS, 1,000 updates", {**_META, "self_play_decay": 0.0}, 64, 100),
    "mfos, each other": Published("M-FOS, 1,000 updates", {**_META, "self_play_decay": 1.0}, 64, 900),
}  # fmt: skip

# Smaller trainings that three hours of one core hold: title, the row whose cost is meant, how many of it make
# one update, and updates.
REDUCED: tuple[tuple[str, str, int, int], ...] = (
    ("POLA-DiCE, 64 episodes, 32 units, 2 inner and 20 outer steps", "pola, grid 3", 20 * 2, 251),
    ("M-FOS, 64 boards, 4 inner episodes, against naive learners", "mfos, inner 4", 1, 1000),
)


def rows() -> dict[str, dict[str, Any]]:
    """Name of a row -> fields of its configuration: one of three sizes varies, the others stay."""
    found = {}
    for name, fields in ALGORITHMS.items():
        inner = {INNER[name]: 2} if name in INNER else {}
        for grid in GRIDS:
            found[f"{name}, grid {grid}"] = {**fields, **inner, "height": grid, "width": grid}
        for horizon in HORIZONS:
            found[f"{name}, horizon {horizon}"] = {**fields, **inner, "episode_length": horizon}
        for steps in INNER_STEPS if inner else ():
            if name == "mfos" and steps == 1:  # a meta-episode has two or more
                continue
            found[f"{name}, inner {steps}"] = {**fields, INNER[name]: steps}
    for name, one in PUBLISHED.items():
        for grid in GRIDS:
            found[f"{name}, published {grid}"] = {**one.fields, "height": grid, "width": grid}
    return found


def peak() -> float:
    """MiB that the process held at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(fields: dict[str, Any]) -> dict[str, float]:
    """One row, in this process."""
    from loqa import CoinConfig
    from loqa.runtime.torch_settings import usual_torch
    from loqa.training.trainer import Trainer

    with usual_torch("highest", 1):
        whole = {"preset": "default", **SIZE, **fields}
        config = CoinConfig.of_preset(**whole)
        small = {"batch_size": 2, "opponents": 1, "episode_length": 2}
        Trainer(CoinConfig.of_preset(**{**whole, **small})).iterate()
        before = peak()
        trainer = Trainer(config)
        trainer.iterate()
        seconds: list[float] = []
        while len(seconds) < 3 and sum(seconds) < _ENOUGH:
            started = time.process_time()
            trainer.iterate()
            seconds.append(time.process_time() - started)
    return {"seconds": round(median(seconds), 4), "mebibytes": round(peak() - before, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=rows(), metavar="NAME")
    parser.add_argument("--row", help="measure this one here and print it")
    options = parser.parse_args()
    if options.row:
        print(json.dumps(measure(rows()[options.row])))
        return
    kept = json.loads(RESULTS.read_text())["updates"] if RESULTS.exists() else {}
    found = {name: kept[name] for name in rows() if name in kept}
    for name in options.only or rows():
        line = [sys.executable, __file__, "--row", name]
        told = subprocess.run(line, check=True, capture_output=True, text=True).stdout
        found[name] = json.loads(told)
        print(name, found[name], flush=True)
        ordered = {one: found[one] for one in rows() if one in found}
        RESULTS.write_text(json.dumps({**about(), "updates": ordered}, indent=1) + "\n")


if __name__ == "__main__":
    main()
