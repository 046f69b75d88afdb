"""State, checkpoints, result buffers and processes of the matrix games."""

from __future__ import annotations

import gc
import os
from typing import Any

import numpy as np
import pytest
import torch

import loqa
from loqa.envs.buffers import BufferPool

POLICY = [[0.8, 0.9, 0.2, 0.7, 0.1]] * 2


def go_on(env: Any) -> list[torch.Tensor]:
    """Everything that the environment does next, in all its ways."""
    random = np.random.default_rng(9)
    results = [value.clone() for value in env.step(random.integers(0, 2, (env.num_envs, 2)))]
    results += env.rollout(random.integers(0, 2, (4, env.num_envs, 2)))
    results += env.rollout_memory1(POLICY, 5, 0.2)
    results.append(env.reset(mask=torch.arange(env.num_envs) % 2 == 0).clone())
    results += [value.clone() for value in env.step(random.integers(0, 2, (env.num_envs, 2)))]
    results.append(env.reset().clone())
    results += env.rollout_memory1(POLICY, 5)
    return results


def assert_equal(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("moves", [0, 3])
def test_state_dict_round_trip(moves: int) -> None:
    """Bit for bit: noise, episode counters and seed go along, also into another environment."""
    settings = {"noise": 0.2, "episode_length": 4}
    env = loqa.make("ipd", 31, seed=2**63 + 5, **settings)
    env.reset(seed=2**64 - 1)
    env.reset(mask=torch.arange(31) < 7)
    if moves:
        env.rollout_memory1(POLICY, moves)
    saved = env.state_dict()
    expected = go_on(env)
    other = loqa.make("ipd", 31, **settings)
    other.step(np.ones((31, 2), np.int64))
    for again in (env, other):
        again.load_state_dict(saved)
        assert_equal(go_on(again), expected)


def test_state_dict_keeps_random_ends() -> None:
    env = loqa.make("ipd", 200, end_probability=0.5)
    actions = np.zeros((200, 2), np.int64)
    env.step(actions)
    saved = env.state_dict()
    expected = [value.clone() for value in env.step(actions)]
    env.load_state_dict(saved)
    assert_equal(list(env.step(actions)), expected)


def test_state_dict_of_another_game() -> None:
    saved = loqa.make("ipd", 3).state_dict()
    with pytest.raises(ValueError, match=r"state_dict is of ipd/loqa24-v1 .*, this environment is"):
        loqa.make("ipd-lola18", 3).load_state_dict(saved)
    for settings, message in [
        ({"payoff": [-1, -3, 0, -2.5]}, r"of table \[-1.0, .*, this environment is of table \[-1"),
        ({"noise": 0.1}, "of noise 0.0, this environment is of noise 0.1"),
        ({"episode_length": 7}, "of episode_length 50, this environment is of episode_length 7"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            loqa.make("ipd", 3, **settings).load_state_dict(saved)
    with pytest.raises(ValueError, match="rules must be a dict, got str"):
        loqa.make("ipd", 3).load_state_dict({**saved, "rules": "x"})
    with pytest.raises(ValueError, match=r"episode must be \[4\] of an integer type, got \[3\]"):
        loqa.make("ipd", 4).load_state_dict(saved)
    with pytest.raises(ValueError, match="first_env 0, this environment 8"):
        loqa.make("ipd", 3, first_env=8).load_state_dict(saved)
    with pytest.raises(ValueError, match="must have the keys"):
        loqa.make("ipd", 3).load_state_dict({"seed": 0})


def test_get_and_set_state() -> None:
    env = loqa.make("ipd", 3, obs="index", episode_length=5)
    state = env.get_state()
    assert {name: list(value.shape) for name, value in state.items()} == {
        "last_actions": [3, 2],
        "t": [3],
    }
    env.set_state(last_actions=np.array([[0, 1], [-1, -1], [1, 1]], np.int8), t=[1, 0, 4])
    obs, _, _, truncated = env.step(torch.zeros(3, 2, dtype=torch.int64))
    assert truncated.tolist() == [False, False, True]
    assert obs.tolist() == [[1, 1]] * 3
    assert state["t"].tolist() == [0] * 3  # a copy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"last_actions": torch.zeros(3, 2)}, r"\[3, 2\] of an integer type, got \[3, 2\] torch.f"),
        ({"last_actions": torch.zeros(2, 2, dtype=torch.int64)}, r"\[3, 2\] .*, got \[2, 2\]"),
        ({"last_actions": torch.full((3, 2), 2)}, "last_actions must be in 0..1, or -1 for both"),
        ({"last_actions": torch.tensor([[0, -1]] * 3)}, "or -1 for both players at the start"),
        ({"last_actions": torch.full((3, 2), 256)}, "last_actions must be in 0..1"),
        ({"t": torch.tensor([0, -1, 0])}, r"t must be in 0..2\*\*31-1"),
        ({"time": torch.zeros(3)}, "set_state needs exactly last_actions, t, got"),
    ],
)
def test_bad_set_state(change: dict[str, torch.Tensor], message: str) -> None:
    env = loqa.make("ipd", 3)
    env.step(torch.ones(3, 2, dtype=torch.int64))
    before = env.get_state()
    with pytest.raises(ValueError, match=message):
        env.set_state(**{**before, **change})
    assert_equal(list(env.get_state().values()), list(before.values()))


# --- result buffers


def test_rollouts_never_share_memory() -> None:
    env = loqa.make("ipd", 64)
    random = np.random.default_rng(0)
    kept = []
    for _ in range(12):
        actions = random.integers(0, 2, (7, 64, 2))
        obs, rewards = env.rollout(actions)
        # Only a view, or only an array, is kept of some: it must keep the memory from being used.
        kept.append((obs[1:], rewards.numpy()[2:], obs[1:].clone(), rewards.numpy()[2:].copy()))
        del obs, rewards
        gc.collect()
    for obs, rewards, obs_then, rewards_then in kept:
        assert torch.equal(obs, obs_then)
        np.testing.assert_array_equal(rewards, rewards_then)


def test_memory_is_used_again() -> None:
    pool = BufferPool()
    tensor = pool.empty((100, 3), torch.float32).tensor
    assert (tensor.shape, tensor.dtype) == ((100, 3), torch.float32)
    assert tensor.data_ptr() % 64 == 0
    address = tensor.data_ptr()
    view = tensor.T[1:]
    del tensor
    other = pool.empty((100, 3), torch.float32).tensor
    assert other.data_ptr() != address
    del view
    assert pool.empty((300,), torch.int32).tensor.data_ptr() == address


def test_buffer_outlives_its_pool() -> None:
    pool = BufferPool()
    tensor = pool.empty((1000,), torch.float32).tensor.fill_(3)
    del pool
    gc.collect()
    assert tensor.sum() == 3000


def test_empty_buffers() -> None:
    assert BufferPool().empty((0, 5), torch.int8).tensor.shape == (0, 5)


# --- processes


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # of JAX, where another test used it
def test_fork_after_threads() -> None:
    """A forked child steps with threads of its own, and gets the parent's numbers."""
    env = loqa.make("ipd", 50_000, num_threads=2)
    actions = torch.zeros(10, 50_000, 2, dtype=torch.uint8)
    env.rollout(actions)
    saved = env.state_dict()
    expected = env.rollout_memory1(POLICY, 5)[1].sum().item()
    env.load_state_dict(saved)
    torch.set_num_threads(1)  # torch's own pool does not survive a fork
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(int(env.rollout_memory1(POLICY, 5)[1].numpy().sum())).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == str(expected)
    assert os.waitpid(child, 0)[1] == 0
    assert env.rollout_memory1(POLICY, 5)[1].sum().item() == expected


@pytest.mark.parametrize("make", [loqa.make, loqa.reference.make])
def test_the_first_reset_is_the_episode_that_is_there_until_it_is_played(make: Any) -> None:
    """Noise shows which episode it is: a reset before the first step keeps it, one after does not."""
    actions = np.zeros((20, 8, 2), np.uint8)
    untouched, reset, played = (make("ipd", 8, obs="index", noise=0.5) for _ in range(3))
    reset.reset()
    first = np.asarray(untouched.rollout(actions)[1])
    np.testing.assert_array_equal(np.asarray(reset.rollout(actions)[1]), first)
    played.step(actions[0])
    played.reset()
    assert not np.array_equal(np.asarray(played.rollout(actions)[1]), first)


@pytest.mark.parametrize("mode", ["same_step", "next_step"])
def test_autoreset(mode: str) -> None:
    """Episodes end at random, so that environments are out of phase."""
    settings: dict[str, Any] = {"num_envs": 40, "seed": 3, "obs": "index", "end_probability": 0.3}
    env = loqa.make("ipd", autoreset=mode, **settings)
    plain = loqa.make("ipd", **settings)
    env.reset()
    plain.reset()
    ended = torch.zeros(40, dtype=torch.bool)
    ends = 0
    for t in range(12):
        actions = torch.full((40, 2), t % 2)
        obs, rewards, terminated, _ = env.step(actions)
        expected = [value.clone() for value in plain.step(actions)]
        if mode == "next_step" and ended.any():
            expected[0] = plain.reset(mask=ended).clone()
            expected[1][ended] = 0
            expected[2][ended] = False
        assert torch.equal(rewards, expected[1])
        assert torch.equal(terminated, expected[2])
        ended = terminated.clone()
        ends += int(ended.sum())
        if mode == "same_step" and ended.any():
            assert torch.equal(env.final_obs[ended], expected[0][ended])
            expected[0] = plain.reset(mask=ended)
        assert torch.equal(obs, expected[0])
    assert ends > 40
    with pytest.raises(ValueError, match="rollout_memory1 needs autoreset=False"):
        env.rollout_memory1([[0.5] * 5] * 2, 3)
