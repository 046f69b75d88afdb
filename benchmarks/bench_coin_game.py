"""The Coin Game simulator, 3 x 3, two players, actions given: environment steps per second.

    pytest benchmarks/bench_coin_game.py --benchmark-json=benchmarks/results/coin_game.json \
        --benchmark-max-time=0.3                          then python benchmarks/report.py
    pytest benchmarks/bench_coin_game.py --benchmark-disable       checks the results only

`step` gives actions to one step of B environments and reads its views; `rollout` is one call of T = 50
steps (10 with B = 65536) and keeps every observation. Peers write float32 planes (JaxMARL: its own int8
ones); those that are not installed are skipped. `write` fills the same observations with a constant
(torch's fill_): what the memory allows. Every contender's result is checked before it is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import coin_peers
import numpy as np
import pytest
import torch

import loqa
import loqa.reference

BATCHES = (1, 512, 8192, 65536)
PURE_PYTHON_BATCH = 512
CHECKED = 64  # environments compared with the reference
OBS: dict[str, dict[str, Any]] = {
    "float32": {},
    "uint8": {"obs_dtype": torch.uint8},
    "cells": {"obs": "cells"},
}
PEERS: dict[str, Callable[[int], Any]] = {
    "numba-2": lambda num_envs: coin_peers.NumbaCoinGame(num_envs, 2),
    "numba-1": lambda num_envs: coin_peers.NumbaCoinGame(num_envs, 1),
    "jax": coin_peers.JaxCoinGame,
    "jaxmarl": coin_peers.JaxMarlCoinGame,
    "numpy": coin_peers.NumpyCoinGame,
}


def about(contender: str, call: str, obs: str, num_envs: int) -> dict[str, Any]:
    return {
        "game": "coin_game", "contender": contender, "call": call, "obs": obs, "num_envs": num_envs,
    }  # fmt: skip


def steps_of(num_envs: int, quick: bool) -> int:
    return 3 if quick else 10 if num_envs > 8192 else 50


def random_actions(steps: int, num_envs: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, (steps, num_envs, 2)).astype(np.uint8)


def check_ours(env: Any, actions: np.ndarray, obs: str) -> None:
    """The first environments against the reference, by rollout and by step."""
    few = min(env.num_envs, CHECKED)
    mode = "cells" if obs == "cells" else "planes"
    slow = loqa.reference.make("coin_game", few, obs=mode)
    env.reset(seed=0)
    theirs = slow.rollout(actions[:3, :few])
    for ours, expected in zip(env.rollout(actions[:3]), theirs, strict=True):
        np.testing.assert_array_equal(ours[:, :few].float().numpy(), expected)
    for ours, expected in zip(env.step(actions[0]), slow.step(actions[0, :few]), strict=True):
        np.testing.assert_array_equal(ours[:few].float().numpy(), expected)


def check_peer(peer: Any, actions: np.ndarray) -> None:
    """Each transition by the reference's rules, the coin's new place by what may be there."""
    num_envs = actions.shape[1]
    reference = loqa.reference.make("coin_game", num_envs, preset=peer.preset)
    for now in actions:
        before = {**peer.state(), "t": np.zeros(num_envs, int)}
        reference.set_state(**before)
        seen, rewards = (np.array(value) for value in peer.step(now))
        expected = reference.step(now)
        np.testing.assert_array_equal(rewards, expected[1])
        after, expected_state = peer.state(), reference.get_state()
        for name in after.keys() - {"coin_pos"}:
            np.testing.assert_array_equal(after[name], expected_state[name])
        coins = np.reshape(before["coin_pos"], (num_envs, 1, -1, 2))
        taken = (after["players_pos"][:, :, None] == coins).all(-1).any(1)
        moved = (np.reshape(after["coin_pos"], coins[:, 0].shape) != coins[:, 0]).any(-1)
        assert not (moved & ~taken).any()
        reference.set_state(**after, t=np.ones(num_envs, int))
        observed = reference.observe()
        np.testing.assert_array_equal(seen.reshape(observed.shape), observed)


@pytest.mark.parametrize("num_envs", BATCHES)
@pytest.mark.parametrize("obs", OBS)
@pytest.mark.parametrize("call", ["step", "rollout"])
@pytest.mark.parametrize("threads", [2, 1])
def test_loqa(
    timed: Callable[..., None], quick: bool, threads: int, call: str, obs: str, num_envs: int
) -> None:
    env = loqa.make("coin_game", num_envs, num_threads=threads, **OBS[obs])
    steps = steps_of(num_envs, quick)
    actions = random_actions(steps, num_envs)
    check_ours(env, actions, obs)
    given = torch.from_numpy(actions)
    rest = about(f"loqa-{threads}", call, obs, num_envs)
    if call == "rollout":
        timed(lambda: env.rollout(given), steps * num_envs, **rest)
        return

    def run() -> None:
        for now in moves:
            env.step(now)

    moves = list(given)
    timed(run, steps * num_envs, **rest)


@pytest.mark.parametrize("num_envs", BATCHES)
@pytest.mark.parametrize("call", ["step", "rollout"])
@pytest.mark.parametrize("name", PEERS)
def test_peers(
    timed: Callable[..., None], quick: bool, name: str, call: str, num_envs: int
) -> None:
    if name == "jaxmarl" and num_envs > 8192:
        pytest.skip("JaxMARL is timed up to B = 8192: a call takes seconds beyond")
    steps = steps_of(num_envs, quick)
    actions = random_actions(steps, num_envs)
    check_peer(PEERS[name](CHECKED), random_actions(3, CHECKED))
    peer = PEERS[name](num_envs)
    if call == "rollout" and not hasattr(peer, "rollout"):
        pytest.skip(f"{name} steps only")
    given: Any = actions
    if isinstance(peer, coin_peers.JaxPeer):
        given = peer.jax.device_put(actions)
    rest = about(name, call, "float32", num_envs)
    if call == "rollout":
        timed(lambda: peer.rollout(given), steps * num_envs, **rest)
        return

    def run() -> None:
        for now in moves:
            peer.step(now)

    moves = list(given)
    timed(run, steps * num_envs, **rest)


@pytest.mark.parametrize("num_envs", [batch for batch in BATCHES if batch <= PURE_PYTHON_BATCH])
def test_pure_python(timed: Callable[..., None], num_envs: int) -> None:
    """The specification itself; it takes the same time for each environment."""
    env = loqa.reference.make("coin_game", num_envs)
    actions = random_actions(1, num_envs)[0]
    timed(lambda: env.step(actions), num_envs, **about("python", "step", "float32", num_envs))


@pytest.mark.parametrize("num_envs", BATCHES)
@pytest.mark.parametrize("obs", OBS)
@pytest.mark.parametrize("call", ["step", "rollout"])
@pytest.mark.parametrize("threads", [2, 1])
def test_write(
    timed: Callable[..., None], quick: bool, threads: int, call: str, obs: str, num_envs: int
) -> None:
    """The same observations filled with a constant: no simulator that keeps them is faster by much."""
    env = loqa.make("coin_game", 1, **OBS[obs])
    steps = steps_of(num_envs, quick) if call == "rollout" else 1
    shape = (steps, num_envs, 2, *env.obs_shape)
    buffer = torch.zeros(shape, dtype=env.spec.obs_dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rest = about(f"write-{threads}", call, obs, num_envs)
        timed(lambda: buffer.fill_(1), steps * num_envs, **rest)
    finally:
        torch.set_num_threads(before)
    assert bool((buffer == 1).all())
