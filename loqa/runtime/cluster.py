"""A Ray cluster to work on: one that is there, or one of this machine for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ENGINES = ("local", "ray")


@contextmanager
def cluster() -> Iterator[Any]:
    """The module `ray`, connected.

    A cluster that is there already is used: of `ray.init`, of `ray start`, or where RAY_ADDRESS says. Else
    one is started on this machine, and ended with the block.

    Raises:
        ValueError: Ray is not installed.
        ConnectionError: RAY_ADDRESS names a cluster that does not answer.
    """
    try:
        import ray
    except ImportError as error:
        raise ValueError(
            "engine ray needs Ray, which is not installed: python -m pip install 'loqa[ray]'"
        ) from error
    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, include_dashboard=False)
    try:
        yield ray
    finally:
        if started:
            ray.shutdown()


def cores(ray: Any) -> int:
    """Of all its machines."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))
