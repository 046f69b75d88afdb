"""Runs of public goods: several players, whose observations are features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import loqa
from loqa import PublicGoodsConfig
from loqa.games.public_goods import PublicGoodsSettings

SMALL: dict[str, Any] = {"seed": 0, "batch_size": 64, "evaluation_episodes": 16}


def run(out: Path, **fields: Any) -> dict[str, Any]:
    config = PublicGoodsConfig.of_preset("default", **{**SMALL, **fields})
    return loqa.train(config, out)


def test_naive_learners_give_nothing(tmp_path: Path) -> None:
    """Three players of the donation game end where nobody gives, which pays -2."""
    summary = run(tmp_path / "run", algo="naive", iterations=200)
    assert summary["self_play"] == pytest.approx([-2.0] * 3, abs=0.05)
    agent = loqa.load_agent(tmp_path / "run")
    env = loqa.make("n-ipd", 1, num_players=3)
    log_probs, _ = agent.step(env.reset()[:, 0], agent.initial_state(1))
    assert log_probs.shape == (1, 2)
    assert torch.allclose(log_probs.exp().sum(-1), torch.ones(1))


@pytest.mark.parametrize(
    "fields",
    [
        {"actor": "gru", "num_players": 4, "num_levels": 3},
        {"algo": "loqa", "num_players": 3, "obs": "joint"},
        {"payoffs": "public-goods", "factor": 2.0, "num_players": 2},
    ],
    ids=["gru", "loqa", "linear"],
)
def test_runs(tmp_path: Path, fields: dict[str, Any]) -> None:
    players = fields["num_players"]
    summary = run(tmp_path / "run", **{"algo": "naive", "iterations": 2, **fields})
    assert len(summary["self_play"]) == players


def test_evaluations_are_of_the_iteration_alone(tmp_path: Path) -> None:
    """Not of how often was played before, by a run that was resumed or that says more."""
    fields = {"algo": "naive", "num_players": 2, "evaluate_every": 1}
    whole = run(tmp_path / "whole", **fields, iterations=3, log_every=3)
    run(tmp_path / "parts", **fields, iterations=2, log_every=1)
    resumed = loqa.resume(tmp_path / "parts", iterations=3)
    assert resumed["self_play"] == whole["self_play"]


def test_wrong_settings() -> None:
    with pytest.raises(ValueError, match="num_players must be"):
        PublicGoodsSettings(num_players=9)
    with pytest.raises(ValueError, match="has benefit and cost, and no factor"):
        PublicGoodsSettings(factor=2.0)
