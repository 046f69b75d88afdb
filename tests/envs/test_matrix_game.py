"""The matrix games: the native simulator against numbers from elsewhere and against the reference."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import loqa
import loqa.reference
from loqa._native import core
from loqa.envs.matrix_game.presets import MATRIX_PRESETS

OBS = [
    ("bits", torch.float32),
    ("index", torch.int8),
    ("index", torch.int64),
    ("onehot", torch.float32),
    ("actions", torch.float32),
]
ACTION_TYPES = [
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
]
# Three actions, every payoff different, so that a swapped player or action shows.
ASYMMETRIC = np.arange(18, dtype=np.float32).reshape(2, 3, 3) / 4 - 2


def assert_same(native: Any, reference: Any) -> None:
    assert len(native) == len(reference)
    for ours, theirs in zip(native, reference, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), theirs)


def pair(num_envs: int, *, obs_dtype: torch.dtype | None = None, **settings: Any) -> tuple:
    """The native game and its reference with the same settings."""
    return (
        loqa.make("ipd", num_envs, obs_dtype=obs_dtype, num_threads=1, **settings),
        loqa.reference.make("ipd", num_envs, **settings),
    )


def random_actions(*shape: int, num_actions: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, num_actions, shape)


# --- numbers from elsewhere


def test_golden_transitions(golden: Any) -> None:
    expected = golden("ipd_env.npz")
    env = loqa.make("ipd", num_envs=4, preset="loqa24")
    np.testing.assert_array_equal(env.reset()[0], expected["initial_obs"])
    obs, rewards, terminated, truncated = env.step(expected["actions"])
    np.testing.assert_array_equal(obs, expected["obs"])
    np.testing.assert_array_equal(rewards, expected["rewards"])
    assert not terminated.any()
    assert not truncated.any()


def test_hand_worked_episode() -> None:
    """I cooperate, then defect; the other defects, then cooperates. Seen by both."""
    env = loqa.make("ipd", num_envs=1, obs="index", episode_length=2)
    assert env.reset().tolist() == [[0, 0]]
    obs, rewards, _, truncated = env.step(torch.tensor([[0, 1]]))
    assert (obs.tolist(), rewards.tolist(), truncated.tolist()) == ([[2, 3]], [[-3, 0]], [False])
    obs, rewards, _, truncated = env.step(torch.tensor([[1, 0]]))
    assert (obs.tolist(), rewards.tolist(), truncated.tolist()) == ([[3, 2]], [[0, -3]], [True])
    state = env.get_state()
    assert (state["last_actions"].tolist(), state["t"].tolist()) == ([[1, 0]], [2])


# --- against the reference


@pytest.mark.parametrize(("obs", "obs_dtype"), OBS)
@pytest.mark.parametrize("payoff", [None, ASYMMETRIC], ids=["ipd", "three-actions"])
def test_step_and_rollout_equal_reference(
    isa: str, obs: str, obs_dtype: torch.dtype, payoff: Any
) -> None:
    num_actions = 2 if payoff is None else 3
    for num_envs in (1, 3, 37):
        settings = {} if payoff is None else {"payoff": payoff}
        env, reference = pair(num_envs, obs=obs, obs_dtype=obs_dtype, **settings)
        assert env.reset().dtype == obs_dtype
        assert_same([env.reset()], [reference.reset()])
        actions = random_actions(6, num_envs, 2, num_actions=num_actions)
        for now in actions[:3]:
            assert_same(env.step(now), reference.step(now))
        assert_same(env.rollout(actions), reference.rollout(actions))
        assert_same(env.get_state().values(), reference.get_state().values())


@pytest.mark.parametrize(
    ("game", "preset"), [(game, preset) for game, all_ in MATRIX_PRESETS.items() for preset in all_]
)
def test_presets_equal_reference(game: str, preset: str) -> None:
    own: dict[str, Any] = {"payoff": [[1, 5], [0, 2]]} if preset == "custom" else {}
    env = loqa.make(game, 9, preset=preset, **own)
    reference = loqa.reference.make(game, 9, preset=preset, **own)
    assert env.episode_length == reference.episode_length
    assert (env.spec.name, env.spec.preset) == (game, preset)
    actions = random_actions(5, 9, 2)
    assert_same(env.rollout(actions), reference.rollout(actions))


def test_names_of_presets() -> None:
    assert loqa.make("ipd").spec == loqa.make("ipd", preset="loqa24").spec
    assert loqa.make("ipd-pola22").spec == loqa.make("ipd", preset="pola22").spec
    assert loqa.make("matching_pennies").spec.name == "matching-pennies"


@given(factor=st.floats(1.1, 1.6))
def test_contribution_factor(factor: float) -> None:
    env = loqa.make("ipd-pola22", contribution_factor=factor)
    cf = np.float32(factor)
    expected = [[0, cf / 2], [cf / 2 - 1, cf - 1]]  # action 0 defects
    np.testing.assert_allclose(env.payoff, [expected, expected], rtol=1e-6, atol=1e-7)


@given(
    num_envs=st.integers(1, 70),
    num_actions=st.integers(2, 11),
    noise=st.sampled_from([0.0, 0.25, 1.0]) | st.floats(0, 1),
    end_probability=st.sampled_from([0.0, 0.3, 1.0]),
    episode_length=st.integers(1, 4),
    seed=st.integers(0, 2**64 - 1),
    first_env=st.sampled_from([0, 1000, 2**32 - 100]),
    obs=st.sampled_from([obs for obs, _ in OBS]),
    data=st.integers(0, 1000),
)
def test_random_games_equal_reference(
    num_envs: int,
    num_actions: int,
    noise: float,
    end_probability: float,
    episode_length: int,
    seed: int,
    first_env: int,
    obs: str,
    data: int,
) -> None:
    """Noise, random ends, partial resets, any payoff: every number of a dozen steps."""
    random = np.random.default_rng(data)
    settings = {
        "payoff": random.normal(size=(2, num_actions, num_actions)).astype(np.float32),
        "noise": noise,
        "end_probability": end_probability,
        "episode_length": episode_length,
        "seed": seed,
        "first_env": first_env,
        "obs": obs,
    }
    env, reference = pair(num_envs, **settings)
    for step in range(12):
        if step % 4 == 2:
            mask = random.random(num_envs) < 0.5
            assert_same([env.reset(mask=mask)], [reference.reset(mask=mask)])
        if step == 7:
            assert_same([env.reset()], [reference.reset()])
        if step == 9:
            assert_same([env.reset(seed=5)], [reference.reset(seed=5)])
        actions = random.integers(0, num_actions, (num_envs, 2))
        assert_same(env.step(actions), reference.step(actions))
    if end_probability == 0:
        actions = random.integers(0, num_actions, (5, num_envs, 2))
        assert_same(env.rollout(actions), reference.rollout(actions))
        assert_same(env.step(actions[0]), reference.step(actions[0]))


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_rollout_equals_steps(isa: str, noise: float) -> None:
    num_envs, steps = 2500, 7  # several blocks, and a rest
    actions = torch.from_numpy(random_actions(steps, num_envs, 2))
    whole = loqa.make("ipd", num_envs, obs="index", noise=noise)
    single = loqa.make("ipd", num_envs, obs="index", noise=noise)
    obs, rewards = whole.rollout(actions)
    assert torch.equal(obs[0], single.reset())
    for step in range(steps):
        seen, paid, _, _ = single.step(actions[step])
        assert torch.equal(obs[step + 1], seen)
        assert torch.equal(rewards[step], paid)
    for name, value in whole.get_state().items():
        assert torch.equal(value, single.get_state()[name])
    assert torch.equal(whole.step(actions[0])[3], single.step(actions[0])[3])


@pytest.mark.parametrize("dtype", ACTION_TYPES, ids=str)
def test_action_types_and_layouts(isa: str, dtype: torch.dtype) -> None:
    num_envs = 21
    plain = random_actions(4, num_envs, 2)
    expected = loqa.make("ipd", num_envs).rollout(plain)
    actions = torch.from_numpy(plain).to(dtype)
    scattered = torch.stack([actions, actions], -1)[..., 0]
    assert not scattered.is_contiguous()
    read_only = actions.numpy().copy()
    read_only.flags.writeable = False
    for given_as in (actions, scattered, actions.numpy(), scattered.numpy(), read_only):
        env = loqa.make("ipd", num_envs)
        assert_same(env.rollout(given_as), expected)
        env.reset()
        for step in range(4):
            obs, rewards, _, _ = env.step(given_as[step])
            assert torch.equal(obs, expected[0][step + 1])
            assert torch.equal(rewards, expected[1][step])


def test_actions_as_lists() -> None:
    assert loqa.make("ipd", 2).step([[0, 1], [1, 1]])[1].tolist() == [[-3, 0], [-2, -2]]


# --- the batch


@pytest.mark.parametrize("obs", ["index", "bits"])
def test_threads_do_not_matter(isa: str, obs: str) -> None:
    num_envs, steps = 40_001, 5
    actions = torch.from_numpy(random_actions(steps, num_envs, 2)).to(torch.uint8)
    policy = [[0.9, 0.8, 0.1, 0.7, 0.2]] * 2
    results = []
    for num_threads in (1, 2, 4):
        env = loqa.make("ipd", num_envs, obs=obs, noise=0.1, num_threads=num_threads)
        step = tuple(value.clone() for value in env.step(actions[0]))
        results.append(
            (
                *step,
                *env.rollout(actions),
                *env.rollout_memory1(policy, steps, 0.2),
                *env.get_state().values(),
            )
        )
    for result in results[1:]:
        for ours, first in zip(result, results[0], strict=True):
            assert torch.equal(ours, first)


def test_instruction_sets_do_not_matter() -> None:
    before, results = core.isa(), []
    for name in core.supported_isas():
        core.set_isa(name)
        env = loqa.make("ipd", 333, noise=0.3, payoff=np.random.default_rng(1).normal(size=(2, 4)))
        results.append(
            (
                *env.rollout(random_actions(9, 333, 2)),
                *env.rollout_memory1(np.random.default_rng(2).random((333, 2, 5)), 20, 0.1),
            )
        )
    core.set_isa(before)
    for result in results[1:]:
        for ours, first in zip(result, results[0], strict=True):
            assert torch.equal(ours, first)


@pytest.mark.parametrize("cuts", [(64,), (1, 50), (13, 14, 99)])
def test_splitting_the_batch_does_not_matter(cuts: tuple[int, ...]) -> None:
    num_envs, steps = 100, 6
    actions = random_actions(steps, num_envs, 2)
    policy = np.random.default_rng(3).random((num_envs, 2, 5)).astype(np.float32)

    def play(begin: int, end: int) -> list[torch.Tensor]:
        env = loqa.make("ipd", end - begin, seed=7, first_env=begin, noise=0.2)
        env.reset()
        obs, rewards = env.rollout(actions[:, begin:end])
        env.reset()
        return [obs, rewards, *env.rollout_memory1(policy[begin:end], steps, 0.3)]

    bounds = [0, *cuts, num_envs]
    parts = [play(begin, end) for begin, end in itertools.pairwise(bounds)]
    for index, whole in enumerate(play(0, num_envs)):
        assert torch.equal(torch.cat([part[index] for part in parts], dim=1), whole)


# --- edges


def test_no_steps_and_one_environment() -> None:
    env = loqa.make("ipd", 1, obs="index")
    obs, rewards = env.rollout(torch.zeros(0, 1, 2, dtype=torch.int64))
    assert (obs.tolist(), rewards.shape) == ([[[0, 0]]], (0, 1, 2))
    obs, actions, rewards = env.rollout_memory1([[0.5] * 5] * 2, 0)
    assert (obs.tolist(), actions.shape, rewards.shape) == ([[[0, 0]]], (0, 1, 2), (0, 1, 2))
    assert env.get_state()["t"].tolist() == [0]
    obs, rewards = env.rollout(torch.tensor([[[1, 0]]]))
    assert (obs.tolist(), rewards.tolist()) == ([[[0, 0]], [[3, 2]]], [[[0, -3]]])


def test_stepping_past_the_end() -> None:
    env = loqa.make("ipd", 2, episode_length=2)
    ends = [env.step(torch.zeros(2, 2, dtype=torch.int64))[3].tolist() for _ in range(4)]
    assert ends == [[False] * 2, [True] * 2, [True] * 2, [True] * 2]
    env.reset(mask=torch.tensor([True, False]))
    assert env.step(torch.zeros(2, 2, dtype=torch.int64))[3].tolist() == [False, True]
    assert env.get_state()["t"].tolist() == [1, 5]


def test_random_end_has_its_probability() -> None:
    env = loqa.make("ipd", 20_000, end_probability=0.25)
    _, _, terminated, _ = env.step(torch.zeros(20_000, 2, dtype=torch.uint8))
    assert terminated.float().mean().item() == pytest.approx(0.25, abs=4 * 0.43 / 20_000**0.5)


def test_render() -> None:
    env = loqa.make("ipd", 2)
    start = env.render(1)
    env.step(torch.tensor([[0, 0], [0, 1]]))
    assert start.shape == env.render(1).shape == (64, 136, 3)
    assert start.dtype == np.uint8
    assert not np.array_equal(env.render(0), env.render(1))
    with pytest.raises(ValueError, match=r"index must be an integer in \[0, 1\], got 2"):
        env.render(2)
