"""The round robin of the iterated prisoner's dilemma: seconds for a whole tournament.

    pytest benchmarks/bench_tournament.py --benchmark-json=FILE
    pytest benchmarks/bench_tournament.py --benchmark-disable       checks the results only

200 random memory-1 strategies, none of them deterministic, 200 turns, 100 repeats: every one of the
402 million turns is drawn. The result is compared with the exact expected payoffs before it is timed.
"""

from __future__ import annotations

import numpy as np
import pytest

from loqa.agents.memory1 import discounted_value
from loqa.evaluation.tournament import random_memory1, tournament

STRATEGIES, TURNS, REPEATS = 200, 200, 100


@pytest.mark.parametrize("num_threads", [1, None], ids=["1 thread", "all cores"])
def test_round_robin(benchmark, num_threads: int | None) -> None:
    pool = random_memory1(STRATEGIES)
    result = tournament(pool, TURNS, REPEATS, num_threads=num_threads)
    vectors = np.stack([machine.cooperate for machine in pool])
    payoff = (3, 0, 5, 1)
    exact = discounted_value(vectors[:, None], vectors[None], 1, steps=TURNS, payoff=payoff)
    deviations = (result.payoffs - exact[..., 0] / TURNS) / result.standard_errors
    assert np.abs(deviations).max() < 6
    assert abs(deviations.std() - 1) < 0.1
    benchmark.pedantic(
        lambda: tournament(pool, TURNS, REPEATS, num_threads=num_threads), rounds=5, warmup_rounds=1
    )
