"""Advantage Alignment: the policy gradient with an advantage that takes the other players in.

Duque et al., "Advantage Alignment Algorithms" (ICLR 2025). Whoever gained by what the agent did is assumed
to do more of what he does; the agent does more of what pays the other at a time when the agent's own past
has paid:

    A*_t = A_t + w gamma ( sum_{k<t} (gamma lambda)^(t-k) A_k ) sum_j A^j_t         ("discounted")
    A*_t = A_t + w (1/t) ( sum_{k<t} A_k ) sum_j A^j_t                              ("mean")
    A*_t = A_t + w ( sum_{k<=t} (gamma lambda)^(t-k) 1[sum_j A^j_k > 0] A_k ) sum_j A^j_t     ("gated")

with A the agent's advantages and A^j those of another player. The paper has the first, with lambda 1 and
w 1; the authors' code for Melting Pot the second; the third is, in the policy's gradient, what published
agents of the Coin Game were trained with ("loaded-ios"; their loss teaches the critic as well). That code for
Melting Pot also has a PPO with a surrogate of its own for the others, clipped apart from that of A
("separated"):

    S_t = gamma^(t-1) ( sum_{k<t} A_k ) sum_j A^j_t,        t the step of the episode

No derivative of a return is needed: the first is LOQA with the normaliser of its softmax dropped
(`stop_normaliser_gradient`), temperature 1 and a `dice_discount` of lambda: the same gradient where
A^j = R^j - v^j ("mc") and w gamma lambda is LOQA's w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from loqa import ops
from loqa._checks import Share
from loqa.agents.ends import Ends
from loqa.agents.outputs import SeatOutputs
from loqa.algos.actor_critic import ActorCritic
from loqa.algos.base import Others
from loqa.algos.loqa import ActorLosses, actor_losses, advantages
from loqa.algos.ppo import PPO, PPOSettings, normalised, ppo_targets
from loqa.algos.registry import register
from loqa.algos.settings import ActorCriticSettings
from loqa.algos.trajectory import Trajectory


@dataclass(frozen=True)
class AdvantageAlignmentSettings(ActorCriticSettings):
    """What Advantage Alignment depends on.

    Attributes:
        alignment: how the agent's past advantages are summed, "discounted" (paper), "mean" (the authors'
            code for Melting Pot) or "gated" (published agents of the Coin Game).
        alignment_lambda: lambda, discount of the distant past beside gamma ("discounted", "gated"); the
            paper's is 1.
    """

    alignment: Literal["discounted", "mean", "gated"] = "discounted"
    alignment_lambda: Share = 1.0


@dataclass(frozen=True)
class AlignedPPOSettings(PPOSettings):
    """PPO with A* in the place of A.

    Attributes:
        shaping_weight: w; 0 is PPO.
        alignment, alignment_lambda: as in `AdvantageAlignmentSettings`; or "separated", a surrogate beside
            that of A.
    """

    shaping_weight: float = 1.0
    alignment: Literal["discounted", "mean", "gated", "separated"] = "discounted"
    alignment_lambda: Share = 1.0


def past_sums(x: Tensor, discount: float, ends: Ends | None = None) -> Tensor:
    """y_t = sum_{k<t} discount^(t-k) x_k over the steps before t of the same episode, `[T, B]`."""
    started = None
    if ends is not None:  # in backward time a sum ends where an episode starts
        started = torch.cat([torch.zeros_like(ends.done[:1]), ends.done[:-1]])
    backwards = None if started is None else started.flip(0)
    until = ops.discounted_returns(x.flip(0).contiguous(), discount, terminated=backwards).flip(0)
    before = discount * torch.cat([torch.zeros_like(x[:1]), until[:-1]])
    return before if started is None else before.masked_fill(started, 0)


def alignment_terms(
    past: Tensor,
    others: Tensor,
    settings: AdvantageAlignmentSettings | AlignedPPOSettings,
    ends: Ends | None = None,
) -> Tensor:
    """(A*_t - A_t) / w of the module's head, or S_t.

    Args:
        past: `[T, B]`, the agent's advantages A.
        others: `[T, B]`, the sum of the other players', sum_j A^j.
        ends: where episodes end: nothing is a cause of anything in another one.
    """
    if settings.alignment in ("mean", "separated"):
        steps = past_sums(torch.ones_like(past), 1.0, ends)
        total = past_sums(past, 1.0, ends)
        if settings.alignment == "mean":
            return total / steps.clamp_min(1) * others
        return settings.gamma ** (steps - 1).clamp_min(0) * total * others
    discount = settings.gamma * settings.alignment_lambda
    if settings.alignment == "gated":
        gained = past * (others > 0)
        return (gained + past_sums(gained, discount, ends)) * others
    return settings.gamma * past_sums(past, discount, ends) * others


def alignment_losses(
    agent: SeatOutputs,
    opponents: Sequence[tuple[SeatOutputs, Tensor]],
    rewards: Tensor,
    settings: AdvantageAlignmentSettings,
    ends: Ends | None = None,
) -> ActorLosses:
    """All parts of the actor's loss, as `loqa.algos.loqa.actor_losses`: "opponent" is -mean_t(l_t term_t)."""
    losses = actor_losses(agent, [], rewards, settings, ends)
    if not opponents:
        return losses
    with torch.no_grad():
        kind = settings.advantage if settings.shaping_advantage == "same" else "td0"
        past = advantages(rewards, agent.values, settings, kind, ends, agent.next_values)
        others = torch.stack([
            advantages(paid, one.values, settings, None, ends, one.next_values)
            for one, paid in opponents
        ]).sum(0)  # fmt: skip
        terms = alignment_terms(past, others, settings, ends)
    opponent_loss = -(agent.taken_log_probs * terms).mean(0)
    return ActorLosses(losses.agent, losses.entropy, opponent_loss)


class AdvantageAlignment(ActorCritic):
    """LOQA's learner, with the losses of Advantage Alignment."""

    losses = staticmethod(alignment_losses)


class AlignedPPO(PPO):
    """PPO with A* in the place of A, or with S beside it, made of every player's normalised advantages and
    not normalised again (as in the authors' code for Melting Pot, there over all players at once)."""

    rates = (*PPO.rates, "shaping_weight")
    reads_others = True
    settings: AlignedPPOSettings

    def _weights(
        self, trajectory: Trajectory, advantages: Tensor, others: Others, seat: int
    ) -> Sequence[Tensor]:
        settings = self.settings
        total = torch.zeros_like(advantages)
        for other in range(trajectory.num_players):
            if other == seat:
                continue
            theirs = trajectory.seat(other)
            said = others[other] if other < len(others) else None
            if said is None:
                said = self._evaluate(theirs.obs, theirs.actions, theirs.ends)
            following = said.next_values if said.final is not None else None
            found, _ = ppo_targets(theirs.rewards, said.values, settings, theirs.ends, following)
            total += normalised(found)
        terms = alignment_terms(advantages, total, settings, trajectory.ends)
        terms = settings.shaping_weight * terms
        if settings.alignment == "separated":
            return advantages, terms
        return (advantages + terms,)


_SHAPES = {"": {"shaping_weight": 1.0}}
register("aa", AdvantageAlignment, AdvantageAlignmentSettings, "Advantage Alignment", _SHAPES)
register("aa-ppo", AlignedPPO, AlignedPPOSettings, "Advantage Alignment, PPO", _SHAPES)
