"""Tables of what ran on a GPU: benchmarks/gpu.sh and coin_ablations.py, kept by gpu/keep.py."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

from loqa.envs.coin_game.thresholds import THRESHOLDS
from loqa.plotting.coin_wall_clock import PUBLISHED, PUBLISHED_SIZES

_OBS = {"float32": "float32 planes", "uint8": "uint8 planes", "cells": "cells"}


def environments(results: dict[str, Any]) -> str:
    """Environment steps a second, and the share of the card's copy rate, by batch."""
    lines = results["lines"]
    named = {tuple(one[name] for name in ("contender", "call", "obs", "num_envs")): one
             for one in lines}  # fmt: skip
    batches = sorted({one["num_envs"] for one in lines})
    rows = [
        (f"{call}, {shown}", [named.get(("loqa-cuda", call, obs, size)) for size in batches])
        for obs, shown in _OBS.items()
        for call in ("rollout", "step")
    ]
    rows += [
        (f"JAX, {call}, float32 planes",
         [named.get(("jax-cuda", call, "float32", size)) for size in batches])
        for call in ("rollout", "step")
    ]  # fmt: skip
    found = _table(
        "billion steps/s (share of copy rate)",
        [f"B = {size:,}" for size in batches],
        ((name, [_rate(one) for one in cells]) for name, cells in rows if any(cells)),
    )
    copied = next(one["copied_per_second"] for one in lines if "copied_per_second" in one)
    return (
        f"{found}\n\n`step` is a CUDA graph of 50 steps or fewer. The copy rate of the card, measured in the "
        f"same run, is {copied / 1e12:.2f} TB/s, bytes read and written."
    )


def kernels(results: dict[str, Any]) -> str:
    """Microseconds on the GPU and the share of the copy rate, by shape."""
    lines = [one for one in results["lines"] if one["contender"] == "kernel"]
    shapes = list(dict.fromkeys(tuple(one["shape"]) for one in lines))
    shapes.sort(key=lambda shape: shape[0] * shape[1])
    names = list(dict.fromkeys((one["kernel"], one["mode"]) for one in lines))
    by_case = {(one["kernel"], one["mode"], tuple(one["shape"])): one for one in lines}
    found = _table(
        "microseconds (share of copy rate)",
        [f"[{steps}, {batch:,}]" for steps, batch in shapes],
        (
            (f"{kernel}, {mode}",
             [_kernel(by_case.get((kernel, mode, shape))) for shape in shapes])
            for kernel, mode in names
        ),
    )  # fmt: skip
    return f"{found}\n\nA share above 1: the arrays fit into the GPU's cache."


def phases(results: dict[str, Any]) -> str:
    """Milliseconds an iteration of LOQA."""
    return _table(
        "milliseconds",
        ["iteration", "rollout", "update", "the host's share"],
        (
            (one["case"],
             [f"{1000 * one[name]:.1f}" for name in ("iteration", "rollout", "update", "host")])
            for one in results["lines"]
        ),
    )  # fmt: skip


def launches(results: dict[str, Any]) -> str:
    """Milliseconds an iteration with networks stepped by torch's operators and by kernels of ours."""
    lines = results["lines"]
    by_case = {(one["case"], one["one_launch"]): one for one in lines}
    phases = ("iteration", "rollout", "update")

    def cells(case: str) -> list[str]:
        both = [by_case.get((case, one)) for one in (False, True)]
        times = [
            "" if one is None else f"{1000 * one[name]:.1f}" for one in both for name in phases
        ]
        return times

    return _table(
        "milliseconds",
        [f"{how}: {name}" for how in ("torch's steps", "one launch") for name in phases],
        ((case, cells(case)) for case in dict.fromkeys(one["case"] for one in lines)),
    )


def boards(results: dict[str, Any]) -> str:
    """Seconds to the thresholds by board, beside those that were published."""
    runs = results["lines"]
    rows = []
    for board in sorted({one["board"] for one in runs}):
        mine = [one for one in runs if one["board"] == board]
        place = PUBLISHED_SIZES.index(board) if board in PUBLISHED_SIZES else None
        cells = [_seconds(one[name] for one in mine) for name in (*THRESHOLDS, "held")]
        published = (
            "" if place is None
            else ", ".join(f"{PUBLISHED['LOQA', name][place]:,}" for name in THRESHOLDS)
        )  # fmt: skip
        speed = median(1000 * one["seconds"] / one["iterations"] for one in mine)
        ends = [
            f"{median(one[name] for one in mine):.3f}"
            for name in ("self_play", "vs_always_defect", "vs_always_cooperate")
        ]
        rows.append((f"{board} x {board}", [*cells, published, f"{speed:.0f}", *ends]))
    found = _table(
        "board",
        [*(f"{name}, s" for name in THRESHOLDS), "strong for good, s", "published (A100), s",
         "ms an iteration", "self-play", "always-defect", "always-cooperate"],
        rows,
    )  # fmt: skip
    seeds = ", ".join(str(seed) for seed in sorted({one["seed"] for one in runs}))
    iterations = max(one["iterations"] for one in runs)
    return (
        f"{found}\n\nSeeds {seeds}, {iterations} iterations, one run at a time; times include setting up. "
        "Each cell: the median; n/m: as many as got there. Rewards a step are means of the last five "
        "evaluations."
    )


def ablations(results: dict[str, Any]) -> str:
    """What each case ends in, by board."""
    runs = results["lines"]
    sides = sorted({one["board"] for one in runs})
    rows = []
    for case in dict.fromkeys(one["case"] for one in runs):
        cells = []
        for side in sides:
            mine = [one for one in runs if (one["case"], one["board"]) == (case, side)]
            held = [one["held"][0] for one in mine if one["held"] is not None]
            cells += [
                " ".join(f"{one['self_play']:.3f}" for one in mine),
                " ".join(f"{one['vs_always_defect']:.3f}" for one in mine),
                " ".join(str(round(one)) for one in held) or "-",
            ]
        rows.append((case, cells))
    heads = ("self-play", "always-defect", "strong for good, iteration")
    return _table("", [f"{side} x {side}: {head}" for side in sides for head in heads], rows)


def _table(corner: str, heads: list[str], rows: Iterable[tuple[str, list[str]]]) -> str:
    lines = [f"| {corner} | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    return "\n".join(lines)


def _rate(one: dict[str, Any] | None) -> str:
    if one is None:
        return ""
    share = f" ({one['share_of_copy']:.2f})" if "share_of_copy" in one else ""
    return f"{one['env_steps_per_second'] / 1e9:.2f}{share}"


def _kernel(one: dict[str, Any] | None) -> str:
    return "" if one is None else f"{1e6 * one['gpu_seconds']:.1f} ({one['share_of_copy']:.2f})"


def _seconds(times: Iterable[list[float] | None]) -> str:
    """The median of those that got there, and how many did where not all."""
    known = list(times)
    there = [one[1] for one in known if one is not None]
    if not there:
        return "-"
    some = f" ({len(there)}/{len(known)})" if len(there) < len(known) else ""
    return f"{median(there):.1f}{some}"
