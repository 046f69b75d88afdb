"""The DiCE operators: values that do not move, derivatives of every order that do.

`loaded_dice` is Rhat = R + sum_s (scan of (R - v) d), where R are discounted returns and d are the
DiCE weights of `loqa.ops.dice_weights`; with `shift` it is r_s + gamma Rhat_{s+1}. In either case
the value is R bit for bit, because d = 0. Writing S for the forward scan of the cotangent g,

    first derivatives      dl_t = (R_t - v_t) S_t,    dR_t = g_t + S_t d_t .

`loaded_dice_vjp` is dl. The derivatives of dl in direction u follow from those of d,

    q = J_d u = box(w) U - box(w - l) (U - u),   U the scan of u as w is that of l;

q has the value u. All scans stop at the ends of episodes (`ends` of `loqa.ops.primitives`), so that no
action is a cause of anything in another episode. `n_step_dice` uses box(c_{s,k}) = box(C_{s+k})
box(-C_s), C the running sum of l,
so that Q = N(a box(C)) box(-C) with N the n-step sum and a the rewards minus the baseline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from loqa.ops.primitives import linear_scan, magic_box, n_step, n_step_vjp
from loqa.ops.register import (
    Launch,
    check_ends,
    check_rows,
    check_sequence,
    check_window,
    define,
    new,
)


def dice_weights(logps: Tensor, discount: float, ends: Tensor | None = None) -> Tensor:
    """box(w_t) - box(w_t - l_t), w_t = discount w_{t-1} + l_t."""
    weight = linear_scan(logps, None, discount, False, ends)
    return magic_box(weight) - magic_box(weight - logps)


def _unless_ended(x: Tensor, ends: Tensor | None) -> Tensor:
    """x_t [T - 1, ...] where step t does not end an episode, else 0."""
    return x if ends is None else torch.where(ends[: len(x)] != 0, torch.zeros_like(x), x)


def _caused(grad: Tensor, gamma: float, decay: float, shift: bool, ends: Tensor | None) -> Tensor:
    """S_t = sum_{s<=t} decay^(t-s) g_s, or gamma sum_{s<t} decay^(t-1-s) g_s with `shift`."""
    total = linear_scan(grad, None, decay, False, ends)
    if not shift:
        return total
    return torch.cat([torch.zeros_like(total[:1]), _unless_ended(gamma * total[:-1], ends)])


def _causing(
    weights: Tensor, gamma: float, decay: float, shift: bool, ends: Tensor | None
) -> Tensor:
    """The adjoint of `_caused`."""
    if shift:
        later = _unless_ended(gamma * weights[1:], ends)
        weights = torch.cat([later, torch.zeros_like(weights[:1])])
    return linear_scan(weights, None, decay, True, ends)


def _loaded_dice(
    rewards: Tensor,
    values: Tensor,
    logps: Tensor,
    gamma: float,
    dice_discount: float,
    shift: bool,
    ends: Tensor | None = None,
) -> Launch:
    check_sequence("rewards", rewards)
    steps = rewards.shape[0]
    check_rows("values", values, rewards, steps + 1)
    check_rows("logps", logps, rewards, steps)
    check_ends(ends, rewards, steps)
    reads = (rewards, None, ends)
    return Launch("linear_scan", steps, rewards, reads, (new(rewards),), (gamma, True))


def _loaded_dice_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    rewards, values, logps, ends, returns = ctx.saved_tensors
    if torch.is_grad_enabled():  # R as a function of the rewards alone
        returns = linear_scan(rewards, None, ctx.gamma, True, ends)
    grad_rewards = grad_logps = None
    if ctx.needs_input_grad[2]:
        grad_logps = loaded_dice_vjp(
            grad, returns, values, logps, ctx.gamma, ctx.dice_discount, ctx.shift, ends
        )
    if ctx.needs_input_grad[0]:
        if torch.is_grad_enabled():
            total = _caused(grad, ctx.gamma, ctx.gamma * ctx.dice_discount, ctx.shift, ends)
            grad = grad + total * dice_weights(logps, ctx.dice_discount, ends)
        grad_rewards = linear_scan(grad, None, ctx.gamma, False, ends)
    return grad_rewards, None, grad_logps


loaded_dice: Callable[..., Tensor] = define(
    "loaded_dice(Tensor rewards, Tensor values, Tensor logps, float gamma, float dice_discount,"
    " bool shift, Tensor? ends=None) -> Tensor",
    _loaded_dice,
    _loaded_dice_backward,
    keeps=["rewards", "values", "logps", "ends", "output"],
)


def _loaded_dice_vjp(
    grad: Tensor,
    returns: Tensor,
    values: Tensor,
    logps: Tensor,
    gamma: float,
    dice_discount: float,
    shift: bool,
    ends: Tensor | None = None,
) -> Launch:
    check_sequence("grad", grad)
    steps = grad.shape[0]
    check_rows("returns", returns, grad, steps)
    check_rows("values", values, grad, steps + 1)
    check_rows("logps", logps, grad, steps)
    check_ends(ends, grad, steps)
    reads, numbers = (grad, returns, values, ends), (gamma, dice_discount, shift)
    return Launch("loaded_dice_vjp", steps, grad, reads, (new(grad),), numbers)


def _loaded_dice_vjp_backward(ctx: Any, direction: Tensor) -> tuple[Tensor | None, ...]:
    grad, returns, values, logps, ends = ctx.saved_tensors
    decay = ctx.gamma * ctx.dice_discount
    advantages = returns - values[:-1].detach()
    total = _caused(grad, ctx.gamma, decay, ctx.shift, ends)
    weight = linear_scan(logps, None, ctx.dice_discount, False, ends)
    moved = linear_scan(direction, None, ctx.dice_discount, False, ends)
    before = magic_box(weight - logps) * (moved - direction)
    weights = magic_box(weight) * moved - before  # q
    loads = advantages * total
    grad_logps = linear_scan(loads * weights, None, ctx.dice_discount, True, ends)
    return (
        _causing(advantages * weights, ctx.gamma, decay, ctx.shift, ends),
        total * weights,
        None,
        grad_logps + loads * before,
    )


loaded_dice_vjp: Callable[..., Tensor] = define(
    "loaded_dice_vjp(Tensor grad, Tensor returns, Tensor values, Tensor logps, float gamma,"
    " float dice_discount, bool shift, Tensor? ends=None) -> Tensor",
    _loaded_dice_vjp,
    _loaded_dice_vjp_backward,
    keeps=["grad", "returns", "values", "logps", "ends"],
)


def _windows(x: Tensor, gamma: float, n: int, ends: Tensor | None) -> Tensor:
    """N(x)_s = sum_{k<n} gamma^k x_{s+k}."""
    no_values = x.new_zeros((x.shape[0] + 1, *x.shape[1:]))
    return n_step(x, no_values, gamma, n, ends)


def _n_step_dice(
    rewards: Tensor,
    values: Tensor,
    centred: Tensor,
    logps: Tensor,
    gamma: float,
    n: int,
    ends: Tensor | None = None,
) -> Launch:
    check_sequence("rewards", rewards)
    steps = rewards.shape[0]
    check_window(n, steps)
    check_rows("values", values, rewards, steps + 1)
    check_rows("centred", centred, rewards, steps)
    check_rows("logps", logps, rewards, steps)
    check_ends(ends, rewards, steps)
    writes = (new(rewards, steps + 1 - n),)
    return Launch("n_step", steps, rewards, (rewards, values, ends), writes, (gamma, n))


def _n_step_dice_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    centred, logps, ends = ctx.saved_tensors
    grad_rewards = grad_values = grad_centred = grad_logps = None
    if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
        grad_rewards, grad_values = n_step_vjp(grad, ctx.gamma, ctx.n, ends)
    if ctx.needs_input_grad[2] and torch.is_grad_enabled():
        # sum_k gamma^k (box(c) - 1) g: the value is zero, the derivatives are not.
        caused = linear_scan(logps, None, 1.0, False, ends)
        boxed = grad * magic_box(-caused[: grad.shape[0]])
        grad_centred = magic_box(caused) * n_step_vjp(boxed, ctx.gamma, ctx.n, ends)[0]
        grad_centred = grad_centred - n_step_vjp(grad, ctx.gamma, ctx.n, ends)[0]
    if ctx.needs_input_grad[3]:
        grad_logps = n_step_dice_vjp(grad, centred, logps, ctx.gamma, ctx.n, ends)
    return grad_rewards, grad_values, grad_centred, grad_logps


n_step_dice: Callable[..., Tensor] = define(
    "n_step_dice(Tensor rewards, Tensor values, Tensor centred, Tensor logps, float gamma,"
    " int n, Tensor? ends=None) -> Tensor",
    _n_step_dice,
    _n_step_dice_backward,
    keeps=["centred", "logps", "ends"],
)


def _n_step_dice_vjp(
    grad: Tensor, centred: Tensor, logps: Tensor, gamma: float, n: int, ends: Tensor | None = None
) -> Launch:
    check_sequence("centred", centred)
    steps = centred.shape[0]
    check_window(n, steps)
    check_rows("grad", grad, centred, steps + 1 - n)
    check_rows("logps", logps, centred, steps)
    check_ends(ends, centred, steps)
    reads = (grad, centred, ends)
    return Launch("n_step_dice_vjp", steps, centred, reads, (new(centred),), (gamma, n))


def _n_step_dice_vjp_backward(ctx: Any, direction: Tensor) -> tuple[Tensor | None, ...]:
    grad, centred, logps, ends = ctx.saved_tensors
    gamma, n, count = ctx.gamma, ctx.n, grad.shape[0]
    caused = linear_scan(logps, None, 1.0, False, ends)
    moved = linear_scan(direction, None, 1.0, False, ends)
    box, unbox = magic_box(caused), magic_box(-caused[:count])
    along = _windows(centred * box * moved, gamma, n, ends)
    grad_grad = unbox * (along - moved[:count] * _windows(centred * box, gamma, n, ends))
    boxed = grad * unbox
    back = moved * n_step_vjp(boxed, gamma, n, ends)[0]
    grad_centred = box * (back - n_step_vjp(boxed * moved[:count], gamma, n, ends)[0])
    own = grad * grad_grad
    grad_caused = centred * grad_centred - torch.cat([own, torch.zeros_like(logps[count:])])
    grad_logps = linear_scan(grad_caused, None, 1.0, True, ends)
    return grad_grad, grad_centred, grad_logps


n_step_dice_vjp: Callable[..., Tensor] = define(
    "n_step_dice_vjp(Tensor grad, Tensor centred, Tensor logps, float gamma, int n,"
    " Tensor? ends=None) -> Tensor",
    _n_step_dice_vjp,
    _n_step_dice_vjp_backward,
    keeps=["grad", "centred", "logps", "ends"],
)
