"""The published league again: every group mean beside the one recorded with the published environment;
and ours against all of them.

    LOQA_REFERENCE_AGENTS_DIR=DIR python benchmarks/league_published.py [--episodes 1000] [--out DIR]
    ... --ours RUN ... --families LOQA POLA --scripted ac ad --json benchmarks/results/league.json

RUN is a run directory, or the name of an agent that comes with the package (`loqa-coin-3x3` by default). DIR
holds the arrays of the ten published agents each of LOQA, POLA and M-FOS, and the eight of Advantage
Alignment, which come from two codes. Exits with 1 if a mean is
further than two standard errors from the recorded one; a standard error is the recorded standard
deviation over pairs, divided by the root of their number (mean +- deviation is what was recorded).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from about import about

import loqa
from loqa.evaluation.league import GroupPair

# Mean and standard deviation over pairs, of the first and the second; None was not recorded.
RECORDED: dict[tuple[str, str], tuple[tuple[float, float | None], tuple[float, float | None]]] = {
    ("LOQA", "LOQA"): ((0.2905, 0.0423), (0.3000, 0.0334)),
    ("LOQA", "POLA"): ((0.1694, 0.1134), (0.2330, 0.0814)),
    ("LOQA", "M-FOS"): ((0.1898, 0.0355), (0.0173, 0.0805)),
    ("LOQA", "random"): ((0.2667, 0.0158), (-0.1712, 0.0237)),
    ("POLA", "POLA"): ((0.2074, 0.1139), (0.1771, 0.1352)),
    ("POLA", "random"): ((0.2343, None), (-0.1244, None)),
    ("M-FOS", "M-FOS"): ((-0.0248, 0.0994), (0.0249, 0.0985)),
    ("M-FOS", "always-defect"): ((-0.4304, 0.0450), (0.4362, None)),
    ("M-FOS", "always-cooperate"): ((0.3181, None), (0.0285, None)),
}


OURS = "ours"
FAMILIES = {
    "LOQA": [f"loqa_{number}" for number in range(1, 11)],
    "POLA": [f"pola_{number}" for number in range(1, 11)],
    "M-FOS": [f"mfos_{number}" for number in range(42, 52)],
    "Advantage Alignment": [
        *(f"aa_baseline_{number}" for number in range(1, 6)),
        *(f"aa_25400_{number}" for number in range(1, 4)),
    ],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--ours", nargs="*", default=["loqa-coin-3x3"], metavar="RUN")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--scripted", nargs="*", default=["ad", "ac", "random"])
    parser.add_argument("--out", help="directory of the league")
    parser.add_argument("--json", type=Path, help="results, for report.py")
    options = parser.parse_args()
    directory = Path(os.environ["LOQA_REFERENCE_AGENTS_DIR"])
    agents = {Path(one).name: one for one in [*options.ours, *options.scripted]}
    groups = {Path(one).name: OURS for one in options.ours}
    for family in options.families:
        agents |= {name: directory / f"{name}.npz" for name in FAMILIES[family]}
        groups |= dict.fromkeys(FAMILIES[family], family)
    started = time.perf_counter()
    league = loqa.league(agents, groups=groups, episodes=options.episodes, out=options.out)
    seconds = time.perf_counter() - started
    print(f"{len(league.pairs)} pairs of {options.episodes} episodes in {seconds:.1f} s")
    rows = [compare(pair) for pair in league.group_pairs if pair.first in {OURS, *FAMILIES}]
    for row in rows:
        cells = [f"{one['mean']:7.4f}" + ("" if one["recorded"] is None else
                 f" (recorded {one['recorded']:7.4f}, {one['errors']:+.2f} errors)")
                 for one in row["sides"]]  # fmt: skip
        print(
            f"{row['first']:>11} x {row['second']:<16} {row['pairs']:3} pairs  {'  '.join(cells)}"
        )
    worst = max(
        abs(side["errors"]) for row in rows for side in row["sides"] if side["recorded"] is not None
    )
    print(f"largest distance: {worst:.2f} standard errors")
    if options.json:
        found = {
            "agents": len(league.names),
            "ours": len(options.ours),
            "pairs": len(league.pairs),
            "episodes": options.episodes,
            "episode_length": 50,
            "seconds": seconds,
            "groups": rows,
        }
        options.json.write_text(json.dumps({**about(), **found}, indent=1) + "\n")
    return int(worst > 2)


def compare(pair: GroupPair) -> dict[str, Any]:
    """Both sides of two algorithms beside what was recorded, if anything was; distances in standard
    errors."""
    sides: list[dict[str, Any]] = []
    nothing = ((None, None), (None, None))
    for (recorded, deviation), own, estimate in zip(
        RECORDED.get((pair.first, pair.second), nothing), pair.deviation, pair.reward, strict=True
    ):
        if recorded is None:
            sides.append({"mean": estimate.mean, "recorded": None})
            continue
        error = (own if deviation is None else deviation) / pair.pairs**0.5
        away = (estimate.mean - recorded) / error
        sides.append({"mean": estimate.mean, "recorded": recorded, "errors": away})
    return {"first": pair.first, "second": pair.second, "pairs": pair.pairs, "sides": sides}


if __name__ == "__main__":
    sys.exit(main())
