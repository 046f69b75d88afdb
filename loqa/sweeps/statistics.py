"""Statistics of a few runs: interquartile means, bootstrap intervals, probabilities of improvement.

Source: Agarwal, Schwarzer, Castro, Courville, Bellemare, "Deep reinforcement learning at the edge of the
statistical precipice", NeurIPS 2021, section 4. A *stratum* holds the runs (seeds) of one task. Runs of
different tasks are never exchanged for one another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REPEATS = 10_000
"""Resamples of a bootstrap."""


@dataclass(frozen=True)
class Interval:
    """A statistic and the 95% interval of its bootstrap (percentiles; Efron 1979)."""

    value: float
    low: float
    high: float


def interquartile_mean(values: Floats) -> Floats:
    """The mean of what is left over the last axis, `[..., N]` -> `[...]`, without the floor(N / 4) lowest and
    the floor(N / 4) highest values: of fewer than 4 values their mean.

    Source: as above, section 4.3 (a mean trimmed by 25% at each end).
    """
    cut = values.shape[-1] // 4
    kept: Floats = np.sort(values, -1)[..., cut : values.shape[-1] - cut].mean(-1)
    return kept


def bootstrap(
    strata: Sequence[Floats],
    statistic: Callable[[Floats], Floats] = interquartile_mean,
    repeats: int = REPEATS,
) -> Interval:
    """A statistic of all values together, and its stratified bootstrap interval.

    Each resample draws as many values as there are from each stratum, with replacement (section 4.2 and
    appendix A.2). The draws are the same in every call.

    Args:
        strata: values of each task, `[N_m]`, none empty.
        statistic: `[..., N]` -> `[...]`.
        repeats: resamples.
    """
    rng = np.random.default_rng(0)
    drawn = [one[rng.integers(len(one), size=(repeats, len(one)))] for one in strata]
    found = statistic(np.concatenate(drawn, 1))
    low, high = np.quantile(found, (0.025, 0.975))
    return Interval(float(statistic(np.concatenate(strata))), float(low), float(high))


def probability_of_improvement(
    ours: Sequence[Floats], theirs: Sequence[Floats], repeats: int = REPEATS
) -> Interval:
    """P(X > Y), and its stratified bootstrap interval: how likely a run of one setting is to end higher than
    a run of another.

    P = 1/M sum_m 1/(N_m K_m) sum_ij [x_mi > y_mj] + 1/2 [x_mi = y_mj], over the tasks m: Mann and Whitney's
    U over N K (section 4.3).

    Args:
        ours: x of each task, `[N_m]`.
        theirs: y of each task, `[K_m]`.
        repeats: resamples, drawn for both.
    """
    rng = np.random.default_rng(0)
    value, drawn = 0.0, np.zeros(repeats)
    for mine, other in zip(ours, theirs, strict=True):
        wins = (mine[:, None] > other) + 0.5 * (mine[:, None] == other)
        value += float(wins.mean())
        # How often each run is drawn says all that is needed of a resample.
        often = [rng.multinomial(n, np.full(n, 1 / n), repeats) / n for n in wins.shape]
        drawn += np.einsum("ri,ij,rj->r", often[0], wins, often[1], optimize=True)
    low, high = np.quantile(drawn / len(ours), (0.025, 0.975))
    return Interval(value / len(ours), float(low), float(high))
