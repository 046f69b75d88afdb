"""The sequence kernels: microseconds, bytes per second, share of the rate of a plain copy.

    pytest benchmarks/bench_kernels.py --benchmark-json=FILE     then benchmarks/report_kernels.py FILE
    pytest benchmarks/bench_kernels.py --benchmark-disable       checks the results only

Contenders: `loqa.ops`; a loop of torch operations over time (eager and compiled); a product with the
matrix of discounts; TorchRL's vectorised estimators and a jitted JAX scan where these are installed.
Every result is compared with `loqa.reference` before it is timed. Bytes: each input read once, each
output written once; the copy moves as many in the same run. float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from loqa import ops
from loqa.reference import kernels as reference

GAMMA, LAMBDA = 0.96, 0.9
SHAPES = ((50, 512), (50, 8192), (50, 65536), (128, 4096), (4096, 64))
LONG = 200  # steps beyond which compiling a loop takes minutes
KERNELS = ("discounted_returns", "generalized_advantage", "loaded_dice_returns")
MODES = ("forward", "forward and backward")
CONTENDERS = (
    "copy",
    "loqa",
    "eager loop",
    "torch.compile",
    "matrix product",
    "TorchRL",
    "JAX scan",
)

Inputs = list[Tensor]
Call = Callable[..., Tensor]


def arrays_moved(kernel: str, mode: str) -> int:
    """Arrays [T, B] read or written once by a perfect implementation."""
    forward = {"discounted_returns": 2, "generalized_advantage": 3, "loaded_dice_returns": 2}
    # Backwards: g -> dr; g -> dr, dv; g, R, v -> dl.
    backward = {"discounted_returns": 2, "generalized_advantage": 3, "loaded_dice_returns": 4}
    return forward[kernel] + (backward[kernel] if mode != "forward" else 0)


def differentiated(kernel: str) -> tuple[int, ...]:
    """Which of rewards, values, logps the backward is timed for."""
    choices = {"discounted_returns": (0,), "generalized_advantage": (0, 1)}
    return choices.get(kernel, (2,))


def call_of(module: Any, kernel: str) -> Call:
    if kernel == "discounted_returns":
        return lambda r, v, p: module.discounted_returns(r, GAMMA)
    if kernel == "generalized_advantage":
        return lambda r, v, p: module.generalized_advantage(r, v, GAMMA, LAMBDA)
    return lambda r, v, p: module.loaded_dice_returns(r, v, p, GAMMA, LAMBDA)


def matrix_call(kernel: str, steps: int) -> Call:
    """Products with D[t, k] = decay^(k-t), k >= t; loaded DiCE by its closed form."""
    lags = torch.arange(steps)[None, :] - torch.arange(steps)[:, None]
    discounts, traces = (
        torch.where(lags >= 0, decay ** lags.clamp(min=0).double(), 0.0).float()
        for decay in (GAMMA, GAMMA * LAMBDA)
    )
    if kernel == "discounted_returns":
        return lambda r, v, p: discounts @ r
    if kernel == "generalized_advantage":
        return lambda r, v, p: traces @ (r + GAMMA * v[1:] - v[:-1])

    def loaded_dice(r: Tensor, v: Tensor, p: Tensor) -> Tensor:
        returns = discounts @ r
        return returns + traces @ ((returns - v[:-1]) * (p - p.detach()))

    return loaded_dice


def torchrl_call(kernel: str, steps: int, batch: int) -> Call:
    functional = pytest.importorskip("torchrl.objectives.value.functional")
    if kernel == "loaded_dice_returns":
        pytest.skip("TorchRL has no loaded DiCE")
    done = torch.zeros(batch, steps, 1, dtype=torch.bool)

    def columns(x: Tensor) -> Tensor:
        return x.T.unsqueeze(-1)

    if kernel == "discounted_returns":
        zeros = torch.zeros(batch, steps, 1)
        return lambda r, v, p: (
            functional.vec_td_lambda_return_estimate(GAMMA, 1.0, zeros, columns(r), done)
            .squeeze(-1)
            .T
        )
    return lambda r, v, p: (
        functional.vec_generalized_advantage_estimate(
            GAMMA, LAMBDA, columns(v[:-1]), columns(v[1:]), columns(r), done
        )[0]
        .squeeze(-1)
        .T
    )


def torch_runner(call: Call, kernel: str, mode: str, inputs: Inputs) -> Callable[[], list[Tensor]]:
    if mode == "forward":
        plain = [x.detach() for x in inputs[:3]]
        return lambda: [call(*plain)]
    wanted = differentiated(kernel)
    leaves = [x.detach().requires_grad_(i in wanted) for i, x in enumerate(inputs[:3])]
    outputs = [leaves[i] for i in wanted]

    def run() -> list[Tensor]:
        out = call(*leaves)
        return [out.detach(), *torch.autograd.grad(out, outputs, inputs[3])]

    return run


def jax_runner(kernel: str, mode: str, inputs: Inputs) -> Callable[[], Any]:
    """A reverse `lax.scan` over time, and the published shape of loaded DiCE on top of it."""
    jax = pytest.importorskip("jax", reason="jax is not installed")
    jnp = jax.numpy
    arrays = [jnp.asarray(x.detach().numpy()) for x in inputs]

    def scan(x: Any, decay: float) -> Any:
        def body(carry: Any, row: Any) -> tuple[Any, Any]:
            carry = row + decay * carry
            return carry, carry

        return jax.lax.scan(body, jnp.zeros_like(x[0]), x, reverse=True)[1]

    def box(x: Any) -> Any:
        return jnp.exp(x - jax.lax.stop_gradient(x))

    def call(r: Any, v: Any, p: Any) -> Any:
        if kernel == "discounted_returns":
            return scan(r, GAMMA)
        if kernel == "generalized_advantage":
            return scan(r + GAMMA * v[1:] - v[:-1], GAMMA * LAMBDA)
        returns = scan(r, GAMMA)
        weight = jnp.cumsum(p, axis=0)
        dice = box(weight) - box(weight - p)
        return returns + scan((returns - v[:-1]) * dice, GAMMA * LAMBDA)

    wanted = differentiated(kernel)

    @jax.jit
    def both(r: Any, v: Any, p: Any, cotangent: Any) -> Any:
        out, pull = jax.vjp(call, r, v, p)
        grads = pull(cotangent)
        return [out, *(grads[i] for i in wanted)]

    forward = jax.jit(call)
    if mode == "forward":
        return lambda: [forward(*arrays[:3]).block_until_ready()]
    return lambda: jax.block_until_ready(both(*arrays))


def runner_of(contender: str, kernel: str, mode: str, inputs: Inputs) -> Callable[[], Any]:
    steps, batch = inputs[0].shape
    if contender == "JAX scan":
        return jax_runner(kernel, mode, inputs)
    if contender == "torch.compile":
        if steps > LONG:
            pytest.skip(f"compiling a loop of {steps} steps takes minutes")
        torch._dynamo.reset()
        compiled = torch.compile(call_of(reference, kernel), fullgraph=True)
        return torch_runner(compiled, kernel, mode, inputs)
    calls: dict[str, Callable[[], Call]] = {
        "loqa": lambda: call_of(ops, kernel),
        "eager loop": lambda: call_of(reference, kernel),
        "matrix product": lambda: matrix_call(kernel, steps),
        "TorchRL": lambda: torchrl_call(kernel, steps, batch),
    }
    return torch_runner(calls[contender](), kernel, mode, inputs)


def check(results: Any, expected: list[Tensor]) -> None:
    for got, wanted in zip(results, expected, strict=True):
        got = (
            torch.as_tensor(got).double()
            if isinstance(got, Tensor)
            else torch.tensor(got.__array__())
        )
        atol = 1e-4 * float(wanted.abs().max())  # matrix products and long sums in float32
        torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=atol)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")  # the contenders' own
@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_kernel(
    benchmark: Any, shape: tuple[int, int], kernel: str, mode: str, contender: str, quick: bool
) -> None:
    if quick and (shape != SHAPES[0] or contender == "torch.compile"):
        pytest.skip("without timing: the first shape, and nothing that compiles for minutes")
    steps, batch = shape
    generator = torch.Generator().manual_seed(0)
    sizes = (steps, steps + 1, steps, steps)
    inputs = [torch.randn(t, batch, generator=generator) for t in sizes]
    moved = arrays_moved(kernel, mode)
    benchmark.group = f"{kernel} {mode} {steps}x{batch}"
    benchmark.extra_info.update(
        kernel=kernel, mode=mode, shape=[steps, batch], contender=contender,
        bytes=moved * steps * batch * 4, threads=torch.get_num_threads(),
    )  # fmt: skip
    if contender == "copy":
        half = torch.randn(moved * steps * batch // 2, generator=generator)
        out = torch.empty_like(half)
        run: Callable[[], Any] = lambda: out.copy_(half)  # noqa: E731
    else:
        run = runner_of(contender, kernel, mode, inputs)
        doubles = [x.double() for x in inputs]
        check(run(), torch_runner(call_of(reference, kernel), kernel, mode, doubles)())
    if quick:
        run()
        return
    seconds = min(_time(run) for _ in range(3))
    iterations = max(1, round(0.004 / seconds))
    benchmark.pedantic(run, rounds=15, iterations=iterations, warmup_rounds=1)


def _time(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@pytest.mark.parametrize("kernel", KERNELS)
def test_host_overhead(benchmark: Any, kernel: str) -> None:
    """A call on [2, 1] without autograd: what Python, the dispatcher and the binding take."""
    inputs = [torch.randn(t, 1) for t in (2, 3, 2)]
    call = call_of(ops, kernel)
    benchmark.group = "host overhead"
    benchmark.extra_info.update(kernel=kernel, mode="host overhead", contender="loqa")
    benchmark.pedantic(lambda: call(*inputs), rounds=25, iterations=2000, warmup_rounds=2)
