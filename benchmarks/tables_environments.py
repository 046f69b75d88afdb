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


def ratios(rows: dict[str, Row], batches: list[int], others: str) -> list[str]:
    """loqa / the best of the contenders whose names begin so that were timed at this batch size.

    `write` is no simulator: it only writes what one writes.
    """
    cells = []
    for batch in batches:
        timed = {name: rate(row[batch]) for name, row in rows.items() if batch in row}
        ours = [value for name, value in timed.items() if "loqa" in name]
        theirs = [
            value
            for name, value in timed.items()
            if "loqa" not in name and "write" not in name and name.startswith(others)
        ]
        cells.append(f"{max(ours) / max(theirs):.3g}" if ours and theirs else "")
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
        for others, title in (("", "best other"), ("numba", "numba"), ("jaxmarl", "jaxmarl")):
            ratio = ratios(rows, batches, others)
            if any(ratio):
                lines.append(f"| best loqa / {title} | " + " | ".join(ratio) + " |")
    return "\n".join(lines)


def instructions(results: dict[str, Any]) -> str:
    """Instructions of an environment's step: a row a part, a column a kind of observation."""
    counts: dict[str, dict[str, float]] = results["counts"]
    parts = list(next(iter(counts.values())))
    rows = [(part, [by_part[part] for by_part in counts.values()]) for part in parts]
    rows.append(("all", [sum(by_part.values()) for by_part in counts.values()]))
    lines = ["| instructions by part | " + " | ".join(f"`{obs}`" for obs in counts) + " |"]
    lines.append("|---|" + "---:|" * len(counts))
    for part, values in rows:
        lines.append(f"| {part} | " + " | ".join(f"{value:.1f}" for value in values) + " |")
    return "\n".join(lines)
