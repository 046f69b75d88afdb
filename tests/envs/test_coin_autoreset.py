"""Autoreset modes, shared memory, and what a step costs in memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from sim_devices import make as make_on

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


ROLLED: list[dict[str, Any]] = [
    {"game": "coin_game"},
    {"game": "coin_game", "preset": "mfos22"},
    {"game": "coin_game", "check_actions": False},
    {"game": "ipd"},
    {"game": "ipd", "noise": 0.2, "end_probability": 0.3, "obs": "index"},
]


@pytest.mark.parametrize("device", ["cpu", "cuda-on-host"])
@pytest.mark.parametrize("mode", ["next_step", "same_step"])
@pytest.mark.parametrize("settings", ROLLED, ids=str)
def test_rollout_across_ends(settings: dict[str, Any], mode: str, device: str) -> None:
    """The numbers of T calls of step, and where episodes ended."""
    rest = {name: value for name, value in settings.items() if name != "game"}
    env, plain = (
        make_on(device, settings["game"], 70, episode_length=3, autoreset=mode, **rest)
        for _ in range(2)
    )
    actions = np.random.default_rng(0).integers(0, 2, (8, 70, 2))
    for _ in range(2):
        result = env.rollout(actions)
        obs, rewards = result
        assert torch.equal(obs[0], plain._shown()[0])
        for t in range(8):
            now, paid, terminated, truncated = plain.step(actions[t])
            assert torch.equal(obs[t + 1], now)
            assert torch.equal(rewards[t], paid)
            assert torch.equal(result.terminated[t], terminated)
            assert torch.equal(result.truncated[t], truncated)
            ended = terminated | truncated
            if mode == "next_step":
                assert result.final_obs is None
            else:
                assert torch.equal(result.final_obs[t][ended], plain.final_obs[ended])
                assert not result.final_obs[t][~ended].any()
        assert result.truncated.any()
    before = env.get_state()
    if device == "cpu" and rest.get("check_actions", True):
        actions[7, 69, 1] = 9
        with pytest.raises(ValueError, match=r"got 9 at \[7, 69, 1\]"):
            env.rollout(actions)
        for name, value in env.get_state().items():
            assert torch.equal(value, before[name])


def test_rollouts_that_do_not_reset() -> None:
    env = make(autoreset="same_step")
    with pytest.raises(ValueError, match="rollout_scripted needs autoreset=False"):
        env.rollout_scripted(["random", "random"], 2)
    assert make().final_obs is None
    result = make().rollout(np.zeros((2, 70, 2), int))
    assert (len(result), result.terminated, result.truncated) == (2, None, None)


def test_what_is_done_to_a_flag_changes_nothing_that_follows() -> None:
    env, plain = make(autoreset="next_step"), make(autoreset="next_step")
    actions = np.zeros((70, 2), int)
    for _ in range(7):
        results = env.step(actions)
        for ours, theirs in zip(results, plain.step(actions), strict=True):
            assert torch.equal(ours, theirs)
        for flags in results[2:]:
            flags.logical_not_()


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
