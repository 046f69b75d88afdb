"""Public goods, and with it the driver of every game that is one header: bit for bit as the reference."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_games import assert_steps_equal, random_operations
from sim_devices import assert_same, make, on_each_device, random_actions

import loqa
import loqa.reference
from loqa._native import core

OBS = [
    ("index", torch.int64),
    ("index", torch.int8),
    ("count", torch.float32),
    ("joint", torch.float32),
]
MODES = (False, "next_step", "same_step")


# --- by hand


def test_hand_worked_linear() -> None:
    """Factor 1.5 of three players: each level gives everybody 1/2; giving it costs 1."""
    env = loqa.make("public-goods", num_players=3, factor=1.5, obs="index", episode_length=2)
    assert env.reset().tolist() == [[0, 0, 0]]
    obs, rewards, terminated, truncated = env.step([[1, 0, 1]])
    # Own 1: states 4, 5, 6 for 0, 1, 2 others; own 0: 1, 2, 3.
    assert obs.tolist() == [[5, 3, 5]]
    assert rewards.tolist() == [[0.0, 1.0, 0.0]]
    assert (terminated.tolist(), truncated.tolist()) == ([False], [False])
    obs, rewards, terminated, truncated = env.step([[0, 0, 0]])
    assert (obs.tolist(), rewards.tolist()) == ([[1, 1, 1]], [[0, 0, 0]])
    assert (terminated.tolist(), truncated.tolist()) == ([False], [True])
    assert env.get_state()["last_actions"].tolist() == [[0, 0, 0]]


def test_hand_worked_n_ipd() -> None:
    """-2 + 2 / (n - 1) times the other givers - 1 for giving: all give -1, nobody -2, alone -3."""
    for players in (2, 3, 5):
        env = loqa.make("n-ipd", num_players=players)
        assert env.step([[1] * players])[1].tolist() == [[-1] * players]
        assert env.step([[0] * players])[1].tolist() == [[-2] * players]
        paid = env.step([[1] + [0] * (players - 1)])[1]
        expected = [-3.0] + [-2 + 2 / (players - 1)] * (players - 1)
        np.testing.assert_allclose(paid[0], expected, rtol=1e-6)


def test_two_players_are_the_prisoners_dilemma() -> None:
    """With level 1 for C the same payoffs and, of two players, the same bits."""
    env, ipd = loqa.make("n-ipd", 50, num_players=2), loqa.make("ipd", 50, obs="bits")
    levels = random_actions(env, dtype=torch.int64)
    seen, paid, _, _ = env.step(levels)
    theirs, expected, _, _ = ipd.step(1 - levels)
    assert torch.equal(paid, expected)
    assert torch.equal(seen[..., [1, 0, 3, 2]], theirs)


def test_observations_by_hand() -> None:
    """Three levels, four players: 0, 2, 1, 1."""
    played = [[0, 2, 1, 1]]
    count = loqa.make("public-goods", num_players=4, num_levels=3, obs="count")
    joint = loqa.make("public-goods", num_players=4, num_levels=3, obs="joint")
    assert not count.reset().any()
    assert not joint.reset().any()
    seen = count.step(played)[0][0, 1]  # own 2, the others 2 of 0..6
    assert seen.nonzero().flatten().tolist() == [2, 3 + 2]
    seen = joint.step(played)[0][0, 1].view(4, 3)
    assert seen.argmax(-1).tolist() == [2, 1, 1, 0]
    assert seen.sum(-1).tolist() == [1] * 4


# --- against the reference


@pytest.mark.parametrize(("obs", "obs_dtype"), OBS)
@pytest.mark.parametrize("players", range(2, 9))
def test_steps_equal_reference(isa: str, players: int, obs: str, obs_dtype: torch.dtype) -> None:
    for game, levels in (("public-goods", 4), ("n-ipd", 2)):
        rules = {"num_players": players, "num_levels": levels, "obs": obs}
        env = loqa.make(game, 7, obs_dtype=obs_dtype, **rules)
        reference = loqa.reference.make(game, 7, **rules)
        assert env.obs_shape == reference.observe().shape[2:]
        assert_steps_equal(env, reference, random_actions(env, 6).numpy())


@given(seed=st.integers(0, 2**63))
@settings(max_examples=60)
def test_random_operations_equal_reference(seed: int) -> None:
    draw = np.random.default_rng(seed)
    game, levels = ("public-goods", "n-ipd")[draw.integers(2)], int(draw.integers(2, 7))
    rules: dict[str, Any] = {
        "num_players": int(draw.integers(2, 9)),
        "num_levels": levels,
        "obs": ("index", "count", "joint")[draw.integers(3)],
        "episode_length": int(draw.integers(1, 6)),
    }
    if game == "public-goods":
        rules["factor"] = float(draw.normal())
    else:
        rules |= {"benefit": float(draw.normal()), "cost": float(draw.normal())}
    kinds = (np.uint8, np.int8, np.int16, np.int32, np.int64, np.uint16, np.uint64)

    def actions(shape: tuple[int, ...]) -> np.ndarray:
        return draw.integers(0, levels, shape).astype(kinds[draw.integers(len(kinds))])

    random_operations(draw, game, rules, actions, lambda: levels, 25)


# --- threads, splits, devices


def test_threads_and_splits() -> None:
    whole = loqa.make("public-goods", 40_000, num_levels=3, num_threads=1)
    actions = random_actions(whole, 3)
    expected = whole.rollout(actions)
    threads = loqa.make("public-goods", 40_000, num_levels=3, num_threads=4)
    assert_same(threads.rollout(actions), expected)
    assert_same(threads.step(actions[0]), whole.step(actions[0]))
    part = loqa.make("public-goods", 33, num_levels=3, first_env=1000)
    assert_same(part.rollout(actions[:, 1000:1033]), [one[:, 1000:1033] for one in expected])


@on_each_device
@pytest.mark.parametrize(("obs", "obs_dtype"), OBS)
@pytest.mark.parametrize("autoreset", MODES)
@pytest.mark.parametrize("players", [2, 3, 8])
def test_device_equals_cpu(
    device: str, players: int, autoreset: Any, obs: str, obs_dtype: torch.dtype
) -> None:
    rules = {
        "num_players": players, "num_levels": 3, "obs": obs, "obs_dtype": obs_dtype,
        "episode_length": 3, "autoreset": autoreset,
    }  # fmt: skip
    env, plain = make(device, "public-goods", 67, **rules), loqa.make("public-goods", 67, **rules)
    assert_same(env.reset(), plain.reset())
    for step in range(8):
        if step == 4:
            mask = torch.arange(67) % 3 == 0
            assert_same(env.reset(mask=mask.to(env.device)), plain.reset(mask=mask))
        actions = random_actions(env, seed=step)
        expected = plain.step(actions)
        assert_same(env.step(actions.to(env.device)), expected)
        if env.final_obs is not None:
            ended = expected[3]
            assert_same(env.final_obs.cpu()[ended], plain.final_obs[ended])
    assert_same(env.get_state(), plain.get_state())
    moves = random_actions(env, 5, seed=99)
    assert_same(env.rollout(moves.to(env.device)), plain.rollout(moves))
    # What a device saved goes on on the CPU.
    plain.reset()
    plain.load_state_dict(env.state_dict())
    assert_same(env.step(moves[0].to(env.device)), plain.step(moves[0]))


@on_each_device
def test_device_tells_of_bad_actions(device: str) -> None:
    """They are taken for 0."""
    env, plain = make(device, "n-ipd", 2, num_players=2), loqa.make("n-ipd", 2, num_players=2)
    bad = torch.tensor([[2, 1], [-1, 0]])
    assert_same(env.step(bad.to(env.device)), plain.step([[0, 1], [0, 0]]))
    with pytest.raises(ValueError, match=r"must be in 0..1: since the last check .* for action 0"):
        env.check()


# --- episodes, state


def test_autoreset_same_step_by_hand() -> None:
    env = loqa.make("n-ipd", 1, obs="index", episode_length=1, autoreset="same_step")
    obs, rewards, _, truncated = env.step([[1, 1, 1]])
    assert (obs.tolist(), rewards.tolist(), truncated.tolist()) == ([[0] * 3], [[-1] * 3], [True])
    assert env.final_obs is not None
    assert env.final_obs.tolist() == [[6, 6, 6]]


def test_state_goes_round() -> None:
    env = loqa.make("public-goods", 5, num_levels=3, obs="index")
    env.step(random_actions(env))
    state = env.get_state()
    assert {name: list(value.shape) for name, value in state.items()} == {
        "last_actions": [5, 3],
        "t": [5],
    }
    expected = env.step(random_actions(env, seed=1))[0].clone()
    for again in (copy.copy(env), copy.deepcopy(env)):
        again.set_state(**state)
        assert_same(again.step(random_actions(env, seed=1))[0], expected)
    for wrong in (3, -2):
        with pytest.raises(ValueError, match=r"last_actions must be in 0..2, or -1 for all"):
            env.set_state(t=state["t"], last_actions=torch.full((5, 3), wrong))
    mixed = torch.tensor([[-1, 0, 0]] * 5)
    with pytest.raises(ValueError, match="or -1 for all players at the start"):
        env.set_state(t=state["t"], last_actions=mixed)
    env.set_state(t=state["t"], last_actions=torch.full((5, 3), -1))


@pytest.mark.parametrize(
    ("game", "wrong", "says"),
    [
        ("public-goods", {"num_players": 1}, "num_players must be"),
        ("public-goods", {"num_players": 9}, "num_players must be"),
        ("public-goods", {"num_levels": 1}, "num_levels must be"),
        ("public-goods", {"factor": float("nan")}, "factor must be"),
        ("public-goods", {"cost": 1.0}, "has a factor, and no benefit and cost"),
        ("n-ipd", {"factor": 1.5}, "has benefit and cost, and no factor"),
        ("n-ipd", {"obs": "bits"}, "obs must be"),
        ("n-ipd", {"obs_dtype": torch.int64}, "obs_dtype must be torch.float32"),
        ("n-ipd", {"obs": "index", "num_players": 8, "num_levels": 16, "obs_dtype": torch.int8},
         "obs_dtype must be torch.int64 for obs 'index', got torch.int8"),
        ("n-ipd", {"preset": "linear"}, "preset must be"),
        ("n-ipd", {"players": 3}, "players"),
    ],
)  # fmt: skip
def test_wrong_settings(game: str, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        loqa.make(game, **wrong)


def test_the_core_refuses_wrong_sizes() -> None:
    """Python has checked; C++ does so again where memory is at stake."""
    memory = [core.Memory(size) for size in (16, 8, 8)]
    rules = {"num_levels": 2, "obs": 0, "base": 0, "gain": 0, "own": 0}

    def batch(**other: Any) -> Any:
        given = {
            "game": "public-goods", "rules": rules, "num_envs": 2, "num_players": 2, "obs_type": 0,
            "episode_length": 1, "first_env": 0, "states": memory[0], "t": memory[1],
            "episode": memory[2],
        }  # fmt: skip
        return core.GameBatch(**{**given, **other})

    batch()
    for wrong in ({"num_envs": 3}, {"num_players": 9}, {"num_players": 1}, {"obs_type": 3},
                  {"game": "poker"}, {"rules": {}}, {"states": memory[1]}):  # fmt: skip
        with pytest.raises(ValueError):  # noqa: PT011
            batch(**wrong)


# --- adapters


def test_gymnasium_and_pettingzoo() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    pytest.importorskip("pettingzoo")
    from pettingzoo.test import parallel_api_test

    from loqa.envs.gymnasium import VectorEnv
    from loqa.envs.pettingzoo import parallel_env

    for obs in ("index", "count", "joint"):
        parallel_api_test(parallel_env("public-goods", num_players=4, num_levels=3, obs=obs), 60)
    env = VectorEnv("n-ipd", 3, num_players=2)
    assert (
        gymnasium.make_vec("loqa.envs.gymnasium:loqa/n-ipd", num_envs=2, num_players=2).num_envs
        == 2
    )
    assert env.reset(seed=0)[0].shape == (3, 4)
    assert env.step(np.ones(3, np.int64))[1].shape == (3,)
    assert env.observation_space.contains(env.reset()[0])
    with pytest.raises(ValueError, match="must have 2 players, this one has 3"):
        VectorEnv("public-goods", 3)


def test_render() -> None:
    env = loqa.make("public-goods", num_players=5)
    assert env.render().shape == (64, 160, 3)
    before = env.render()
    env.step([[0, 1, 0, 1, 1]])
    assert (env.render() != before).any()
