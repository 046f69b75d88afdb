"""Trains LOQA and the naive learners on the prisoner's dilemma over many seeds, and keeps what came out.

    python benchmarks/train_ipd.py [--first-seed 2001] [--seeds 100] [--only LEARNER ...]
                                   [--figure benchmarks/figures/ipd.png]

Each learner trains once for each seed, one after the other in this process, on one thread; LOQA once
more five times as long. The first seeds are trained again by `loqa train ipd`, in a process of its own
for each, which is timed and must end in the same numbers. benchmarks/results/train_ipd.json keeps what
the table of benchmarks/README.md shows: counts, lowest and highest numbers, each seed that ended in anything
else than most. With --only, other learners' results stay.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from about import about

import loqa
from loqa import IPDConfig
from loqa.plotting.plot import plot_comparison

RESULTS = Path(__file__).parent / "results" / "train_ipd.json"
LEARNERS: dict[str, dict[str, Any]] = {
    "LOQA": {},
    "LOQA, five times as long": {"iterations": 5 * IPDConfig().iterations},
    "naive": {"algo": "naive"},
    "naive, shared reward": {"algo": "naive", "shared_reward": True},
}
STATES = ("start", "CC", "CD", "DC", "DD")
_PROCESSES = 3  # that are timed, of each learner


def command(fields: dict[str, Any]) -> list[str]:
    """Options of `loqa train ipd`."""
    options = []
    for name, value in fields.items():
        options += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return options


def process_seconds(out: Path, run: dict[str, Any], fields: dict[str, Any]) -> float:
    """The same run in a process of its own: how long that lives."""
    line = [sys.executable, "-m", "loqa", "train", "ipd", "--seed", str(run["seed"])]
    started = time.perf_counter()
    subprocess.run(
        [*line, "--out", str(out), *command(fields)], check=True, stdout=subprocess.DEVNULL
    )
    lived = time.perf_counter() - started
    summary = json.loads((out / "summary.json").read_text())
    for name in ("p_cooperate", "self_play"):
        if summary[name] != run[name]:
            raise RuntimeError(f"a process of its own ended in {summary[name]}, not {run[name]}")
    return lived


def ranges(numbers: list[int]) -> str:
    """Whole numbers in order, such as "1 to 4, 7"."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ", ".join(" to ".join(map(str, part)) for part in parts)


def results_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the runs of a learner have come to."""

    def spread(values: list[float], digits: int = 4) -> list[float]:
        return [round(value, digits) for value in (min(values), median(values), max(values))]

    names = Counter(run["strategy"] for run in runs).most_common()
    return {
        "iterations": runs[0]["iterations"],
        "seeds": ranges([run["seed"] for run in runs]),
        "runs": len(runs),
        "strategies": dict(names),
        "lowest_median_highest": {
            "p_cooperate": {
                state: spread([run["p_cooperate"][state] for run in runs]) for state in STATES
            },
            "self_play": spread([sum(run["self_play"]) / 2 for run in runs]),
            "seconds": spread([run["seconds"] for run in runs], 2),
        },
        "others": {
            run["seed"]: {state: round(p, 4) for state, p in run["p_cooperate"].items()}
            for run in runs
            if run["strategy"] != names[0][0]
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--first-seed", type=int, default=2001)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--only", nargs="+", choices=LEARNERS, default=list(LEARNERS))
    parser.add_argument("--figure", type=Path, help="also draw the first seed of each learner")
    options = parser.parse_args()
    measured = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for learner in options.only:
            fields, runs = LEARNERS[learner], []
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                run = loqa.train(IPDConfig(seed=seed, **fields), folder / f"{learner}-{seed}")
                if run["status"] != "finished":  # a signal: the seeds after it would go on
                    raise SystemExit(f"{learner}, seed {seed}: {run['status']}")
                runs.append(run)
                print(learner, seed, run["strategy"], f"{run['seconds']:.2f} s", flush=True)
            lived = [
                process_seconds(folder / f"{learner}-alone-{run['seed']}", run, fields)
                for run in runs[:_PROCESSES]
            ]
            measured[learner] = {
                **results_of(runs),
                "process_seconds": [round(seconds, 2) for seconds in lived],
            }
        if options.figure:
            drawn = [name for name in options.only if "times" not in name]
            plot_comparison(
                [folder / f"{name}-{options.first_seed}" for name in drawn], options.figure
            )
    kept = json.loads(RESULTS.read_text())["training"] if RESULTS.exists() else {}
    found = {**kept, **measured}
    training = {name: found[name] for name in LEARNERS if name in found}
    RESULTS.write_text(json.dumps({**about(), "training": training}, indent=1) + "\n")


if __name__ == "__main__":
    main()
