"""Twenty updates of POLA-DiCE and of M-FOS on the Coin Game at a reduced size: stable, and at what cost?

    python benchmarks/coin_rivals.py [--only NAME] [--seeds 7001 7002 7003]

3 x 3, one thread, seeds that chose nothing; minutes. Of each update of the first seed: CPU seconds, the
reward a step of both players in the episodes played before it, and what the update says of itself. Then,
of each seed, a run until an evaluation (every ten updates, 1,024 episodes) meets the weak threshold.
benchmarks/results/coin_rivals.json keeps the numbers; report.py puts them into loqa/algos/README.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from about import about

RESULTS = Path(__file__).parent / "results" / "coin_rivals.json"
UPDATES = 20
AT_MOST = 300  # updates on the way to the threshold
# Title -> fields, and how many updates the published training has.
RUNS: dict[str, tuple[dict[str, Any], int]] = {
    "POLA-DiCE, 64 episodes of 50 steps, 32 units, 2 inner and 5 outer steps": (
        {"algo": "pola", "batch_size": 64, "actor_hidden": 32, "critic_hidden": 32, "inner_steps": 2,
         "inner_lr": 0.02, "outer_steps": 5},
        251,
    ),
    "M-FOS, 32 boards, 4 inner episodes of 16 steps, 5 inner epochs, against naive learners": (
        {"algo": "mfos", "meets": "naive", "batch_size": 32, "inner_episodes": 4, "inner_epochs": 5,
         "lr": 0.002},
        1000,
    ),
}  # fmt: skip


def measured(fields: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Every update of a run."""
    from loqa import CoinConfig
    from loqa.runtime.torch_settings import usual_torch
    from loqa.training.trainer import Trainer

    found = []
    with usual_torch("highest", 1):
        trainer = Trainer(CoinConfig.of_preset("default", evaluate_every=0, seed=seed, **fields))
        for update in range(1, UPDATES + 1):
            started = time.process_time()
            trainer.iterate()
            seconds = time.process_time() - started
            told = trainer.metrics()
            kept = {
                name: told[name] for name in ("reward", "loss", "grad_norm", "kl") if name in told
            }
            finite = all(one.isfinite().all().item() for one in trainer.agent.parameters())
            line = {"update": update, "seconds": round(seconds, 3), "finite": finite, **kept}
            print(line, flush=True)
            found.append(line)
    return found


def to_weak(fields: dict[str, Any], seed: int) -> dict[str, Any]:
    """A run that ends at the weak threshold: its last evaluation, updates and CPU seconds."""
    from loqa import CoinConfig, train

    config = CoinConfig.of_preset(
        "default", evaluate_every=10, evaluation_episodes=1024, stop_at="weak", num_threads=1, seed=seed,
        iterations=AT_MOST, **{"rules": "loqa24", **fields},
    )  # fmt: skip
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        told = train(config, Path(folder) / "run")
    line = {
        "seed": seed,
        "met": told["seconds_to_threshold"]["weak"] is not None,
        "updates": told["iterations"],
        "seconds": round(time.process_time() - started, 1),
        **{name: told[name] for name in ("self_play", "vs_always_defect")},
    }
    print(line, flush=True)
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", help="the runs whose titles begin so")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7001, 7002, 7003])
    options = parser.parse_args()
    for title, (fields, published) in RUNS.items():
        if options.only is None or title.startswith(options.only):
            first = options.seeds[0]
            found = {"seed": first, "published": published, "updates": measured(fields, first),
                     "weak": [to_weak(fields, seed) for seed in options.seeds]}  # fmt: skip
            kept = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else {}
            kept[title] = found
            ordered = {one: kept[one] for one in RUNS if one in kept}
            RESULTS.write_text(json.dumps({**about(), "runs": ordered}, indent=1) + "\n")


if __name__ == "__main__":
    main()
