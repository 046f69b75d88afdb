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
