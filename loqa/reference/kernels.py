"""The kernels of `loqa.ops` in plain PyTorch: slow, obvious, differentiable to any order.

This file is the specification that the native kernels are tested against; `loqa.ops` says of each what it
is for, and whose it is. Time-major: `rewards`
and `logps` are [T, ...], `values` is [T + 1, ...] with the bootstrap in `values[T]`; every trailing
index is one independent sequence. Letters in the equations: r rewards, v values, l
log-probabilities of the actions taken, gamma the discount, lambda its decay, t or s the step.
`terminated` and `truncated` are booleans in the shape of rewards (or of its leading dimensions) or
None for nowhere; a step of either kind ends its episode, and if terminated, what follows is worth 0.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _stack(rows: list[Tensor], like: Tensor) -> Tensor:
    """Rows in time order to [len(rows), ...], also for no rows at all."""
    return torch.stack(rows) if rows else like[:0]


def _ends(
    terminated: Tensor | None, truncated: Tensor | None, like: Tensor
) -> tuple[Tensor, Tensor]:
    """(terminated, done) in the shape of `like`."""

    def full(flags: Tensor | None) -> Tensor:
        if flags is None:
            return torch.zeros_like(like, dtype=torch.bool)
        ones = (1,) * (like.dim() - flags.dim())
        return (flags != 0).reshape(*flags.shape, *ones).expand(like.shape)

    terminal = full(terminated)
    return terminal, terminal | full(truncated)


def _unless(cut: Tensor, x: Tensor) -> Tensor:
    return torch.where(cut, torch.zeros_like(x), x)


def _final_values(
    values: Tensor, terminated: Tensor | None, truncated: Tensor | None, like: Tensor
) -> Tensor:
    """[T, ...]: v_{t+1} where step t is truncated and not terminated, else 0."""
    terminal, done = _ends(terminated, truncated, like)
    return _unless(terminal | ~done, values[1:])


def _scan(x: Tensor, decay: float, done: Tensor) -> Tensor:
    """y_t = x_t + decay (1 - done_t) y_{t+1}, y_T = 0."""
    following = torch.zeros_like(x.sum(0))
    rows: list[Tensor] = []
    for t in reversed(range(x.shape[0])):
        following = x[t] + decay * _unless(done[t], following)
        rows.append(following)
    return _stack(rows[::-1], x)


def discounted_returns(
    rewards: Tensor,
    gamma: float,
    bootstrap: Tensor | None = None,
    terminated: Tensor | None = None,
    truncated: Tensor | None = None,
) -> Tensor:
    """R_t = r_t + gamma (1 - done_t) R_{t+1}; at the last step gamma (1 - terminated) bootstrap."""
    terminal, done = _ends(terminated, truncated, rewards)
    if bootstrap is not None and rewards.shape[0]:
        last = rewards[-1] + gamma * _unless(terminal[-1], bootstrap)
        rewards = torch.cat([rewards[:-1], last[None]])
    return _scan(rewards, gamma, done)


def generalized_advantage(
    rewards: Tensor,
    values: Tensor,
    gamma: float,
    lam: float,
    terminated: Tensor | None = None,
    truncated: Tensor | None = None,
) -> Tensor:
    """A_t = delta_t + gamma lam (1 - done_t) A_{t+1},
    delta_t = r_t + gamma (1 - terminated_t) v_{t+1} - v_t."""
    terminal, done = _ends(terminated, truncated, rewards)
    deltas = rewards + gamma * _unless(terminal, values[1:]) - values[:-1]
    return _scan(deltas, float(gamma) * float(lam), done)


def n_step_returns(
    rewards: Tensor,
    values: Tensor,
    gamma: float,
    n: int,
    terminated: Tensor | None = None,
    truncated: Tensor | None = None,
) -> Tensor:
    """G_s = sum_{k<m} gamma^k r_{s+k} + gamma^m (1 - terminated_{s+m-1}) v_{s+m}, s = 0 .. T-n.

    m = n, or fewer if the episode ends before; only the windows that lie whole inside the array.
    """
    logps = torch.zeros_like(rewards)
    return n_step_dice_returns(
        rewards, values, logps, gamma, n, 0.0, terminated=terminated, truncated=truncated
    )


def magic_box(x: Tensor) -> Tensor:
    """box(x) = exp(x - stop(x)): value 1, derivative box(x) x', so that it survives any order."""
    return torch.exp(x - x.detach())


def dice_weights(
    logps: Tensor,
    discount: float = 1.0,
    terminated: Tensor | None = None,
    truncated: Tensor | None = None,
) -> Tensor:
    """d_t = box(w_t) - box(w_t - l_t), w_t = discount (1 - done_{t-1}) w_{t-1} + l_t."""
    _, done = _ends(terminated, truncated, logps)
    weight = torch.zeros_like(logps.sum(0))
    rows = []
    for t, logp in enumerate(logps):
        before = discount * (_unless(done[t - 1], weight) if t else weight)
        weight = before + logp
        rows.append(magic_box(weight) - magic_box(before))
    return _stack(rows, logps)


def loaded_dice_returns(
    rewards: Tensor,
    values: Tensor,
    logps: Tensor,
    gamma: float,
    dice_discount: float,
    terminated: Tensor | None = None,
    truncated: Tensor | None = None,
) -> Tensor:
    """Rhat_s = R_s + sum_{k>=s} (gamma lambda)^(k-s) (R_k - v_k) d_k, lambda = dice_discount.

    k runs to the end of the episode. R are the discounted returns, with v_{t+1} for the rest of an
    episode truncated at t, v the values as constants and d = dice_weights(logps, lambda).
    """
    values = values.detach()
    _, done = _ends(terminated, truncated, rewards)
    rewards = rewards + gamma * _final_values(values, terminated, truncated, rewards)
    returns = _scan(rewards, gamma, done)
    weights = dice_weights(logps, dice_discount, terminated, truncated)
    return returns + _scan(
        (returns - values[:-1]) * weights, float(gamma) * float(dice_discount), done
    )


def loaded_dice_q_values(
    rewards: Tensor,
    values: Tensor,
    logps: Tensor,
    gamma: float,
    dice_discount: float,
    current_reward_differentiable: bool = False,
    terminated: Tensor | None = None,
    truncated: Tensor | None = None,
) -> Tensor:
    """Q_s = r_s + gamma Rhat_{s+1} (last step: r_s), or Q_s = Rhat_s if the current reward counts.

    Rhat = loaded_dice_returns(...); where an episode ends with step s, 0 or, if truncated, v_{s+1}
    in its place.
    """
    ends = {"terminated": terminated, "truncated": truncated}
    returns = loaded_dice_returns(rewards, values, logps, gamma, dice_discount, **ends)
    if current_reward_differentiable:
        return returns
    _, done = _ends(terminated, truncated, rewards)
    following = _unless(done, torch.cat([returns[1:], torch.zeros_like(returns[:1])]))
    following = following + _final_values(values.detach(), terminated, truncated, rewards)
    return rewards + gamma * following


def n_step_dice_returns(
    rewards: Tensor,
    values: Tensor,
    logps: Tensor,
    gamma: float,
    n: int,
    baseline: float | Tensor = 0.0,
    terminated: Tensor | None = None,
    truncated: Tensor | None = None,
) -> Tensor:
    """Q_s = sum_{k<m} gamma^k ((r_{s+k} - b) box(c_{s,k}) + b) + gamma^m v_{s+m}, s = 0 .. T-n.

    c_{s,k} = l_{s+1} + ... + l_{s+k}: the action of step s was chosen at the same moment as the one
    that Q_s judges, so it counts as a constant. b is the baseline, a constant too. m = n, or fewer
    if the episode ends before; after a termination there is no v.
    """
    baselines = torch.as_tensor(baseline, dtype=rewards.dtype, device=rewards.device)
    baselines = baselines.detach().expand_as(rewards)
    terminal, done = _ends(terminated, truncated, rewards)
    rows = []
    for s in range(rewards.shape[0] + 1 - n):
        total = torch.zeros_like(rewards[s])
        caused = torch.zeros_like(logps[s])
        over = torch.zeros_like(done[s])
        for k in range(n):
            if k > 0:
                caused = caused + logps[s + k]
            box = magic_box(caused)
            reward = (rewards[s + k] - baselines[s + k]) * box + baselines[s + k]
            total = total + gamma**k * _unless(over, reward)
            last = done[s + k] if k < n - 1 else torch.ones_like(over)
            cut = over | terminal[s + k] | ~last
            total = total + float(gamma) ** (k + 1) * _unless(cut, values[s + k + 1])
            over = over | done[s + k]
        rows.append(total)
    return _stack(rows, rewards)
