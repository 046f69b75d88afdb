"""Statistics of episodes against the recorded ones, and scripted strategies by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from coin_golden import load

import loqa
from loqa.envs.coin_game.statistics import coin_statistics
from loqa.envs.matrix_game.scripted import memory1

RECORDED = {
    "mean_rewards": "mean_rewards",
    "mean_pickup_rewards": "mean_pickup_rewards",
    "action_entropy": "action_entropy",
    "own_pickups": "own_pickup_div_timesteps",
    "any_pickups": "any_pickup_div_timesteps",
    "other_pickups": "adversarial_pickup_div_timesteps",
    "other_share": "adversarial_pickup_div_all_pickup",
    "easy_misses": "easymisses",
    "near_passes": "nearpasses",
}


def test_recorded_statistics() -> None:
    golden = load("coin_episode_stats_3x3.npz")
    obs, act, rew = (torch.from_numpy(golden[key]).transpose(0, 1) for key in ("obs", "act", "rew"))
    ours = coin_statistics(obs, act, rew)
    for name, recorded in RECORDED.items():
        np.testing.assert_allclose(
            getattr(ours, name), golden[f"stat_{recorded}"], rtol=1e-5, atol=1e-6, err_msg=name
        )
    np.testing.assert_allclose(ours.other_pickups, golden["stat_adversity"], rtol=1e-5)


def test_statistics_of_scripted_players() -> None:
    env = loqa.make("coin_game", num_envs=500, num_players=3)
    names = ["always-cooperate", "always-defect", "random"]
    stats = coin_statistics(*env.rollout_scripted(names, 50))
    assert stats.easy_misses[:2].tolist() == [0, 0]  # never leave their own coin
    assert stats.near_passes[1] == 0
    assert stats.near_passes[0] == 1
    assert stats.other_pickups[0] == 0
    assert stats.action_entropy[2] == pytest.approx(np.log(4), abs=1e-3)


@pytest.mark.parametrize("first_takes", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"height": 2, "width": 5},
        {"height": 1, "width": 4},
        {"num_players": 3, "height": 4},
        {"preset": "mfos22"},
    ],
)
def test_cells_say_what_planes_say(settings: dict[str, Any], first_takes: bool) -> None:
    found = []
    for obs in ("planes", "cells"):
        env = loqa.make("coin_game", num_envs=200, obs=obs, **settings)
        players = ["always-defect", "random", "always-cooperate"][: env.num_players]
        seen, actions, rewards = env.rollout_scripted(players, 30)
        if obs == "planes":
            stats = coin_statistics(seen, actions, rewards, first_takes)
        else:
            cells = seen[..., : env.num_players + env.num_coins]
            board = (env.height, env.width)
            stats = coin_statistics(cells, actions, rewards, first_takes, board)
        found.append(vars(stats))
    for name, expected in found[0].items():
        assert torch.equal(expected, found[1][name]), name
    assert found[0]["any_pickups"].min() > 0


def test_statistics_of_wrong_shapes() -> None:
    env = loqa.make("coin_game", num_envs=5)
    obs, actions, rewards = env.rollout_scripted(["random", "random"], 4)
    with pytest.raises(ValueError, match=r"needs obs \[T\+1, B, A, P, H, W\]"):
        coin_statistics(obs[1:], actions, rewards)
    with pytest.raises(ValueError, match=r"needs obs \[T\+1, B, A, A \+ coins\]"):
        coin_statistics(obs, actions, rewards, board=(3, 3))


@pytest.mark.parametrize(
    ("name", "other", "expected"),
    [
        ("tit-for-tat", "always-defect", [[0, 1], [1, 1], [1, 1]]),
        ("grim", "tit-for-tat", [[0, 0], [0, 0], [0, 0]]),
        ("win-stay-lose-shift", "always-defect", [[0, 1], [1, 1], [0, 1]]),
        ("always-cooperate", "always-defect", [[0, 1], [0, 1], [0, 1]]),
    ],
)
def test_memory1_players(name: str, other: str, expected: list[list[int]]) -> None:
    env = loqa.make("ipd", num_envs=3)
    _, actions, _ = env.rollout_memory1([memory1(name), memory1(other)], 3)
    assert actions[:, 1].tolist() == expected
    with pytest.raises(ValueError, match="did you mean 'tit-for-tat'"):
        memory1("tit-for-tet")
