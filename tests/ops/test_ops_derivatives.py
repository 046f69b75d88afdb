"""Derivatives of the kernels: numerical, of higher order, and through torch's transformations."""

from __future__ import annotations

import pytest
import torch
from kernel_cases import ALL, DEVICES, Call, draw
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd import forward_ad
from torch.func import grad, jacrev, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from loqa import ops
from loqa.reference import kernels as reference

STEPS, WIDTH = 5, 3
LINEAR = ["discounted_returns", "bootstrapped_returns", "generalized_advantage", "n_step_returns"]


@pytest.mark.parametrize("name", LINEAR)
def test_small_gradcheck(name: str, kernel_device: str) -> None:
    inputs = draw(STEPS, WIDTH, device=kernel_device)
    rewards, values, logps = (x.requires_grad_() for x in inputs)

    def call(r: Tensor, v: Tensor) -> Tensor:
        return ALL[name](ops, torch.sin(r), torch.cos(v), logps)

    assert torch.autograd.gradcheck(call, (rewards, values))
    assert torch.autograd.gradgradcheck(call, (rewards, values))


@pytest.mark.parametrize("name", ["loaded_dice_returns", "loaded_dice_q_values"])
def test_small_gradcheck_in_rewards(name: str, kernel_device: str) -> None:
    """In the log-probabilities differences see nothing: DiCE values do not move."""
    rewards, values, logps = draw(STEPS, WIDTH, device=kernel_device)
    rewards.requires_grad_()
    call = lambda r: ALL[name](ops, torch.sin(r), values, logps)  # noqa: E731
    assert torch.autograd.gradcheck(call, rewards)
    assert torch.autograd.gradgradcheck(call, rewards)


def tower(call: Call, module: object, order: int, device: str = "cpu") -> list[Tensor]:
    """All derivatives up to `order` along random directions, with every input in every argument."""
    leaves = [x.requires_grad_() for x in draw(STEPS, WIDTH, device=device)]
    rewards, values, logps = leaves
    mixed = torch.sin(rewards) + 0.3 * logps, torch.cos(values), torch.tanh(logps) + 0.2 * rewards
    out = call(module, *mixed).pow(2).sum() + rewards.sum() + values.sum() + logps.sum()
    generator = torch.Generator().manual_seed(1)
    results = []
    for _ in range(order):
        grads = torch.autograd.grad(out, leaves, create_graph=True, materialize_grads=True)
        results.append(torch.cat([g.detach().flatten() for g in grads]).cpu())
        out = sum(
            (g * torch.randn(g.shape, generator=generator, dtype=g.dtype).to(device)).sum()
            for g in grads
        )
    return results


@pytest.mark.parametrize("name", ALL)
def test_small_every_order(name: str, kernel_device: str) -> None:
    got = tower(ALL[name], ops, 4, kernel_device)
    results = zip(got, tower(ALL[name], reference, 4), strict=True)
    for got, expected in results:
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ALL)
def test_torch_func(name: str, device: str) -> None:
    rewards, values, logps = draw(STEPS, WIDTH, device=device)
    batch = torch.stack([draw(STEPS, WIDTH, seed=seed)[0] for seed in range(4)], 1).to(device)

    def loss(module: object, r: Tensor, p: Tensor) -> Tensor:
        return (ALL[name](module, r + 0.1 * torch.sin(p), values, p) ** 2).sum()

    def results(m: object) -> list[Tensor]:
        def inner(r: Tensor) -> Tensor:
            return (grad(loss, 2)(m, r, logps) * torch.cos(values[:-1])).sum()

        return [
            grad(loss, 2)(m, rewards, logps),
            jacrev(grad(loss, 2), 2)(m, rewards, logps),
            grad(inner)(rewards),
            vmap(lambda r: ALL[name](m, r, values, torch.tanh(r)), 1, 1)(batch),
            vmap(lambda r: grad(loss, 2)(m, r, logps), 1)(batch),
        ]

    for got, expected in zip(results(ops), results(reference), strict=True):
        torch.testing.assert_close(got, expected)


def everything(rewards: Tensor, values: Tensor, logps: Tensor) -> Tensor:
    return sum(
        ((call(ops, rewards, values, logps) + 1) ** 2).sum() for call in ALL.values()
    ) + ops.magic_box(logps).sum()  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
# Importing the compiler warns about things inside torch itself.
@pytest.mark.filterwarnings("ignore:`torch.jit.script")
@pytest.mark.filterwarnings("ignore:Skipping serialization:UserWarning")
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile(backend: str, device: str) -> None:
    inputs = [x.to(device).requires_grad_() for x in draw(STEPS, WIDTH)]
    compiled = torch.compile(everything, fullgraph=True, backend=backend)
    expected, got = everything(*inputs), compiled(*inputs)
    torch.testing.assert_close(got, expected)
    for one, other in zip(
        torch.autograd.grad(got, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        torch.testing.assert_close(one, other)


def operator_samples(device: str = "cpu") -> list[tuple[str, tuple[object, ...]]]:
    r, v, p = (x.requires_grad_() for x in draw(STEPS, WIDTH, device=device))
    g, carry = r.detach().clone().requires_grad_(), v[0].detach().clone().requires_grad_()
    return [
        ("linear_scan", (r, None, 0.9, True)),
        ("linear_scan", (r, carry, 0.9, False)),
        ("advantage", (r, v, 0.9, 0.8)),
        ("advantage_vjp", (g, 0.9, 0.8)),
        ("n_step", (r, v, 0.9, 2)),
        ("n_step_vjp", (g, 0.9, 2)),
        ("loaded_dice", (r, v, p, 0.9, 0.7, True)),
        ("loaded_dice_vjp", (g, r, v, p, 0.9, 0.7, True)),
        ("n_step_dice", (r, v, g, p, 0.9, 3)),
        ("n_step_dice_vjp", (g[:3].detach().clone().requires_grad_(), r, p, 0.9, 3)),
    ]


@pytest.mark.parametrize("device", DEVICES)
# torch 2.14's own comparison looks at .grad of what it computes from the arguments, all leaves here.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("index", range(len(operator_samples())))
def test_opcheck(index: int, device: str) -> None:
    name, args = operator_samples(device)[index]
    torch.library.opcheck(getattr(torch.ops.loqa, name).default, args)


@pytest.mark.parametrize("device", DEVICES[1:])
@pytest.mark.parametrize("name", ALL)
def test_small_cuda_graphs(name: str, device: str) -> None:
    """Captured with its backward, replayed on other numbers."""
    inputs = [x.requires_grad_() for x in draw(20, 33, dtype=torch.float32, device=device)]

    def run() -> list[Tensor]:
        out = ALL[name](ops, *inputs)
        grads = torch.autograd.grad(out.square().sum(), inputs, allow_unused=True)
        return [out.detach(), *(g for g in grads if g is not None)]

    run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = run()
    with torch.no_grad():
        for x in inputs:
            x.mul_(-0.5)
    graph.replay()
    assert all(torch.equal(a, b) for a, b in zip(got, run(), strict=True))


@pytest.mark.parametrize("device", DEVICES[1:])
def test_kernels_run_in_the_order_of_the_current_stream(device: str) -> None:
    """On another stream, behind slow work that writes their input, and nothing waits in between."""
    rewards = torch.zeros(50, 100_000, device=device)
    slow = torch.randn(4096, 4096, device=device)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(20):
            slow = (slow @ slow).tanh()
        rewards += 1
        out = ops.discounted_returns(rewards, 0.5)
        rewards.zero_()  # comes after
    stream.synchronize()
    assert torch.equal(out, ops.discounted_returns(torch.ones_like(rewards), 0.5))


def test_no_gradient_reaches_values_or_baseline() -> None:
    rewards, values, logps = (x.requires_grad_() for x in draw(STEPS, WIDTH))
    out = ops.loaded_dice_returns(rewards, values, logps, 0.9, 0.9)
    assert torch.autograd.grad(out.sum(), values, allow_unused=True)[0] is None
    baseline = rewards.mean()
    out = ops.n_step_dice_returns(rewards.detach(), values.detach(), logps, 0.9, 2, baseline)
    assert torch.autograd.grad(out.sum(), baseline, allow_unused=True)[0] is None


# torch's own rules for forward mode, imported at its first use, are written in TorchScript.
@pytest.mark.filterwarnings("ignore:`torch.jit.script")
def test_forward_mode_is_refused() -> None:
    """Rather than to lose the tangent."""
    rewards, *_ = draw(STEPS, WIDTH)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(rewards, torch.ones_like(rewards))
        with pytest.raises(NotImplementedError, match="jvp"):
            ops.discounted_returns(dual, 0.9)


class Watch(TorchDispatchMode):
    """Notes the operators that pass."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: object, types: object, args: tuple[object, ...] = (), kwargs: object = None
    ) -> object:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


class Special(torch.Tensor):
    """A subclass, as other libraries make them."""


def test_whoever_watches_sees_the_operators() -> None:
    """Calls that nobody watches go past torch's dispatcher."""
    rewards, values, _ = (x.requires_grad_() for x in draw(STEPS, WIDTH))
    with Watch() as watch:
        out = ops.generalized_advantage(rewards, values, 0.9, 0.8)
        torch.autograd.grad(out.sum(), rewards)
    assert {"loqa.advantage.default", "loqa.advantage_vjp.default"} <= set(watch.seen)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        ops.discounted_returns(rewards, 0.9)
    assert "loqa::linear_scan" in {event.key for event in profile.key_averages()}
    special = ops.discounted_returns(rewards.detach().as_subclass(Special), 0.9)
    assert type(special) is Special
    with FakeTensorMode():
        fake = ops.discounted_returns(torch.empty(STEPS, WIDTH), 0.9)
    assert isinstance(fake, FakeTensor)
    assert fake.shape == rewards.shape


def test_lazy_negation() -> None:
    """Torch keeps the sign of such a view apart; the native kernels read memory."""
    rewards = torch.complex(*draw(STEPS, WIDTH)[::2]).conj().imag
    assert rewards.is_neg()
    plain = rewards.resolve_neg().clone()
    assert torch.equal(ops.discounted_returns(rewards, 0.9), ops.discounted_returns(plain, 0.9))
