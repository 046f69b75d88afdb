"""What one update of each algorithm takes: CPU seconds and memory, by grid, horizon and inner steps.

    python benchmarks/update_costs.py [--only NAME ...]

The Coin Game, recurrent networks of 32 units, 64 episodes, one thread. Each row runs in a process of its
own: one update to warm up, then the median of three; the memory is how far the process's peak rises
above what it held before the first. benchmarks/results/update_costs.json keeps the numbers;
report.py puts them into loqa/algos/README.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from about import about

RESULTS = Path(__file__).parent / "results" / "update_costs.json"
SIZE = {"batch_size": 64, "actor_hidden": 32, "critic_hidden": 32, "evaluate_every": 0}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "naive": {"algo": "naive", "meets": "self"},
    "loqa": {"algo": "loqa", "meets": "self"},
    "aa": {"algo": "aa", "meets": "self"},
    "ppo": {"algo": "ppo", "meets": "self"},
    "lola": {"algo": "lola", "meets": "self", "objective": "loaded"},
    # One of the outer steps, of which an update has 200.
    "pola": {"algo": "pola", "meets": "self", "outer_steps": 1},
}
LOOK_AHEAD = ("lola", "pola")
GRIDS, HORIZONS, INNER_STEPS = (3, 5, 7), (25, 50, 100), (1, 2, 4)


def rows() -> dict[str, dict[str, Any]]:
    """Name of a row -> fields of its configuration: one of three sizes varies, the others stay."""
    found = {}
    for name, fields in ALGORITHMS.items():
        inner = {"inner_steps": 2} if name in LOOK_AHEAD else {}
        for grid in GRIDS:
            found[f"{name}, grid {grid}"] = {**fields, **inner, "height": grid, "width": grid}
        for horizon in HORIZONS:
            found[f"{name}, horizon {horizon}"] = {**fields, **inner, "episode_length": horizon}
        for steps in INNER_STEPS if inner else ():
            found[f"{name}, inner {steps}"] = {**fields, "inner_steps": steps}
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
        config = CoinConfig.of_preset("default", **SIZE, **fields)
        small = {"batch_size": 1, "episode_length": 2}
        Trainer(CoinConfig.of_preset("default", **{**SIZE, **fields, **small})).iterate()
        before = peak()
        trainer = Trainer(config)
        trainer.iterate()
        seconds = []
        for _ in range(3):
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
    found = {}
    for name in rows():
        if options.only and name not in options.only:
            found[name] = kept[name]
            continue
        line = [sys.executable, __file__, "--row", name]
        told = subprocess.run(line, check=True, capture_output=True, text=True).stdout
        found[name] = json.loads(told)
        print(name, found[name], flush=True)
    RESULTS.write_text(json.dumps({**about(), "updates": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
