"""Trains on the Coin Game as a user does and keeps the results, one file a study.

    python benchmarks/train_coin.py boards        the default on every board, and what stands beside it
    python benchmarks/train_coin.py learners      the default before it (absolute planes), and naive ones
    python benchmarks/train_coin.py ablations     a small base of that one with one setting changed
    python benchmarks/train_coin.py schedule      the whole schedule on small networks, one part left out
    python benchmarks/train_coin.py processes     the small base in one process and in two
    python benchmarks/train_coin.py phases        seconds an iteration, by phase, published sizes

    --seeds 0 1 2   --jobs 1   --keep DIR (run directories)   --only NAME...   -- options of every run

Runs are processes of `loqa train coin`. With `--jobs 2` two single-threaded runs share the two
cores: their seconds are longer than those of a run alone. Results of an earlier call with other seeds
or names are kept; benchmarks/results/train_coin_STUDY.json, which report.py puts in README.md files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from about import about, machine

_ABSOLUTE = ["--egocentric", "false", "--anneal-once", "at_once", "--steering-rate", "0.05"]
_FORMER = [*_ABSOLUTE, "--anneal-after", "400", "--self-play-target", "0.295",
           "--early-opponents", "0.25", "--iterations", "1800"]  # fmt: skip
# What the ablations change one setting of: small networks that need no long run, steered by nothing.
_BASE = [*_ABSOLUTE, "--actor-hidden", "32", "--critic-hidden", "32", "--gamma", "0.96",
         "--softmax-temperature", "8", "--self-play-target", "none", "--anneal-after", "200",
         "--batch-size", "512", "--opponents", "16", "--early-opponents", "0", "--entropy-bonus", "0.05",
         "--anneal", "1200", "--entropy-final", "0.005", "--iterations", "300"]  # fmt: skip
# The former default's phases, shorter and on small networks.
_SCHEDULE = [*_FORMER, "--actor-hidden", "32", "--critic-hidden", "32", "--batch-size", "512",
             "--opponents", "16", "--anneal-after", "300", "--anneal", "700",
             "--iterations", "1200"]  # fmt: skip


def _side(side: int) -> list[str]:
    return ["--height", str(side), "--width", str(side)]


_HIDDEN_64 = ["--actor-hidden", "64", "--critic-hidden", "64"]
STUDIES: dict[str, dict[str, list[str]]] = {
    "learners": {
        "LOQA": [],
        "naive": ["--algo", "naive"],
        "naive, shared reward": ["--algo", "naive", "--shared-reward"],
    },
    "ablations": {
        "base": [],
        "critic targets of one step (sarsa)": ["--critic-target", "sarsa"],
        "advantages of one step (td0), temperature 1": [
            "--advantage", "td0", "--softmax-temperature", "1",
        ],
        "gradient through the normaliser": ["--stop-normaliser-gradient", "false"],
        "gradient through the normaliser, temperature 1": [
            "--stop-normaliser-gradient", "false", "--softmax-temperature", "1",
        ],
        "temperature 3": ["--softmax-temperature", "3"],
        "published lambda, 0.9": ["--dice-discount", "0.9"],
        "shaping weight 3": ["--shaping-weight", "3"],
        "advantages centred and scaled": [
            "--advantage-baseline", "batch", "--advantage-scale", "batch",
        ],
        "published rate of the actor, 0.001": ["--actor-lr", "0.001"],
        "published entropy bonus, 0.1 throughout": ["--entropy-bonus", "0.1", "--entropy-final", "0.1"],
        "hidden 64": _HIDDEN_64,
        "discount 0.99": ["--gamma", "0.99"],
        "discount 0.99, temperature 20": ["--gamma", "0.99", "--softmax-temperature", "20"],
        "discount 0.99, temperature 20, hidden 64": [
            "--gamma", "0.99", "--softmax-temperature", "20", *_HIDDEN_64,
        ],
        "bfloat16": ["--matmul", "bfloat16"],
    },
    "schedule": {
        "whole": [],
        "no early opponents": ["--early-opponents", "0"],
        "constant shaping weight": ["--self-play-target", "none"],
        "no first phase": ["--anneal-after", "0"],
        "entropy bonus from 0.05": ["--entropy-bonus", "0.05"],
        "entropy bonus 0.1 to the end": ["--entropy-final", "0.1"],
        "constant rate of the actor": ["--actor-lr-final", "0.005"],
    },
    "processes": {"one process": [], "two processes": []},
    "boards": {
        **{f"{side}x{side}": _side(side) for side in (3, 4, 5, 6, 7, 9, 11)},
        **{f"naive, {side}x{side}": ["--algo", "naive", *_side(side)] for side in (3, 4, 5, 6, 7)},
        **{f"absolute, {side}x{side}": ["--egocentric", "false", *_side(side)] for side in (3, 5, 7)},
        **{f"canonical, {side}x{side}": ["--canonical", *_side(side)] for side in (3, 7)},
        "no annealing, 3x3": ["--anneal", "0"],
        "bfloat16, 3x3": ["--matmul", "bfloat16"],
    },
}  # fmt: skip
BASES = {"learners": _FORMER, "ablations": _BASE, "schedule": _SCHEDULE, "processes": _BASE}
_TORCHRUN = ["torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m"]
PHASES = {
    "published size, K = 512": ["--preset", "paper"],
    "published size, K = 32": ["--preset", "paper", "--opponents", "32"],
    "published size, K = 32, bfloat16": [
        "--preset", "paper", "--opponents", "32", "--matmul", "bfloat16",
    ],
    "default": [],
}  # fmt: skip
_PHASE_ITERATIONS = 20
RESULTS = Path(__file__).parent / "results"


def train(name: str, out: Path, seed: int, options: list[str]) -> dict[str, Any]:
    """One process; its summary, and the evaluations on the way. A run that is there is not run again."""
    torchrun = _TORCHRUN if name == "two processes" else []
    command = [sys.executable, "-m", *torchrun, "loqa", "train", "coin", "--seed", str(seed)]
    command += ["--out", str(out), *options]
    if not (out / "summary.json").exists():
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    summary = json.loads((out / "summary.json").read_text())
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if "self_play" in line][-1]
    third = summary["iterations"] // 3
    curve = [
        {"iteration": line["iteration"], "self_play": line["self_play"],
         "vs_always_defect": line["vs_always_defect"][:1]}
        for line in lines if "self_play" in line and line["iteration"] % third == 0
    ]  # fmt: skip
    said = {key: last[key] for key in ("own_coin_share", "entropy") if key in last}
    print(name, seed, json.dumps({**said, **summary["seconds_to_threshold"]}), flush=True)
    return {"name": name, "options": options, **summary, **said, "curve": curve,
            "load": round(os.getloadavg()[0], 2), "processor": machine()["processor"]}  # fmt: skip


def phases(folder: Path) -> list[dict[str, Any]]:
    """Mean seconds an iteration by phase, the first ten left out, and the largest memory."""
    runs = []
    for name, options in PHASES.items():
        for threads in (1, 2):
            out = folder / f"{name}-{threads}"
            command = [sys.executable, "-m", "loqa", "train", "coin", "--out", str(out), *options]
            command += ["--iterations", str(_PHASE_ITERATIONS), "--num-threads", str(threads),
                        "--evaluate-every", str(_PHASE_ITERATIONS), "--log-every", "10"]  # fmt: skip
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"{' '.join(command)} failed")
            last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
            seconds = {
                phase: last["phase_seconds"][phase] / (_PHASE_ITERATIONS - 10)
                for phase in ("rollout", "update")
            }
            kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
            runs.append({"name": name, "threads": threads, "memory_mib": kilobytes / 1024,
                         **seconds})  # fmt: skip
            print(runs[-1], flush=True)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("study", choices=[*STUDIES, "phases"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--keep", type=Path, help="where run directories stay")
    parser.add_argument("--only", nargs="+", help="names of the study")
    arguments = sys.argv[1:]
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    further = arguments[cut + 1 :]
    options = parser.parse_args(arguments[:cut])
    measured = about()  # the commit that runs, should another be checked out meanwhile
    file = RESULTS / f"train_coin_{options.study}.json"
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if options.study == "phases":
            runs = phases(folder)
        else:
            study = STUDIES[options.study]
            names = options.only or list(study)
            base = BASES.get(options.study, [])
            todo = [(name, seed) for seed in options.seeds for name in names]
            with ThreadPoolExecutor(options.jobs) as pool:
                runs = list(
                    pool.map(
                        lambda one: train(
                            one[0],
                            folder / f"{one[0].replace(' ', '-').replace(',', '')}-seed{one[1]}",
                            one[1],
                            [*base, *study[one[0]], *further],
                        ),
                        todo,
                    )
                )
            if file.exists():
                new = {(run["name"], run["seed"]) for run in runs}
                old = json.loads(file.read_text())["training"]
                runs = [run for run in old if (run["name"], run["seed"]) not in new] + runs
            runs.sort(key=lambda run: (list(study).index(run["name"]), run["seed"]))
    measured["machine_info"] = machine()
    file.write_text(json.dumps({**measured, "training": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
