"""The published league again: every group mean beside the one recorded with the published environment.

    LOQA_REFERENCE_AGENTS_DIR=DIR python benchmarks/league_published.py [--episodes 600] [--out DIR]

DIR holds the arrays of the ten published agents each of LOQA, POLA and M-FOS. Exits with 1 if a mean is
further than two standard errors from the recorded one; a standard error is the recorded standard
deviation over pairs, divided by the root of their number (mean +- deviation is what was recorded).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import loqa

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--out")
    options = parser.parse_args()
    directory = Path(os.environ["LOQA_REFERENCE_AGENTS_DIR"])
    names = [f"{name}_{i}" for name in ("loqa", "pola") for i in range(1, 11)]
    names += [f"mfos_{seed}" for seed in range(42, 52)]
    agents = [*(directory / f"{name}.npz" for name in names), "ad", "ac", "random"]
    started = time.perf_counter()
    league = loqa.league(agents, episodes=options.episodes, out=options.out)
    seconds = time.perf_counter() - started
    print(f"{len(league.pairs)} pairs of {options.episodes} episodes in {seconds:.1f} s")
    worst = 0.0
    for pair in league.group_pairs:
        recorded = RECORDED.get((pair.first, pair.second))
        if recorded is None:
            continue
        cells = []
        for (mean, deviation), own, estimate in zip(
            recorded, pair.deviation, pair.reward, strict=True
        ):
            error = (own if deviation is None else deviation) / pair.pairs**0.5
            away = (estimate.mean - mean) / error
            worst = max(worst, abs(away))
            cells.append(f"{estimate.mean:7.4f} (recorded {mean:7.4f}, {away:+.2f} errors)")
        print(f"{pair.first:>6} x {pair.second:<16} {pair.pairs:3} pairs  {'  '.join(cells)}")
    print(f"largest distance: {worst:.2f} standard errors")
    return int(worst > 2)


if __name__ == "__main__":
    sys.exit(main())
