"""How the seatings of a league are played: by several threads, in this process or on a Ray cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from typing import TypeVar

from loqa._native import threads
from loqa.agents.player import Player
from loqa.evaluation.evaluate import seat_threads
from loqa.evaluation.league_store import Play, Rewards, play
from loqa.evaluation.match_settings import Settings
from loqa.runtime.cluster import cluster, cores
from loqa.runtime.torch_settings import usual_torch

Part = TypeVar("Part")


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


def spread(
    parts: Sequence[Part],
    done: Callable[[Part], bool],
    work: Callable[[Part, threading.Event], None],
    threads: int,
    report: Callable[[int, int], None] | None,
) -> None:
    """Does what is not done.

    Args:
        parts: all of the work.
        done: whether a part need not be done.
        work: does a part, in one of the threads; the event asks it to give up.
        threads: how many.
        report: called with (parts done, parts in all).

    Raises:
        Exception: what `work` or `report` raises; the other parts that are being done give up.
    """
    missing = [part for part in parts if not done(part)]
    count = len(parts) - len(missing)
    if report is not None:
        report(count, len(parts))
    stop = threading.Event()
    with seat_threads(threads) as pool:
        running: set[Future[None]] = {pool.submit(work, part, stop) for part in missing}
        try:
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                    count += 1
                    if report is not None:
                        report(count, len(parts))
        finally:
            stop.set()
