"""A contender's results against the plain-Python reference, before it is timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CHECKED = 64
"""Environments that are compared."""


def check(
    step: Callable[..., Any],
    rollout: Callable[..., Any],
    actions: np.ndarray,
    reference: Callable[[int], Any],
) -> None:
    """The first and the last environments of the batch, by a rollout and by a step after it.

    Args:
        step, rollout: the contender's; their first two results are observations and rewards.
        actions: `[T, B, ...]`.
        reference: makes the reference game of so many environments.

    Raises:
        AssertionError: a number differs.
    """
    few = np.unique(np.r_[: CHECKED // 2, -CHECKED // 2 : 0] % actions.shape[1])
    expected_obs, expected_rewards = reference(len(few)).rollout(actions[:, few])
    seen, rewards = (np.asarray(value) for value in rollout(actions)[:2])
    np.testing.assert_array_equal(seen[:, few], expected_obs)
    np.testing.assert_array_equal(rewards[:, few], expected_rewards)
    seen, rewards = (np.asarray(value) for value in step(actions[0])[:2])
    np.testing.assert_array_equal(seen[few], expected_obs[1])
    np.testing.assert_array_equal(rewards[few], expected_rewards[0])
