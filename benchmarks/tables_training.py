"""Tables of benchmarks/train_ipd.py."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import Any

STATES = ("start", "CC", "CD", "DC", "DD")


def tables(results: dict[str, Any]) -> str:
    """One line a learner: what its seeds ended in, and how long that took."""
    runs = results["training"]
    lines = [
        "| learner | iterations | strategies learned | P(C) at the start, after CC, CD, DC, DD: lowest to "
        "highest | training, s | whole process, s |",
        "|---|---:|---|---|---:|---:|",
    ]
    for learner in dict.fromkeys(run["learner"] for run in runs):
        mine = [run for run in runs if run["learner"] == learner]
        names = Counter(run["strategy"] for run in mine)
        strategies = ", ".join(f"{name} {count} of {len(mine)}" for name, count in names.items())
        answers = []
        for state in STATES:
            values = [run["p_cooperate"][state] for run in mine]
            answers.append(f"{min(values):.2f} to {max(values):.2f}")
        lines.append(
            f"| {learner} | {mine[0]['iterations']} | {strategies} | {'; '.join(answers)} | "
            f"{spread([run['seconds'] for run in mine])} | "
            f"{spread([run['process_seconds'] for run in mine])} |"
        )
    lines += ["", "Times: median (lowest to highest) over the seeds."]
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})"
