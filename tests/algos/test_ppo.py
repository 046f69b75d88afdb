"""PPO: its loss by hand, best responses that are known, every seat, every network, and going on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from own_envs import EndingEnv, ThreePlayers, TorchEnv

import loqa
from loqa.agents.ends import Ends
from loqa.algos.ppo import PPOSettings, ppo_loss, ppo_targets
from loqa.runtime.torch_settings import usual_torch
from loqa.training.config import TrainConfig
from loqa.training.trainer import Trainer

SMALL: dict[str, Any] = {"algo": "ppo", "batch_size": 64, "minibatches": 4, "log_every": 1}
COIN = {"opponents": 4, "actor_hidden": 8, "critic_hidden": 8, "evaluate_every": 0, "anneal": 0}


def test_the_surrogate_by_hand() -> None:
    """Ratios 1/2, 3/2 and 3/2 with c = 0.2: a gain is clipped at 1.2, a loss is not."""
    log_probs = torch.tensor([0.5, 1.5, 1.5]).log().requires_grad_()
    gains = torch.tensor([1.0, 1.0, -1.0])
    loss = ppo_loss(log_probs, torch.zeros(3), gains, 0.2)
    torch.testing.assert_close(loss, torch.tensor(-(0.5 + 1.2 - 1.5) / 3))
    (slope,) = torch.autograd.grad(loss, log_probs)
    torch.testing.assert_close(slope, torch.tensor([-0.5, 0.0, 1.5]) / 3)


@pytest.mark.parametrize(("bootstrap", "last"), [(True, 1 + 0.5 * 8), (False, 1.0)])
def test_the_end_of_an_episode_by_hand(bootstrap: bool, last: float) -> None:
    """lambda 0: G_t = r_t + gamma V_{t+1}; 0 comes after a step that is terminated."""
    settings = PPOSettings(gamma=0.5, advantage_lambda=0.0, bootstrap=bootstrap)
    rewards, values = torch.ones(3, 1), torch.tensor([[2.0], [4.0], [6.0], [8.0]])
    ends = Ends(torch.tensor([[False], [True], [False]]))
    advantages, targets = ppo_targets(rewards, values, settings, ends)
    assert targets[:, 0].tolist() == [1 + 0.5 * 4, 1.0, last]
    torch.testing.assert_close(advantages, targets - values[:-1])


@pytest.mark.parametrize("actor", ["logits", "mlp"])
@pytest.mark.parametrize(("opponent", "mine"), [("always-cooperate", 0.0), ("tit-for-tat", -1.0)])
def test_best_responses_in_the_prisoners_dilemma(
    opponent: str, mine: float, actor: str, tmp_path: Path
) -> None:
    """Who always cooperates is exploited, who answers is cooperated with; from both seats."""
    config = loqa.IPDConfig.of_preset(
        "default", **SMALL, actor=actor, meets="fixed", fixed=(opponent,), take_turns=True,
        iterations=40, exploration=0.05, seed=5,
    )  # fmt: skip
    loqa.train(config, tmp_path / "run")
    earned = loqa.evaluate(tmp_path / "run", opponent, episodes=200, game="ipd").total.reward[0]
    assert earned.mean == pytest.approx(mine, abs=0.06)
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (written["clip_ratio"], written["take_turns"], written["epochs"]) == (0.2, True, 4)


def test_the_learner_is_first_in_the_log_wherever_it_sits(tmp_path: Path) -> None:
    """Against always-defect a learner that sometimes cooperates earns less than -2, the other more."""
    config = loqa.IPDConfig.of_preset(
        "default", **SMALL, meets="fixed", fixed=("always-defect",), take_turns=True, iterations=4,
        exploration=0.0,
    )  # fmt: skip
    with usual_torch(num_threads=1):
        trainer = Trainer(config)
        for seat in (0, 1, 0, 1):
            trainer.iterate()
            assert trainer.opponents.seat(trainer.iteration) == seat
            learner, defector = trainer.metrics()["reward"]
            assert learner < -2 < defector
    with pytest.raises(ValueError, match="take_turns is of an agent that meets fixed"):
        loqa.IPDConfig(take_turns=True)


@pytest.mark.parametrize("kind", [loqa.IPDConfig, loqa.CoinConfig])
@pytest.mark.parametrize("meets", ["self", "fixed", "past", "learners"])
def test_it_resumes_bit_for_bit(kind: type[TrainConfig], meets: str, tmp_path: Path) -> None:
    more: dict[str, Any] = dict(COIN) if kind is loqa.CoinConfig else {"opponents": 4}
    if meets == "fixed":
        more |= {"fixed": ("always-cooperate",), "take_turns": True}
    config = kind.of_preset("default", **SMALL, **more, meets=meets, iterations=3)
    whole = loqa.train(config.replace(episode_length=8), tmp_path / "whole")
    loqa.train(config.replace(episode_length=8, iterations=1), tmp_path / "parts")
    parts = loqa.resume(tmp_path / "parts", iterations=3)
    one, two = (loqa.load_agent(each["out"]).state_dict() for each in (whole, parts))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("network", ["mlp", "gru", "cnn"])
def test_every_network_learns_to_take_coins(network: str, tmp_path: Path) -> None:
    config = loqa.CoinConfig.of_preset(
        "default", **SMALL, **{**COIN, "actor_hidden": 32, "critic_hidden": 32}, actor=network,
        critic=network, meets="fixed", fixed=("always-cooperate",), iterations=25, episode_length=32,
        entropy_bonus=0.02, actor_lr=1e-2,
    )  # fmt: skip
    loqa.train(config, tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rewards = [json.loads(line)["reward"][0] for line in lines]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.04


@pytest.mark.parametrize("env", [TorchEnv, EndingEnv, ThreePlayers])
@pytest.mark.parametrize("network", ["mlp", "gru"])
def test_own_environments(env: type[TorchEnv], network: str, tmp_path: Path) -> None:
    """Action 1 pays 1 more than action 0, whatever others do."""
    fields = {**SMALL, "iterations": 15, "actor": network, "critic": network, "evaluate_every": 0}
    loqa.train(env=env, out=tmp_path / "run", seed=1, **fields)
    agent = loqa.load_agent(tmp_path / "run")
    obs = env(5, 0, torch.device("cpu")).reset()[:, 0]
    log_probs, _ = agent.step(obs, agent.initial_state(5))
    assert log_probs[:, 1].exp().min() > 0.9


def test_wrong_settings() -> None:
    for name, value in (("clip_ratio", 0.0), ("epochs", 0), ("minibatches", 0), ("gamma", 2.0)):
        with pytest.raises(ValueError, match=name):
            loqa.IPDConfig(algo="ppo", **{name: value})
    with pytest.raises(ValueError, match="has no field 'shaping_weight'"):
        loqa.IPDConfig(algo="ppo", shaping_weight=1.0)
