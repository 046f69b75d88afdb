"""What counts as a number, here and in every call that takes one."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from loqa import _checks, ops

HALF = [
    0.5, np.float32(0.5), np.float64(0.5), np.float16(0.5), torch.tensor(0.5), np.array(0.5),
    torch.tensor(0.5, dtype=torch.float64), torch.tensor(0.5, dtype=torch.bfloat16), Fraction(1, 2),
    Decimal("0.5"), np.longdouble(0.5),
]  # fmt: skip
TWO = [2, np.int64(2), np.int8(2), np.uint64(2), torch.tensor(2), np.array(2), np.uint8(2),
       torch.tensor(2, dtype=torch.uint8)]  # fmt: skip
NO_NUMBER = [
    "0.5", b"1", None, True, False, np.True_, torch.tensor(True), [0.5], (1,), 1j, np.complex128(1),
    np.float32([0.5]), torch.ones(1), torch.ones(2), np.str_("1"), np.timedelta64(1, "s"), object(),
    torch.tensor(1j), np.array([[1]]),
]  # fmt: skip


@pytest.mark.parametrize("value", HALF)
def test_real(value: object) -> None:
    got = _checks.real("x", value)
    assert (type(got), got) == (float, 0.5)
    assert _checks.real("x", value, 0, 1) == 0.5
    with pytest.raises(ValueError, match=r"x must be a finite number in \[0.6, 1\], got 0.5"):
        _checks.real("x", value, 0.6, 1)


@pytest.mark.parametrize("value", TWO)
def test_integer(value: object) -> None:
    got = _checks.integer("x", value, 0, 5)
    assert (type(got), got) == (int, 2)
    assert _checks.real("x", value) == 2.0
    with pytest.raises(ValueError, match=r"x must be an integer in \[3, 5\], got 2"):
        _checks.integer("x", value, 3, 5)


@pytest.mark.parametrize("value", NO_NUMBER)
def test_no_number(value: object) -> None:
    with pytest.raises(TypeError, match="x must be a number, got"):
        _checks.real("x", value)
    with pytest.raises(TypeError, match="x must be an integer, got"):
        _checks.integer("x", value, 0, 5)


@pytest.mark.parametrize("value", [*HALF, 2.0, np.float32(2), torch.tensor(2.0)])
def test_no_integer(value: object) -> None:
    with pytest.raises(TypeError, match="x must be an integer, got"):
        _checks.integer("x", value, 0, 5)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), np.float32("nan"), torch.tensor(float("-inf")), Decimal("NaN"),
     10**400, Fraction(10**400), Decimal("sNaN")],
)  # fmt: skip
def test_no_finite_number(value: object) -> None:
    with pytest.raises(ValueError, match="x must be a finite number, got"):
        _checks.real("x", value)


def test_a_number_that_learns_is_no_constant() -> None:
    gamma = torch.tensor(0.5, requires_grad=True)
    with pytest.raises(TypeError, match="gamma is a constant: detach it first"):
        ops.discounted_returns(torch.ones(3), gamma)  # type: ignore[arg-type]


@pytest.mark.parametrize("half", HALF)
@pytest.mark.parametrize("two", TWO)
def test_kernels_take_every_number(half: object, two: object) -> None:
    rewards, values, logps = torch.ones(3), torch.ones(4), -torch.ones(3)
    calls = [
        lambda x, n: ops.discounted_returns(rewards, x),
        lambda x, n: ops.generalized_advantage(rewards, values, x, x),
        lambda x, n: ops.n_step_returns(rewards, values, x, n),
        lambda x, n: ops.dice_weights(logps, x),
        lambda x, n: ops.loaded_dice_returns(rewards, values, logps, x, x),
        lambda x, n: ops.n_step_dice_returns(rewards, values, logps, x, n, x),
    ]
    for call in calls:
        assert torch.equal(call(half, two), call(0.5, 2))
