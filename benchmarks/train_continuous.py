"""Trains LOQA and others on games whose actions are numbers, over many seeds.

    python benchmarks/train_continuous.py [--first-seed 100] [--seeds 20] [--only ROW ...]
    python benchmarks/train_continuous.py --figure benchmarks/figures/continuous.png

Each row trains once for each seed, one after the other in this process, on one thread, with what
`loqa train continuous-ipd` or `loqa train cournot` does by default and what the row changes.
benchmarks/results/train_continuous.json keeps lowest, mean and highest numbers, how many seeds are reciprocal
(of the prisoner's dilemma: above .8 after CC and DC, below .2 after CD and DD), or end between Nash and
cartel, nearer to the cartel (Cournot), and each seed that does not. With --only, other rows' results stay.
--figure trains LOQA once in the prisoner's dilemma, with the first seed, and draws what it does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from about import about
from seeds import spread, train

import loqa
from loqa import ContinuousIPDConfig, CournotConfig
from loqa.plotting.continuous_game import draw_answers
from loqa.plotting.runs import Group, read_run
from loqa.plotting.style import new_figure, save

RESULTS = Path(__file__).parent / "results" / "train_continuous.json"
CONFIGS = {"continuous-ipd": ContinuousIPDConfig, "cournot": CournotConfig}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "continuous-ipd, LOQA": ("continuous-ipd", {}),
    "continuous-ipd, naive": ("continuous-ipd", {"algo": "naive"}),
    "continuous-ipd, LOLA-DiCE": ("continuous-ipd", {"algo": "lola"}),
    "continuous-ipd, LOQA, MLP": ("continuous-ipd", {"actor": "mlp", "iterations": 800}),
    "continuous-ipd, LOQA, critic MLP": (
        "continuous-ipd", {"critic": "mlp", "critic_target": "lambda", "critic_warmup": 50},
    ),
    "cournot, LOQA": ("cournot", {}),
    "cournot, naive": ("cournot", {"algo": "naive"}),
}  # fmt: skip
NASH, CARTEL = 1 / 3, 1 / 4
NUMBERS = ("self_play", "copies_do", "best_response_gain", "cpu_seconds")


def reaches(game: str, run: dict[str, Any]) -> bool:
    """Whether a seed is reciprocal, or nearer to the cartel than to Nash."""
    if game == "cournot":
        return bool(CARTEL <= run["copies_do"] < (NASH + CARTEL) / 2)
    p = run["answers"]
    return bool(min(p["CC"], p["DC"]) > 0.8 and max(p["CD"], p["DD"]) < 0.2)


def results_of(game: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the runs of a row have come to."""
    return {
        "game": game,
        "iterations": runs[0]["iterations"],
        "seeds": [runs[0]["seed"], runs[-1]["seed"]],
        "reached": sum(reaches(game, run) for run in runs),
        "lowest_mean_highest": {name: spread([run[name] for run in runs]) for name in NUMBERS},
        "answers": {
            name: spread([run["answers"][name] for run in runs]) for name in runs[0]["answers"]
        },
        "not_reached": {
            run["seed"]: {name: round(run[name], 4) for name in NUMBERS[:-1]}
            for run in runs
            if not reaches(game, run)
        },
    }


def draw(path: Path, seed: int) -> None:
    """What LOQA does in each state over iterations, in the prisoner's dilemma."""
    figure, axes = new_figure(1)
    with tempfile.TemporaryDirectory() as name:
        loqa.train(ContinuousIPDConfig.of_preset("default", seed=seed), Path(name) / "run")
        draw_answers(axes[0], Group("", (read_run(Path(name) / "run"),)))
    axes[0].set_title(f"continuous-ipd, LOQA, seed {seed}; C 1, D 0, own first", fontsize="medium")
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.figure is not None:
        return draw(options.figure, options.first_seed)
    for row in options.only:
        game, fields = ROWS[row]
        config_of = partial(CONFIGS[game].of_preset, "default", **fields)
        runs = train(
            lambda seed, of=config_of: of(seed=seed),
            range(options.first_seed, options.first_seed + options.seeds),
            lambda run, row=row: print(row, run["seed"], run["answers"], run["copies_do"],
                                       run["best_response_gain"], flush=True),
        )  # fmt: skip
        for run in runs:
            run["self_play"] = sum(run["self_play"]) / len(run["self_play"])
        kept = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
        found = {**kept, row: results_of(game, runs)}
        rows = {name: found[name] for name in ROWS if name in found}
        RESULTS.write_text(json.dumps({**about(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
