"""Tables of benchmarks/train_coin.py."""

from __future__ import annotations

from statistics import mean
from typing import Any

_PUBLISHED_SECONDS = 3.5
"""An iteration of the published code on two CPU cores of this class (batch 512, 3 x 3, hidden 128 and
64), measured before this package was built."""
_THRESHOLDS = ("weak", "medium", "strong")


def training(results: dict[str, Any]) -> str:
    """One line a run."""
    lines = [
        "| run | seed | minutes | self-play | against always-cooperate | against always-defect | own "
        "coins | weak, medium, strong after, s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for run in results["training"]:
        times = ", ".join(
            "not reached" if run["seconds_to_threshold"][name] is None
            else f"{run['seconds_to_threshold'][name]:.0f}"
            for name in _THRESHOLDS
        )  # fmt: skip
        lines.append(
            f"| {run['name']} | {run['seed']} | {run['seconds'] / 60:.1f} | "
            f"{mean(run['self_play']):.3f} | {run['vs_always_cooperate'][0]:.3f} | "
            f"{run['vs_always_defect'][0]:.3f} | {run['own_coin_share']:.0%} | {times} |"
        )
    lines += [
        "",
        "Reward per step of the agent, and of its own coins among those taken in self-play.",
    ]
    return "\n".join(lines)


def learners(results: dict[str, Any]) -> str:
    """Runs, and how the learners pick up coins in self-play."""
    lines = [
        training(results),
        "",
        "| learner | own coins taken, a step | other's coins taken, a step | own coin beside it and not "
        "taken | other's coin beside it and not taken |",
        "|---|---:|---:|---:|---:|",
    ]
    runs = results["training"]
    for name in dict.fromkeys(run["name"] for run in runs):
        measured = [run["statistics"] for run in runs if run["name"] == name]
        cells = []
        for key, style in (("own_pickups", ".3f"), ("other_pickups", ".3f"),
                           ("easy_misses", ".0%"), ("near_passes", ".0%")):  # fmt: skip
            values = [statistics[key] for statistics in measured]
            cells.append(f"{min(values):{style}} to {max(values):{style}}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def phases(results: dict[str, Any]) -> str:
    """Seconds an iteration."""
    lines = [
        "| 3 x 3, batch 512 (`default`: 1,024) | threads | rollout, s | update, s | iteration, s | "
        "published / ours | largest memory, MiB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for run in results["training"]:
        total = run["rollout"] + run["update"]
        ratio = f"{_PUBLISHED_SECONDS / total:.0f}" if "published" in run["name"] else ""
        lines.append(
            f"| {run['name']} | {run['threads']} | {run['rollout']:.3f} | {run['update']:.3f} | "
            f"{total:.3f} | {ratio} | {run['memory_mib']:.0f} |"
        )
    return "\n".join(lines)
