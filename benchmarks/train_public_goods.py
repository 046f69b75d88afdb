"""Trains LOQA and the naive learner on the n-player prisoner's dilemma over many seeds.

    python benchmarks/train_public_goods.py [--first-seed 100] [--seeds 20] [--only ROW ...]

Each row trains once for each seed, one after the other in this process, on one thread, with what
`loqa train public-goods` does by default and what the row changes. benchmarks/results/train_public_goods.json
keeps counts of what was learned, lowest, mean and highest numbers, and each seed that is not strict. With
--only, other rows' results stay.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import torch
from about import about
from seeds import spread, train

from loqa import PublicGoodsConfig

RESULTS = Path(__file__).parent / "results" / "train_public_goods.json"
ROWS: dict[str, dict[str, Any]] = {
    **{f"LOQA, {players} players": {"num_players": players} for players in range(2, 9)},
    "LOQA, 3 players, three times as long": {"num_players": 3, "iterations": 1500},
    "LOQA, 5 players, three times as long": {"num_players": 5, "iterations": 1500},
    "LOQA, 3 players, MLP beside a table": {"num_players": 3, "actor": "mlp", "actor_table": True},
    "LOQA, 3 players, MLP": {"num_players": 3, "actor": "mlp"},
    "LOQA, 3 players, meets 16 past agents": {
        "num_players": 3, "meets": "past", "opponents": 16, "replay_every": 10,
    },
    **{
        f"naive, {players} players": {"algo": "naive", "num_players": players}
        for players in (3, 4, 5)
    },
}  # fmt: skip
NUMBERS = ("self_play", "lone_defector", "best_response_gain", "cpu_seconds")


def strict(run: dict[str, Any]) -> bool:
    """Whether it is strict conditional cooperation by the bounds of `loqa.algos.exact.reciprocity`."""
    return run["learned"] in ("strict", "contrite", "grim")


def results_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the runs of a row have come to."""
    return {
        "iterations": runs[0]["iterations"],
        "exploration": runs[0]["exploration"],
        "seeds": [runs[0]["seed"], runs[-1]["seed"]],
        "strict": sum(map(strict, runs)),
        "kinds": dict(Counter(run["learned"] for run in runs).most_common()),
        "lowest_mean_highest": {name: spread([run[name] for run in runs]) for name in NUMBERS},
        "p_cooperate": {
            name: spread([run["p_cooperate"][name] for run in runs])
            for name in runs[0]["p_cooperate"]
        },
        "not_strict": {
            run["seed"]: {name: round(run[name], 4) for name in NUMBERS[:-1]}
            for run in runs
            if not strict(run)
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for row in options.only:
        config_of = partial(PublicGoodsConfig.of_preset, "default", **ROWS[row])
        runs = train(
            lambda seed, of=config_of: of(seed=seed),
            range(options.first_seed, options.first_seed + options.seeds),
            lambda run, row=row: print(row, run["seed"], run["learned"], flush=True),
        )
        for run in runs:
            run["self_play"] = sum(run["self_play"]) / len(run["self_play"])
            run["exploration"] = config_of().loop.exploration
        kept = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
        found = {**kept, row: results_of(runs)}
        rows = {name: found[name] for name in ROWS if name in found}
        RESULTS.write_text(json.dumps({**about(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
