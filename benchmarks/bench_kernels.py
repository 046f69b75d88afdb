"""The sequence kernels: microseconds, bytes per second, share of the rate of a plain copy.

    pytest benchmarks/bench_kernels.py --benchmark-json=benchmarks/results/kernels.json
    pytest benchmarks/bench_kernels.py --benchmark-disable       checks the results only

With `-k` and several files: `python benchmarks/merge.py FILE... benchmarks/results/kernels.json`.

Contenders: `loqa.ops`, and its native kernels alone, writing into a given array; a loop of torch
operations over time (eager and compiled); a product with the matrix of discounts; TorchRL's
vectorised estimators and a jitted JAX scan where these are installed. Every result is compared with
`loqa.reference` before it is timed. Bytes: each input read once, each output written once; the copy
moves as many, into a given array too, in the same run. float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from loqa import ops
from loqa._native import core
from loqa.reference import kernels as reference

GAMMA, LAMBDA = 0.96, 0.9
SHAPES = ((50, 512), (50, 8192), (50, 65536), (128, 4096), (4096, 64))
LONG = 200  # steps beyond which compiling a loop takes minutes
KERNELS = ("discounted_returns", "generalized_advantage", "loaded_dice_returns")
MODES = ("forward", "forward and backward")
CONTENDERS = (
    "copy",
    "kernel",
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


def kernel_runner(kernel: str, mode: str, inputs: Inputs) -> Callable[[], list[Tensor]]:
    """The native kernels alone: no new array, no operator, no autograd."""
    rewards, values, _, cotangent = inputs
    (steps, width), suffix, last = rewards.shape, "", torch.get_num_threads()
    if rewards.is_cuda:
        suffix, last = "_cuda", torch.cuda.current_stream().cuda_stream
    scan, advantage, advantage_vjp, loaded_dice_vjp = (
        getattr(core, name + suffix)
        for name in ("linear_scan", "advantage", "advantage_vjp", "loaded_dice_vjp")
    )
    out, grad, grad_values = (torch.empty_like(x) for x in (rewards, rewards, values))
    r, v, g, o, d, dv = (x.data_ptr() for x in (rewards, values, cotangent, out, grad, grad_values))
    size = steps, width, last

    def forward() -> None:
        if kernel == "generalized_advantage":
            advantage(0, r, v, 0, o, GAMMA, LAMBDA, *size)
        else:
            scan(0, r, 0, 0, o, GAMMA, True, *size)

    def backward() -> None:
        if kernel == "discounted_returns":
            scan(0, g, 0, 0, d, GAMMA, False, *size)
        elif kernel == "generalized_advantage":
            advantage_vjp(0, g, 0, d, dv, GAMMA, LAMBDA, *size)
        else:
            loaded_dice_vjp(0, g, o, v, 0, d, GAMMA, LAMBDA, False, *size)

    def run() -> list[Tensor]:
        forward()
        if mode == "forward":
            return [out]
        backward()
        return [out, grad, grad_values] if kernel == "generalized_advantage" else [out, grad]

    return run


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
    if contender == "kernel":
        return kernel_runner(kernel, mode, inputs)
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
            torch.as_tensor(got).double().cpu()
            if isinstance(got, Tensor)
            else torch.tensor(got.__array__())
        )
        atol = 1e-4 * float(wanted.abs().max())  # matrix products and long sums in float32
        torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=atol)


@pytest.fixture(scope="module", autouse=True)
def _keep_freed_memory() -> None:
    """Lets glibc see a large array freed: it gives memory back to the system, and everybody pays page
    faults for the next array, above twice the largest it has seen."""
    torch.empty(7 << 20)


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


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_host_overhead(benchmark: Any, kernel: str, mode: str) -> None:
    """A call on [1, 1]: what Python, torch and the binding take."""
    inputs = [torch.randn(t, 1) for t in (1, 2, 1, 1)]
    run = torch_runner(call_of(ops, kernel), kernel, mode, inputs)
    benchmark.group = "host overhead"
    benchmark.extra_info.update(kernel=kernel, mode=mode, contender="loqa", overhead=True)
    benchmark.pedantic(run, rounds=25, iterations=2000, warmup_rounds=2)


on_a_gpu = pytest.mark.skipif(
    not (torch.cuda.is_available() and core.has_cuda), reason="no CUDA device or build"
)
CUDA_SHAPES = ((1024, 65536), (50, 1 << 20), (50, 65536), (50, 2048))  # what matters most first
CUDA_CALLS = 50  # enqueued before anybody waits


@on_a_gpu
@pytest.mark.parametrize("contender", ["kernel", "loqa"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", CUDA_SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_cuda_kernel(
    benchmark: Any, shape: tuple[int, int], kernel: str, mode: str, contender: str, quick: bool
) -> None:
    """Time of a call among `CUDA_CALLS` in a row, and the share of the rate of a copy that moves as
    many bytes, by the GPU's own clock. Arrays of the last two shapes stay in the last-level cache."""
    if quick and shape != CUDA_SHAPES[-1]:
        pytest.skip("without timing: the smallest shape")
    steps, batch = shape
    inputs = [torch.randn(t, batch, device="cuda") for t in (steps, steps + 1, steps, steps)]
    moved = arrays_moved(kernel, mode) * steps * batch
    run = runner_of(contender, kernel, mode, inputs)
    some = [x[:, :512].contiguous() for x in inputs]
    doubles = [x.double().cpu() for x in some]
    check(
        runner_of(contender, kernel, mode, some)(),
        torch_runner(call_of(reference, kernel), kernel, mode, doubles)(),
    )
    half = torch.randn(moved // 2, device="cuda")
    out = torch.empty_like(half)
    copy = sorted(gpu_seconds(lambda: out.copy_(half)) for _ in range(9))[4]
    seconds = sorted(gpu_seconds(run) for _ in range(9))
    benchmark.group = f"cuda {kernel} {mode} {steps}x{batch}"
    benchmark.extra_info.update(
        kernel=kernel, mode=mode, shape=[steps, batch], contender=contender, bytes=moved * 4,
        gpu_seconds=seconds[4], gpu_seconds_quartiles=[seconds[2], seconds[6]],
        copy_seconds=copy, share_of_copy=copy / seconds[4],
    )  # fmt: skip
    benchmark.pedantic(gpu_seconds, (run,), rounds=1)


def gpu_seconds(run: Callable[[], Any]) -> float:
    """Of one call, by events around `CUDA_CALLS` of them."""
    run()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(CUDA_CALLS):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000 / CUDA_CALLS


@on_a_gpu
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_cuda_host_overhead(benchmark: Any, kernel: str, mode: str) -> None:
    """A call on [1, 1], with the launch and without waiting for the GPU."""
    inputs = [torch.randn(t, 1, device="cuda") for t in (1, 2, 1, 1)]
    run = torch_runner(call_of(ops, kernel), kernel, mode, inputs)
    benchmark.group = "cuda host overhead"
    benchmark.extra_info.update(kernel=kernel, mode=mode, contender="loqa", overhead=True)
    benchmark.pedantic(
        run, setup=torch.cuda.synchronize, rounds=200, iterations=1, warmup_rounds=50
    )


def shaping_loss(q_values: Tensor, others: Tensor, advantage: Tensor) -> Tensor:
    """What LOQA's actor loss makes of the opponent's differentiable values: -mean(log pihat A)."""
    return -(functional.logsigmoid(q_values - others) * advantage).mean()


def shifted(rewards: Tensor, returns: Tensor) -> Tensor:
    """r_s + gamma Rhat_{s+1} by torch."""
    later = torch.cat([returns[1:], torch.zeros_like(returns[:1])])
    return torch.add(rewards, later, alpha=GAMMA)


def by_parts(r: Tensor, v: Tensor, p: Tensor) -> Tensor:
    """A kernel for the returns, one for the weights, one for the sum of what is caused."""
    returns = ops.discounted_returns(r, GAMMA)
    weighted = (returns - v[:-1]) * ops.dice_weights(p, LAMBDA)
    return shifted(r, returns + ops.discounted_returns(weighted, GAMMA * LAMBDA))


FUSION: dict[str, Call] = {
    "separate kernels": by_parts,
    "`loaded_dice_returns`": lambda r, v, p: shifted(
        r, ops.loaded_dice_returns(r, v, p, GAMMA, LAMBDA)
    ),
    "`loaded_dice_q_values`": lambda r, v, p: ops.loaded_dice_q_values(r, v, p, GAMMA, LAMBDA),
    "`loaded_dice_q_values` without the loss": lambda r, v, p: ops.loaded_dice_q_values(
        r, v, p, GAMMA, LAMBDA
    ),
}


@pytest.mark.parametrize("form", FUSION)
@pytest.mark.parametrize("batch", [256, 512, 2048])
def test_fusion(benchmark: Any, batch: int, form: str) -> None:
    """Shaping term of LOQA's actor loss, forward and backward, [50, batch]."""
    generator = torch.Generator().manual_seed(0)
    rewards, values, logps, others, advantage = (
        torch.randn(t, batch, generator=generator) for t in (50, 51, 50, 50, 50)
    )
    logps.requires_grad_()

    def loss_gradient(call: Call, *args: Tensor) -> Tensor:
        loss = shaping_loss(call(*args), others.to(args[0]), advantage.to(args[0]))
        return torch.autograd.grad(loss, args[2])[0]

    def reference_call(r: Tensor, v: Tensor, p: Tensor) -> Tensor:
        return reference.loaded_dice_q_values(r, v, p, GAMMA, LAMBDA)

    call = FUSION[form]
    if form.endswith("without the loss"):

        def run() -> Tensor:
            return torch.autograd.grad(call(rewards, values, logps), logps, advantage)[0]

    else:

        def run() -> Tensor:
            return loss_gradient(call, rewards, values, logps)

        doubles = [x.detach().double() for x in (rewards, values, logps)]
        doubles[2].requires_grad_()
        check([run()], [loss_gradient(reference_call, *doubles)])
    benchmark.group = f"fusion 50x{batch}"
    benchmark.extra_info.update(form=form, shape=[50, batch], threads=torch.get_num_threads())
    benchmark.pedantic(run, rounds=25, iterations=50, warmup_rounds=1)
