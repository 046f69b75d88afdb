"""The PettingZoo parallel adapter against the library's own tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("pettingzoo")
from pettingzoo.test import parallel_api_test, parallel_seed_test

from loqa.envs.pettingzoo import parallel_env

GAMES: list[dict[str, Any]] = [
    {"game": "coin_game"},
    {"game": "coin_game", "preset": "mfos22", "episode_length": 7},
    {"game": "coin_game", "preset": "pax23", "obs": "cells"},
    {"game": "coin_game", "num_players": 5},
    {"game": "ipd"},
]


@pytest.mark.parametrize("settings", GAMES, ids=str)
def test_library_checks(settings: dict[str, Any]) -> None:
    parallel_api_test(parallel_env(**settings), num_cycles=120)
    parallel_seed_test(lambda: parallel_env(**settings), num_cycles=60)


def test_episode_and_picture() -> None:
    env = parallel_env(episode_length=2, render_mode="rgb_array")
    obs, _ = env.reset(seed=3)
    assert list(obs) == ["player_0", "player_1"]
    kept = obs["player_0"].copy()
    for _ in range(2):
        _, _, _, truncated, _ = env.step(dict.fromkeys(env.agents, 0))
    np.testing.assert_array_equal(obs["player_0"], kept)  # not a view of a buffer
    assert truncated == {"player_0": True, "player_1": True}
    assert env.agents == []
    assert env.render().shape == (145, 145, 3)
    with pytest.raises(ValueError, match="autoreset must be False"):
        parallel_env(autoreset="same_step")


@pytest.mark.parametrize(
    ("actions", "error", "message"),
    [
        (
            {"player_0": 0.9, "player_1": 1},
            TypeError,
            "of player_0 must be an integer, got float 0.9",
        ),
        (
            {"player_0": 0, "player_1": "1"},
            TypeError,
            "of player_1 must be an integer, got str '1'",
        ),
        ({"player_0": np.array([1]), "player_1": 1}, TypeError, "must be an integer, got ndarray"),
        ({"player_0": None, "player_1": 1}, TypeError, "must be an integer, got NoneType"),
        ({"player_0": 2, "player_1": 1}, ValueError, r"of player_0 must be in 0\.\.1, got 2"),
        ({"player_0": -1, "player_1": 1}, ValueError, r"of player_0 must be in 0\.\.1, got -1"),
        ({"player_0": 1}, ValueError, "one for each of player_0, player_1, got player_0"),
        ({}, ValueError, "one for each of player_0, player_1, got none"),
        (
            {"player_0": 0, "player_1": 0, "player_2": 0},
            ValueError,
            "got player_0, player_1, player_2",
        ),
        ([0, 1], ValueError, r"must be a dict .* got \[0, 1\]"),
    ],
)
def test_bad_actions(actions: Any, error: type[Exception], message: str) -> None:
    env = parallel_env("ipd")
    env.reset(seed=0)
    with pytest.raises(error, match=message):
        env.step(actions)
    assert env.env.get_state()["t"].tolist() == [0]


def test_actions_that_are_integers() -> None:
    env = parallel_env("ipd", preset="axelrod")
    env.reset(seed=0)
    for one in (1, np.int8(1), np.array(1), True):
        assert env.step({"player_0": one, "player_1": 0})[1] == {"player_0": 5.0, "player_1": 0.0}


def test_step_without_agents() -> None:
    env = parallel_env("ipd", episode_length=1)
    actions = {"player_0": 0, "player_1": 0}
    with pytest.raises(RuntimeError, match="call reset before the first step"):
        env.step(actions)
    env.reset()
    env.step(actions)
    with pytest.raises(RuntimeError, match="after an episode has ended"):
        env.step(actions)


def test_misspelt_settings() -> None:
    with pytest.raises(
        TypeError, match="parallel_env has no setting 'heigth'; did you mean 'height'"
    ):
        parallel_env("coin_game", heigth=3)


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (0.5, ValueError, r"of player_1 must be \[1\] of floats, got \[\] float64"),
        ([0.5, 0.5], ValueError, r"of player_1 must be \[1\] of floats, got \[2\] float64"),
        ("half", TypeError, r"of player_1 must be \[1\] of floats, got str"),
        ([2.0], ValueError, r"actions must be in \[0, 1\], got 2"),
    ],
)
def test_bad_numbers_of_a_box(action: Any, error: type[Exception], message: str) -> None:
    env = parallel_env("cournot")
    env.reset(seed=0)
    with pytest.raises(error, match=message):
        env.step({"player_0": [0.5], "player_1": action})
    rewards = env.step({"player_0": [0.5], "player_1": np.array([0.25], np.float32)})[1]
    assert rewards == {"player_0": 0.125, "player_1": 0.0625}
