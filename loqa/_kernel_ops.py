"""The native kernels as torch operators `loqa::*`: schema, CPU and CUDA, shapes, derivatives, vmap.

Arguments are time-major arrays of one floating type on one device, checked by `loqa.ops`. Every
backward is again made of these operators, so that derivatives exist to any order:

- the linear operators are adjoint in pairs: a scan and the opposite scan, `advantage` and
  `advantage_vjp`, `n_step` and `n_step_vjp`;
- a DiCE operator has a value that does not move with the log-probabilities and derivatives that
  do. Its `*_vjp` has the first derivative as value; what that depends on is written in magic boxes.

Where a backward asks for `torch.is_grad_enabled()`, the branch differs only in what derivatives of
higher order need; the value is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from loqa._native import core

_library: Any = torch.library.Library("loqa", "DEF")  # type: ignore[no-untyped-call]
_PLAIN = (Tensor, torch.nn.Parameter)
_DTYPE_CODES = {torch.float32: 0, torch.float64: 1}


def _define(
    schema: str,
    kernel: Callable[..., Any],
    fake: Callable[..., Any],
    save: Callable[..., None],
    backward: Callable[..., Any],
) -> Callable[..., Any]:
    """Registers `loqa::<schema>` and returns the fastest differentiable way to call it."""
    name = "loqa::" + schema.partition("(")[0]
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _library.impl(name, kernel, "CPU")
    _library.impl(name, kernel, "CUDA")
    torch.library.register_fake(name, fake, lib=_library)
    torch.library.register_autograd(name, backward, setup_context=save, lib=_library)
    operator = getattr(torch.ops.loqa, name.removeprefix("loqa::")).default

    def batched(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        """The columns of all samples side by side: the batch becomes the last dimension."""
        moved = [
            arg
            if not isinstance(arg, Tensor)
            else arg.unsqueeze(-1).expand(*arg.shape, info.batch_size)
            if dim is None
            else arg.movedim(dim, -1)
            for arg, dim in zip(args, in_dims, strict=True)
        ]
        out = call(*moved)
        return out, (-1 if isinstance(out, Tensor) else (-1,) * len(out))

    def forward(ctx: Any, *args: Any) -> Any:
        output = kernel(*args)
        save(ctx, args, output)
        return output

    # What register_autograd makes takes three times as long as `eager`, and torch.func (grad, vmap,
    # jacrev) refuses both: it wants a separate setup_context, which takes as long again.
    parts = {"backward": staticmethod(backward)}
    eager: Any = type(
        f"{name}_eager", (torch.autograd.Function,), {"forward": staticmethod(forward), **parts}
    )
    # Without what `apply` does for torch.func alone.
    eager_apply = super(torch.autograd.Function, eager).apply
    parts |= {"setup_context": staticmethod(save), "vmap": staticmethod(batched)}
    transformable: Any = type(
        f"{name}_transformable",
        (torch.autograd.Function,),
        {"forward": staticmethod(lambda *args: operator(*args)), **parts},
    )
    if hasattr(torch.library, "register_vmap"):
        torch.library.register_vmap(name, batched, lib=_library)

    def call(*args: Any) -> Any:
        if torch.compiler.is_compiling():
            return operator(*args)
        if torch._C._are_functorch_transforms_active():
            return transformable.apply(*args)
        if torch._C._len_torch_dispatch_stack() or torch._C._autograd._profiler_enabled():
            return operator(*args)
        # Nobody watches: past torch's dispatcher, which takes as long again as all the rest of a
        # call (5 microseconds, or 30 after a kernel has swept its code from the cache).
        differentiable = False
        for arg in args:
            if isinstance(arg, Tensor):
                if type(arg) not in _PLAIN or arg.is_neg() or arg._is_zerotensor():
                    return operator(*args)
                differentiable = differentiable or arg.requires_grad
        if differentiable and torch.is_grad_enabled():
            return eager_apply(*args)
        if forward_ad._current_level >= 0:  # `apply` says that there is no such mode
            return eager_apply(*args)
        return kernel(*args)

    return call


def _width(like: Tensor) -> int:
    """Sequences in an array [T, ...]."""
    return like.numel() // like.shape[0] if like.shape[0] else 0


def _launch(name: str, steps: int, like: Tensor, *args: Any) -> None:
    """Runs `core.<name>` on `steps` rows as wide as those of `like`, on its device."""
    code = _DTYPE_CODES[like.dtype]
    if like.is_cuda:
        device = like.get_device()
        with torch.cuda.device(device):
            stream = torch._C._cuda_getCurrentRawStream(device)
            getattr(core, name + "_cuda")(code, *args, steps, _width(like), stream)
    else:
        getattr(core, name)(code, *args, steps, _width(like), torch.get_num_threads())


def _new(like: Tensor, steps: int | None = None) -> Tensor:
    """An uninitialised contiguous array as wide as `like`, [steps, ...]."""
    if steps is None:
        return torch.empty_like(like, memory_format=torch.contiguous_format)
    return like.new_empty((steps, *like.shape[1:]))


def magic_box(x: Tensor) -> Tensor:
    return torch.exp(x - x.detach())


# linear_scan: y_t = x_t + decay y_{t+1} (reverse) or + decay y_{t-1}, carry before the first.


def _linear_scan(x: Tensor, carry: Tensor | None, decay: float, reverse: bool) -> Tensor:
    x, out = x.contiguous(), _new(x)
    carry = None if carry is None else carry.contiguous()
    address = 0 if carry is None else carry.data_ptr()
    _launch("linear_scan", x.shape[0], x, x.data_ptr(), address, out.data_ptr(), decay, reverse)
    return out


def _linear_scan_save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, _, ctx.decay, ctx.reverse = inputs


def _linear_scan_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    grad_x = linear_scan(grad, None, ctx.decay, not ctx.reverse)
    grad_carry = None
    if ctx.needs_input_grad[1]:
        if grad.shape[0] == 0:
            grad_carry = grad.new_zeros(grad.shape[1:])
        else:
            grad_carry = ctx.decay * grad_x[-1 if ctx.reverse else 0]
    return grad_x, grad_carry, None, None


linear_scan = _define(
    "linear_scan(Tensor x, Tensor? carry, float decay, bool reverse) -> Tensor",
    _linear_scan,
    lambda x, carry, decay, reverse: _new(x),
    _linear_scan_save,
    _linear_scan_backward,
)


# advantage: A_t = r_t + gamma v_{t+1} - v_t + gamma lam A_{t+1}; advantage_vjp is its adjoint.


def _advantage(rewards: Tensor, values: Tensor, gamma: float, lam: float) -> Tensor:
    rewards, values, out = rewards.contiguous(), values.contiguous(), _new(rewards)
    addresses = rewards.data_ptr(), values.data_ptr(), out.data_ptr()
    _launch("advantage", rewards.shape[0], rewards, *addresses, gamma, lam)
    return out


def _advantage_save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, _, ctx.gamma, ctx.lam = inputs


def _advantage_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return *advantage_vjp(grad, ctx.gamma, ctx.lam), None, None


def _advantage_vjp(grad: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    grad, steps = grad.contiguous(), grad.shape[0]
    grad_rewards, grad_values = _new(grad), _new(grad, steps + 1)
    addresses = grad.data_ptr(), grad_rewards.data_ptr(), grad_values.data_ptr()
    if steps == 0:
        grad_values.zero_()
    _launch("advantage_vjp", steps, grad, *addresses, gamma, lam)
    return grad_rewards, grad_values


def _advantage_vjp_save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, ctx.gamma, ctx.lam = inputs


def _advantage_vjp_backward(ctx: Any, rewards: Tensor, values: Tensor) -> tuple[Any, ...]:
    return advantage(rewards, values, ctx.gamma, ctx.lam), None, None


advantage = _define(
    "advantage(Tensor rewards, Tensor values, float gamma, float lam) -> Tensor",
    _advantage,
    lambda rewards, values, gamma, lam: _new(rewards),
    _advantage_save,
    _advantage_backward,
)
advantage_vjp = _define(
    "advantage_vjp(Tensor grad, float gamma, float lam) -> (Tensor, Tensor)",
    _advantage_vjp,
    lambda grad, gamma, lam: (_new(grad), _new(grad, grad.shape[0] + 1)),
    _advantage_vjp_save,
    _advantage_vjp_backward,
)


# n_step: G_s = sum_{k<n} gamma^k r_{s+k} + gamma^n v_{s+n}; n_step_vjp is its adjoint.


def _n_step(rewards: Tensor, values: Tensor, gamma: float, n: int) -> Tensor:
    steps = rewards.shape[0]
    rewards, values, out = rewards.contiguous(), values.contiguous(), _new(rewards, steps + 1 - n)
    addresses = rewards.data_ptr(), values.data_ptr(), out.data_ptr()
    _launch("n_step", steps, rewards, *addresses, gamma, n)
    return out


def _n_step_save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, _, ctx.gamma, ctx.n = inputs


def _n_step_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return *n_step_vjp(grad, ctx.gamma, ctx.n), None, None


def _n_step_vjp(grad: Tensor, gamma: float, n: int) -> tuple[Tensor, Tensor]:
    grad, steps = grad.contiguous(), grad.shape[0] - 1 + n
    grad_rewards, grad_values = _new(grad, steps), _new(grad, steps + 1)
    addresses = grad.data_ptr(), grad_rewards.data_ptr(), grad_values.data_ptr()
    _launch("n_step_vjp", steps, grad, *addresses, gamma, n)
    return grad_rewards, grad_values


def _n_step_vjp_save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, ctx.gamma, ctx.n = inputs


def _n_step_vjp_backward(ctx: Any, rewards: Tensor, values: Tensor) -> tuple[Any, ...]:
    return n_step(rewards, values, ctx.gamma, ctx.n), None, None


n_step = _define(
    "n_step(Tensor rewards, Tensor values, float gamma, int n) -> Tensor",
    _n_step,
    lambda rewards, values, gamma, n: _new(rewards, rewards.shape[0] + 1 - n),
    _n_step_save,
    _n_step_backward,
)
n_step_vjp = _define(
    "n_step_vjp(Tensor grad, float gamma, int n) -> (Tensor, Tensor)",
    _n_step_vjp,
    lambda grad, gamma, n: (_new(grad, grad.shape[0] - 1 + n), _new(grad, grad.shape[0] + n)),
    _n_step_vjp_save,
    _n_step_vjp_backward,
)
