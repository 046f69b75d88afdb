"""The iterated prisoner's dilemma simulator: environment steps per second.

    pytest benchmarks/bench_matrix_game.py --benchmark-json=FILE     then benchmarks/report.py FILE
    pytest benchmarks/bench_matrix_game.py --benchmark-disable       checks the results only

`step` gives actions to one step of B environments and reads its views; `rollout` is one call of 50
steps. Baselines: the pure-Python reference, NumPy vectorised over B, and a jitted JAX scan (where jax
is installed). Every contender's result is compared with the reference before it is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from compared import CHECKED, check

import loqa
import loqa.reference

STEPS = 50
BATCHES = (1, 512, 8192, 65536)
PURE_PYTHON_BATCH = 512  # it takes the same time for each environment
PAYOFF = np.array([-1, -3, 0, -2], np.float32)

Results = tuple[np.ndarray, np.ndarray]


class NumPyGame:
    """The game vectorised over environments by table look-ups, as one would write it in NumPy."""

    def __init__(self, num_envs: int, obs: str) -> None:
        self.table = np.arange(5, dtype=np.int8)
        if obs == "bits":
            rows = [[0, 0, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]
            self.table = np.array(rows, np.float32)
        self.start = np.broadcast_to(self.table[0], (num_envs, 2, *self.table.shape[1:]))

    def step(self, actions: np.ndarray) -> Results:
        joint = 2 * actions + actions[:, ::-1]
        return self.table[1 + joint], PAYOFF[joint]

    def rollout(self, actions: np.ndarray) -> Results:
        obs = np.empty((len(actions) + 1, *self.start.shape), self.table.dtype)
        rewards = np.empty(actions.shape, np.float32)
        obs[0] = self.start
        for t, now in enumerate(actions):
            obs[t + 1], rewards[t] = self.step(now)
        return obs, rewards


def jax_game(num_envs: int, obs: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """step and rollout in JAX: a pure step, mapped over environments, scanned over time, jitted."""
    jax = pytest.importorskip("jax", reason="jax is not installed")
    jnp = jax.numpy
    table = jnp.asarray(NumPyGame(1, obs).table)
    payoff = jnp.asarray(PAYOFF)

    def step_one(actions: Any) -> tuple[Any, Any]:
        joint = (2 * actions + actions[::-1]).astype(jnp.int32)
        return table[1 + joint], payoff[joint]

    step = jax.jit(jax.vmap(step_one))

    @jax.jit
    def rollout(actions: Any) -> tuple[Any, Any]:
        def body(state: Any, now: Any) -> tuple[Any, Any]:
            seen, rewards = jax.vmap(step_one)(now)
            return seen, (state, rewards)

        start = jnp.broadcast_to(table[0], (num_envs, 2, *table.shape[1:]))
        last, (seen, rewards) = jax.lax.scan(body, start, actions)
        return jnp.concatenate([seen, last[None]]), rewards

    def wait(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda actions: jax.block_until_ready(function(actions))

    return wait(step), wait(rollout)


def contender(name: str, num_envs: int, obs: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """step and rollout of one implementation; the first two results are obs and rewards."""
    if name == "jax":
        return jax_game(num_envs, obs)
    env: Any
    if name == "numpy":
        env = NumPyGame(num_envs, obs)
    elif name == "python":
        env = loqa.reference.make("ipd", num_envs, obs=obs)
    else:
        threads = int(name.removeprefix("loqa-"))
        env = loqa.make("ipd", num_envs, obs=obs, num_threads=threads)
    return env.step, env.rollout


@pytest.mark.parametrize("num_envs", BATCHES)
@pytest.mark.parametrize("obs", ["index", "bits"])
@pytest.mark.parametrize("call", ["rollout", "step"])
@pytest.mark.parametrize("name", ["loqa-2", "loqa-1", "jax", "numpy", "python"])
def test_matrix_game(
    timed: Callable[..., None], quick: bool, name: str, call: str, obs: str, num_envs: int
) -> None:
    if name == "python" and num_envs > PURE_PYTHON_BATCH:
        pytest.skip(f"pure Python is timed up to B = {PURE_PYTHON_BATCH}")
    steps = 3 if quick else STEPS
    actions = np.random.default_rng(0).integers(0, 2, (steps, num_envs, 2)).astype(np.uint8)
    step, rollout = contender(name, num_envs, obs)
    check(step, rollout, actions, partial(loqa.reference.make, "ipd", obs=obs))
    given: Any = torch.from_numpy(actions) if name.startswith("loqa") else actions
    if name == "jax":
        import jax

        given = jax.device_put(actions)
    now = given[0]
    about = {"game": "ipd", "contender": name, "call": call, "obs": obs, "num_envs": num_envs}
    if call == "rollout":
        timed(lambda: rollout(given), steps * num_envs, **about)
    else:
        timed(lambda: step(now), num_envs, **about)


@pytest.mark.parametrize("num_envs", BATCHES)
@pytest.mark.parametrize("name", ["loqa-2", "loqa-1"])
def test_memory1(timed: Callable[..., None], quick: bool, name: str, num_envs: int) -> None:
    """Both players' actions sampled too: rollout_memory1 of 50 steps."""
    steps = 3 if quick else STEPS
    policy = np.array([[0.5, 0.6, 0.2, 0.7, 0.1]] * 2, np.float32)
    threads = int(name.removeprefix("loqa-"))
    few = min(num_envs, CHECKED)
    env = loqa.make("ipd", num_envs, obs="index", num_threads=threads)
    reference = loqa.reference.make("ipd", few, obs="index")
    ours, theirs = env.rollout_memory1(policy, 3, 0.2), reference.rollout_memory1(policy, 3, 0.2)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine[:, :few], other)
    about = {"contender": name, "call": "rollout_memory1", "obs": "index", "num_envs": num_envs}
    timed(lambda: env.rollout_memory1(policy, steps, 0.2), steps * num_envs, game="ipd", **about)
