"""Work that is done by several threads, a part each, until it is done or interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

from loqa.evaluation.evaluate import seat_threads

Part = TypeVar("Part")


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
