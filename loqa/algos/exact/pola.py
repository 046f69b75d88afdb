"""Exact POLA: LOLA whose steps do not depend on how a policy is written down."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from loqa._checks import Count, Rate, check_fields
from loqa.algos.exact.lola import look_ahead
from loqa.algos.exact.play import Play, gradient
from loqa.algos.exact.policies import kl


@dataclass(frozen=True)
class POLASettings:
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

    def __post_init__(self) -> None:
        check_fields(self)

    def step(self, play: Play, mine: Tensor, theirs: Tensor) -> Tensor:
        """My parameters after an update, `[..., P]`."""
        return proximal_step(play, mine, theirs, self)[0]


def proximal_step(
    play: Play, mine: Tensor, theirs: Tensor, settings: POLASettings
) -> tuple[Tensor, Tensor]:
    """My parameters after an update, `[..., P]`, and the steps that it took, `[...]`."""
    found = mine.detach()
    policy = old = play.policy.logits(found)
    moving = torch.ones(mine.shape[:-1], dtype=torch.bool, device=mine.device)
    taken = torch.zeros(mine.shape[:-1], dtype=torch.int64, device=mine.device)
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
