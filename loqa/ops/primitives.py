"""The linear kernels as torch operators `loqa::*`: shapes, CPU and CUDA, derivatives.

Arguments are time-major arrays of one floating type on one device. `ends`, [T, ...] uint8 or None,
says how steps end episodes: bit 0 terminated, bit 1 truncated (`loqa.ops.ends`); what follows
such a step counts as 0 in it. Every backward is again made of these operators, so that derivatives
exist to any order: the operators are adjoint in pairs, a scan and the opposite scan, `advantage`
and `advantage_vjp`, `n_step` and `n_step_vjp`, with the same ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from loqa.ops.register import (
    Launch,
    check_ends,
    check_like,
    check_rows,
    check_sequence,
    check_window,
    define,
    new,
)


def magic_box(x: Tensor) -> Tensor:
    return torch.exp(x - x.detach())


# linear_scan: y_t = x_t + decay y_{t+1} (reverse) or + decay y_{t-1}, carry before the first.


def _linear_scan(
    x: Tensor, carry: Tensor | None, decay: float, reverse: bool, ends: Tensor | None = None
) -> Launch:
    check_sequence("x", x)
    if carry is not None:
        check_like("carry", carry, x, x.shape[1:])
    steps = x.shape[0]
    check_ends(ends, x, steps)
    return Launch("linear_scan", steps, x, (x, carry, ends), (new(x),), (decay, reverse))


def _linear_scan_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
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
    return grad_x, grad_carry


linear_scan: Callable[..., Tensor] = define(
    "linear_scan(Tensor x, Tensor? carry, float decay, bool reverse, Tensor? ends=None) -> Tensor",
    _linear_scan,
    _linear_scan_backward,
    keeps=["ends"],
)


# advantage: A_t = r_t + gamma v_{t+1} - v_t + gamma lam A_{t+1}; advantage_vjp is its adjoint. A
# termination cuts v_{t+1} and A_{t+1}, a truncation A_{t+1}.


def _advantage(
    rewards: Tensor, values: Tensor, gamma: float, lam: float, ends: Tensor | None = None
) -> Launch:
    check_sequence("rewards", rewards)
    steps = rewards.shape[0]
    check_rows("values", values, rewards, steps + 1)
    check_ends(ends, rewards, steps)
    reads = (rewards, values, ends)
    return Launch("advantage", steps, rewards, reads, (new(rewards),), (gamma, lam))


def _advantage_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return advantage_vjp(grad, ctx.gamma, ctx.lam, *ctx.saved_tensors)


def _advantage_vjp(grad: Tensor, gamma: float, lam: float, ends: Tensor | None = None) -> Launch:
    check_sequence("grad", grad)
    steps = grad.shape[0]
    check_ends(ends, grad, steps)
    writes = (new(grad), new(grad, steps + 1))
    return Launch("advantage_vjp", steps, grad, (grad, ends), writes, (gamma, lam))


def _advantage_vjp_backward(ctx: Any, rewards: Tensor, values: Tensor) -> tuple[Tensor | None, ...]:
    return (advantage(rewards, values, ctx.gamma, ctx.lam, *ctx.saved_tensors),)


advantage: Callable[..., Tensor] = define(
    "advantage(Tensor rewards, Tensor values, float gamma, float lam, Tensor? ends=None) -> Tensor",
    _advantage,
    _advantage_backward,
    keeps=["ends"],
)
advantage_vjp: Callable[..., tuple[Tensor, Tensor]] = define(
    "advantage_vjp(Tensor grad, float gamma, float lam, Tensor? ends=None) -> (Tensor, Tensor)",
    _advantage_vjp,
    _advantage_vjp_backward,
    keeps=["ends"],
)


# n_step: G_s = sum_{k<n} gamma^k r_{s+k} + gamma^n v_{s+n}; n_step_vjp is its adjoint. A window
# stops at an end, without v.


def _n_step(
    rewards: Tensor, values: Tensor, gamma: float, n: int, ends: Tensor | None = None
) -> Launch:
    check_sequence("rewards", rewards)
    steps = rewards.shape[0]
    check_window(n, steps)
    check_rows("values", values, rewards, steps + 1)
    check_ends(ends, rewards, steps)
    writes = (new(rewards, steps + 1 - n),)
    return Launch("n_step", steps, rewards, (rewards, values, ends), writes, (gamma, n))


def _n_step_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return n_step_vjp(grad, ctx.gamma, ctx.n, *ctx.saved_tensors)


_MOST_STEPS = 2**31 - 1  # no sum of sizes overflows


def _n_step_vjp(grad: Tensor, gamma: float, n: int, ends: Tensor | None = None) -> Launch:
    check_sequence("grad", grad)
    steps = grad.shape[0] - 1 + n
    if n < 1 or grad.shape[0] < 1 or steps > _MOST_STEPS:
        raise ValueError(
            f"grad must be [T + 1 - n, ...] with 1 <= n <= T <= {_MOST_STEPS}, got {list(grad.shape)} "
            f"and n = {n}"
        )
    check_ends(ends, grad, steps)
    writes = (new(grad, steps), new(grad, steps + 1))
    return Launch("n_step_vjp", steps, grad, (grad, ends), writes, (gamma, n))


def _n_step_vjp_backward(ctx: Any, rewards: Tensor, values: Tensor) -> tuple[Tensor | None, ...]:
    return (n_step(rewards, values, ctx.gamma, ctx.n, *ctx.saved_tensors),)


n_step: Callable[..., Tensor] = define(
    "n_step(Tensor rewards, Tensor values, float gamma, int n, Tensor? ends=None) -> Tensor",
    _n_step,
    _n_step_backward,
    keeps=["ends"],
)
n_step_vjp: Callable[..., tuple[Tensor, Tensor]] = define(
    "n_step_vjp(Tensor grad, float gamma, int n, Tensor? ends=None) -> (Tensor, Tensor)",
    _n_step_vjp,
    _n_step_vjp_backward,
    keeps=["ends"],
)
