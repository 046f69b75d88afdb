"""The rivals on the prisoner's dilemma: what each learns over seeds, and a league of what they learned.

    python benchmarks/train_rivals.py [--first-seed 4001] [--seeds 10] [--only NAME ...] [--runs DIR]
                                      [--figure]

All on one thread, one after the other. The league plays all pairs, both seats, of the agents of each
learner's first four seeds and of the scripted players. With --only and --runs the other learners' runs in
the folder stay as they are, in the table and in the league. benchmarks/results/train_rivals.json keeps what
report.py puts into loqa/algos/README.md. The picture, figures/rivals.png, has one seed of each of
`IN_PICTURE` and M-FOS, which learns this game with exact returns alone; `--figure` makes the picture and
nothing else.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from about import about, commit
from train_ipd import results_of

import loqa
from loqa.plotting.matrix_game import draw_comparison
from loqa.plotting.runs import Group, Run, read_run
from loqa.plotting.style import save
from loqa.training.exact import ExactConfig, train_exact

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "train_rivals.json"
GRU = {"actor": "gru", "actor_one_hot": True, "layers_before_gru": 0}
PROXIMAL = {
    "inner_lr": 0.03, "actor_lr": 0.01, "outer_kl": 150.0, "outer_steps": 20, "iterations": 10,
}  # fmt: skip
LEARNERS: dict[str, dict[str, Any]] = {
    "naive": {"algo": "naive"},
    "naive, shared reward": {"algo": "naive", "shared_reward": True},
    "LOQA": {},
    "LOQA, GRU": {"actor": "gru"},
    "LOLA-DiCE": {"algo": "lola"},
    "LOLA-DiCE, opponent model": {"algo": "lola", "opponent_model": True},
    "POLA-DiCE": {"algo": "pola"},
    "Advantage Alignment": {"algo": "aa"},
    "naive, GRU": {"algo": "naive", "actor": "gru"},
    "Advantage Alignment, GRU": {"algo": "aa", "actor": "gru"},
    # Of trial runs with seed 1; see loqa/algos/README.md.
    "LOLA-DiCE, GRU": {
        "algo": "lola",
        **GRU,
        "inner_lr": 0.03,
        "actor_lr": 0.003,
        "iterations": 120,
    },
    "POLA-DiCE, GRU": {"algo": "pola", **GRU, **PROXIMAL},
}
IN_PICTURE = ("naive", "naive, shared reward", "LOQA", "LOLA-DiCE", "POLA-DiCE")
# Against naive learners, as in exact_games.py; about 8 minutes.
MFOS = {"stage_game": "ipd", "runs": 1, "updates": 450, "seed": 5001, "log_every": 5}
SCRIPTED = ("tft", "ac", "ad")
_IN_LEAGUE = 4


def place(name: str, seed: int, folder: Path) -> Path:
    """A run's directory."""
    return folder / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"


def there(name: str, first: int, folder: Path) -> list[dict[str, Any]]:
    """Summaries of the runs that are there, as many as a league has."""
    seeds = range(first, first + _IN_LEAGUE)
    return [trained(name, seed, folder) for seed in seeds if place(name, seed, folder).exists()]


def trained(name: str, seed: int, folder: Path) -> dict[str, Any]:
    """The summary of a run, from its directory if it is there already."""
    out = place(name, seed, folder)
    summary = out / "summary.json"
    if not summary.exists():
        config = loqa.IPDConfig.of_preset("default", seed=seed, **LEARNERS[name])
        found = loqa.train(config, out)
        if found["status"] != "finished":
            raise SystemExit(f"{name}, seed {seed}: {found['status']}")
    return {**json.loads(summary.read_text()), "out": str(out)}


def league_of(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Mean reward a step of row against column, by learner."""
    agents, groups = {}, {}
    for name, of_name in runs.items():
        for run in of_name[:_IN_LEAGUE]:
            key = f"{name} {run['seed']}"
            agents[key], groups[key] = run["out"], name
    scripted = {name: name for name in SCRIPTED}
    # The game of all of them: LOQA's runs explored while they learned, a league does not.
    league = loqa.league({**agents, **scripted}, episodes=1000, groups=groups, game="ipd")
    return {
        "agents": len(league.names),
        "episodes": 1000,
        "groups": [
            {
                "first": pair.first,
                "second": pair.second,
                "pairs": pair.pairs,
                "reward": [[one.mean, one.low, one.high] for one in pair.reward],
            }
            for pair in league.group_pairs
        ],
    }


def picture(first: dict[str, Path], folder: Path) -> None:
    """What each learner answers, from a run of each."""
    groups = [Group(name, (read_run(first[name]),)) for name in IN_PICTURE if name in first]
    exact = folder / "mfos-exact"
    if not (exact / "summary.json").exists():
        train_exact(ExactConfig.of("mfos", **MFOS), exact)
    lines = [json.loads(line) for line in (exact / "metrics.jsonl").read_text().splitlines()]
    mfos = Run(exact, {}, lines, {})
    groups.append(Group("M-FOS with exact returns, against naive learners", (mfos,)))
    save(draw_comparison(groups), HERE / "figures" / "rivals.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--first-seed", type=int, default=4001)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=LEARNERS, default=list(LEARNERS))
    parser.add_argument(
        "--runs", type=Path, help="keep the runs here; those there are not run again"
    )
    parser.add_argument("--figure", action="store_true", help="the picture alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.runs or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        if options.figure:
            seed = options.first_seed
            picture({one: Path(trained(one, seed, folder)["out"]) for one in IN_PICTURE}, folder)
            return
        kept = json.loads(RESULTS.read_text())["training"] if RESULTS.exists() else {}
        runs: dict[str, list[dict[str, Any]]] = {}
        for learner in LEARNERS:
            if learner not in options.only:
                if options.runs and learner in kept:
                    runs[learner] = there(learner, options.first_seed, folder)
                continue
            runs[learner] = []
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                run = trained(learner, seed, folder)
                runs[learner].append(run)
                print(learner, seed, run["strategy"], f"{run['seconds']:.1f} s", flush=True)
            kept[learner] = {**results_of(runs[learner]), "commit": commit()}
        found = {name: kept[name] for name in runs}
        league = league_of(runs)
        picture({name: Path(of_name[0]["out"]) for name, of_name in runs.items()}, folder)
    results = {**about(), "training": found, "league": league}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
