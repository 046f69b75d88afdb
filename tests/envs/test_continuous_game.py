"""Continuous games, and with them the boxes of the generic driver: bit for bit as the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_games import assert_steps_equal, random_operations
from sim_devices import assert_same, make, on_each_device
from torch import Tensor

import loqa
import loqa.reference

GAMES = ("continuous-ipd", "cournot")


def random_floats(env: Any, *shape: int, seed: int = 0) -> Tensor:
    """Actions [*shape, B, A, 1] on the CPU; some are 0 or 1."""
    random = np.random.default_rng(seed)
    uniform = random.random((*shape, env.num_envs, env.num_players, 1)) * 1.4 - 0.2
    return torch.from_numpy(np.clip(uniform, 0, 1).astype(np.float32))


def test_hand_worked_ipd() -> None:
    """-2 + 2 c_j - c_i."""
    env = loqa.make("continuous-ipd", episode_length=2)
    assert env.reset().tolist() == [[[0, 0, 0]] * 2]
    obs, rewards, terminated, truncated = env.step([[[1.0], [0.25]]])
    assert obs.tolist() == [[[1, 1, 0.25], [1, 0.25, 1]]]
    assert rewards.tolist() == [[-2.5, -0.25]]
    assert (terminated.tolist(), truncated.tolist()) == ([False], [False])
    assert env.step(torch.ones(1, 2, 1))[1].tolist() == [[-1, -1]]
    three = loqa.make("continuous-ipd", num_players=3)
    assert three.step(np.ones((1, 3, 1)))[1].tolist() == [[-1, -1, -1]]


def test_hand_worked_cournot() -> None:
    """c_i (1 - c_i - c_j): the cartel's 1/4 earns 1/8 each; at Nash 1/3 no other quantity earns more."""
    env = loqa.make("cournot", 101)
    assert env.step(np.full((101, 2, 1), 0.25))[1].tolist() == [[0.125, 0.125]] * 101
    against = np.stack([np.linspace(0, 1, 101), np.full(101, 1 / 3)], -1)[..., None]
    earned = env.step(against)[1][:, 0]
    assert earned.argmax() == 33
    assert float(earned.max()) == pytest.approx(1 / 9, abs=1e-4)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("players", range(2, 9))
def test_steps_equal_reference(isa: str, game: str, players: int) -> None:
    env = loqa.make(game, 7, num_players=players)
    reference = loqa.reference.make(game, 7, num_players=players)
    assert_steps_equal(env, reference, random_floats(env, 6).numpy())
    assert env.get_state()["last_actions"].dtype == torch.float32


@given(seed=st.integers(0, 2**63))
@settings(max_examples=60)
def test_random_operations_equal_reference(seed: int) -> None:
    draw = np.random.default_rng(seed)
    kinds = (np.float32, np.float64, np.float16)

    def actions(shape: tuple[int, ...]) -> np.ndarray:
        return draw.random(shape).astype(kinds[draw.integers(3)])

    def wrong() -> float:
        return (-0.01, 1.01, np.nan, np.inf, -np.inf)[draw.integers(5)]

    rules = {
        "num_players": int(draw.integers(2, 9)),
        "episode_length": int(draw.integers(1, 6)),
    }
    random_operations(draw, GAMES[draw.integers(2)], rules, actions, wrong, 25)


def test_threads_and_splits() -> None:
    whole = loqa.make("cournot", 40_000, num_players=3, num_threads=1)
    actions = random_floats(whole, 3)
    expected = whole.rollout(actions)
    assert_same(
        loqa.make("cournot", 40_000, num_players=3, num_threads=4).rollout(actions), expected
    )
    part = loqa.make("cournot", 33, num_players=3, first_env=1000)
    assert_same(part.rollout(actions[:, 1000:1033]), [one[:, 1000:1033] for one in expected])


@on_each_device
@pytest.mark.parametrize("autoreset", [False, "next_step", "same_step"])
@pytest.mark.parametrize("players", [2, 3, 8])
def test_device_equals_cpu(device: str, players: int, autoreset: Any) -> None:
    rules = {"num_players": players, "episode_length": 3, "autoreset": autoreset}
    env, plain = make(device, "cournot", 67, **rules), loqa.make("cournot", 67, **rules)
    assert_same(env.reset(), plain.reset())
    for step in range(8):
        if step == 4:
            mask = torch.arange(67) % 3 == 0
            assert_same(env.reset(mask=mask.to(env.device)), plain.reset(mask=mask))
        actions = random_floats(env, seed=step)
        expected = plain.step(actions)
        assert_same(env.step(actions.to(env.device)), expected)
        if env.final_obs is not None:
            assert_same(env.final_obs.cpu()[expected[3]], plain.final_obs[expected[3]])
    assert_same(env.get_state(), plain.get_state())
    moves = random_floats(env, 5, seed=99)
    assert_same(env.rollout(moves.to(env.device)), plain.rollout(moves))


@on_each_device
def test_device_tells_of_bad_actions(device: str) -> None:
    """They are taken for 0."""
    env, plain = make(device, "cournot", 3), loqa.make("cournot", 3)
    bad = torch.tensor([[[float("nan")], [1.0]], [[2.0], [0.5]], [[-1.0], [0.0]]])
    fixed = torch.where((bad >= 0) & (bad <= 1), bad, 0.0)
    assert_same(env.step(bad.to(env.device)), plain.step(fixed))
    with pytest.raises(
        ValueError, match=r"must be in \[0, 1\]: since the last check .* for action 0"
    ):
        env.check()
    env.check()


def test_rollouts_that_restart_refuse_before_the_first_step() -> None:
    env = loqa.make("cournot", 3, autoreset="next_step")
    actions = np.zeros((4, 3, 2, 1))
    actions[2, 1, 0] = np.nan
    with pytest.raises(ValueError, match=r"got nan at \[2, 1, 0\]; no environment was stepped"):
        env.rollout(actions)
    assert env.get_state()["t"].tolist() == [0, 0, 0]
    env.rollout(actions[:2])


def test_wrong_actions_and_states() -> None:
    env = loqa.make("cournot", 3)
    for wrong in (np.zeros((3, 2)), np.zeros((3, 2, 2)), np.zeros((2, 2, 1))):
        with pytest.raises(ValueError, match=r"actions must be \[3, 2, 1\] of floats on cpu, got"):
            env.step(wrong)
    for strange in (np.zeros((3, 2, 1), complex), "often", np.zeros((3, 2, 1), bool)):
        with pytest.raises(TypeError, match=r"actions must be \[3, 2, 1\] of floats on cpu, got"):
            env.step(strange)
    given = np.full((3, 2, 1), 0.5, np.float32)
    given.flags.writeable = False
    assert torch.equal(env.step(given)[1], env.step(torch.full((3, 2, 1), 0.5))[1])
    assert torch.equal(env.step(given.astype(">f4"))[1], env.step(given[:, ::-1])[1])
    with pytest.raises(ValueError, match=r"actions must be \[T, 3, 2, 1\] of floats"):
        env.rollout(np.zeros((3, 2, 1)))
    state = env.get_state()
    for outside in (1.5, float("nan"), -0.5):
        with pytest.raises(ValueError, match=r"last_actions must be in \[0, 1\], or -1 for all"):
            env.set_state(t=state["t"], last_actions=torch.full((3, 2), outside))
    with pytest.raises(ValueError, match=r"last_actions must be \[3, 2\] of floats, got \[3\]"):
        env.set_state(t=state["t"], last_actions=torch.zeros(3))
    with pytest.raises(ValueError, match="num_players must be"):
        loqa.make("cournot", num_players=9)
    assert "with actions in [0, 1]" in repr(env)
    assert env.render().shape == (64, 64, 3)


def test_pettingzoo_and_gymnasium() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    pytest.importorskip("pettingzoo")
    from pettingzoo.test import parallel_api_test

    from loqa.envs.pettingzoo import parallel_env

    for game in GAMES:
        parallel_api_test(parallel_env(game, num_players=3), 60)
    assert loqa.make("cournot").single_action_space == gymnasium.spaces.Box(0, 1, (1,), np.float32)
    assert loqa.make("cournot", 4).action_space.shape == (4, 2, 1)
    with pytest.raises(ValueError, match="no opponent plays a game of floats such as 'cournot'"):
        gymnasium.make_vec("loqa.envs.gymnasium:loqa/cournot", num_envs=2)
