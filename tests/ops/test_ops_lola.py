"""Second-order LOLA through `dice_weights` on enumerated trajectories, against the analytic one.

A three-step prisoner's dilemma: both players hold five logits of cooperation (start, CC, CD, DC, DD).
With every trajectory weighted by its probability as a constant, the expectation over trajectories is
exact, and DiCE must give the derivatives of the exact value to every order.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from loqa import ops

GAMMA, STEPS, LEARNING_RATE = 0.9, 3, 0.7
PAYOFF = torch.tensor(
    [[-1.0, -3.0], [0.0, -2.0]], dtype=torch.float64
)  # mine, by (my, your) action
# Joint actions over time, [trajectories, T, player].
ACTIONS = torch.tensor(list(itertools.product([0, 1], repeat=2 * STEPS))).view(-1, STEPS, 2)
REWARDS = torch.stack(
    [PAYOFF[ACTIONS[..., 0], ACTIONS[..., 1]], PAYOFF[ACTIONS[..., 1], ACTIONS[..., 0]]], -1
)


def log_probabilities(logits: tuple[Tensor, Tensor]) -> Tensor:
    """Of each player's actions in each trajectory, [T, trajectories, player]."""
    columns = []
    for player in (0, 1):
        mine, yours = ACTIONS[..., player], ACTIONS[..., 1 - player]
        states = torch.zeros_like(mine)
        states[:, 1:] = (1 + 2 * mine + yours)[:, :-1]
        logit = logits[player][states]
        columns.append(torch.nn.functional.logsigmoid(torch.where(mine == 0, logit, -logit)))
    return torch.stack(columns, -1).transpose(0, 1)


def exact_value(logits: tuple[Tensor, Tensor], player: int) -> Tensor:
    """E[sum_t gamma^t r_t] with differentiable probabilities."""
    discounts = GAMMA ** torch.arange(STEPS, dtype=torch.float64)
    probability = log_probabilities(logits).sum((0, 2)).exp()
    return (probability * (REWARDS[..., player] * discounts).sum(1)).sum()


def dice_value(logits: tuple[Tensor, Tensor], player: int) -> Tensor:
    """The loaded-DiCE objective: sum_t gamma^t d_t (R_t - b) over constant probabilities.

    The baseline is no more than a constant here; its expectation vanishes at every order.
    """
    logps = log_probabilities(logits)
    probability = logps.sum((0, 2)).exp().detach()
    discounts = GAMMA ** torch.arange(STEPS, dtype=torch.float64)
    returns = ops.discounted_returns(REWARDS[..., player].T.contiguous(), GAMMA)
    weights = ops.dice_weights(logps.sum(-1))
    return (probability * (discounts[:, None] * weights * (returns + 1.3)).sum(0)).sum()


def returns_value(logits: tuple[Tensor, Tensor], player: int) -> Tensor:
    """The same from `loaded_dice_returns` at the first step, with a critic that errs."""
    logps = log_probabilities(logits)
    probability = logps.sum((0, 2)).exp().detach()
    rewards = REWARDS[..., player].T.contiguous()
    values = torch.linspace(-2, 1, STEPS + 1, dtype=torch.float64)[:, None].expand(-1, len(ACTIONS))
    returns = ops.loaded_dice_returns(rewards, values, logps.sum(-1), GAMMA, 1.0)
    return (probability * returns[0]).sum()


def lola_gradient(value: object, theta: Tensor, phi: Tensor) -> Tensor:
    """d/d theta of my value after the opponent's gradient step: needs d2 V_2 / d theta d phi."""
    step = torch.autograd.grad(value((theta, phi), 1), phi, create_graph=True)[0]
    mine = torch.autograd.grad(value((theta, phi), 0), phi, create_graph=True)[0]
    shaped = value((theta, phi), 0) + LEARNING_RATE * (mine * step).sum()
    return torch.autograd.grad(shaped, theta)[0]


@pytest.fixture
def logits() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    theta, phi = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    return theta.requires_grad_(), phi.requires_grad_()


@pytest.mark.parametrize("value", [dice_value, returns_value])
def test_second_order_lola(logits: tuple[Tensor, Tensor], value: object) -> None:
    expected = lola_gradient(exact_value, *logits)
    torch.testing.assert_close(lola_gradient(value, *logits), expected, rtol=0, atol=1e-8)
    assert expected.abs().max() > 0.01


@pytest.mark.parametrize("value", [dice_value, returns_value])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_derivatives_of_every_order(
    logits: tuple[Tensor, Tensor], value: object, order: int
) -> None:
    def derivative(of: object) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        out = of(logits, 0)
        for _ in range(order):
            grads = torch.autograd.grad(out, logits, create_graph=True)
            both = torch.cat(grads)
            out = both @ torch.randn(10, generator=generator, dtype=torch.float64)
        return both

    torch.testing.assert_close(derivative(value), derivative(exact_value), rtol=0, atol=1e-8)
