"""Tables of the environments' benchmarks.

One table for each game and call: million environment steps per second, the median of the rounds and
the spread from the slowest to the fastest quarter, then the ratio of the best native row to the best
baseline of the same run.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

Row = dict[int, dict[str, Any]]


def million(steps: float, seconds: float) -> str:
    value = steps / seconds / 1e6
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def cell(result: dict[str, Any]) -> str:
    steps, stats = result["extra_info"]["env_steps"], result["stats"]
    low, high = million(steps, stats["q3"]), million(steps, stats["q1"])
    return f"{million(steps, stats['median'])} ({low} to {high})"


def rate(result: dict[str, Any]) -> float:
    return float(result["extra_info"]["env_steps_per_second"])


def ratios(rows: dict[str, Row], batches: list[int]) -> list[str]:
    """loqa / the best other contender that was timed at this batch size."""
    cells = []
    for batch in batches:
        ours = [rate(row[batch]) for name, row in rows.items() if "loqa" in name and batch in row]
        others = [
            rate(row[batch]) for name, row in rows.items() if "loqa" not in name and batch in row
        ]
        cells.append(f"{max(ours) / max(others):.3g}" if ours and others else "")
    return cells


def tables(results: dict[str, Any]) -> str:
    groups: dict[tuple[str, str, str], dict[str, Row]] = defaultdict(lambda: defaultdict(dict))
    for result in results["benchmarks"]:
        about = result["extra_info"]
        if "contender" in about:
            key = (about["game"], about["call"], about["obs"])
            groups[key][about["contender"]][about["num_envs"]] = result
    lines = [
        "Million environment steps per second: median (slowest to fastest quarter of the rounds)."
    ]
    for (game, call, obs), rows in groups.items():
        batches = sorted({batch for row in rows.values() for batch in row})
        heads = [f"B = {batch}" for batch in batches]
        lines += ["", f"| `{game}`, `{call}`, obs `{obs}` | " + " | ".join(heads) + " |"]
        lines.append("|---|" + "---:|" * len(batches))
        for name, row in rows.items():
            cells = [cell(row[batch]) if batch in row else "" for batch in batches]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        ratio = ratios(rows, batches)
        if any(ratio):
            lines.append("| best loqa / best other | " + " | ".join(ratio) + " |")
    return "\n".join(lines)
