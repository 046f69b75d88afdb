"""Tables of benchmarks/exploitability.py, league_published.py and bench_tournament.py."""

from __future__ import annotations

from typing import Any


def exploitability(results: dict[str, Any]) -> str:
    """One line a player: what was found by each method, beside the exact optimum where it is known."""
    lines = [
        "| player | it earns in self-play | always-cooperate earns against it | always-defect | trained "
        "response | tree search | exact optimum |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for one in results["players"]:
        cells = [_three(one["self_play"]), *map(_three, one["scripted"].values())]
        for method in ("trained", "mcts"):
            mine = one[method]["reward"][0]
            half = (mine["high"] - mine["low"]) / 2
            cells.append(f"{_three(mine['mean'])} ± {half:.3f} ({one[method]['seconds']:.0f} s)")
        cells.append(f"{one['optimum']:.4f}" if "optimum" in one else "")
        lines.append(f"| {one['player']} | {' | '.join(cells)} |")
    loads = [one["load"] for one in results["players"]]
    lines += ["", f"Reward per step of the response, with half of the 95% interval, and the time to find and "
              f"play it, at a load of {min(loads):.1f} to {max(loads):.1f}."]  # fmt: skip
    return "\n".join(lines)


def _three(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"  # + 0.0: no minus before zero


def league(results: dict[str, Any]) -> str:
    """The time of a league, and its group means beside the recorded ones."""
    lines = [
        f"{results['agents']} agents, {results['ours']} of ours, published ones and scripted ones, "
        f"{results['pairs']} pairs (each agent meets itself too) of "
        f"{results['episodes']:,} episodes of {results['episode_length']} steps: "
        f"{results['seconds']:,.0f} s, whatever else ran (see the load). Mean reward per step, beside what "
        "the published environment gave:",
        "",
        "| algorithms | pairs | first | recorded | second | recorded |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in results["groups"]:
        cells = [
            f"{side['mean']:.4f} | "
            + ("" if side["recorded"] is None else f"{side['recorded']:.4f}")
            for side in row["sides"]
        ]
        lines.append(f"| {row['first']} x {row['second']} | {row['pairs']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tournament(results: dict[str, Any]) -> str:
    """Seconds for a whole round robin."""
    times = {one["name"].split("[")[1].rstrip("]"): one["stats"] for one in results["benchmarks"]}
    said = "; ".join(
        f"{name} {stats['median']:.2f} s ({stats['min']:.2f} to {stats['max']:.2f})"
        for name, stats in times.items()
    )
    return f"Round robin of 200 random memory-1 strategies, 200 turns, 100 repeats: {said}."
