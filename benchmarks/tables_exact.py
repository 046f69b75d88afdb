"""Tables of benchmarks/exact_games.py."""

from __future__ import annotations

from typing import Any


def reciprocity(results: dict[str, Any]) -> str:
    """A line for each setting and number of players."""
    first, last = results["seeds"]
    seeds = last - first + 1
    lines = [
        f"| seeds {first} to {last}, a run each | strict | kinds | self-play | a lone defector | "
        "best response gains | errors to return | CPU s, all seeds |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in results["rows"].items():
        kinds = ", ".join(f"{kind} {count}" for kind, count in row["kinds"].items())
        numbers = " | ".join(
            "{:.3f} ({:.3f} to {:.3f})".format(*row[one])
            for one in ("self_play", "lone_defector", "best_response_gain")
        )
        errors = ", ".join(map(str, row["errors_to_return"]))
        lines.append(
            f"| {name} | {row['strict']} of {seeds} | {kinds} | {numbers} | {errors} | "
            f"{row['seconds']:.0f} |"
        )
    return "\n".join(lines)


def rates(results: dict[str, Any]) -> str:
    """A line for each of the other's expected rates, a column for each factor and rate of one's own."""
    grid, lr = results["lola_preconditioned"], results["lr"]
    columns = [(factor, index) for factor in grid for index in range(len(lr))]
    lines = [
        "| eta | "
        + " | ".join(f"f {factor}, alpha {lr[index]:g}" for factor, index in columns)
        + " |",
        "|---:|" + "---:|" * len(columns),
    ]
    for eta in next(iter(grid.values())):
        counts = " | ".join(str(grid[factor][eta][index]) for factor, index in columns)
        lines.append(f"| {float(eta):g} | {counts} |")
    lines += [
        "",
        f"Runs of {results['runs']} in which LOLA with preconditioned tables finds tit-for-tat.",
    ]
    return "\n".join(lines)
