"""The kernels of `loqa.ops` in plain PyTorch: slow, obvious, differentiable to any order.

This file is the specification that the native kernels are tested against. Time-major: `rewards`
and `logps` are [T, ...], `values` is [T + 1, ...] with the bootstrap in `values[T]`; every trailing
index is one independent sequence. Letters in the equations: r rewards, v values, l
log-probabilities of the actions taken, gamma the discount, lambda its decay, t or s the step.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _stack(rows: list[Tensor], like: Tensor) -> Tensor:
    """Rows in time order to [len(rows), ...], also for no rows at all."""
    return torch.stack(rows) if rows else like[:0]


def discounted_returns(rewards: Tensor, gamma: float, bootstrap: Tensor | None = None) -> Tensor:
    """R_t = r_t + gamma R_{t+1}, R_T = bootstrap (zero without one)."""
    following = torch.zeros_like(rewards.sum(0)) if bootstrap is None else bootstrap
    rows: list[Tensor] = []
    for reward in rewards.flip(0):
        following = reward + gamma * following
        rows.append(following)
    return _stack(rows[::-1], rewards)


def generalized_advantage(rewards: Tensor, values: Tensor, gamma: float, lam: float) -> Tensor:
    """A_t = delta_t + gamma lam A_{t+1}, delta_t = r_t + gamma v_{t+1} - v_t.

    Schulman et al., "High-dimensional continuous control using generalized advantage estimation"
    (ICLR 2016), equations 11 to 16.
    """
    deltas = rewards + gamma * values[1:] - values[:-1]
    return discounted_returns(deltas, gamma * lam)


def n_step_returns(rewards: Tensor, values: Tensor, gamma: float, n: int) -> Tensor:
    """G_s = sum_{k<n} gamma^k r_{s+k} + gamma^n v_{s+n} for s = 0 .. T-n.

    Sutton and Barto, "Reinforcement learning: an introduction" (2018), equation 7.1, with the
    critic's bootstrap and only the windows that lie whole inside the episode.
    """
    rows = []
    for s in range(rewards.shape[0] + 1 - n):
        total = gamma**n * values[s + n]
        for k in range(n):
            total = total + gamma**k * rewards[s + k]
        rows.append(total)
    return _stack(rows, rewards)


def magic_box(x: Tensor) -> Tensor:
    """box(x) = exp(x - stop(x)): value 1, derivative box(x) x', so that it survives any order.

    Foerster et al., "DiCE: the infinitely differentiable Monte Carlo estimator" (ICML 2018),
    equation 4.
    """
    return torch.exp(x - x.detach())


def dice_weights(logps: Tensor, discount: float = 1.0) -> Tensor:
    """d_t = box(w_t) - box(w_t - l_t), w_t = discount w_{t-1} + l_t.

    The value is 0 and the first derivative of d_t is that of l_t alone. Farquhar, Whiteson and
    Foerster, "Loaded DiCE: trading off bias and variance in any-order score function gradient
    estimators for reinforcement learning" (NeurIPS 2019), section 4 and algorithm 1.
    """
    weight = torch.zeros_like(logps.sum(0))
    rows = []
    for logp in logps:
        before = discount * weight
        weight = before + logp
        rows.append(magic_box(weight) - magic_box(before))
    return _stack(rows, logps)


def loaded_dice_returns(
    rewards: Tensor, values: Tensor, logps: Tensor, gamma: float, dice_discount: float
) -> Tensor:
    """Rhat_s = R_s + sum_{k>=s} (gamma lambda)^(k-s) (R_k - v_k) d_k, lambda = dice_discount.

    R are the discounted returns, v the values as constants and d = dice_weights(logps, lambda).
    Aghajohari et al., "LOQA: learning with opponent Q-learning awareness" (ICLR 2024), on the
    estimator of Farquhar et al. (2019).
    """
    returns = discounted_returns(rewards, gamma)
    advantages = returns - values.detach()[:-1]
    weighted = advantages * dice_weights(logps, dice_discount)
    return returns + discounted_returns(weighted, gamma * dice_discount)


def loaded_dice_q_values(
    rewards: Tensor,
    values: Tensor,
    logps: Tensor,
    gamma: float,
    dice_discount: float,
    current_reward_differentiable: bool = False,
) -> Tensor:
    """Q_s = r_s + gamma Rhat_{s+1} (last step: r_s), or Q_s = Rhat_s if the current reward counts.

    Rhat = loaded_dice_returns(...). Aghajohari et al. (ICLR 2024), section 4.
    """
    returns = loaded_dice_returns(rewards, values, logps, gamma, dice_discount)
    if current_reward_differentiable:
        return returns
    following = torch.cat([returns[1:], torch.zeros_like(returns[:1])])
    return rewards + gamma * following


def n_step_dice_returns(
    rewards: Tensor,
    values: Tensor,
    logps: Tensor,
    gamma: float,
    n: int,
    baseline: float | Tensor = 0.0,
) -> Tensor:
    """Q_s = sum_{k<n} gamma^k ((r_{s+k} - b) box(c_{s,k}) + b) + gamma^n v_{s+n}, s = 0 .. T-n.

    c_{s,k} = l_{s+1} + ... + l_{s+k}: the action of step s was chosen at the same moment as the one
    that Q_s judges, so it counts as a constant. b is the baseline, a constant too. The n-step
    variant of Aghajohari et al. (ICLR 2024) on the estimator of Foerster et al. (2018).
    """
    if isinstance(baseline, Tensor):
        baseline = baseline.detach()
    rows = []
    for s in range(rewards.shape[0] + 1 - n):
        total = gamma**n * values[s + n]
        caused = torch.zeros_like(logps[s])
        for k in range(n):
            if k > 0:
                caused = caused + logps[s + k]
            box = magic_box(caused)
            total = total + gamma**k * ((rewards[s + k] - baseline) * box + baseline)
        rows.append(total)
    return _stack(rows, rewards)
