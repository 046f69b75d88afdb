"""The native kernels: values, shapes, types, threads, instruction sets, bad input."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import ALL, CALLS, DEVICES, WINDOWED, Call, draw
from torch import Tensor

from loqa import ops
from loqa._native import core
from loqa.ops import register
from loqa.reference import kernels as reference

RUN = register.run


def gradients(call: Call, module: object, inputs: list[Tensor]) -> list[Tensor]:
    """The output, and the gradients of a fixed weighting of it."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    out = call(module, *leaves)
    weights = torch.randn(
        out.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64
    )
    grads = torch.autograd.grad(out, leaves, weights.to(out), allow_unused=True)
    zeros = [torch.zeros_like(x) for x in leaves]
    return [out.detach(), *(z if g is None else g for g, z in zip(grads, zeros, strict=True))]


def assert_near(got: Tensor, expected: Tensor) -> None:
    """The house tolerance: rtol 1e-5 and 1e-6 of the largest magnitude, against float64."""
    atol = 1e-6 * float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(got.double().cpu(), expected.double().cpu(), rtol=1e-5, atol=atol)


def test_small_by_hand(kernel_device: str) -> None:
    rewards = torch.tensor([1.0, 2.0, 4.0], device=kernel_device)
    values = torch.tensor([1.0, 1.0, 3.0, 8.0], device=kernel_device)
    logps = torch.tensor([-1.0, -2.0, -3.0], device=kernel_device, requires_grad=True)
    assert ops.discounted_returns(rewards, 0.5).tolist() == [3.0, 4.0, 4.0]
    assert ops.discounted_returns(rewards, 0.5, values[-1]).tolist() == [4.0, 6.0, 8.0]
    # deltas 1 + .5 - 1, 2 + 1.5 - 1, 4 + 4 - 3
    assert ops.generalized_advantage(rewards, values, 0.5, 0.5).tolist() == [1.4375, 3.75, 5.0]
    assert ops.n_step_returns(rewards, values, 0.5, 2).tolist() == [2.75, 6.0]
    assert ops.magic_box(logps).tolist() == [1.0, 1.0, 1.0]
    assert ops.dice_weights(logps).tolist() == [0.0, 0.0, 0.0]
    out = ops.loaded_dice_returns(rewards, values, logps, 0.5, 0.5)
    assert out.tolist() == [3.0, 4.0, 4.0]
    (grad,) = torch.autograd.grad(out[0], logps)  # 0.25^k (R_k - v_k)
    assert grad.tolist() == [2.0, 0.75, 0.0625]
    out = ops.loaded_dice_q_values(rewards, values, logps, 0.5, 0.5)
    (grad,) = torch.autograd.grad(out[0], logps)  # 0.5 * 0.25^(k-1) (R_k - v_k), k >= 1
    assert grad.tolist() == [0.0, 1.5, 0.125]
    out = ops.n_step_dice_returns(rewards, values, logps, 0.5, 2, baseline=1.0)
    (grad,) = torch.autograd.grad(out[0], logps)  # 0.5 (r_1 - 1), to l_1 alone
    assert grad.tolist() == [0.0, 0.5, 0.0]


@pytest.mark.parametrize("shape", [(5,), (1,), (5, 1), (5, 3), (3,), (1, 3), ()])
def test_baselines_of_every_shape_against_the_reference(
    shape: tuple[int, ...], kernel_device: str
) -> None:
    """Also one that differs from step to step."""
    steps = () if shape in ((5,), (1,)) else (3,)
    drawn = torch.Generator().manual_seed(3)
    rewards, logps = torch.randn((2, 5, *steps), generator=drawn, dtype=torch.float64)
    values = torch.randn((6, *steps), generator=drawn, dtype=torch.float64)
    baseline = torch.randn(shape, generator=drawn, dtype=torch.float64)
    inputs = [x.to(kernel_device) for x in (rewards, values, logps)]
    ours, plain = (
        gradients(
            lambda module, r, v, logp: module.n_step_dice_returns(
                r, v, logp, 0.9, 3, baseline.to(kernel_device)
            ),
            module,
            inputs,
        )
        for module in (ops, reference)
    )
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(50, 33), (7, 5, 3, 2), (2,), (3, 1), (4096, 2), (17, 1031)])
@pytest.mark.parametrize("name", ALL)
def test_against_reference(
    name: str, shape: tuple[int, ...], dtype: torch.dtype, kernel_device: str
) -> None:
    if "n_step" in name and shape[0] > 1000:
        shape = (101, *shape[1:])  # the reference takes a loop within a loop
    inputs = [x.to(dtype) for x in draw(*shape)]
    expected = gradients(ALL[name], reference, [x.double() for x in inputs])
    got = gradients(ALL[name], ops, [x.to(kernel_device) for x in inputs])
    for one, other in zip(got, expected, strict=True):
        assert (one.dtype, one.device.type, one.is_contiguous()) == (dtype, kernel_device, True)
        assert_near(one, other)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (5, 0), (1,), (1, 3), (0, 0), (1, 2, 0)])
def test_small_and_empty(name: str, shape: tuple[int, ...], kernel_device: str) -> None:
    for one, other in zip(
        gradients(CALLS[name], ops, draw(*shape, device=kernel_device)),
        gradients(CALLS[name], reference, draw(*shape)),
        strict=True,
    ):
        torch.testing.assert_close(one.cpu(), other)


@pytest.mark.parametrize("name", WINDOWED)
@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 0), (5, 0), (5, 2, 0), (5, 1)])
def test_small_and_empty_windows(name: str, shape: tuple[int, ...], kernel_device: str) -> None:
    for one, other in zip(
        gradients(WINDOWED[name], ops, draw(*shape, device=kernel_device)),
        gradients(WINDOWED[name], reference, draw(*shape)),
        strict=True,
    ):
        torch.testing.assert_close(one.cpu(), other)
    rewards, values, _ = draw(1, 3, device=kernel_device)
    one_step = ops.n_step_returns(rewards, values, 0.5, 1)
    assert torch.equal(one_step, rewards + 0.5 * values[1:])


@pytest.mark.parametrize("name", ALL)
def test_small_strides_do_not_matter(name: str, kernel_device: str) -> None:
    inputs = draw(12, 6, 4, device=kernel_device)
    strided = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in inputs]
    expanded = [x[:, :1, :1].expand(-1, 3, 5) for x in inputs]
    for one, other in ((strided, inputs), (expanded, [x.contiguous() for x in expanded])):
        for a, b in zip(
            gradients(ALL[name], ops, one), gradients(ALL[name], ops, other), strict=True
        ):
            assert torch.equal(a, b)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_small_half_precision(name: str, dtype: torch.dtype, kernel_device: str) -> None:
    """Computed in float32, rounded once: as the reference on the same numbers, rounded."""
    inputs = draw(40, 9, dtype=dtype, device=kernel_device)
    got = ALL[name](ops, *inputs)
    assert got.dtype == dtype
    expected = ALL[name](reference, *(x.double() for x in inputs))
    # One rounding is half a unit in the last place; the value before it may differ by 1e-6.
    torch.testing.assert_close(
        got.double(), expected, rtol=0.51 * torch.finfo(dtype).eps, atol=1e-5
    )
    assert all(grad.dtype == dtype for grad in gradients(ALL[name], ops, inputs))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bits_do_not_depend_on_threads_or_instruction_set(name: str, dtype: torch.dtype) -> None:
    inputs = draw(33, 8195, dtype=dtype)
    before, isa = torch.get_num_threads(), core.isa()
    results = []
    try:
        for threads in (1, 2, 5):
            for set_name in core.supported_isas():
                torch.set_num_threads(threads)
                core.set_isa(set_name)
                results.append(gradients(ALL[name], ops, inputs))
    finally:
        torch.set_num_threads(before)
        core.set_isa(isa)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["discounted_returns", "generalized_advantage"])
@pytest.mark.parametrize("width", [65536, 65537])
def test_large_outputs_are_the_small_ones_side_by_side(name: str, width: int, device: str) -> None:
    """Outputs written past the caches (8 MiB and more, rows of whole cache lines) or not."""
    inputs = draw(33, width, dtype=torch.float32, device=device)
    whole = gradients(CALLS[name], ops, inputs)[:1]
    part = [x[:, 100:400].contiguous() for x in inputs]
    assert torch.equal(whole[0][:, 100:400], CALLS[name](ops, *part))
    inputs = [x.requires_grad_() for x in inputs]
    leaves = torch.autograd.grad(CALLS[name](ops, *inputs).sum(), inputs[:1])
    part = [x.requires_grad_() for x in part]
    assert torch.equal(
        leaves[0][:, 100:400], torch.autograd.grad(CALLS[name](ops, *part).sum(), part[:1])[0]
    )


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_threads_of_the_gpu_give_the_bits_of_the_cpu(
    name: str, dtype: torch.dtype, kernel_device: str
) -> None:
    """The order of operations is the same, and nothing is contracted."""
    inputs = draw(19, 37, dtype=dtype)
    got = gradients(ALL[name], ops, [x.to(kernel_device) for x in inputs])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(register, "run", RUN)
        expected = gradients(ALL[name], ops, inputs)
    assert all(torch.equal(a.cpu(), b) for a, b in zip(got, expected, strict=True))


@given(
    steps=st.integers(0, 40),
    width=st.integers(0, 70),
    gamma=st.floats(0, 1),
    dice_discount=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_invariants(steps: int, width: int, gamma: float, dice_discount: float, seed: int) -> None:
    rewards, values, logps = draw(steps, width, dtype=torch.float32, seed=seed)
    returns = ops.discounted_returns(rewards, gamma)
    for out in (
        ops.loaded_dice_returns(rewards, values, logps, gamma, dice_discount),
        ops.loaded_dice_q_values(rewards, values, logps, gamma, dice_discount),
    ):
        assert torch.equal(out, returns)  # bit for bit
    # With lambda = 1 advantages are bootstrapped returns minus values; with 0, the TD errors.
    monte_carlo = ops.generalized_advantage(rewards, values, gamma, 1.0)
    with_bootstrap = ops.discounted_returns(rewards, gamma, values[-1])
    torch.testing.assert_close(monte_carlo, with_bootstrap - values[:-1], rtol=1e-4, atol=1e-4)
    one_step = rewards + gamma * values[1:] - values[:-1]
    assert_near(ops.generalized_advantage(rewards, values, gamma, 0.0), one_step)
    # All n steps at once are the bootstrapped return of the first step.
    if steps > 0:
        assert_near(ops.n_step_returns(rewards, values, gamma, steps)[0], with_bootstrap[0])


def test_out_of_time_order_is_noticed() -> None:
    """The scan runs backwards: a reward changes the returns before it and none after it."""
    rewards = torch.zeros(5, 3)
    rewards[2] = 1
    assert ops.discounted_returns(rewards, 0.5)[:, 0].tolist() == [0.25, 0.5, 1.0, 0.0, 0.0]


R, V, L = draw(5, 3, dtype=torch.float32)
INT = torch.zeros(5, 3, dtype=torch.int64)
NAN = float("nan")
BAD: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: ops.discounted_returns([1.0], 0.9), TypeError, "rewards must be a torch tensor"),
    (lambda: ops.discounted_returns(torch.tensor(1.0), 0.9), ValueError, r"rewards .*got \[\]"),
    (lambda: ops.discounted_returns(INT, 0.9), ValueError, r"float32 or float64.*got \[5, 3\] int"),
    (lambda: ops.discounted_returns(R.to("meta"), 0.9), ValueError, "cpu or cuda.* on meta"),
    (lambda: ops.discounted_returns(R, float("nan")), ValueError, "gamma must be .*got nan"),
    (lambda: ops.discounted_returns(R, float("inf")), ValueError, "gamma must be .*got inf"),
    (lambda: ops.discounted_returns(R, "0.9"), TypeError, "gamma must be .*got str '0.9'"),
    (lambda: ops.discounted_returns(R, torch.ones(1)), TypeError, "gamma .*number, got Tensor"),
    (lambda: ops.discounted_returns(R, True), TypeError, "gamma must be a number, got bool True"),
    (lambda: ops.discounted_returns(R, 0.9, V), ValueError, r"bootstrap must be \[3\].*\[6, 3\]"),
    (lambda: ops.generalized_advantage(R, V[1:], 0.9, 0.9), ValueError, r"\[6, 3\].*got \[5, 3\]"),
    (lambda: ops.generalized_advantage(R, V.double(), 0.9, 0.9), ValueError, "float32.*float64"),
    (lambda: ops.generalized_advantage(R, V, 0.9, float("nan")), ValueError, "lam must be"),
    (lambda: ops.generalized_advantage(R, V.to("meta"), 0.9, 0.9), ValueError, "on cpu.*on meta"),
    (lambda: ops.n_step_returns(R, V, 0.9, 0), ValueError, "n must be between 1 and T = 5, got 0"),
    (lambda: ops.n_step_returns(R, V, 0.9, -1), ValueError, "n must be between 1 and .*got -1"),
    (lambda: ops.n_step_returns(R, V, 0.9, 6), ValueError, "n must be between 1 and .*got 6"),
    (lambda: ops.n_step_returns(R, V, 0.9, 2.0), TypeError, "n must be an integer, got float"),
    (lambda: ops.dice_weights(R, float("nan")), ValueError, "discount must be"),
    (lambda: ops.magic_box(0.5), TypeError, "x must be a torch tensor .*got float 0.5"),
    (lambda: ops.magic_box(INT), TypeError, r"floating type, got \[5, 3\] int64"),
    (lambda: ops.loaded_dice_returns(R, V, L[1:], 0.9, 0.9), ValueError, r"logps .*got \[4, 3\]"),
    (lambda: ops.loaded_dice_returns(R, V, None, 0.9, 0.9), TypeError, "logps .*got NoneType"),
    (lambda: ops.loaded_dice_returns(R, V, L.double(), 0.9, 0.9), ValueError, "logps .*float64"),
    (lambda: ops.loaded_dice_returns(R, V, L.to("meta"), 0.9, 0.9), ValueError, "logps .*on meta"),
    (lambda: ops.loaded_dice_returns(R, V[:, 0], L, 0.9, 0.9), ValueError, r"\[6, 3\].*got \[6\]"),
    (lambda: ops.loaded_dice_returns(R, V, L, NAN, 0.9), ValueError, "gamma must be .*got nan"),
    (lambda: ops.loaded_dice_returns(R, V, L, 0.9, NAN), ValueError, "dice_discount must be .*nan"),
    (lambda: ops.loaded_dice_q_values(R, V, L, NAN, 0.9), ValueError, "gamma must be .*got nan"),
    (lambda: ops.generalized_advantage(R, V, NAN, 0.9), ValueError, "gamma must be .*got nan"),
    (lambda: ops.n_step_returns(R, V, NAN, 2), ValueError, "gamma must be .*got nan"),
    (lambda: ops.n_step_dice_returns(R, V, L, NAN, 2), ValueError, "gamma must be .*got nan"),
    (lambda: ops.n_step_dice_returns(R, V, L, 0.9, -2), ValueError, "n must be between 2 .*got -2"),
    (lambda: ops.n_step_dice_returns(R, V, L, 0.9, 6), ValueError, "n must be between 2 .*got 6"),
    (lambda: ops.n_step_dice_returns(R, V, L, 0.9, 1), ValueError, "between 2 and T = 5, got 1"),
    (
        lambda: ops.n_step_dice_returns(R, V, L, 0.9, 2, torch.zeros(4)),
        ValueError,
        r"baseline must be .* broadcasts to \[5, 3\], got \[4\]",
    ),
    (
        lambda: ops.n_step_dice_returns(R, V, L, 0.9, 2, float("nan")),
        ValueError,
        "baseline must be a finite number, got nan",
    ),
]


@pytest.mark.parametrize("index", range(len(BAD)))
def test_bad_input(index: int) -> None:
    call, error, message = BAD[index]
    with pytest.raises(error, match=message):
        call()


def test_core_refuses_bad_sizes() -> None:
    with pytest.raises(ValueError, match=r"n must be in \[1, 5\], got 6"):
        core.n_step(0, 0, 0, 0, 0, 0.9, 6, 5, 3, 1)
    with pytest.raises(ValueError, match=r"steps must be in \[0, .*got -1"):
        core.linear_scan(0, 0, 0, 0, 0, 0.9, True, -1, 3, 1)
    with pytest.raises(ValueError, match="unknown element type code 7"):
        core.linear_scan(7, 0, 0, 0, 0, 0.9, True, 0, 0, 1)
