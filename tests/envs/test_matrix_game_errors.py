"""Bad input to the matrix games: the right exception, what was expected, what came; nothing moves."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

import loqa

BAD_MAKE: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"game": "ipdd"}, ValueError, "game must be one of ipd, .*, got 'ipdd'; did you mean 'ipd'?"),
    ({"preset": "lqa24"}, ValueError, "preset .* got 'lqa24'; did you mean 'loqa24'?"),
    ({"game": "ipd-lola18", "preset": "pola22"}, ValueError, "'ipd-lola18' .* preset='pola22'"),
    ({"payof": 3}, TypeError, "no setting 'payof'; did you mean 'payoff'?"),
    ({"obs": "bit"}, ValueError, "obs must be one of .*, got 'bit'; did you mean 'bits'?"),
    (
        {"obs": "index", "obs_dtype": torch.float32},
        ValueError,
        "obs_dtype must be torch.int8 or torch.int64 for obs 'index', got torch.float32",
    ),
    ({"payoff": [1, 2, float("nan"), 3]}, ValueError, "payoff must be finite, got .*nan"),
    ({"payoff": [[1, 2, 3], [4, 5, 6]]}, ValueError, r"payoff must be .*, got \[2, 3\]"),
    ({"payoff": "high"}, ValueError, "payoff must be an array of numbers, got 'high'"),
    ({"payoff": np.zeros((12, 12))}, ValueError, "payoff must be for 2 to 11 actions, got 12"),
    ({"contribution_factor": 1.2}, ValueError, "'loqa24' has no contribution_factor"),
    (
        {"preset": "pola22", "contribution_factor": 1.2, "payoff": [0, 1, 2, 3]},
        ValueError,
        "payoff or contribution_factor, not both",
    ),
    ({"num_envs": 0}, ValueError, r"num_envs must be an integer in \[1, 2147483647\], got 0"),
    ({"num_envs": 1.5}, TypeError, "num_envs must be an integer, got float 1.5"),
    ({"num_envs": True}, TypeError, "num_envs must be an integer, got bool True"),
    ({"episode_length": 0}, ValueError, "episode_length must be an integer in .*, got 0"),
    ({"noise": 1.5}, ValueError, r"noise must be a finite number in \[0, 1\], got 1.5"),
    ({"noise": float("nan")}, ValueError, "noise must be a finite number .*, got nan"),
    ({"noise": "much"}, TypeError, "noise must be a number, got str 'much'"),
    ({"end_probability": -0.1}, ValueError, "end_probability must be .*, got -0.1"),
    ({"seed": -1}, ValueError, "seed must be an integer in .*, got -1"),
    ({"first_env": 2**32}, ValueError, "first_env must be an integer in .*, got 4294967296"),
    ({"num_threads": 0}, ValueError, r"num_threads must be an integer in \[1, 1024\], got 0"),
    (
        {"autoreset": True},
        ValueError,
        "autoreset must be False, 'next_step' .* 'same_step' .*, got True",
    ),
    ({"autoreset": "next"}, ValueError, "autoreset .* got 'next'; did you mean 'next_step'?"),
    ({"game": "matrix-game"}, ValueError, "payoff must be given for matrix-game"),
    ({"num_env": 3}, TypeError, r"loqa.make\('ipd'\) has no setting 'num_env'; .* 'num_envs'?"),
    ({"device": "gpu"}, ValueError, "device must be 'cpu', 'cuda' or 'cuda:N', got 'gpu'"),
]


@pytest.mark.parametrize(("settings", "error", "message"), BAD_MAKE)
def test_bad_settings(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        loqa.make(**{"game": "ipd", "num_envs": 2, **settings})
    assert re.search(message.replace("?", r"\?"), str(raised.value)), str(raised.value)


BAD_ACTIONS = [
    (
        torch.zeros(3, 2),
        TypeError,
        r"\[3, 2\] of an integer type on cpu, got \[3, 2\] torch.float32",
    ),
    (torch.zeros(3, 2, dtype=torch.cfloat), TypeError, "got .* torch.complex64 on cpu"),
    (np.zeros((3, 2)), TypeError, r"on cpu, got \[3, 2\] float64"),
    (torch.zeros(2, 3, dtype=torch.int64), ValueError, r"must be \[3, 2\] .* got \[2, 3\]"),
    (np.zeros(6, np.int64), ValueError, r"must be \[3, 2\] .* got \[6\] int64"),
    (torch.zeros(3, 2, dtype=torch.int64, device="meta"), ValueError, "on cpu, got .* on meta"),
    ("CD", TypeError, "must be .* got str"),
    (None, TypeError, "must be .* got NoneType"),
    (torch.tensor([[0, 0], [0, 2], [0, 0]]), ValueError, r"in 0..1, got 2 at \[1, 1\]"),
    (np.array([[0, 0], [0, 0], [-1, 0]]), ValueError, r"in 0..1, got -1 at \[2, 0\]"),
    (torch.full((3, 2), 255, dtype=torch.uint8), ValueError, r"in 0..1, got 255 at \[0, 0\]"),
    (torch.full((3, 2), 256, dtype=torch.int16), ValueError, r"in 0..1, got 256 at \[0, 0\]"),
    (torch.full((3, 2), 2**32, dtype=torch.int64), ValueError, "in 0..1, got 4294967296"),
]


@pytest.mark.parametrize("call", ["step", "rollout"])
@pytest.mark.parametrize(("actions", "error", "message"), BAD_ACTIONS)
def test_bad_actions(call: str, actions: Any, error: type[Exception], message: str) -> None:
    env = loqa.make("ipd", 3, obs="index", seed=1)
    env.step(torch.tensor([[0, 1], [1, 1], [1, 0]]))
    before = env.state_dict()
    obs = env.reset(mask=torch.zeros(3, dtype=torch.bool)).clone()
    if call == "rollout":
        message = message.replace(r"\[3, 2\] of", r"\[T, 3, 2\] of").replace(
            r"must be \[3, 2\]", r"must be \[T, 3, 2\]"
        )
        message = re.sub(r"got \\\[([^]]*)\\\]", r"got \\[2, \1\\]", message)
        message = re.sub(r"at \\\[([^]]*)\\\]", r"at \\[0, \1\\]", message)
        if isinstance(actions, torch.Tensor):
            actions = torch.stack([actions, actions])
        elif isinstance(actions, np.ndarray):
            actions = np.stack([actions, actions])
    with pytest.raises(error) as raised:
        getattr(env, call)(actions)
    assert re.search(message, str(raised.value)), str(raised.value)
    after = env.state_dict()
    for name, value in before["state"].items():
        assert torch.equal(value, after["state"][name])
    assert torch.equal(before["episode"], after["episode"])
    assert torch.equal(obs, env.reset(mask=torch.zeros(3, dtype=torch.bool)))


def test_bad_action_in_the_last_step_of_a_threaded_rollout() -> None:
    actions = torch.zeros(20, 5000, 2, dtype=torch.uint8)
    actions[-1, -1, -1] = 2
    env = loqa.make("ipd", 5000, num_threads=4)
    with pytest.raises(ValueError, match=r"got 2 at \[19, 4999, 1\]"):
        env.rollout(actions)
    assert env.get_state()["t"].max() == 0


BAD_MEMORY1: list[tuple[tuple[Any, ...], type[Exception], str]] = [
    (([[0.5] * 4] * 2, 3), ValueError, r"must be \[2, 5\] or \[4, 2, 5\] on cpu, got \[2, 4\]"),
    (([[0.5] * 4 + [1.5]] * 2, 3), ValueError, r"probabilities must be in \[0, 1\], got 1.5"),
    (([[float("nan")] * 5] * 2, 3), ValueError, r"probabilities must be in \[0, 1\], got nan"),
    (([[0.5] * 5] * 2, -1), ValueError, "steps must be an integer in .*, got -1"),
    (([[0.5] * 5] * 2, 1.0), TypeError, "steps must be an integer, got float"),
    (([[0.5] * 5] * 2, 3, 2.0), ValueError, r"exploration must be .*\[0, 1\], got 2.0"),
    (("cooperate", 3), TypeError, "probabilities must be .*, got str"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD_MEMORY1)
def test_bad_memory1(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    env = loqa.make("ipd", 4)
    with pytest.raises(error) as raised:
        env.rollout_memory1(*arguments)
    assert re.search(message, str(raised.value)), str(raised.value)
    assert env.get_state()["t"].tolist() == [0] * 4


def test_calls_a_game_cannot_serve() -> None:
    three = loqa.make("matrix-game", 1, payoff=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="needs a game of 2 actions, this one has 3"):
        three.rollout_memory1([[0.5] * 5] * 2, 1)
    random_end = loqa.make("ipd", 1, end_probability=0.5)
    with pytest.raises(ValueError, match="rollout needs end_probability=0"):
        random_end.rollout(torch.zeros(1, 1, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="rollout_memory1 needs end_probability=0"):
        random_end.rollout_memory1([[0.5] * 5] * 2, 1)


def test_bad_reset() -> None:
    env = loqa.make("ipd", 3)
    with pytest.raises(ValueError, match=r"mask must be \[3\] bool, got \[2\] torch.bool"):
        env.reset(mask=torch.tensor([True, False]))
    with pytest.raises(ValueError, match=r"mask must be \[3\] bool, got \[3\] torch.int64"):
        env.reset(mask=torch.tensor([1, 0, 1]))
    with pytest.raises(ValueError, match="a seed or a mask, not both"):
        env.reset(seed=1, mask=torch.tensor([True] * 3))
    with pytest.raises(TypeError, match="seed must be an integer, got str 'x'"):
        env.reset(seed="x")
