"""Where the matches of a round robin are played: in this process, or on a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loqa._native import core, threads
from loqa.runtime.cluster import cluster, cores

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Matches:
    """How a pair of machines plays, whatever the pair: what the core reads (`csrc/sim/tournament.h`)."""

    cooperates: Ints
    next: Ints
    first: Ints
    turns: int
    repeats: int
    seed: int


def play_here(matches: Matches, pairs: Ints, num_threads: int | None) -> Ints:
    """Counts of CC, CD, DC, DD in the matches of `pairs` `[P, 2]`: `[P, repeats, 4]`."""
    counts = np.empty((len(pairs), matches.repeats, 4), np.int32)
    core.tournament(
        cooperates=matches.cooperates,
        next=matches.next,
        first=matches.first,
        pairs=pairs,
        turns=matches.turns,
        seed=matches.seed,
        counts=counts,
        num_threads=threads(num_threads),
    )
    return counts


def play_on_ray(matches: Matches, pairs: Ints, num_threads: int | None) -> Ints:
    """As `play_here`: `pairs` are cut into `num_threads` tasks of one core each, by default one a core."""
    with cluster() as ray:
        parts = min(len(pairs), cores(ray) if num_threads is None else num_threads)
        task = ray.remote(num_cpus=1, max_retries=0)(play_here)
        shared = ray.put(matches)
        playing = [task.remote(shared, part, 1) for part in np.array_split(pairs, parts)]
        counts = np.empty((len(pairs), matches.repeats, 4), np.int32)
        at = 0
        try:
            while playing:  # in order; what was copied is let go
                part = ray.get(playing[0])
                counts[at : at + len(part)] = part
                at += len(part)
                del playing[0]
        finally:
            for one in playing:  # interrupted
                ray.cancel(one, force=True)
        return counts
