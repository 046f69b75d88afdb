"""The linear kernels as torch operators `loqa::*`: shapes, CPU and CUDA, derivatives.

Arguments are time-major arrays of one floating type on one device. `ends`, [T, ...] uint8 or None,
says how steps end episodes: bit 0 terminated, bit 1 truncated (`loqa.ops.ends`); what follows
such a step counts as 0 in it. Every backward is again made of these operators, so that derivatives
exist to any order: the operators are adjoint in pairs, a scan and the opposite scan, `advantage`
and `advantage_vjp`, `n_step` and `n_step_vjp`, with the same ends.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from loqa.ops import register as operators
from loqa.ops.register import (
    check_ends,
    check_like,
    check_rows,
    check_sequence,
    check_window,
    codes,
    define,
    new,
    rows,
    sequence,
)


def magic_box(x: Tensor) -> Tensor:
    return torch.exp(x - x.detach())


# linear_scan: y_t = x_t + decay y_{t+1} (reverse) or + decay y_{t-1}, carry before the first.


def _linear_scan(
    x: Tensor, carry: Tensor | None, decay: float, reverse: bool, ends: Tensor | None = None
) -> Tensor:
    x = sequence("x", x)
    steps, out = x.shape[0], new(x)
    if carry is not None:
        check_like("carry", carry, x, x.shape[1:])
        operators.address_of(carry)  # it holds its elements: then it can be a row
        carry = rows("carry", carry[None], x, 1)
    ends = codes(ends, x, steps)
    operators.launch("linear_scan", steps, x, (x, carry, ends), (out,), decay, reverse)
    return out


def _linear_scan_fake(
    x: Tensor, carry: Tensor | None, decay: float, reverse: bool, ends: Tensor | None = None
) -> Tensor:
    check_sequence("x", x)
    if carry is not None:
        check_like("carry", carry, x, x.shape[1:])
    check_ends(ends, x, x.shape[0])
    return new(x)


def _linear_scan_save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, _, ctx.decay, ctx.reverse, ends = inputs
    ctx.save_for_backward(ends)


def _linear_scan_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (ends,) = ctx.saved_tensors
    grad_x = linear_scan(grad, None, ctx.decay, not ctx.reverse, ends)
    grad_carry = None
    if ctx.needs_input_grad[1]:
        if grad.shape[0] == 0:
            grad_carry = grad.new_zeros(grad.shape[1:])
        elif ctx.reverse:
            last = grad_x[-1]
            if ends is not None:
                last = torch.where(ends[-1] != 0, torch.zeros_like(last), last)
            grad_carry = ctx.decay * last
        else:
            grad_carry = ctx.decay * grad_x[0]
    return grad_x, grad_carry, None, None, None


linear_scan = define(
    "linear_scan(Tensor x, Tensor? carry, float decay, bool reverse, Tensor? ends=None) -> Tensor",
    _linear_scan,
    _linear_scan_fake,
    _linear_scan_save,
    _linear_scan_backward,
)


# advantage: A_t = r_t + gamma v_{t+1} - v_t + gamma lam A_{t+1}; advantage_vjp is its adjoint. A
# termination cuts v_{t+1} and A_{t+1}, a truncation A_{t+1}.


def _advantage(
    rewards: Tensor, values: Tensor, gamma: float, lam: float, ends: Tensor | None = None
) -> Tensor:
    rewards = sequence("rewards", rewards)
    steps, out = rewards.shape[0], new(rewards)
    values = rows("values", values, rewards, steps + 1)
    ends = codes(ends, rewards, steps)
    operators.launch("advantage", steps, rewards, (rewards, values, ends), (out,), gamma, lam)
    return out


def _advantage_fake(
    rewards: Tensor, values: Tensor, gamma: float, lam: float, ends: Tensor | None = None
) -> Tensor:
    check_sequence("rewards", rewards)
    check_rows("values", values, rewards, rewards.shape[0] + 1)
    check_ends(ends, rewards, rewards.shape[0])
    return new(rewards)


def _advantage_save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, _, ctx.gamma, ctx.lam, ends = inputs
    ctx.save_for_backward(ends)


def _advantage_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return *advantage_vjp(grad, ctx.gamma, ctx.lam, *ctx.saved_tensors), None, None, None


def _advantage_vjp(
    grad: Tensor, gamma: float, lam: float, ends: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    grad = sequence("grad", grad)
    steps = grad.shape[0]
    ends = codes(ends, grad, steps)
    grad_rewards, grad_values = new(grad), new(grad, steps + 1)
    if steps == 0:
        grad_values.zero_()
    operators.launch(
        "advantage_vjp", steps, grad, (grad, ends), (grad_rewards, grad_values), gamma, lam
    )
    return grad_rewards, grad_values


def _advantage_vjp_fake(
    grad: Tensor, gamma: float, lam: float, ends: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    check_sequence("grad", grad)
    check_ends(ends, grad, grad.shape[0])
    return new(grad), new(grad, grad.shape[0] + 1)


def _advantage_vjp_save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, ctx.gamma, ctx.lam, ends = inputs
    ctx.save_for_backward(ends)


def _advantage_vjp_backward(ctx: Any, rewards: Tensor, values: Tensor) -> tuple[Any, ...]:
    return advantage(rewards, values, ctx.gamma, ctx.lam, *ctx.saved_tensors), None, None, None


advantage = define(
    "advantage(Tensor rewards, Tensor values, float gamma, float lam, Tensor? ends=None) -> Tensor",
    _advantage,
    _advantage_fake,
    _advantage_save,
    _advantage_backward,
)
advantage_vjp = define(
    "advantage_vjp(Tensor grad, float gamma, float lam, Tensor? ends=None) -> (Tensor, Tensor)",
    _advantage_vjp,
    _advantage_vjp_fake,
    _advantage_vjp_save,
    _advantage_vjp_backward,
)


# n_step: G_s = sum_{k<n} gamma^k r_{s+k} + gamma^n v_{s+n}; n_step_vjp is its adjoint. A window
# stops at an end, without v.


def _n_step(
    rewards: Tensor, values: Tensor, gamma: float, n: int, ends: Tensor | None = None
) -> Tensor:
    rewards = sequence("rewards", rewards)
    steps = rewards.shape[0]
    check_window(n, steps)
    values = rows("values", values, rewards, steps + 1)
    ends = codes(ends, rewards, steps)
    out = new(rewards, steps + 1 - n)
    operators.launch("n_step", steps, rewards, (rewards, values, ends), (out,), gamma, n)
    return out


def _n_step_fake(
    rewards: Tensor, values: Tensor, gamma: float, n: int, ends: Tensor | None = None
) -> Tensor:
    check_sequence("rewards", rewards)
    check_window(n, rewards.shape[0])
    check_rows("values", values, rewards, rewards.shape[0] + 1)
    check_ends(ends, rewards, rewards.shape[0])
    return new(rewards, rewards.shape[0] + 1 - n)


def _n_step_save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, _, ctx.gamma, ctx.n, ends = inputs
    ctx.save_for_backward(ends)


def _n_step_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return *n_step_vjp(grad, ctx.gamma, ctx.n, *ctx.saved_tensors), None, None, None


_MOST_STEPS = 2**31 - 1  # no sum of sizes overflows


def _windows_of(grad: Tensor, n: int) -> int:
    """T, of the cotangent [T + 1 - n, ...] of windows."""
    steps = grad.shape[0] - 1 + n
    if n < 1 or grad.shape[0] < 1 or steps > _MOST_STEPS:
        raise ValueError(
            f"grad must be [T + 1 - n, ...] with 1 <= n <= T <= {_MOST_STEPS}, got {list(grad.shape)} "
            f"and n = {n}"
        )
    return steps


def _n_step_vjp(
    grad: Tensor, gamma: float, n: int, ends: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    grad = sequence("grad", grad)
    steps = _windows_of(grad, n)
    ends = codes(ends, grad, steps)
    grad_rewards, grad_values = new(grad, steps), new(grad, steps + 1)
    operators.launch("n_step_vjp", steps, grad, (grad, ends), (grad_rewards, grad_values), gamma, n)
    return grad_rewards, grad_values


def _n_step_vjp_fake(
    grad: Tensor, gamma: float, n: int, ends: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    check_sequence("grad", grad)
    steps = _windows_of(grad, n)
    check_ends(ends, grad, steps)
    return new(grad, steps), new(grad, steps + 1)


def _n_step_vjp_save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, ctx.gamma, ctx.n, ends = inputs
    ctx.save_for_backward(ends)


def _n_step_vjp_backward(ctx: Any, rewards: Tensor, values: Tensor) -> tuple[Any, ...]:
    return n_step(rewards, values, ctx.gamma, ctx.n, *ctx.saved_tensors), None, None, None


n_step = define(
    "n_step(Tensor rewards, Tensor values, float gamma, int n, Tensor? ends=None) -> Tensor",
    _n_step,
    _n_step_fake,
    _n_step_save,
    _n_step_backward,
)
n_step_vjp = define(
    "n_step_vjp(Tensor grad, float gamma, int n, Tensor? ends=None) -> (Tensor, Tensor)",
    _n_step_vjp,
    _n_step_vjp_fake,
    _n_step_vjp_save,
    _n_step_vjp_backward,
)
