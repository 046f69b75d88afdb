"""What LOLA-DiCE and POLA-DiCE are made of: settings, and objectives with derivatives of every order.

With c_t the sum of all players' log-probabilities up to step t, l_t that of step t, and box(x) =
exp(x - stop(x)) (Foerster et al., ICML 2018; Farquhar et al., NeurIPS 2019):

    "dice"    J = mean_b sum_t gamma^t ( r_t box(c_t) + v_t (1 - box(l_t)) )
    "loaded"  J = mean_b sum_t gamma^t A_t ( box(c_t) - box(c_t - l_t) )

Both are computed with the kernel of `ops.dice_weights`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from loqa import ops
from loqa._checks import Checked, Count, Rate, Share
from loqa.agents.ends import episode_steps


@dataclass(frozen=True)
class LookAheadSettings(Checked):
    """What the steps of LOLA-DiCE and of POLA-DiCE depend on.

    Attributes:
        gamma: reward discount.
        objective: "dice", or "loaded" (with generalized advantages of the critic).
        baseline: what "dice" subtracts, which changes no expectation: "none"; "batch", from each reward
            its mean over the batch at that step; or "critic", v_t.
        advantage_lambda: of the generalized advantages of "loaded".
        inner_steps: k, steps of the other players that are looked ahead.
        inner_lr: eta, their learning rate (plain gradient ascent).
        inner_critic_lr: that of their critics on the way.
        optimizer: of the own step, "adam" or "sgd".
        fresh_optimizer: whether its moments start anew with every update.
        actor_lr: alpha, its learning rate.
        critic_lr: that of the critic (Adam).
        opponent_model: whether the others' parameters are not known but fitted to what they did, by
            cross-entropy on each batch before the update.
        model_steps: Adam's steps of that fit.
        model_lr: its learning rate.
    """

    gamma: Share = 0.96
    objective: Literal["dice", "loaded"] = "dice"
    baseline: Literal["none", "batch", "critic"] = "batch"
    advantage_lambda: Share = 1.0
    inner_steps: Count = 1
    inner_lr: Rate = 0.3
    inner_critic_lr: Rate = 5e-4
    optimizer: Literal["adam", "sgd"] = "adam"
    fresh_optimizer: bool = False
    actor_lr: Rate = 0.02
    critic_lr: Rate = 1e-2
    opponent_model: bool = False
    model_steps: Count = 20
    model_lr: Rate = 0.1

    @property
    def has_critic(self) -> bool:
        """Whether a critic learns."""
        return self.objective == "loaded" or self.baseline == "critic"


@dataclass(frozen=True)
class LOLASettings(LookAheadSettings):
    """LOLA-DiCE: one step, nothing holds it back."""

    inner_kl: ClassVar[float] = 0.0
    outer_kl: ClassVar[float] = 0.0
    outer_steps: ClassVar[int] = 1


@dataclass(frozen=True)
class POLASettings(LookAheadSettings):
    """POLA-DiCE, `loqa.algos.pola`.

    Attributes:
        inner_kl: beta_in.
        outer_kl: beta_out.
        outer_steps: own steps in an update.
    """

    objective: Literal["dice", "loaded"] = "loaded"
    fresh_optimizer: bool = True
    inner_kl: Rate = 10.0
    outer_kl: Rate = 100.0
    outer_steps: Count = 200


def dice_objective(
    rewards: Tensor,
    log_probs: Tensor,
    values: Tensor | None,
    settings: LookAheadSettings,
    terminated: Tensor | None = None,
) -> Tensor:
    """J of the module's head, from one player's rewards.

    "dice" is computed as sum_t gamma^t G_t (box(c_t) - box(c_t - l_t)) + G_0 with G the discounted
    return from t on: the same sum in another order, and the same derivatives of every order.

    Args:
        rewards: `[T, B]`, the player's.
        log_probs: `[T, B]`, the sum of all players' whose learning counts.
        values: `[T+1, B]` of the player's critic, taken as constants; None without a critic.
        settings: gamma, objective, baseline, advantage_lambda.
        terminated: `[T, B]` bool, where an episode ends and the next begins.

    Returns:
        0-d; its value is the discounted return ("dice" without a baseline "batch") or 0 ("loaded").
    """
    values = None if values is None else values.detach()
    resets = None if terminated is None else terminated[:-1]
    discounts = settings.gamma ** episode_steps(len(rewards), rewards, resets)
    weights = ops.dice_weights(log_probs, terminated=terminated)
    if settings.objective == "loaded":
        assert values is not None
        advantages = ops.generalized_advantage(
            rewards, values, settings.gamma, settings.advantage_lambda, terminated
        )
        return (discounts * advantages * weights).sum(0).mean()
    if settings.baseline == "batch":
        rewards = rewards - rewards.mean(1, keepdim=True)
    returns = ops.discounted_returns(rewards, settings.gamma, terminated=terminated)
    total = (discounts * returns * weights).sum(0) + (discounts * rewards).sum(0)
    if settings.baseline == "critic":
        assert values is not None
        total = total + (discounts * values[:-1] * (1 - ops.magic_box(log_probs))).sum(0)
    return total.mean()


def value_loss(
    rewards: Tensor, values: Tensor, gamma: float, terminated: Tensor | None = None
) -> Tensor:
    """mean_b sum_t (G_t - v_t)^2, G_t = sum_k gamma^k r_{t+k} + gamma^(T-t) stop(v_T); `rewards [T, B]`,
    `values [T+1, B]`."""
    returns = ops.discounted_returns(rewards, gamma, values[-1].detach(), terminated)
    return (returns - values[:-1]).square().sum(0).mean()
