"""Tables of benchmarks/train_ipd.py."""

from __future__ import annotations

from statistics import median
from typing import Any


def tables(results: dict[str, Any]) -> str:
    """One line a learner: what its seeds ended in, and how long that took."""
    lines = [
        "| learner | iterations | strategies learned | P(C) at the start, after CC, CD, DC, DD: lowest to "
        "highest | reward a step | training, s | whole process, s |",
        "|---|---:|---|---|---:|---:|---:|",
    ]
    learners = results["training"]
    for learner, found in learners.items():
        spread = found["lowest_median_highest"]
        strategies = ", ".join(
            f"{name} {count} of {found['seeds']}" for name, count in found["strategies"].items()
        )
        answers = "; ".join(
            f"{low:.2f} to {high:.2f}" for low, _, high in spread["p_cooperate"].values()
        )
        low, _, high = spread["self_play"]
        shortest, middle, longest = spread["seconds"]
        lines.append(
            f"| {learner} | {found['iterations']} | {strategies} | {answers} | {low:.2f} to {high:.2f} | "
            f"{middle:.1f} ({shortest:.1f} to {longest:.1f}) | {median(found['process_seconds']):.1f} |"
        )
    first = next(iter(learners.values()))
    seeds = f"{first['first_seed']} to {first['first_seed'] + first['seeds'] - 1}"
    lines += [
        "",
        f"Seeds {seeds}, which chose no setting. Reward: of self-play without exploration. Training: median "
        "(lowest to highest), one thread; process: median of three.",
    ]
    return "\n".join(lines)
