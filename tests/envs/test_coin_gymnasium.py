"""The Gymnasium vector adapter: the library's own checks, and its numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import loqa

gymnasium = pytest.importorskip("gymnasium")
from gymnasium.utils.env_checker import data_equivalence  # noqa: E402
from gymnasium.vector import AutoresetMode  # noqa: E402

from loqa.envs.gymnasium import VectorEnv  # noqa: E402


@pytest.mark.parametrize("autoreset", ["next_step", "same_step", False])
@pytest.mark.parametrize("obs", ["planes", "cells"])
@pytest.mark.parametrize("preset", ["loqa24", "mfos22", "pax23", "lola18"])
def test_spaces_seeds_and_wrappers(preset: str, obs: str, autoreset: Any) -> None:
    env = VectorEnv("coin_game", 5, preset=preset, obs=obs, autoreset=autoreset, episode_length=3)
    assert isinstance(env, gymnasium.vector.VectorEnv)
    assert (
        env.metadata["autoreset_mode"]
        is {
            "next_step": AutoresetMode.NEXT_STEP,
            "same_step": AutoresetMode.SAME_STEP,
            False: AutoresetMode.DISABLED,
        }[autoreset]
    )
    first, info = env.reset(seed=7)
    assert info == {}
    env.action_space.seed(1)
    actions = [env.action_space.sample() for _ in range(7)]
    runs = []
    for _ in range(2):
        seen = [env.reset(seed=7)]
        for action in actions:
            seen.append(env.step(action))
            obs_now, rewards, terminated, truncated, _ = seen[-1]
            assert obs_now in env.observation_space
            assert rewards.shape == terminated.shape == truncated.shape == (5,)
        runs.append(seen)
    assert data_equivalence(runs[0], runs[1])
    assert data_equivalence(first, runs[0][0][0])
    assert not data_equivalence(first, env.reset()[0])
    assert env.reset(seed=3)[0] in env.observation_space


def test_library_wrappers_accept_it() -> None:
    """RecordEpisodeStatistics checks the autoreset metadata and counts episodes."""
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(
        VectorEnv("coin_game", 4, episode_length=3, opponent="always-defect")
    )
    env.reset(seed=1)
    lengths = []
    for _ in range(8):
        _, _, _, _, info = env.step(np.zeros(4, int))
        if "episode" in info:
            lengths.append(info["episode"]["l"].tolist())
    assert lengths == [[3] * 4] * 2


@pytest.mark.parametrize("seat", [0, 1])
def test_numbers_are_those_of_the_environment(seat: int) -> None:
    calls = []

    def opponent(obs: torch.Tensor) -> np.ndarray:
        calls.append(obs.clone())
        return np.full(6, 2)

    env = VectorEnv("coin_game", 6, opponent=opponent, seat=seat, seed=4, autoreset=False)
    plain = loqa.make("coin_game", 6, seed=4)
    joint = torch.full((6, 2), 2)
    joint[:, seat] = torch.tensor([0, 1, 2, 3, 0, 1])
    before = plain.reset().clone()
    np.testing.assert_array_equal(env.reset()[0], before[:, seat])
    obs, rewards, _, _, _ = env.step(joint[:, seat].numpy())
    expected = plain.step(joint)
    np.testing.assert_array_equal(obs, expected[0][:, seat])
    np.testing.assert_array_equal(rewards, expected[1][:, seat])
    assert torch.equal(calls[0], before[:, 1 - seat])


def test_same_step_keeps_the_final_observation() -> None:
    env = VectorEnv(
        "coin_game", 3, autoreset="same_step", episode_length=2, seed=2, opponent="random"
    )
    plain = loqa.make("coin_game", 3, episode_length=2, seed=2)
    env.reset()
    for _ in range(2):
        joint = plain.scripted_actions(["random", "random"])
        obs, _, _, truncated, info = env.step(joint[:, 0].numpy())
        last = plain.step(joint)[0]
    assert truncated.all()
    np.testing.assert_array_equal(info["final_obs"], last[:, 0])
    assert info["_final_obs"].all()
    np.testing.assert_array_equal(obs, plain.reset()[:, 0])


def test_reset_mask_and_other_games() -> None:
    env = VectorEnv("coin_game", 3, autoreset=False)
    before = env.reset()[0]
    mask = np.array([False, True, False])
    after = env.reset(options={"reset_mask": mask})[0]
    np.testing.assert_array_equal(before[~mask], after[~mask])
    ipd = VectorEnv("ipd", 3, autoreset=False)
    ipd.reset(seed=1)
    assert ipd.step(np.zeros(3, int))[0] in ipd.observation_space
    assert VectorEnv("ipd", 3).metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert VectorEnv("coin_game", 2, render_mode="rgb_array").render()[1].shape == (145, 145, 3)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"num_players": 3}, ValueError),
        ({"opponent": "tit-for-tat"}, ValueError),
        ({"opponent": "tit-for-tut"}, ValueError),
        ({"opponent": 3}, TypeError),
        ({"opponnent": "random"}, TypeError),
        ({"heigth": 3}, TypeError),
        ({"seat": 2}, ValueError),
        ({"obs_dtype": torch.bfloat16}, ValueError),
        ({"render_mode": "human"}, ValueError),
    ],
)
def test_bad_settings(settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        VectorEnv("coin_game", 2, **settings)
