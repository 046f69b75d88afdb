"""What learners of exact games see, returns as functions of both players' parameters; the naive learner."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from loqa._checks import Checked, Rate
from loqa.algos.exact.games import ExactGame
from loqa.algos.exact.policies import Parameterisation


@dataclass(frozen=True)
class Play:
    """A game between policies, from the point of view of "me": a learner is written once, for either seat.

    Attributes:
        game: what is played.
        policy: how parameters make a policy.
        seat: where I sit; None is both in turn, the first dimension of what is mine: two players learn in
            one batch, from the same old parameters.
    """

    game: ExactGame
    policy: Parameterisation
    seat: int | None = None

    def values(self, mine: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        """Discounted returns of me and of the other, `[..., P]` each -> `[...]` each."""
        return self.game.values(self.policy.logits(mine), self.policy.logits(theirs), self.seat)


def gradient(value: Tensor, of: Tensor, differentiable: bool = False) -> Tensor:
    """d value / d of, where each run's value depends on the same run's parameters alone."""
    (found,) = torch.autograd.grad(value.sum(), of, create_graph=differentiable, retain_graph=True)
    return found


def both(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Parameters of both seats, `[2, ..., P]`, as mine and as the other's, apart: a derivative for one leaves
    the other as it is."""
    mine = parameters.detach().requires_grad_()
    return mine, parameters.detach().flip(0).requires_grad_()


@dataclass(frozen=True)
class NaiveSettings(Checked):
    """Of the naive learner, which climbs its own return as if the other stayed.

    Attributes:
        lr: learning rate, alpha.
    """

    lr: Rate = 1.0

    def step(self, play: Play, mine: Tensor, theirs: Tensor) -> Tensor:
        """My parameters after an update: theta_i + alpha dV_i / dtheta_i, `[..., P]`."""
        return self.climb(mine, gradient(play.values(mine, theirs)[0], mine))

    def climb(self, mine: Tensor, gradient: Tensor) -> Tensor:
        """The step, where the gradient of my value is known."""
        return mine + self.lr * gradient
