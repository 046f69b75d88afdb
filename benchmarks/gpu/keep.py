"""Keeps what calls of benchmarks/gpu.sh and coin_ablations.py measured, as files of results.

    python benchmarks/gpu/keep.py FOLDER ...

Each FOLDER has lines of JSON. benchmarks/results gets gpu_environments.json (simulator and JAX),
gpu_kernels.json, gpu_phases.json, gpu_launches.json, gpu_boards.json, gpu_ablations.json and
coin_ablations.json (on a CPU), each where there is something for it (boards.jsonl, ablations.jsonl and
coin_ablations.jsonl are what coin_ablations.py writes); of parts measured twice the later folder's counts.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from loqa.envs.coin_game.thresholds import THRESHOLDS, reached

RESULTS = Path(__file__).parents[1] / "results"
Line = dict[str, Any]
SOURCES = {
    "gpu_environments": ("simulator", "JAX"),
    "gpu_kernels": ("kernels",),
    "gpu_phases": ("phases",),
    "gpu_launches": ("launches",),
    "gpu_boards": ("boards",),
    "gpu_ablations": ("ablations",),
    "coin_ablations": ("coin_ablations",),
}
ENVIRONMENT = (
    "contender", "call", "obs", "num_envs", "env_steps_per_second", "share_of_copy",
    "copied_per_second", "bytes_per_step",
)  # fmt: skip
KERNEL = ("contender", "kernel", "mode", "shape", "gpu_seconds", "share_of_copy", "bytes")


def environments(lines: list[Line]) -> list[Line]:
    """Of each measured case what tables need; measured twice, the first."""
    found = {}
    for line in lines:
        if "env_steps_per_second" in line:
            kept = {name: line[name] for name in ENVIRONMENT if name in line}
            found.setdefault(tuple(kept[name] for name in ENVIRONMENT[:4]), kept)
    return list(found.values())


def kernels(lines: list[Line]) -> list[Line]:
    return [{name: line[name] for name in KERNEL} for line in lines if "share_of_copy" in line]


def phases(lines: list[Line]) -> list[Line]:
    names = ("case", "graphs", "iteration", "host", "rollout", "update")
    return [{name: line[name] for name in names} for line in lines if "iteration" in line]


def launches(lines: list[Line]) -> list[Line]:
    names = ("case", "one_launch", "iteration", "host", "rollout", "update")
    return [{name: line[name] for name in names} for line in lines if "iteration" in line]


def boards(lines: list[Line]) -> list[Line]:
    """Each run by when it met the thresholds, from when on it holds strong, and its last evaluations."""
    runs: dict[tuple[Any, ...], list[Line]] = defaultdict(list)
    for line in lines:
        if "self_play" in line:
            runs[line["case"], line["board"], line["seed"]].append(line)
    return [run(*name, evaluations) for name, evaluations in runs.items()]


def run(case: str, board: int, seed: int, evaluations: list[Line]) -> Line:
    first: dict[str, Line] = {}
    held: Line | None = None
    for one in evaluations:
        paid = sum(one["self_play"]) / 2
        met = reached(paid, one["vs_always_defect"][0], board, board)
        for name in met:
            first.setdefault(name, one)
        held = (held or one) if "strong" in met else None
    last = evaluations[-5:]

    def mean(name: str) -> float:
        values = [sum(one[name]) / 2 if name == "self_play" else one[name][0] for one in last]
        return sum(values) / len(values)

    def when(one: Line | None) -> list[float] | None:
        return None if one is None else [one["iteration"], one["seconds"]]

    rewards = ("self_play", "vs_always_defect", "vs_always_cooperate")
    return {
        "case": case, "board": board, "seed": seed, "iterations": evaluations[-1]["iteration"],
        "seconds": evaluations[-1]["seconds"], **{name: when(first.get(name)) for name in THRESHOLDS},
        "held": when(held), **{name: mean(name) for name in rewards},
    }  # fmt: skip


def main(*folders: str) -> None:
    kept_by = (environments, kernels, phases, launches, boards, boards, boards)
    kinds = dict(zip(SOURCES, kept_by, strict=True))
    for name, kept in kinds.items():
        about: Line = {}
        lines: list[Line] = []
        for source in SOURCES[name]:
            files = [Path(folder) / f"{source}.jsonl" for folder in folders]
            there = [file for file in files if file.exists()]
            for text in there[-1].read_text().splitlines() if there else ():
                line = json.loads(text)
                if "machine_info" in line:
                    about = about or line
                else:
                    lines.append(line)
        if lines:
            text = json.dumps({**about, "lines": kept(lines)}, indent=1)
            (RESULTS / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
