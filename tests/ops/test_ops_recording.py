"""Batched derivatives, and torch's ways of recording a function: right, or refused with a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from kernel_cases import ALL, Call, draw, ends
from torch import Tensor
from torch.autograd.functional import hessian, jacobian
from torch.func import functionalize, jacrev, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from loqa import ops
from loqa.ops.gru import gru, gru_step
from loqa.reference import kernels as reference

STEPS, WIDTH = 4, 2
NAMES = list(ALL)


def loss(call: Call, module: object, inputs: tuple[Tensor, ...]) -> Tensor:
    rewards, values, logps = inputs
    rewards = rewards + 0.3 * torch.sin(logps)
    return (call(module, rewards, values, logps) + 0.1 * rewards.sum()).square().sum()


@pytest.mark.parametrize("name", NAMES)
def test_vectorized_jacobian_and_hessian(name: str) -> None:
    """Torch hands many cotangents at once to a backward, in tensors without memory."""
    inputs = tuple(draw(STEPS, WIDTH))
    expected = jacobian(lambda *x: ALL[name](reference, *x), inputs)
    got = jacobian(lambda *x: ALL[name](ops, *x), inputs, vectorize=True)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)
    expected = hessian(lambda *x: loss(ALL[name], reference, x), inputs)
    got = hessian(lambda *x: loss(ALL[name], ops, x), inputs, vectorize=True)
    for row, wanted in zip(got, expected, strict=True):
        for one, other in zip(row, wanted, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_many_cotangents_at_once(name: str) -> None:
    leaves = [x.requires_grad_() for x in draw(STEPS, WIDTH)]
    out = ALL[name](ops, *leaves)
    generator = torch.Generator().manual_seed(0)
    many = torch.randn(3, *out.shape, generator=generator, dtype=out.dtype)
    settings: dict[str, Any] = {
        "retain_graph": True, "create_graph": True, "allow_unused": True
    }  # fmt: skip
    together = torch.autograd.grad(out, leaves, many, is_grads_batched=True, **settings)
    for i in range(3):
        alone = torch.autograd.grad(out, leaves, many[i], **settings)
        for one, other in zip(together, alone, strict=True):
            assert (one is None) == (other is None)
            if one is None:
                continue
            torch.testing.assert_close(one[i], other, rtol=1e-13, atol=1e-13)
            assert one.requires_grad == other.requires_grad
            if other.requires_grad:  # once more
                pair = [
                    torch.autograd.grad(x.square().sum(), leaves, retain_graph=True,
                                        materialize_grads=True) for x in (one[i], other)
                ]  # fmt: skip
                for a, b in zip(*pair, strict=True):
                    torch.testing.assert_close(a, b)


@pytest.mark.filterwarnings("ignore:Please use `torch.vmap`:FutureWarning")  # torch 2.6 itself
@pytest.mark.parametrize("name", ["discounted_returns", "ended_advantage", "ended_n_step"])
def test_small_batched_gradcheck(name: str) -> None:
    leaves = [x.requires_grad_() for x in draw(STEPS, WIDTH)]
    call = lambda r, v: ALL[name](ops, r, v, leaves[2])  # noqa: E731
    assert torch.autograd.gradcheck(call, leaves[:2], check_batched_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda r, v: call(r.sin(), v.cos()), leaves[:2], check_batched_grad=True
    )


def pipeline(rewards: Tensor, values: Tensor, logps: Tensor) -> Tensor:
    """Every kernel."""
    shifted = rewards + 0.1 * torch.sin(logps)
    return sum((call(ops, shifted, values, logps) + 1).square().sum() for call in ALL.values())


def fresh() -> tuple[Tensor, ...]:
    return tuple(draw(STEPS, WIDTH, seed=5))


RECORDERS: dict[str, Callable[[Any, tuple[Tensor, ...]], Any]] = {
    "jit.trace": lambda f, x: torch.jit.trace(f, x, check_trace=False),
    "make_fx real": lambda f, x: make_fx(f, tracing_mode="real")(*x),
    "make_fx fake": lambda f, x: make_fx(f, tracing_mode="fake")(*x),
    "make_fx symbolic": lambda f, x: make_fx(f, tracing_mode="symbolic")(*x),
    "make_fx pre_dispatch": lambda f, x: make_fx(f, pre_dispatch=True)(*x),
    "functionalize": lambda f, x: make_fx(functionalize(f))(*x),
    "export": lambda f, x: torch.export.export(Module(f), x).module(),
    "export not strict": lambda f, x: torch.export.export(Module(f), x, strict=False).module(),
}


class Module(torch.nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, rewards: Tensor, values: Tensor, logps: Tensor) -> Tensor:
        return self.function(rewards, values, logps)


# Torch's own, of its recorders.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("recorder", RECORDERS)
def test_what_was_recorded_computes(recorder: str) -> None:
    """On other numbers: nothing was taken for a constant."""
    recorded = RECORDERS[recorder](pipeline, tuple(draw(STEPS, WIDTH)))
    torch.testing.assert_close(recorded(*fresh()), pipeline(*fresh()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("recorder", ["jit.trace", "make_fx real", "make_fx symbolic"])
def test_recorded_gradients(recorder: str) -> None:
    """The backward is recorded too, or the recording is differentiable."""

    def gradient(*inputs: Tensor) -> Tensor:
        leaves = [x.detach().requires_grad_() for x in inputs]
        return torch.cat([g.flatten() for g in torch.autograd.grad(pipeline(*leaves), leaves)])

    expected = gradient(*fresh())
    if recorder == "jit.trace":
        recorded = torch.jit.trace(pipeline, tuple(draw(STEPS, WIDTH)), check_trace=False)
        leaves = [x.requires_grad_() for x in fresh()]
        grads = torch.autograd.grad(recorded(*leaves), leaves)
        got = torch.cat([g.flatten() for g in grads])
    else:
        got = RECORDERS[recorder](gradient, tuple(draw(STEPS, WIDTH)))(*fresh())
    torch.testing.assert_close(got, expected)


def test_symbolic_tracing_is_refused() -> None:
    with pytest.raises(TypeError, match="rewards must be a torch tensor"):
        torch.fx.symbolic_trace(lambda r: ops.discounted_returns(r, 0.9))


def test_vmap_over_ends() -> None:
    rewards, values, _ = draw(STEPS, WIDTH)
    done = torch.stack([torch.arange(STEPS) == i for i in range(3)])
    got = vmap(lambda e: ops.generalized_advantage(rewards, values, 0.9, 0.8, e))(done)
    expected = [ops.generalized_advantage(rewards, values, 0.9, 0.8, e) for e in done]
    assert torch.equal(got, torch.stack(expected))


def operator_samples() -> list[tuple[str, tuple[object, ...]]]:
    r, v, p = (x.requires_grad_() for x in draw(STEPS, WIDTH))
    g = draw(STEPS, WIDTH, seed=3)[0].requires_grad_()
    carry = draw(STEPS, WIDTH, seed=4)[0][0].requires_grad_()
    terminated, truncated = ends(r)
    codes = terminated.to(torch.uint8) + 2 * truncated.to(torch.uint8)
    windows = g[:2].detach().clone().requires_grad_()
    return [
        ("linear_scan", (r, carry, 0.9, True, codes)),
        ("linear_scan", (r, carry, 0.9, False, codes)),
        ("advantage", (r, v, 0.9, 0.8, codes)),
        ("advantage_vjp", (g, 0.9, 0.8, codes)),
        ("n_step", (r, v, 0.9, 2, codes)),
        ("n_step_vjp", (windows, 0.9, 3, codes)),
        ("loaded_dice", (r, v, p, 0.9, 0.7, True, codes)),
        ("loaded_dice_vjp", (g, r, v, p, 0.9, 0.7, True, codes)),
        ("n_step_dice", (r, v, g, p, 0.9, 3, codes)),
        ("n_step_dice_vjp", (windows, r, p, 0.9, 3, codes)),
    ]


# As in test_ops_derivatives.py.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("index", range(len(operator_samples())))
def test_opcheck_with_ends(index: int) -> None:
    name, args = operator_samples()[index]
    torch.library.opcheck(getattr(torch.ops.loqa, name).default, args)


def gru_arguments() -> list[Tensor]:
    shapes = [(3, 2, 6), (6, 2), (2,)]
    return [
        torch.randn(s, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
        for i, s in enumerate(shapes)
    ]


def by_steps(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    state = inputs.new_zeros(inputs.shape[1], bias.shape[0])
    states = []
    with torch.enable_grad():
        for one in inputs:
            state = gru_step(one, state, weight, bias)
            states.append(state)
    return torch.stack(states)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_gru_batched_and_recorded() -> None:
    arguments = tuple(gru_arguments())
    expected = jacobian(by_steps, arguments)
    for got in (
        jacobian(gru, arguments, vectorize=True),
        jacrev(gru, (0, 1, 2))(*arguments),
    ):
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        hessian(lambda *x: gru(*x).sum(), arguments, vectorize=True)
    twice = jacrev(jacrev(lambda x: gru(x, *arguments[1:]).square().sum()))(arguments[0])
    wanted = hessian(lambda x: by_steps(x, *arguments[1:]).square().sum(), arguments[0])
    torch.testing.assert_close(twice, wanted)
    stacked = torch.stack([arguments[0], 2 * arguments[0]])
    torch.testing.assert_close(
        vmap(lambda x: gru(x, *arguments[1:]))(stacked),
        torch.stack([gru(x, *arguments[1:]) for x in stacked]),
    )
    other = tuple(0.5 * x for x in arguments)
    for recorded in (
        make_fx(gru)(*arguments),
        torch.jit.trace(gru, arguments, check_trace=False),
    ):
        torch.testing.assert_close(recorded(*other), gru(*other))
