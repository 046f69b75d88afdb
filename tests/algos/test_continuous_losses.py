"""LOQA of numbers: the gradient at a constant policy, by hand; no normaliser; which algorithms are able."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import loqa
from loqa import ContinuousIPDConfig
from loqa.agents.gaussian import GaussianAgent
from loqa.agents.hats import RidgeHead
from loqa.agents.networks import Head
from loqa.algos.loqa import LOQASettings, actor_losses, opponent_log_probs
from loqa.training.collect import collect
from loqa.training.trainer import Trainer


class Linear(Head):
    """An offset and weights of 4 (own - .5) and 4 (other - .5), 0 before the first step."""

    num_inputs = 3

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        features = torch.cat([torch.ones_like(x[..., :1]), 4 * (x[..., 1:] - 0.5) * x[..., :1]], -1)
        return (features @ self.weight)[..., None]


def test_the_gradient_of_a_constant_policy() -> None:
    """The continuous prisoner's dilemma at m = .5, sigma .25, where x = clip(N(m, sigma^2)):

        naive, offset:    dm P(0 < a < 1) (-c),                                 dm = .96 / 4
        shaping, own:     (T-1)/T gamma dm P b 4 Var(x) (-c);    other: the same with b for -c

    since E[d clip / da] = P, and the answer at step t + 1 knows x of step t. c = 1, b = 2, w = tau.
    """
    groups, size, steps, gamma = 16, 512, 50, 0.96
    agent = GaussianAgent(Linear(), RidgeHead(4, steps, 0.8, None), (0.0, 1.0), 0.25, "actions")
    env = loqa.make("continuous-ipd", groups * size, num_threads=1)
    draw = torch.Generator().manual_seed(0)
    draws = torch.rand(steps, 2, groups * size, 1, generator=draw)
    played, _ = collect(env, [agent, agent], lambda: draws, 0, 0.25)
    settings = LOQASettings(opponent_baseline="batch", gamma=gamma)
    seats = [played.seat(seat) for seat in (0, 1)]
    said = [agent.evaluate(one.obs, one.actions) for one in seats]
    losses = actor_losses(
        said[0], [(said[1].detach(), seats[1].rewards)], seats[0].rewards, settings
    )
    assert losses.opponent is not None
    found = {}
    for name, loss in (("agent", losses.agent), ("opponent", losses.opponent)):
        gradients = torch.stack([
            torch.autograd.grad(-one.mean(), agent.actor.parameters(), retain_graph=True)[0]
            for one in loss.reshape(groups, size)
        ])  # fmt: skip
        found[name] = (gradients.mean(0), gradients.std(0) / groups**0.5)
    inside = math.erf(2 / math.sqrt(2))  # two deviations to either end
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    variance = 0.25**2 * (inside - 4 * density + 4 * (1 - inside))
    slope = 0.96 / 4
    push = (steps - 1) / steps * gamma * slope * inside * 2 * 4 * variance
    assert (-slope * inside, -push, 2 * push) == pytest.approx((-0.229, -0.099, 0.198), abs=1e-3)
    for name, index, wanted in (
        ("agent", 0, -slope * inside),
        ("agent", 1, 0.0),
        ("agent", 2, 0.0),
        ("opponent", 0, 0.0),
        ("opponent", 1, -push),
        ("opponent", 2, 2 * push),
    ):
        mean, error = (float(one[index]) for one in found[name])
        assert error < 0.02
        assert abs(mean - wanted) < 4 * error, (name, index, mean, error)


def test_no_normaliser() -> None:
    """d log pihat / d Qhat is 1 / tau, whatever `stop_normaliser_gradient` says."""
    q_values = torch.tensor([1.0, -2.0], requires_grad=True)
    for stop in (False, True):
        settings = LOQASettings(softmax_temperature=4.0, stop_normaliser_gradient=stop)
        said = opponent_log_probs(q_values, None, settings)
        assert torch.autograd.grad(said.sum(), q_values)[0].tolist() == [0.25, 0.25]


def test_algorithms_that_cannot_say_who_can() -> None:
    with pytest.raises(ValueError, match=r"mfos chooses among finitely many actions; numbers of a box "
                                         "are chosen by aa, lola, loqa, naive, pola"):  # fmt: skip
        ContinuousIPDConfig.of_preset("default", algo="mfos")
    with pytest.raises(ValueError, match="ppo chooses among finitely many"):
        ContinuousIPDConfig.of_preset("default", algo="ppo")
    with pytest.raises(
        ValueError, match="opponent_model learned is of finitely many actions, got numbers of a box"
    ):
        Trainer(ContinuousIPDConfig(opponent_model="learned"))
