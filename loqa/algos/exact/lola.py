"""Exact LOLA, in the three forms that papers mean by the name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from loqa import _checks
from loqa.algos.exact.play import Play, gradient
from loqa.algos.exact.policies import kl


@dataclass(frozen=True)
class LOLASettings:
    """Of exact LOLA.

    "taylor-full" is the derivative of "lookahead" to first order in eta; "taylor" leaves out one of its two
    terms of that order, (d2V_i/didj) dV_j/dj. With eta = 0 all are the naive learner.

    Attributes:
        lr: my learning rate, alpha.
        inner_lr: rate of the step that I expect of the other, eta.
        form: "taylor" (Foerster et al. 2018), alpha [ dV_i/di + eta (d2V_j/didj) stop(dV_i/dj) ];
            "taylor-full" (Lu et al. 2022), alpha d/di [ V_i + eta (dV_i/dj) . (dV_j/dj) ];
            "lookahead" (Zhao et al. 2022), alpha d/di V_i(i, j after `inner_steps` steps).
        inner_steps: steps of the other that "lookahead" differentiates through.
    """

    lr: _checks.Rate = 1.0
    inner_lr: _checks.Rate = 1.0
    form: Literal["taylor", "taylor-full", "lookahead"] = "taylor"
    inner_steps: _checks.Count = 1

    def __post_init__(self) -> None:
        _checks.check_fields(self)
        if self.form != "lookahead" and self.inner_steps != 1:
            raise ValueError(
                f"inner_steps is of form lookahead, {self.form} has one step: got {self.inner_steps}"
            )

    def step(self, play: Play, mine: Tensor, theirs: Tensor) -> Tensor:
        """My parameters after an update, `[..., P]`."""
        return mine + self.lr * _FORMS[self.form](play, mine, theirs, self)


def _taylor(play: Play, mine: Tensor, theirs: Tensor, settings: LOLASettings) -> Tensor:
    own, others = play.values(mine, theirs)
    first, of_other = torch.autograd.grad(own.sum(), (mine, theirs), retain_graph=True)
    learning = gradient(others, theirs, differentiable=True)
    return first + settings.inner_lr * gradient((learning * of_other).sum(-1), mine)


def _taylor_full(play: Play, mine: Tensor, theirs: Tensor, settings: LOLASettings) -> Tensor:
    own, others = play.values(mine, theirs)
    of_other, learning = (gradient(value, theirs, differentiable=True) for value in (own, others))
    return gradient(own + settings.inner_lr * (of_other * learning).sum(-1), mine)


def _lookahead(play: Play, mine: Tensor, theirs: Tensor, settings: LOLASettings) -> Tensor:
    learned = look_ahead(play, mine, theirs, settings.inner_lr, settings.inner_steps)
    return gradient(play.values(mine, learned)[0], mine)


_FORMS = {"taylor": _taylor, "taylor-full": _taylor_full, "lookahead": _lookahead}


def look_ahead(
    play: Play, mine: Tensor, theirs: Tensor, rate: float, steps: int, beta: float = 0.0
) -> Tensor:
    """The other's parameters after steps of its own, as a function of mine.

        u_0 = theta_j,   u_{m+1} = u_m + eta d/du [ V_j(theta_i, u_m) - beta KL(pi_j || pi_{u_m}) ]

    Args:
        mine: theta_i; derivatives for it are kept.
        theirs: theta_j; it requires a gradient.
        rate: eta.
        steps: how many.
        beta: weight of staying near where it was.
    """
    learned = theirs
    before = play.policy.logits(theirs.detach())
    for _ in range(steps):
        value = play.values(mine, learned)[1]
        if beta:
            value = value - beta * kl(before, play.policy.logits(learned))
        learned = learned + rate * gradient(value, learned, differentiable=True)
    return learned
