"""Torch's process-wide defaults change no number and break no call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_published import mfos_arrays, pola_arrays
from torch_settings_changed import default_device, default_dtype, precision

import loqa
from loqa.agents.actor_critic import build_agent
from loqa.envs.continuous_game.presets import CONTINUOUS_PRESETS
from loqa.evaluation.best_response import ResponseSettings
from loqa.evaluation.exploit import exploit
from loqa.evaluation.mcts import SearchSettings
from loqa.games.continuous_worth import answers, best_response

DEFAULTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "device": default_device,
    "device context": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "precision": lambda: precision("medium"),
}


def everything(files: Path) -> list[Any]:
    """All of evaluation, small."""
    agent = build_agent("gru", "gru", 36, 4, actor_hidden=8, critic_hidden=8,
                        generator=torch.Generator().manual_seed(0))  # fmt: skip
    quick = ResponseSettings(iterations=2, batch_size=8, hidden=8)
    found = exploit(agent, training=quick, episodes=8, episode_length=5)
    search = SearchSettings(trees=1, simulations=3, horizon=2)
    searched = exploit(agent, "mcts", search=search, episodes=2, episode_length=3)
    return [
        loqa.evaluate(agent, "random", episodes=8, num_threads=1, episode_length=9),
        loqa.evaluate(files / "pola.npz", files / "mfos.npz", episodes=8, episode_length=9),
        loqa.evaluate("predator", "random", game="ipd", episodes=8),
        loqa.evaluate(files / "run", "tft", episodes=8),
        loqa.league([agent, files / "pola.npz", "random"], episodes=8, episode_length=9),
        found.response.total,
        found.exploitability,
        searched.response.total,
    ]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    files = tmp_path_factory.mktemp("players")
    np.savez(files / "pola.npz", **pola_arrays())
    np.savez(files / "mfos.npz", **mfos_arrays())
    config = loqa.IPDConfig.of_preset("default", iterations=1, batch_size=4, actor="gru")
    loqa.train(config, files / "run")
    return files, everything(files)


@pytest.mark.parametrize("name", DEFAULTS)
def test_numbers_stay(name: str, usual: tuple[Path, list[Any]]) -> None:
    files, expected = usual
    with DEFAULTS[name]():
        found = everything(files)
    assert list(map(repr, found)) == list(map(repr, expected))  # NaN is unlike itself


@pytest.mark.parametrize("default", DEFAULTS)
def test_best_responses_in_numbers(default: str) -> None:
    payoff = CONTINUOUS_PRESETS["continuous-ipd"]["donation"].payoff_of(2)

    def found() -> list[dict[str, float]]:
        half = best_response(_half, payoff, 2, 0.5, grid=5)
        return [half, answers(_half, payoff, 2)]

    expected = found()
    with DEFAULTS[default]():
        assert found() == expected


def _half(obs: torch.Tensor) -> torch.Tensor:
    return obs[:, -1] / 2 + obs[:, 0] / 4
