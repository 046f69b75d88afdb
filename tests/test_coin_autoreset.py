"""Autoreset modes, shared memory, and what a step costs in memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch

import loqa


def make(**settings: Any) -> Any:
    return loqa.make("coin_game", num_envs=70, episode_length=3, seed=6, **settings)


def test_same_step() -> None:
    env, plain = make(autoreset="same_step"), make()
    env.reset()
    plain.reset()
    actions = torch.ones((70, 2), dtype=torch.int64)
    for t in range(1, 8):
        obs, rewards, terminated, truncated = env.step(actions)
        expected = plain.step(actions)
        assert torch.equal(rewards, expected[1])
        assert torch.equal(truncated, expected[3])
        assert truncated.all() == (t % 3 == 0)
        assert not terminated.any()
        if t % 3 == 0:
            assert torch.equal(env.final_obs, expected[0])
            assert torch.equal(obs, plain.reset())
        else:
            assert torch.equal(obs, expected[0])


def test_next_step_with_environments_out_of_phase() -> None:
    env, plain = make(autoreset="next_step"), make()
    env.reset()
    plain.reset()
    late = np.arange(70) % 2 == 0
    actions = torch.ones((70, 2), dtype=torch.int64)
    env.step(actions)
    plain.step(actions)
    env.reset(mask=late)
    plain.reset(mask=late)
    ended = torch.zeros(70, dtype=torch.bool)
    for _ in range(9):
        obs, rewards, _, truncated = env.step(actions)
        expected = [value.clone() for value in plain.step(actions)]
        if ended.any():
            expected[0] = plain.reset(mask=ended)
            expected[1][ended] = 0
            expected[3][ended] = False
        assert torch.equal(obs, expected[0])
        assert torch.equal(rewards, expected[1])
        assert torch.equal(truncated, expected[3])
        ended = truncated.clone()


def test_rollouts_do_not_reset() -> None:
    env = make(autoreset="same_step")
    with pytest.raises(ValueError, match="rollout needs autoreset=False"):
        env.rollout(np.zeros((2, 70, 2), int))
    with pytest.raises(ValueError, match="rollout_scripted needs autoreset=False"):
        env.rollout_scripted(["random", "random"], 2)
    assert make().final_obs is None


def test_buffers_are_shared_without_a_copy() -> None:
    env = make()
    obs = env.step(np.zeros((70, 2), np.uint8))[0]
    again = env.step(np.zeros((70, 2), np.uint8))[0]
    assert obs.data_ptr() == again.data_ptr()
    assert np.asarray(obs).ctypes.data == obs.data_ptr()
    assert np.from_dlpack(obs).ctypes.data == obs.data_ptr()


def test_jax_reads_the_buffers() -> None:
    jax = pytest.importorskip("jax")
    obs = make().reset()
    np.testing.assert_array_equal(np.asarray(jax.dlpack.from_dlpack(obs)), obs.numpy())


def test_a_step_allocates_nothing() -> None:
    env = make()
    actions = torch.zeros((70, 2), dtype=torch.int64)
    for _ in range(3):
        env.step(actions)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            env.step(actions)
        assert tracemalloc.get_traced_memory()[0] - before < 2000
    finally:
        tracemalloc.stop()
