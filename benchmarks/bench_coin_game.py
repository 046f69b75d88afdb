"""Coin Game, 3x3, two players, actions given: ours against the peers, results checked first.

    python -m pytest benchmarks/bench_coin_game.py --benchmark-json=benchmarks/results/coin_game.json

Pure Python and NumPy are always there; Numba and JaxMARL where they are installed. The time of one
call is for B environments (times T = 50 for rollouts); `extra_info` holds env steps per second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import loqa
import loqa.reference

STEPS = 50
SIZES = (512, 8192, 65536)
OBS: dict[str, dict[str, Any]] = {
    "float32": {},
    "uint8": {"obs_dtype": torch.uint8},
    "cells": {"obs": "cells"},
}


def measure(benchmark: Any, call: Callable[[], Any], env_steps: int, repeats: int = 9) -> None:
    call()
    benchmark.pedantic(call, rounds=repeats, iterations=1, warmup_rounds=2)
    benchmark.extra_info["env_steps_per_second"] = env_steps / benchmark.stats.stats.median


@pytest.fixture(autouse=True)
def _group(request: pytest.FixtureRequest, benchmark: Any) -> None:
    params = getattr(request.node, "callspec", None)
    benchmark.group = f"B={params.params.get('size', 512)}" if params else "other"


def checked(size: int, **settings: Any) -> tuple[Any, np.ndarray]:
    """An environment whose first steps are those of the reference, and actions for it."""
    actions = np.random.default_rng(0).integers(0, 4, (STEPS, size, 2), np.uint8)
    small = loqa.make("coin_game", 64, **settings)
    slow = loqa.reference.make("coin_game", 64, obs=settings.get("obs", "planes"))
    ours, theirs = small.rollout(actions[:9, :64]), slow.rollout(actions[:9, :64])
    np.testing.assert_array_equal(ours[0].numpy(), theirs[0])
    np.testing.assert_array_equal(ours[1].numpy(), theirs[1])
    return loqa.make("coin_game", size, **settings), actions


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("obs", OBS)
def test_step(benchmark: Any, obs: str, size: int, threads: int) -> None:
    env, actions = checked(size, num_threads=threads, **OBS[obs])
    moves = torch.from_numpy(actions)
    count = max(1, 2**19 // size)

    def steps() -> None:
        for t in range(count):
            env.step(moves[t % STEPS])

    measure(benchmark, steps, count * size)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("obs", OBS)
def test_rollout(benchmark: Any, obs: str, size: int, threads: int) -> None:
    env, actions = checked(size, num_threads=threads, **OBS[obs])
    steps = STEPS if size < 65536 else 10
    moves = torch.from_numpy(actions[:steps])
    measure(benchmark, lambda: env.rollout(moves), steps * size)


def test_single_step_host_overhead(benchmark: Any) -> None:
    env = loqa.make("coin_game")
    moves = torch.zeros((1, 2), dtype=torch.int64)
    benchmark(env.step, moves)


def test_pure_python(benchmark: Any) -> None:
    env = loqa.reference.make("coin_game", 512)
    actions = np.random.default_rng(0).integers(0, 4, (512, 2))
    measure(benchmark, lambda: env.step(actions), 512, 5)


class NumpyCoinGame:
    """The rules of loqa24 with one array operation for all environments at a time."""

    moves = np.array([[0, -1], [0, 1], [-1, 0], [1, 0]])

    def __init__(self, num_envs: int, side: int = 3) -> None:
        self.side, self.rng, self.envs = side, np.random.default_rng(0), np.arange(num_envs)
        self.obs = np.zeros((num_envs, 2, 4, side * side), np.float32)
        self.wrap = np.array(
            [
                [((c // side + r) % side) * side + (c % side + k) % side for r, k in self.moves]
                for c in range(side * side)
            ]
        )
        free = [
            [[c for c in range(side * side) if c not in (p, q)] for q in range(side * side)]
            for p in range(side * side)
        ]
        self.count = np.array([[len(cells) for cells in row] for row in free])
        self.free = np.array([[(cells * 2)[: side * side] for cells in row] for row in free])
        self.players = self.rng.integers(0, side * side, (num_envs, 2))
        self.coin = self._place(self.envs)
        self.owner = self.rng.integers(0, 2, num_envs)

    def _place(self, which: np.ndarray) -> np.ndarray:
        p, q = self.players[which].T
        index = (self.rng.random(len(which)) * self.count[p, q]).astype(int)
        return np.asarray(self.free[p, q, index])

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.players = self.wrap[self.players, actions]
        took = self.players == self.coin[:, None]
        own = self.owner[:, None] == np.arange(2)
        rewards = took.astype(np.float32) - 2 * (own & took[:, ::-1])
        taken = np.flatnonzero(took.any(1))
        self.owner[taken] ^= 1
        self.coin[taken] = self._place(taken)
        self.obs[:] = 0
        for me in range(2):
            self.obs[self.envs, me, 0, self.players[:, me]] = 1
            self.obs[self.envs, me, 1, self.players[:, 1 - me]] = 1
            self.obs[self.envs, me, 2 + (self.owner ^ me), self.coin] = 1
        return self.obs, rewards


def check_peer(positions: np.ndarray, rewards: np.ndarray) -> None:
    """Random play earns 0 a step: p for taking, less 2 p / 2 for what the other took of one's own."""
    assert positions.min() >= 0
    assert abs(rewards.mean()) < 0.05


@pytest.mark.parametrize("size", [512, 8192])
def test_numpy(benchmark: Any, size: int) -> None:
    env = NumpyCoinGame(size)
    actions = np.random.default_rng(0).integers(0, 4, (STEPS, size, 2))
    check_peer(env.players, np.stack([env.step(actions[t])[1] for t in range(STEPS)]))
    measure(benchmark, lambda: env.step(actions[0]), size)


def numba_step(threads: int) -> Any:
    """A loop over environments, compiled: step(state, actions, seeds, obs, rewards)."""
    numba = pytest.importorskip("numba")
    numba.set_num_threads(threads)

    @numba.njit(parallel=threads > 1, fastmath=True)
    def step(state: Any, actions: Any, seeds: Any, obs: Any, rewards: Any) -> None:
        for e in numba.prange(state.shape[0]):
            for p in range(2):
                row, column = state[e, 2 * p], state[e, 2 * p + 1]
                action = actions[e, p]
                if action == 0:
                    column = column - 1 if column > 0 else 2
                elif action == 1:
                    column = column + 1 if column < 2 else 0
                elif action == 2:
                    row = row - 1 if row > 0 else 2
                else:
                    row = row + 1 if row < 2 else 0
                state[e, 2 * p], state[e, 2 * p + 1] = row, column
            first = state[e, 0] * 3 + state[e, 1]
            second = state[e, 2] * 3 + state[e, 3]
            coin, owner = state[e, 4], state[e, 5]
            one, two = first == coin, second == coin
            rewards[e, 0] = one - 2 * (owner == 0 and two)
            rewards[e, 1] = two - 2 * (owner == 1 and one)
            if one or two:
                owner = 1 - owner
                while True:
                    seeds[e] ^= seeds[e] << np.uint32(13)
                    seeds[e] ^= seeds[e] >> np.uint32(17)
                    seeds[e] ^= seeds[e] << np.uint32(5)
                    coin = np.int8(seeds[e] % np.uint32(9))
                    if coin not in (first, second):
                        break
                state[e, 4], state[e, 5] = coin, owner
            for i in range(72):
                obs[e, i] = 0
            obs[e, first] = 1
            obs[e, 9 + second] = 1
            obs[e, 18 + 9 * owner + coin] = 1
            obs[e, 36 + second] = 1
            obs[e, 45 + first] = 1
            obs[e, 54 + 9 * (1 - owner) + coin] = 1

    return step


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_numba(benchmark: Any, size: int, threads: int) -> None:
    step = numba_step(threads)
    random = np.random.default_rng(0)
    state = random.integers(0, 3, (size, 6)).astype(np.int8)
    state[:, 5] %= 2
    seeds = random.integers(1, 2**32, size, np.uint32)
    obs, rewards = np.zeros((size, 72), np.float32), np.zeros((size, 2), np.float32)
    actions = random.integers(0, 4, (STEPS, size, 2), np.uint8)
    paid = []
    for t in range(STEPS):
        step(state, actions[t], seeds, obs, rewards)
        paid.append(rewards.copy())
    check_peer(state, np.stack(paid))
    count = max(1, 2**19 // size)

    def steps() -> None:
        for t in range(count):
            step(state, actions[t % STEPS], seeds, obs, rewards)

    measure(benchmark, steps, count * size)


@pytest.mark.parametrize("size", [512, 8192])
def test_jaxmarl(benchmark: Any, size: int) -> None:
    """JaxMARL's coin game (rules of pax23): whole episodes under jit, observations kept."""
    jax = pytest.importorskip("jax")
    jaxmarl = pytest.importorskip("jaxmarl")
    env = jaxmarl.make("coin_game")
    keys = jax.random.split(jax.random.PRNGKey(0), size)
    _, state = jax.vmap(env.reset)(keys)
    actions = {agent: jax.numpy.zeros(size, int) for agent in env.agents}
    step = jax.jit(jax.vmap(env.step))
    measure(benchmark, lambda: jax.block_until_ready(step(keys, state, actions)), size)
