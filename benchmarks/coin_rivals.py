"""Twenty updates of POLA-DiCE and of M-FOS on the Coin Game at a reduced size: stable, and at what cost?

    python benchmarks/coin_rivals.py [--only NAME]

3 x 3, one thread, seed 7001, which chose nothing; POLA-DiCE takes minutes. Of each update: CPU seconds, the
reward a step of both players in the episodes played before it, and what the update says of itself.
benchmarks/results/coin_rivals.json keeps the numbers; report.py puts them into loqa/algos/README.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from about import about

RESULTS = Path(__file__).parent / "results" / "coin_rivals.json"
SEED, UPDATES = 7001, 20
# Title -> fields, and how many updates the published training has.
RUNS: dict[str, tuple[dict[str, Any], int]] = {
    "POLA-DiCE, 64 episodes of 50 steps, 32 units, 2 inner and 5 outer steps": (
        {"algo": "pola", "batch_size": 64, "actor_hidden": 32, "critic_hidden": 32, "inner_steps": 2,
         "inner_lr": 0.02, "outer_steps": 5},
        251,
    ),
    "M-FOS, 32 boards, 4 inner episodes of 16 steps, against naive learners": (
        {"algo": "mfos", "meets": "naive", "batch_size": 32, "inner_episodes": 4},
        1000,
    ),
}  # fmt: skip


def measured(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """Every update of a run."""
    from loqa import CoinConfig
    from loqa.runtime.torch_settings import usual_torch
    from loqa.training.trainer import Trainer

    found = []
    with usual_torch("highest", 1):
        trainer = Trainer(CoinConfig.of_preset("default", evaluate_every=0, seed=SEED, **fields))
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", help="the runs whose titles begin so")
    only = parser.parse_args().only
    for title, (fields, published) in RUNS.items():
        if only is None or title.startswith(only):
            found = {"seed": SEED, "published": published, "updates": measured(fields)}
            kept = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else {}
            kept[title] = found
            ordered = {one: kept[one] for one in RUNS if one in kept}
            RESULTS.write_text(json.dumps({**about(), "runs": ordered}, indent=1) + "\n")


if __name__ == "__main__":
    main()
