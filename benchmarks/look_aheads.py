"""LOLA-DiCE on the prisoner's dilemma with 0, 1, 2 and 3 look-aheads, by the published protocol.

    python benchmarks/look_aheads.py

Foerster et al. 2018 (LOLA, DiCE): tables, 64 episodes of 150 steps, discount 0.96, 200 updates of both,
gradient ascent with rates 0.1 (look-ahead) and 0.2 (own) of one logit a state, which starts at a truncated
normal of standard deviation 5^-1/2; rewards less their mean over the batch. Our tables have two logits, whose
difference moves twice as fast: the rates here are half of these. Five seeds, which chose nothing. Beside them
the same with exact returns, a hundred runs: what is left if nothing is sampled. A few minutes.
benchmarks/results/look_aheads.json keeps the numbers; report.py puts them into loqa/algos/README.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from about import about

from loqa import IPDConfig
from loqa.algos import exact
from loqa.runtime.torch_settings import usual_torch
from loqa.training.trainer import Trainer

RESULTS = Path(__file__).parent / "results" / "look_aheads.json"
SEEDS, UPDATES, LAST = range(4201, 4206), 200, 10
LIKE = {
    "batch_size": 64,
    "episode_length": 150,
    "actor_lr": 0.1,
    "optimizer": "sgd",
    "evaluate_every": 0,
}
OWN, STD = 0.2, 5**-0.5  # rates of one logit
# Look-aheads, their rate, and what the authors' arrays have, a step of both in iterations 190 to 200.
ROWS = ((0, 0.1, -1.99), (1, 0.1, -1.19), (1, 0.2, -1.19), (2, 0.1, -1.12), (3, 0.1, -1.11))


def reward(look_aheads: int, rate: float, seed: int) -> float:
    """A step of both players, the mean over the last iterations."""
    # A step of rate 0 ahead is none: the naive learner.
    ahead = {"inner_steps": max(look_aheads, 1), "inner_lr": rate / 2 if look_aheads else 0.0}
    trainer = Trainer(IPDConfig.of_preset("default", algo="lola", seed=seed, **LIKE, **ahead))
    generator = torch.Generator().manual_seed(seed)
    for agent in (trainer.agent, *(one.agent for one in trainer.opponents.algorithms)):
        logit = torch.nn.init.trunc_normal_(torch.empty(5), 0, STD, -2 * STD, 2 * STD, generator)
        with torch.no_grad():
            agent.actor.logits.copy_(torch.stack([logit, -logit], -1) / 2)
    last = []
    for update in range(1, UPDATES + 1):
        trainer.iterate()
        if update > UPDATES - LAST:
            last.append(mean(trainer.metrics()["reward"]))
    return mean(last)


def exact_reward(look_aheads: int, rate: float) -> float:
    """The same of exact returns after the last update, the mean of a hundred runs."""
    rates: dict[str, Any] = {"lr": OWN, "init_std": STD}
    if not look_aheads:
        found = exact.train("ipd", "naive", 100, UPDATES, 1, **rates)
    else:
        rates |= {"form": "lookahead", "inner_steps": look_aheads, "inner_lr": rate}
        found = exact.train("ipd", "lola", 100, UPDATES, 1, **rates)
    return found.rewards[-1].mean().item()


def main() -> None:
    rows: list[dict[str, Any]] = []
    seeds = f"{SEEDS[0]} to {SEEDS[-1]}"
    for look_aheads, rate, published in ROWS:
        with usual_torch("highest", 1):
            rewards = [round(reward(look_aheads, rate, seed), 3) for seed in SEEDS]
            limit = round(exact_reward(look_aheads, rate), 3)
        rows.append({"look_aheads": look_aheads, "rate": rate, "rewards": rewards, "exact": limit,
                     "published": published})  # fmt: skip
        print(rows[-1], flush=True)
        RESULTS.write_text(json.dumps({**about(), "seeds": seeds, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
