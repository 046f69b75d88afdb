"""Tables of benchmarks/train_ipd.py."""

from __future__ import annotations

from statistics import median
from typing import Any


def tables(results: dict[str, Any]) -> str:
    """One line a learner: what its seeds ended in, and how long that took."""
    lines = [
        "| learner | iterations | seeds | strategies learned | P(C) at the start, after CC, CD, DC, DD: "
        "lowest to highest | reward a step | training, s | whole process, s |",
        "|---|---:|---|---|---|---:|---:|---:|",
    ]
    for learner, found in results["training"].items():
        spread = found["lowest_median_highest"]
        strategies = ", ".join(
            f"{name} {count} of {found['runs']}" for name, count in found["strategies"].items()
        )
        answers = "; ".join(
            f"{low:.2f} to {high:.2f}" for low, _, high in spread["p_cooperate"].values()
        )
        low, _, high = spread["self_play"]
        shortest, middle, longest = spread["seconds"]
        alone = found.get("process_seconds")
        lines.append(
            f"| {learner} | {found['iterations']} | {found['seeds']} | {strategies} | {answers} | "
            f"{low:.2f} to {high:.2f} | {middle:.1f} ({shortest:.1f} to {longest:.1f}) | "
            f"{f'{median(alone):.1f}' if alone else 'not measured'} |"
        )
    lines += [
        "",
        "No setting was chosen on these seeds. Reward: of self-play without exploration. Training: median "
        "(lowest to highest), one thread, in which whatever else ran on the machine counts (see its load); "
        "whole process: median of three.",
    ]
    return "\n".join(lines)
