"""Exact LOLA, in the three forms that papers mean by the name; POLA, whose steps do not depend on how a
policy is written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from loqa._checks import Checked, Count, Rate, check_fields
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

    lr: Rate = 1.0
    inner_lr: Rate = 1.0
    form: Literal["taylor", "taylor-full", "lookahead"] = "taylor"
    inner_steps: Count = 1

    def __post_init__(self) -> None:
        check_fields(self)
        if self.form != "lookahead" and self.inner_steps != 1:
            raise ValueError(
                f"inner_steps is of form lookahead, {self.form} has one step: got {self.inner_steps}"
            )

    def step(self, play: Play, mine: Tensor, theirs: Tensor) -> Tensor:
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
        rate, steps, beta: eta, how many, and the weight of staying near where it was.
    """
    learned = theirs
    before = play.policy.logits(theirs.detach())
    for _ in range(steps):
        value = play.values(mine, learned)[1]
        if beta:
            value = value - beta * kl(before, play.policy.logits(learned))
        learned = learned + rate * gradient(value, learned, differentiable=True)
    return learned


@dataclass(frozen=True)
class POLASettings(Checked):
    """Of exact POLA (Zhao et al. 2022). The defaults are outer POLA, as published for tables.

    An update (an epoch) repeats, with the other's theta_j and my old policy held,

        theta_i += alpha d/di [ V_i(theta_i, u(theta_i)) - outer_kl KL(pi_i^old || pi_i) ]

    where u(theta_i) are the other's parameters after `inner_steps` steps of rate eta on
    V_j - inner_kl KL(pi_j^old || pi_u), differentiated through. Inner POLA is `outer_steps` 1,
    `inner_steps` 100, `inner_kl` 3; LOLA's lookahead is `outer_steps` 1 and `inner_kl` 0.

    Attributes:
        lr: my learning rate, alpha.
        inner_lr: the other's, eta.
        inner_steps: of the other.
        inner_kl: weight of the other's staying where it was.
        outer_steps: most steps of an update.
        outer_kl: weight of my staying where I was.
        tolerance: an update ends where the KL of two successive policies is below it in both directions; 0
            takes all steps.
    """

    lr: Rate = 0.3
    inner_lr: Rate = 5.0
    inner_steps: Count = 1
    inner_kl: Rate = 0.0
    outer_steps: Count = 5000
    outer_kl: Rate = 0.1
    tolerance: Rate = 1e-8

    def step(self, play: Play, mine: Tensor, theirs: Tensor) -> Tensor:
        return proximal_step(play, mine, theirs, self)[0]


def proximal_step(
    play: Play, mine: Tensor, theirs: Tensor, settings: POLASettings
) -> tuple[Tensor, Tensor]:
    """My parameters after an update, `[..., P]`, and the steps that it took, `[...]`."""
    found = mine.detach()
    policy = old = play.policy.logits(found)
    taken = torch.zeros(mine.shape[:-1], dtype=torch.int64, device=mine.device)
    moving = torch.ones_like(taken, dtype=torch.bool)
    for _ in range(settings.outer_steps):
        mine = found.requires_grad_()
        learned = look_ahead(
            play, mine, theirs, settings.inner_lr, settings.inner_steps, settings.inner_kl
        )
        nearness = kl(old, play.policy.logits(mine))
        value = play.values(mine, learned)[0] - settings.outer_kl * nearness
        ahead = mine.detach() + settings.lr * gradient(value, mine)
        found = torch.where(moving[..., None], ahead, mine.detach())
        taken += moving
        before, policy = policy, play.policy.logits(found)
        change = torch.maximum(kl(before, policy), kl(policy, before))
        moving = moving & (change >= settings.tolerance)
        if not moving.any():
            break
    return found, taken
