"""A native game and its reference in plain Python do the same things."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loqa
import loqa.reference


def assert_equal(native: Any, reference: Any) -> None:
    for ours, theirs in zip(native, reference, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), theirs)


def assert_steps_equal(env: Any, reference: Any, actions: np.ndarray) -> None:
    """From the start, of actions [T, B, A, ...]: three steps, then rollouts of all."""
    assert_equal([env.reset()], [reference.reset()])
    for now in actions[:3]:
        assert_equal(env.step(now), reference.step(now))
    assert_equal(env.rollout(actions), reference.rollout(actions))
    assert_equal(env.get_state().values(), reference.get_state().values())


def random_operations(
    draw: np.random.Generator,
    game: str,
    rules: dict[str, Any],
    actions: Callable[[tuple[int, ...]], np.ndarray],
    wrong: Callable[[], float],
    operations: int,
) -> None:
    """An environment and its reference do the same things, at random.

    Args:
        actions: legal ones of a shape, of any type.
        wrong: an action that is none.
    """
    num_envs = int(draw.integers(1, 40))
    env = loqa.make(game, num_envs, num_threads=int(draw.integers(1, 3)), **rules)
    reference = loqa.reference.make(game, num_envs, **rules)
    shape = (num_envs, env.num_players, *((1,) if env.spec.action_box else ()))
    for _ in range(operations):
        match draw.integers(6):
            case 0:
                mask = draw.random(num_envs) < 0.5
                assert_equal([env.reset(mask=mask)], [reference.reset(mask=mask)])
            case 1:
                some = actions((int(draw.integers(0, 4)), *shape))
                assert_equal(env.rollout(some), reference.rollout(some))
            case 2:
                env = pickle.loads(pickle.dumps(env))
                saved = env.state_dict()
                env.step(actions(shape))
                env.load_state_dict(saved)
            case 3:
                bad = actions(shape).astype(np.float64 if env.spec.action_box else np.int64)
                bad[draw.integers(num_envs), draw.integers(env.num_players)] = wrong()
                with pytest.raises(ValueError, match="no environment was stepped"):
                    env.step(bad)
            case _:
                some = actions(shape)
                assert_equal(env.step(some), reference.step(some))
        assert_equal(env.get_state().values(), reference.get_state().values())
