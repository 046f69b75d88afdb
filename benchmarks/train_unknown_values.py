"""Trains pairs of independent learners who do not know each other's values, and keeps what came out.

    python benchmarks/train_unknown_values.py [--first-seed 100] [--seeds 20] [--only ROW ...]

A pair is a run of `loqa train ipd --meets learners`: two agents with weights of their own, which share
nothing. One thread, one run after the other. benchmarks/results/train_unknown_values.json keeps, of each row,
how many pairs have the four answers right (P(C) at least .9 after CC and DC, at most .2 after CD and DD, both
agents), how many open with C besides, lowest, mean and highest numbers, how like the true rewards those are
that were inferred, and each pair that is not right. With --only, other rows' results stay.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from about import about
from seeds import spread, train

import loqa
from loqa import IPDConfig
from loqa.games.answers import COOPERATES, DEFECTS

RESULTS = Path(__file__).parent / "results" / "train_unknown_values.json"
ROWS: dict[str, dict[str, Any]] = {
    "shared: the other's own critic": {"opponent_model": "shared"},
    "learned": {"opponent_model": "learned"},
    "learned, MLP beside a table": {"opponent_model": "learned", "actor": "mlp"},
    "learned, MLP alone": {
        "opponent_model": "learned", "actor": "mlp", "actor_table": False, "actor_one_hot": True,
    },
    "mirrored": {"opponent_model": "mirrored"},
    "inferred": {"opponent_model": "inferred"},
    "learned, beside a naive learner": {"opponent_model": "learned", "other_algo": "naive"},
    "inferred, beside a naive learner": {"opponent_model": "inferred", "other_algo": "naive"},
    "naive, beside a naive learner": {"algo": "naive"},
}  # fmt: skip
BY = 300  # iterations after which inferred rewards are looked at, and at the end
STATES = ("start", "CC", "CD", "DC", "DD")


def four_right(p: dict[str, float]) -> bool:
    """Whether the answers after CC, CD, DC, DD are those of tit-for-tat."""
    gives = min(p["CC"], p["DC"]) >= COOPERATES
    return gives and max(p["CD"], p["DD"]) <= DEFECTS


def inferred(run: Path) -> dict[str, Any]:
    """Cosine of the rewards that the first agent infers and the true ones, each less its mean; if it does."""
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = [f"inferred_reward/{pair}" for pair in ("00", "01", "10", "11")]
    if names[0] not in metrics[-1]:
        return {}
    paid = torch.tensor(loqa.make("ipd", num_envs=1).payoff[0]).flatten()

    def cosine(line: dict[str, Any]) -> float:
        found = torch.tensor([line[name] for name in names]).to(paid)
        return float(torch.corrcoef(torch.stack([found, paid]))[0, 1])

    early = [line for line in metrics if line["iteration"] <= BY][-1]
    return {"cosine": {str(line["iteration"]): cosine(line) for line in (early, metrics[-1])}}


def results_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the pairs of a row have come to."""

    def both(run: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
        return run["p_cooperate"], run["p_cooperate_other"]

    right = [all(map(four_right, both(run))) for run in runs]
    opens = [all(p["start"] >= COOPERATES for p in both(run)) for run in runs]
    found = {}
    if "cosine" in runs[0]:
        found["cosine"] = {
            when: spread([run["cosine"][when] for run in runs]) for when in runs[0]["cosine"]
        }
    return {
        **found,
        "iterations": runs[0]["iterations"],
        "seeds": [runs[0]["seed"], runs[-1]["seed"]],
        "four_answers": sum(right),
        "four_answers_and_opening": sum(a and b for a, b in zip(right, opens, strict=True)),
        "lowest_mean_highest": {
            "reward": spread([run["self_play"][0] for run in runs]),
            "reward_of_the_other": spread([run["self_play"][1] for run in runs]),
            "cpu_seconds": spread([run["cpu_seconds"] for run in runs]),
        },
        "p_cooperate": {s: spread([run["p_cooperate"][s] for run in runs]) for s in STATES},
        "p_cooperate_other": {
            s: spread([run["p_cooperate_other"][s] for run in runs]) for s in STATES
        },
        "not_right": {
            run["seed"]: [[round(p, 3) for p in answers.values()] for answers in both(run)]
            for run, good in zip(runs, right, strict=True)
            if not good
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
        config_of = partial(IPDConfig.of_preset, "default", meets="learners", **ROWS[row])
        runs = train(
            lambda seed, of=config_of: of(seed=seed),
            range(options.first_seed, options.first_seed + options.seeds),
            lambda run, row=row: print(row, run["seed"], *run["p_cooperate"].values(), flush=True),
            inferred,
        )
        kept = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
        found = {**kept, row: results_of(runs)}
        rows = {name: found[name] for name in ROWS if name in found}
        RESULTS.write_text(json.dumps({**about(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
