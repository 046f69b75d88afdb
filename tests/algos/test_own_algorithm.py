"""An algorithm of a user's own: a class, its settings and one line, on any game."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import loqa
from loqa import ops
from loqa.agents.outputs import SeatOutputs
from loqa.algos import Algorithm, register
from loqa.algos.trajectory import Trajectory
from loqa.training.config import TrainConfig


@dataclass(frozen=True)
class ReinforceSettings:
    """REINFORCE (Williams 1992) with a running baseline.

    Attributes:
        gamma: reward discount.
        actor_lr: Adam's learning rate.
        decay: of the running mean of returns.
    """

    gamma: float = 0.96
    actor_lr: float = 1e-2
    decay: float = 0.9


class Reinforce(Algorithm):
    rates = ("actor_lr",)

    def __init__(self, agent: Any, settings: ReinforceSettings, context: Any) -> None:
        super().__init__(agent, settings, context)
        self.optimizer = torch.optim.Adam(agent.actor.parameters(), settings.actor_lr)
        self.baseline = torch.zeros(())

    def update(
        self,
        trajectory: Trajectory,
        others: Sequence[SeatOutputs | None] = (),
        seat: int = 0,
        iteration: int = 1,
    ) -> Mapping[str, Tensor]:
        returns = ops.discounted_returns(trajectory.seat(seat).rewards, self.settings.gamma)
        self.baseline = torch.lerp(returns.mean(), self.baseline, self.settings.decay)
        log_probs = self.evaluate(trajectory, seat).taken_log_probs
        loss = -(log_probs * (returns - self.baseline)).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss/agent": loss.detach()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "agent": self.agent.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "baseline": self.baseline,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.baseline = state["baseline"]


register("reinforce", Reinforce, ReinforceSettings)

SMALL: dict[str, Any] = {"algo": "reinforce", "batch_size": 64, "log_every": 1}
COIN = {"opponents": 4, "actor_hidden": 8, "critic_hidden": 8, "evaluate_every": 0, "anneal": 0}


def test_it_learns_to_defect(tmp_path: Path) -> None:
    config = loqa.IPDConfig.of_preset(
        "default", **SMALL, iterations=100, actor_lr=0.1, anneal=0, exploration=0.0
    )
    summary = loqa.train(config, tmp_path / "run")
    assert (summary["algo"], summary["strategy"]) == ("reinforce", "always-defect")
    assert sum(summary["self_play"]) / 2 == pytest.approx(-2, abs=0.1)
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (written["algo"], written["decay"]) == ("reinforce", 0.9)
    assert "shaping_weight" not in written


def test_it_learns_to_take_coins(tmp_path: Path) -> None:
    """An untrained pair takes few coins; of what it learns taking its own is a part."""
    config = loqa.CoinConfig.of_preset("default", **SMALL, **COIN, iterations=60, actor_lr=3e-2)
    loqa.train(config, tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rewards = [json.loads(line)["reward"][0] for line in lines]
    assert sum(rewards[-10:]) / 10 > sum(rewards[:10]) / 10 + 0.02


@pytest.mark.parametrize("kind", [loqa.IPDConfig, loqa.CoinConfig])
def test_it_resumes_bit_for_bit(kind: type[TrainConfig], tmp_path: Path) -> None:
    more = COIN if kind is loqa.CoinConfig else {}
    config = kind.of_preset("default", **SMALL, **more, iterations=4)
    whole = loqa.train(config, tmp_path / "whole")
    loqa.train(config.replace(iterations=2), tmp_path / "parts")
    parts = loqa.resume(tmp_path / "parts", iterations=4)
    one, two = (loqa.load_agent(each["out"]).state_dict() for each in (whole, parts))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_names() -> None:
    with pytest.raises(ValueError, match="did you mean 'reinforce'"):
        loqa.IPDConfig(algo="reinforse")
    with pytest.raises(ValueError, match="has no field 'shaping_weight'"):
        loqa.IPDConfig(algo="reinforce", shaping_weight=1.0)
    with pytest.raises(ValueError, match="there is an algorithm 'loqa' already"):
        register("loqa", Reinforce, ReinforceSettings)


@pytest.mark.parametrize("algo", ["naive", "loqa", "reinforce"])
def test_independent_learners_learn_in_both_seats(algo: str, tmp_path: Path) -> None:
    own = {"actor_lr": 0.1, "iterations": 200} if algo == "reinforce" else {"critic_warmup": 5}
    config = loqa.IPDConfig.of_preset(
        "default", **{"algo": algo, "meets": "learners", "iterations": 60, "batch_size": 64, **own}
    )
    summary = loqa.train(config, tmp_path / "run")
    first, second = summary["p_cooperate"], summary["p_cooperate_other"]
    assert first != second
    if algo != "loqa":  # nobody shapes: both come to defect
        assert all(reward < -1.7 for reward in summary["self_play"])


def test_three_naive_players_of_the_coin_game(tmp_path: Path) -> None:
    fields = {**COIN, "evaluate_every": 5, "evaluation_episodes": 16}
    config = loqa.CoinConfig.of_preset(
        "default", algo="naive", num_players=3, iterations=5, batch_size=16, log_every=1, **fields
    )
    summary = loqa.train(config, tmp_path / "run")
    for name in ("self_play", "vs_always_cooperate", "vs_always_defect"):
        assert len(summary[name]) == 3
    one = loqa.load_agent(tmp_path / "run")
    env = loqa.make("coin_game", 4, num_players=3)
    log_probs, _ = one.step(env.reset()[:, 2], one.initial_state(4))
    assert log_probs.shape == (4, 4)
