"""Where the seatings of a league are played: in this process, or on a Ray cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from loqa._native import threads
from loqa.agents.player import Player
from loqa.evaluation.league_store import Play, Rewards, play
from loqa.evaluation.match_settings import Settings
from loqa.runtime.cluster import cluster, cores
from loqa.runtime.torch_settings import usual_torch


@contextmanager
def engine_of(name: str, num_threads: int | None) -> Iterator[tuple[Play, int]]:
    """What plays a seating, and how many are played at a time.

    Args:
        name: "local" or "ray".
        num_threads: so many; by default one on each core, of this machine or of the cluster.

    Raises:
        ValueError, ConnectionError: as `loqa.runtime.cluster.cluster`.
    """
    if name == "local":
        yield play, threads(num_threads)
        return
    with cluster() as ray:
        task = ray.remote(num_cpus=1, max_retries=0)(_alone)

        def elsewhere(
            players: Sequence[Player], settings: Settings, episodes: int, stop: threading.Event
        ) -> Rewards | None:
            playing = task.remote(players, settings, episodes)
            while not ray.wait([playing], timeout=0.2)[0]:
                if stop.is_set():
                    ray.cancel(playing, force=True)
                    return None
            try:
                rewards: Rewards = ray.get(playing)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            return rewards

        yield elsewhere, cores(ray) if num_threads is None else num_threads


def _alone(players: Sequence[Player], settings: Settings, episodes: int) -> Rewards | None:
    with usual_torch(num_threads=1):
        return play(players, settings, episodes, None)
