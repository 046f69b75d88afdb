"""Tables of benchmarks/train_rivals.py and update_costs.py."""

from __future__ import annotations

from typing import Any

import tables_training


def tables(results: dict[str, Any]) -> str:
    """What each learner's seeds ended in, and the league of what they learned."""
    return f"{tables_training.tables(results)}\n\n{league(results['league'])}"


def league(found: dict[str, Any]) -> str:
    """Mean reward a step of row against column."""
    names = list(dict.fromkeys(pair["first"] for pair in found["groups"]))
    names += [one["second"] for one in found["groups"] if one["second"] not in names]
    names = list(dict.fromkeys(names))
    cells: dict[tuple[str, str], str] = {}
    for pair in found["groups"]:
        for names_of, (mean, low, high) in zip(
            ((pair["first"], pair["second"]), (pair["second"], pair["first"])),
            pair["reward"],
            strict=True,
        ):
            cells.setdefault(names_of, f"{mean:.2f} ± {(high - low) / 2:.2f}")
    lines = [
        f"League of {found['agents']} agents, all pairs, both seats, {found['episodes']:,} episodes each: "
        "mean reward a step of the row against the column, with half of the 95% interval over pairs.",
        "",
        f"| | {' | '.join(names)} |",
        "|---|" + "---:|" * len(names),
    ]
    for row in names:
        lines.append(f"| {row} | " + " | ".join(cells.get((row, one), "") for one in names) + " |")
    return "\n".join(lines)


def costs(results: dict[str, Any]) -> str:
    """CPU seconds and memory of one update, a line for each algorithm, by what varies."""
    found = {name: one for name, one in results["updates"].items() if " published " not in name}
    names = list(dict.fromkeys(name.partition(", ")[0] for name in found))
    sizes = list(dict.fromkeys(name.partition(", ")[2] for name in found))
    lines = [f"| | {' | '.join(sizes)} |", "|---|" + "---:|" * len(sizes)]
    for name in names:
        cells = []
        for size in sizes:
            one = found.get(f"{name}, {size}")
            cells.append(
                "" if one is None else f"{one['seconds']:.3f} s, {one['mebibytes']:.0f} MiB"
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "One update: CPU seconds, and how far the peak of the process rises. Where nothing else is said: "
        "3 x 3, 50 steps, two inner steps. POLA's is one of its outer steps. M-FOS's is of two (or as many "
        "as there are inner steps) of its 16 inner episodes, of 16 steps where no horizon is said.",
    ]
    return "\n".join(lines)
