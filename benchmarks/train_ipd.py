"""Trains LOQA and the naive learners on the prisoner's dilemma as a user does, and keeps the results.

    python benchmarks/train_ipd.py [--seeds 10] [--figure benchmarks/figures/ipd.png]

Runs `loqa train ipd` in a process of its own for each seed, then once more five times as long, then
the two naive learners; writes benchmarks/results/train_ipd.json, which report.py puts in the README.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from about import about

from loqa import IPDConfig
from loqa.plot import plot_comparison

LEARNERS = {
    "LOQA": [],
    "LOQA, five times as long": ["--iterations", str(5 * IPDConfig().iterations)],
    "naive": ["--algo", "naive"],
    "naive, shared reward": ["--algo", "naive", "--shared-reward"],
}


def train(out: Path, seed: int, options: list[str]) -> dict[str, Any]:
    """One process; its summary and how long it lived, in seconds."""
    command = [sys.executable, "-m", "loqa", "train", "ipd", "--seed", str(seed), "--out", str(out)]
    started = time.perf_counter()
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
    lived = time.perf_counter() - started
    summary = json.loads((out / "summary.json").read_text())
    return {**summary, "process_seconds": lived, "load": round(os.getloadavg()[0], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--figure", type=Path, help="also draw the first seed of each learner")
    options = parser.parse_args()
    results = Path(__file__).parent / "results" / "train_ipd.json"
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for learner, arguments in LEARNERS.items():
            for seed in range(options.seeds):
                out = Path(folder) / f"{learner}-{seed}"
                run = train(out, seed, arguments)
                runs.append({"learner": learner, **run})
                print(learner, seed, run["strategy"], f"{run['seconds']:.2f} s", flush=True)
        if options.figure:
            names = [name for name in LEARNERS if "times" not in name]
            plot_comparison([Path(folder) / f"{name}-0" for name in names], options.figure)
    results.write_text(json.dumps({**about(), "training": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
