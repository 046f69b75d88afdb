"""The DiCE operators: values that do not move, derivatives of every order that do.

`loaded_dice` is Rhat = R + sum_s (scan of (R - v) d), where R are discounted returns and d are the
DiCE weights of `loqa.ops.dice_weights`; with `shift` it is r_s + gamma Rhat_{s+1}. In either case
the value is R bit for bit, because d = 0. Writing S for the forward scan of the cotangent g,

    first derivatives      dl_t = (R_t - v_t) S_t,    dR_t = g_t + S_t d_t .

`loaded_dice_vjp` is dl. The derivatives of dl in direction u follow from those of d,

    q = J_d u = box(w) U - box(w - l) (U - u),   U the scan of u as w is that of l;

q has the value u. `n_step_dice` uses box(c_{s,k}) = box(C_{s+k}) box(-C_s), C the running sum of l,
so that Q = N(a box(C)) box(-C) with N the n-step sum and a the rewards minus the baseline.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from loqa._kernel_ops import (
    _define,
    _launch,
    _new,
    linear_scan,
    magic_box,
    n_step,
    n_step_vjp,
)


def dice_weights(logps: Tensor, discount: float) -> Tensor:
    """box(w_t) - box(w_t - l_t), w_t = discount w_{t-1} + l_t."""
    weight = linear_scan(logps, None, discount, False)
    return magic_box(weight) - magic_box(weight - logps)


def _caused(grad: Tensor, gamma: float, decay: float, shift: bool) -> Tensor:
    """S_t = sum_{s<=t} decay^(t-s) g_s, or gamma sum_{s<t} decay^(t-1-s) g_s with `shift`."""
    total: Tensor = linear_scan(grad, None, decay, False)
    if not shift:
        return total
    return torch.cat([torch.zeros_like(total[:1]), gamma * total[:-1]])


def _causing(weights: Tensor, gamma: float, decay: float, shift: bool) -> Tensor:
    """The adjoint of `_caused`."""
    if shift:
        weights = torch.cat([gamma * weights[1:], torch.zeros_like(weights[:1])])
    out: Tensor = linear_scan(weights, None, decay, True)
    return out


def _loaded_dice(
    rewards: Tensor, values: Tensor, logps: Tensor, gamma: float, dice_discount: float, shift: bool
) -> Tensor:
    rewards, out = rewards.contiguous(), _new(rewards)
    addresses = rewards.data_ptr(), 0, out.data_ptr()
    _launch("linear_scan", rewards.shape[0], rewards, *addresses, gamma, True)
    return out


def _loaded_dice_save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    rewards, values, logps, ctx.gamma, ctx.dice_discount, ctx.shift = inputs
    ctx.save_for_backward(rewards, values, logps, output)


def _loaded_dice_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    rewards, values, logps, returns = ctx.saved_tensors
    if torch.is_grad_enabled():  # R as a function of the rewards alone
        returns = linear_scan(rewards, None, ctx.gamma, True)
    grad_rewards = grad_logps = None
    if ctx.needs_input_grad[2]:
        grad_logps = loaded_dice_vjp(
            grad, returns, values, logps, ctx.gamma, ctx.dice_discount, ctx.shift
        )
    if ctx.needs_input_grad[0]:
        if torch.is_grad_enabled():
            total = _caused(grad, ctx.gamma, ctx.gamma * ctx.dice_discount, ctx.shift)
            grad = grad + total * dice_weights(logps, ctx.dice_discount)
        grad_rewards = linear_scan(grad, None, ctx.gamma, False)
    return grad_rewards, None, grad_logps, None, None, None


loaded_dice = _define(
    "loaded_dice(Tensor rewards, Tensor values, Tensor logps, float gamma, float dice_discount,"
    " bool shift) -> Tensor",
    _loaded_dice,
    lambda rewards, values, logps, gamma, dice_discount, shift: _new(rewards),
    _loaded_dice_save,
    _loaded_dice_backward,
)


def _loaded_dice_vjp(
    grad: Tensor,
    returns: Tensor,
    values: Tensor,
    logps: Tensor,
    gamma: float,
    dice_discount: float,
    shift: bool,
) -> Tensor:
    grad, returns, values = grad.contiguous(), returns.contiguous(), values.contiguous()
    out = _new(grad)
    addresses = grad.data_ptr(), returns.data_ptr(), values.data_ptr(), out.data_ptr()
    _launch("loaded_dice_vjp", grad.shape[0], grad, *addresses, gamma, dice_discount, shift)
    return out


def _loaded_dice_vjp_save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.gamma, ctx.dice_discount, ctx.shift = inputs
    ctx.save_for_backward(*tensors)


def _loaded_dice_vjp_backward(ctx: Any, direction: Tensor) -> tuple[Any, ...]:
    grad, returns, values, logps = ctx.saved_tensors
    decay = ctx.gamma * ctx.dice_discount
    advantages = returns - values[:-1].detach()
    total = _caused(grad, ctx.gamma, decay, ctx.shift)
    weight = linear_scan(logps, None, ctx.dice_discount, False)
    moved = linear_scan(direction, None, ctx.dice_discount, False)
    before = magic_box(weight - logps) * (moved - direction)
    weights = magic_box(weight) * moved - before  # q
    loads = advantages * total
    return (
        _causing(advantages * weights, ctx.gamma, decay, ctx.shift),
        total * weights,
        None,
        linear_scan(loads * weights, None, ctx.dice_discount, True) + loads * before,
        None,
        None,
        None,
    )


loaded_dice_vjp = _define(
    "loaded_dice_vjp(Tensor grad, Tensor returns, Tensor values, Tensor logps, float gamma,"
    " float dice_discount, bool shift) -> Tensor",
    _loaded_dice_vjp,
    lambda grad, returns, values, logps, gamma, dice_discount, shift: _new(grad),
    _loaded_dice_vjp_save,
    _loaded_dice_vjp_backward,
)


def _running_sum(x: Tensor) -> Tensor:
    out: Tensor = linear_scan(x, None, 1.0, False)
    return out


def _windows(x: Tensor, gamma: float, n: int) -> Tensor:
    """N(x)_s = sum_{k<n} gamma^k x_{s+k}."""
    no_values = x.new_zeros((x.shape[0] + 1, *x.shape[1:]))
    out: Tensor = n_step(x, no_values, gamma, n)
    return out


def _n_step_dice(
    rewards: Tensor, values: Tensor, centred: Tensor, logps: Tensor, gamma: float, n: int
) -> Tensor:
    steps = rewards.shape[0]
    rewards, values, out = rewards.contiguous(), values.contiguous(), _new(rewards, steps + 1 - n)
    addresses = rewards.data_ptr(), values.data_ptr(), out.data_ptr()
    _launch("n_step", steps, rewards, *addresses, gamma, n)
    return out


def _n_step_dice_save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, _, centred, logps, ctx.gamma, ctx.n = inputs
    ctx.save_for_backward(centred, logps)


def _n_step_dice_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    centred, logps = ctx.saved_tensors
    grad_rewards = grad_values = grad_centred = grad_logps = None
    if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
        grad_rewards, grad_values = n_step_vjp(grad, ctx.gamma, ctx.n)
    if ctx.needs_input_grad[2] and torch.is_grad_enabled():
        # sum_k gamma^k (box(c) - 1) g: the value is zero, the derivatives are not.
        caused = _running_sum(logps)
        boxed = grad * magic_box(-caused[: grad.shape[0]])
        grad_centred = magic_box(caused) * n_step_vjp(boxed, ctx.gamma, ctx.n)[0]
        grad_centred = grad_centred - n_step_vjp(grad, ctx.gamma, ctx.n)[0]
    if ctx.needs_input_grad[3]:
        grad_logps = n_step_dice_vjp(grad, centred, logps, ctx.gamma, ctx.n)
    return grad_rewards, grad_values, grad_centred, grad_logps, None, None


n_step_dice = _define(
    "n_step_dice(Tensor rewards, Tensor values, Tensor centred, Tensor logps, float gamma,"
    " int n) -> Tensor",
    _n_step_dice,
    lambda rewards, values, centred, logps, gamma, n: _new(rewards, rewards.shape[0] + 1 - n),
    _n_step_dice_save,
    _n_step_dice_backward,
)


def _n_step_dice_vjp(grad: Tensor, centred: Tensor, logps: Tensor, gamma: float, n: int) -> Tensor:
    grad, centred, out = grad.contiguous(), centred.contiguous(), _new(centred)
    addresses = grad.data_ptr(), centred.data_ptr(), out.data_ptr()
    _launch("n_step_dice_vjp", centred.shape[0], centred, *addresses, gamma, n)
    return out


def _n_step_dice_vjp_save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.gamma, ctx.n = inputs
    ctx.save_for_backward(*tensors)


def _n_step_dice_vjp_backward(ctx: Any, direction: Tensor) -> tuple[Any, ...]:
    grad, centred, logps = ctx.saved_tensors
    gamma, n, count = ctx.gamma, ctx.n, grad.shape[0]
    caused, moved = _running_sum(logps), _running_sum(direction)
    box, unbox = magic_box(caused), magic_box(-caused[:count])
    along = _windows(centred * box * moved, gamma, n)
    grad_grad = unbox * (along - moved[:count] * _windows(centred * box, gamma, n))
    boxed = grad * unbox
    back = moved * n_step_vjp(boxed, gamma, n)[0]
    grad_centred = box * (back - n_step_vjp(boxed * moved[:count], gamma, n)[0])
    own = grad * grad_grad
    grad_caused = centred * grad_centred - torch.cat([own, torch.zeros_like(logps[count:])])
    grad_logps = linear_scan(grad_caused, None, 1.0, True)
    return grad_grad, grad_centred, grad_logps, None, None


n_step_dice_vjp = _define(
    "n_step_dice_vjp(Tensor grad, Tensor centred, Tensor logps, float gamma, int n) -> Tensor",
    _n_step_dice_vjp,
    lambda grad, centred, logps, gamma, n: _new(centred),
    _n_step_dice_vjp_save,
    _n_step_dice_vjp_backward,
)
