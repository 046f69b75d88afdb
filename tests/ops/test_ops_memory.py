"""No call reads or writes memory that is not its own: operators, core, tensors without memory."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from kernel_cases import ALL, draw
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from loqa import ops
from loqa._native import core
from loqa.ops.gru import gru, gru_step

R, V, P = draw(5, 3, dtype=torch.float32)
E = torch.zeros(5, 3, dtype=torch.uint8)
OPERATORS: dict[str, tuple[object, ...]] = {
    "linear_scan": (R, V[0], 0.9, True, E),
    "advantage": (R, V, 0.9, 0.8, E),
    "advantage_vjp": (R, 0.9, 0.8, E),
    "n_step": (R, V, 0.9, 2, E),
    "n_step_vjp": (R[:4], 0.9, 2, E),
    "loaded_dice": (R, V, P, 0.9, 0.7, True, E),
    "loaded_dice_vjp": (R, P, V, P, 0.9, 0.7, True, E),
    "n_step_dice": (R, V, R, P, 0.9, 2, E),
    "n_step_dice_vjp": (R[:4], R, P, 0.9, 2, E),
}


def other_tensors(x: Tensor) -> list[Any]:
    """What must not be taken for `x`, an argument beside others."""
    grown = torch.zeros(x.shape[0] + 1, *x.shape[1:], dtype=x.dtype)
    other = torch.float64 if x.dtype == torch.float32 else torch.int64
    others = [
        x[:-1], grown, x[..., :1], x[..., None], x.reshape(-1), x.t().contiguous() if x.dim() == 2
        else x[:0], x.to(other), x.to("meta"), x.to_sparse(), x[0], x.new_zeros(()),
        torch.zeros(x.shape, dtype=torch.complex64), torch.zeros(x.shape, dtype=torch.bool),
    ]  # fmt: skip
    return [y for y in others if (y.shape, y.dtype) != (x.shape, x.dtype) or not y.is_cpu
            or y.is_sparse]  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_refuse_what_does_not_fit(name: str) -> None:
    operator = getattr(torch.ops.loqa, name)
    args = OPERATORS[name]
    operator(*args)
    places = [i for i, arg in enumerate(args) if isinstance(arg, Tensor)]
    for i in places:
        for other in other_tensors(args[i]):
            if len(places) == 2 and name.endswith("_vjp") and i == 0 and other.shape[1:] == (3,):
                continue  # a cotangent says T by itself: its ends do not fit then
            with pytest.raises((ValueError, TypeError, RuntimeError)):
                operator(*args[:i], other, *args[i + 1 :])


def test_operators_say_what_does_not_fit() -> None:
    """The two calls that read foreign memory in 0.1.0, and what they say now."""
    for rewards, values in (((100, 1000), (2, 3)), ((2000, 1000), (1, 1))):
        with pytest.raises(
            ValueError, match=r"values must be \[.*1, 1000\] float32 on cpu, got \["
        ):
            torch.ops.loqa.advantage(torch.zeros(rewards), torch.zeros(values), 0.9, 0.9)
    with pytest.raises(ValueError, match=r"carry must be \[3\] .*got \[2\]"):
        torch.ops.loqa.linear_scan(R, torch.zeros(2), 0.9, True)
    with pytest.raises(ValueError, match=r"ends must be None or \[5, 3\] uint8"):
        torch.ops.loqa.advantage(R, V, 0.9, 0.9, E[:2])
    for n in (0, -1, 6, 2**62):
        with pytest.raises(ValueError, match="n must be between 1 and T = 5"):
            torch.ops.loqa.n_step(R, V, 0.9, n)
    for n in (0, -1):
        with pytest.raises(ValueError, match="with 1 <= n <= T"):
            torch.ops.loqa.n_step_vjp(R, 0.9, n)


def test_core_checks_what_numbers_tell() -> None:
    here = torch.zeros(64).data_ptr()
    with pytest.raises(ValueError, match="values: no memory"):
        core.advantage(0, here, 0, 0, here, 0.9, 0.9, 2, 2, 1)
    with pytest.raises(ValueError, match="out: the array is not aligned"):
        core.linear_scan(0, here, 0, 0, here + 2, 0.9, True, 2, 2, 1)
    with pytest.raises(ValueError, match="too large"):
        core.linear_scan(0, here, 0, 0, here, 0.9, True, 2**31 - 1, 2**60, 1)
    with pytest.raises(ValueError, match="steps must be in"):
        core.linear_scan(0, here, 0, 0, here, 0.9, True, 2**40, 1, 1)
    with pytest.raises(ValueError, match="hidden: no memory"):
        core.gru_step_f32(here, 0, here, here, here, 0, rows=1, size=1, group=1, num_threads=1)
    with pytest.raises(ValueError, match="size >= 1"):
        core.gru_step_f32(*[here] * 6, rows=1, size=2**40, group=1, num_threads=1)
    with pytest.raises(ValueError, match="too large"):
        core.gru_step_vjp_f64(*[here] * 7, rows=2**60, size=2**30, num_threads=1)


def without_storage() -> Tensor:
    x = torch.randn(5, 3)
    x.untyped_storage().resize_(0)
    return x


def with_too_little() -> Tensor:
    x = torch.randn(5, 3)
    x.untyped_storage().resize_(44)
    return x


def beyond_its_storage() -> Tensor:
    """Not contiguous, so that torch would copy it first."""
    x = torch.randn(3, 5).t()
    x.untyped_storage().resize_(44)
    return x


@pytest.mark.parametrize("make", [without_storage, with_too_little, beyond_its_storage])
@pytest.mark.parametrize("name", ["discounted_returns", "generalized_advantage", "dice_weights"])
def test_storage_that_was_taken_away(name: str, make: Any) -> None:
    x = make()
    with pytest.raises(ValueError, match=r"\[5, 3\] float32 on cpu needs a storage of 60 bytes"):
        ALL[name](ops, x, V, x)


def test_lazy_zeros() -> None:
    zeros = torch._efficientzerotensor((5, 3))
    expected = ops.generalized_advantage(torch.zeros(5, 3), V, 0.9, 0.8)
    assert torch.equal(ops.generalized_advantage(zeros, V, 0.9, 0.8), expected)
    zeros = torch._efficientzerotensor((6, 3))
    expected = ops.generalized_advantage(R, torch.zeros(6, 3), 0.9, 0.8)
    assert torch.equal(ops.generalized_advantage(R, zeros, 0.9, 0.8), expected)


class Special(torch.Tensor):
    """A subclass, as other libraries make them."""


class Liar(torch.Tensor):
    """Says of itself what is not so."""

    @property
    def shape(self) -> torch.Size:  # type: ignore[override]
        return torch.Size([5000, 3])

    def data_ptr(self) -> int:
        return 64

    def is_contiguous(self, *args: object, **kwargs: object) -> bool:
        return True


class Plain(torch.Tensor):
    """Takes no part in any function."""

    __torch_function__ = torch._C._disabled_torch_function_impl


@pytest.mark.parametrize("kind", [Special, Plain, torch.nn.Parameter])
@pytest.mark.parametrize("name", ALL)
def test_subclasses(name: str, kind: Any) -> None:
    inputs = draw(5, 3)
    expected = ALL[name](ops, *inputs)
    got = ALL[name](ops, *(kind(x) for x in inputs))
    assert torch.equal(got.detach().as_subclass(Tensor), expected)


def test_subclasses_that_lie_are_read_as_they_are() -> None:
    liar = R.as_subclass(Liar)
    returns, advantages = ops.discounted_returns(R, 0.9), ops.generalized_advantage(R, V, 0.9, 0.8)
    for call, expected in (
        (lambda: ops.generalized_advantage(liar, V, 0.9, 0.8), advantages),
        (lambda: ops.discounted_returns(liar, 0.9), returns),
        (lambda: torch.ops.loqa.linear_scan(liar, None, 0.9, True), returns),
    ):
        assert torch.equal(call().as_subclass(Tensor), expected)
    with pytest.raises(ValueError, match=r"values must be \[6, 3\]"):
        torch.ops.loqa.advantage(R, liar, 0.9, 0.8)
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        gru(liar[None], torch.zeros(3, 1), torch.zeros(1))


def strange_tensors() -> list[tuple[str, Any]]:
    nested = torch.nested.nested_tensor([torch.zeros(2, 3), torch.zeros(3, 3)])
    quantised = torch.quantize_per_tensor(R, 0.1, 0, torch.quint8)
    return [
        ("sparse", R.to_sparse()), ("sparse", R.to_sparse_csr()), ("nested", nested),
        ("quint8", quantised), ("meta", R.to("meta")), ("int32", R.int()), ("bool", R.bool()),
        ("complex64", R.to(torch.complex64)), ("ninitialized", torch.nn.UninitializedParameter()),
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*nested tensors.*:UserWarning")
@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.filterwarnings("ignore:.*uantiz.*")
def test_strange_tensors_are_refused() -> None:
    for message, x in strange_tensors():
        for call in (
            lambda x: ops.discounted_returns(x, 0.9),
            lambda x: ops.generalized_advantage(x, V, 0.9, 0.9),
            lambda x: ops.loaded_dice_returns(R, V, x, 0.9, 0.9),
            lambda x: ops.n_step_dice_returns(R, V, x, 0.9, 2),
        ):
            with pytest.raises((ValueError, TypeError), match=message):
                call(x)
        for call in (
            lambda x: gru(x, V, V),
            lambda x: gru_step(x, x, V, V),
        ):
            with pytest.raises((ValueError, TypeError)):
                call(x)


def test_fake_tensors_stay_fake_and_mixtures_are_refused() -> None:
    with FakeTensorMode():
        fake = torch.zeros(5, 3)
        assert ops.discounted_returns(fake, 0.9).shape == (5, 3)
        with pytest.raises(ValueError, match="values must be"):
            ops.generalized_advantage(fake, fake, 0.9, 0.9)
        with pytest.raises(ValueError, match="values must be"):
            torch.ops.loqa.advantage(fake, torch.zeros(2, 3), 0.9, 0.9)
        with pytest.raises((AssertionError, RuntimeError, ValueError, TypeError)):
            ops.discounted_returns(R, 0.9)
    with pytest.raises((AssertionError, RuntimeError, ValueError, TypeError)):
        ops.generalized_advantage(R, torch.zeros(6, 3, device="meta"), 0.9, 0.9)
    with pytest.raises((AssertionError, RuntimeError, ValueError, TypeError)):
        ops.generalized_advantage(fake, V, 0.9, 0.9)


def test_named_tensors() -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            named = torch.randn(5, 3, names=("T", "B"))
    except TypeError:
        pytest.skip("this torch has no named tensors any more")
    expected = ops.discounted_returns(named.rename(None), 0.9)
    got = ops.discounted_returns(named, 0.9)
    assert torch.equal(got.rename(None), expected)


def test_numpy_views_of_every_kind() -> None:
    """Strides that torch does not have are copied or refused by torch; unaligned memory is copied."""
    array = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    expected = ops.discounted_returns(torch.from_numpy(array), 0.9)
    raw = np.zeros(array.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(np.float32).reshape(5, 3)
    unaligned[:] = array
    assert not unaligned.flags.aligned
    assert torch.equal(ops.discounted_returns(torch.from_numpy(unaligned), 0.9), expected)
    both = np.zeros((5, 6), np.float32)
    both[:, ::2] = array
    assert torch.equal(ops.discounted_returns(torch.from_numpy(both[:, ::2]), 0.9), expected)
    big_endian = array.astype(">f4")
    for refused in (array[::-1], big_endian):
        with pytest.raises((ValueError, TypeError)):
            ops.discounted_returns(torch.from_numpy(refused), 0.9)
    with pytest.raises(TypeError, match="rewards must be a torch tensor"):
        ops.discounted_returns(array, 0.9)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inputs", "weight", "bias"),
    [
        ((2, 4, 6), (6, 2), (3,)), ((2, 4, 6), (5, 2), (2,)), ((2, 4, 5), (6, 2), (2,)),
        ((4, 6), (6, 2), (2,)), ((2, 4, 6), (3, 6, 2), (2, 2)), ((2, 4, 6), (3, 6, 2), (3, 2)),
        ((2, 4, 6), (6, 2), (1, 2)), ((2, 4, 0), (0, 0), (0,)), ((2, 4, 6), (0, 6, 2), (0, 2)),
    ],
)  # fmt: skip
def test_gru_refuses_what_does_not_fit(inputs: Any, weight: Any, bias: Any) -> None:
    zeros = [torch.zeros(shape) for shape in (inputs, weight, bias)]
    with pytest.raises(ValueError, match="must be"):
        gru(*zeros)
    with torch.no_grad(), pytest.raises(ValueError, match="must be"):
        gru_step(zeros[0][0], torch.zeros(4, 2), *zeros[1:])


def test_gru_refuses_other_types() -> None:
    inputs, weight, bias = torch.zeros(2, 4, 6), torch.zeros(6, 2), torch.zeros(2)
    for i in range(3):
        for other in (torch.Tensor.double, torch.Tensor.half, lambda x: x.to("meta")):
            args = [inputs, weight, bias]
            args[i] = other(args[i])
            with pytest.raises(ValueError, match="must be"):
                gru(*args)
            with torch.no_grad(), pytest.raises(ValueError, match="must be"):
                gru_step(args[0][0], torch.zeros(4, 2), *args[1:])
    with torch.no_grad(), pytest.raises(ValueError, match=r"inputs must be \[3, 6\]"):
        gru_step(inputs[0], torch.zeros(3, 2), weight, bias)
    inputs.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="needs a storage"):
        gru(inputs, weight, bias)
