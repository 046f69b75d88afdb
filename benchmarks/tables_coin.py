"""Tables of benchmarks/train_coin.py."""

from __future__ import annotations

from statistics import mean, stdev
from typing import Any

import numpy as np

from loqa.sweeps.statistics import bootstrap

PUBLISHED_SECONDS = 3.5
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


def boards(results: dict[str, Any]) -> str:
    """One line a run: when it met the thresholds, from when on strong holds, and what it ended in."""
    lines = [
        "| board | seed | weak, s | medium, s | strong, s | strong for good, s | minutes in all | "
        "s an iteration | self-play | always-defect | always-cooperate |",
        "|---|" + "---:|" * 10,
    ]
    for run in results["training"]:
        times = [run["seconds_to_threshold"][name] for name in _THRESHOLDS]
        times.append(run["seconds_to_threshold_for_good"]["strong"])
        cells = [
            str(run["seed"]),
            *("-" if one is None else f"{one:.0f}" for one in times),
            f"{run['seconds'] / 60:.1f}",
            f"{run['seconds'] / run['iterations']:.2f}",
            f"{mean(run['self_play']):.3f}",
            f"{run['vs_always_defect'][0]:.3f}",
            f"{run['vs_always_cooperate'][0]:.3f}",
        ]
        lines.append(f"| {run['name']} | {' | '.join(cells)} |")
    lines += ["", "Rewards a step of the agent. -: not met, or not held to the end."]
    here = results["machine_info"]["processor"]
    elsewhere: dict[str, list[str]] = {}
    for run in results["training"]:
        if run.get("processor", here) != here:
            elsewhere.setdefault(run["processor"], []).append(f"{run['name']} seed {run['seed']}")
    lines += [f"Measured on {name}: {', '.join(runs)}." for name, runs in elsewhere.items()]
    return "\n".join(lines)


def parts(results: dict[str, Any]) -> str:
    """What the default is without one of its parts: interquartile means over seeds, and intervals."""
    runs = results["lines"]
    rewards = ("self_play", "vs_always_defect", "vs_always_cooperate")
    lines = [
        "| default, with one change | self-play | against always-defect | against always-cooperate | "
        "strong, first met at iteration | strong for good, from iteration |",
        "|---|" + "---:|" * 5,
    ]
    seeds = sorted({one["seed"] for one in runs})
    for case in dict.fromkeys(one["case"] for one in runs):
        mine = [one for one in runs if one["case"] == case]
        some = (
            ""
            if len(mine) == len(seeds)
            else f", seed {', '.join(str(one['seed']) for one in mine)}"
        )
        cells = []
        for name in rewards:
            found = bootstrap([np.array([one[name] for one in mine])])
            cells.append(f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})")
        for name in ("strong", "held"):
            cells.append(", ".join("-" if one[name] is None else str(one[name][0]) for one in mine))
        lines.append(f"| {case}{some} | {' | '.join(cells)} |")
    lines += [
        "",
        f"3 x 3, full size, seeds {', '.join(map(str, seeds))}, {runs[0]['iterations']} iterations. Rewards "
        "a step of the agent, means of the last five evaluations: interquartile mean over the seeds (of "
        "fewer than four: the mean) and its 95% bootstrap interval. Iterations: one number a seed; -: not "
        "met, or not held to the end.",
    ]
    return "\n".join(lines)


def by_seed(results: dict[str, Any]) -> str:
    """One line a setting, a number a seed."""
    runs = results["training"]
    seeds = sorted({run["seed"] for run in runs})
    lines = [
        f"| seeds {', '.join(map(str, seeds))} | self-play | against always-cooperate | "
        "against always-defect | strong after, s | minutes |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(run["name"] for run in runs):
        mine = [run for run in runs if run["name"] == name]
        strong = [run["seconds_to_threshold"]["strong"] for run in mine]
        cells = [
            " ".join(f"{mean(run['self_play']):.3f}" for run in mine),
            *(" ".join(f"{run[other][0]:.3f}" for run in mine)
              for other in ("vs_always_cooperate", "vs_always_defect")),
            " ".join("-" if seconds is None else f"{seconds:.0f}" for seconds in strong),
            " ".join(f"{run['seconds'] / 60:.1f}" for run in mine),
        ]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "Reward per step of the agent, one number a seed; -: not reached."]
    return "\n".join(lines)


def processes(results: dict[str, Any]) -> str:
    """Learning curves of one process and of two: means over seeds, and paired differences."""
    runs = results["training"]
    one, two = (
        [run for run in runs if run["name"] == name] for name in ("one process", "two processes")
    )
    lines = [
        f"| mean over {len(one)} seeds | iteration | one process | two processes | difference, with "
        "its standard error |",
        "|---|---:|---:|---:|---:|",
    ]
    for label, key in (("self-play", "self_play"), ("against always-defect", "vs_always_defect")):
        for index, point in enumerate(one[0]["curve"]):
            first, second = (
                [mean(run["curve"][index][key]) for run in which] for which in (one, two)
            )
            apart = [after - before for before, after in zip(first, second, strict=True)]
            error = stdev(apart) / len(apart) ** 0.5
            lines.append(
                f"| {label} | {point['iteration']} | {mean(first):.3f} | {mean(second):.3f} | "
                f"{mean(apart):+.3f} ± {error:.3f} |"
            )
    seconds = [mean(run["seconds"] / run["iterations"] for run in which) for which in (one, two)]
    lines.append(f"| seconds an iteration | | {seconds[0]:.3f} | {seconds[1]:.3f} | |")
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
        ratio = f"{PUBLISHED_SECONDS / total:.0f}" if "published" in run["name"] else ""
        lines.append(
            f"| {run['name']} | {run['threads']} | {run['rollout']:.3f} | {run['update']:.3f} | "
            f"{total:.3f} | {ratio} | {run['memory_mib']:.0f} |"
        )
    return "\n".join(lines)
