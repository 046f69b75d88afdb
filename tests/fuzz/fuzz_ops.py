"""Random calls of `loqa.ops` and of the operators `torch.ops.loqa.*` below it, beside the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from fuzz_values import REFUSALS, Given, Wrong, array, pick, show
from numpy.random import Generator
from torch import Tensor

import loqa.reference
from loqa import ops

# Arrays by letter: r, l [T, ...]; v [T + 1, ...]; b [...]. Then numbers, and n.
_CALLS = {
    "discounted_returns": "rG",
    "generalized_advantage": "rvGG",
    "n_step_returns": "rvGn",
    "dice_weights": "lG",
    "loaded_dice_returns": "rvlGG",
    "loaded_dice_q_values": "rvlGG",
    "n_step_dice_returns": "rvlGn",
}
_BAD_NUMBERS = (
    float("nan"),
    float("inf"),
    "0.9",
    None,
    [0.9],
    1j,
    10**400,
    torch.zeros(2),
    np.zeros(2),
)
_BAD_WINDOWS = (0, -1, 2**31, 2**63, 2**64, 1.0, "2", None, True, [1])


class OpsCase:
    """One call."""

    def __init__(self, rng: Generator) -> None:
        self.rng = rng
        self.done: list[str] = []
        self.refused = self.carried_out = 0

    def _array(self, shape: tuple[int, ...], kind: Any) -> Given:
        numbers = self.rng.normal(size=shape).astype(kind)
        if numbers.size and self.rng.random() < 0.1:
            numbers.flat[int(self.rng.integers(numbers.size))] = pick(
                self.rng, (np.nan, np.inf, -np.inf)
            )
        if self.rng.random() < 0.6:
            return Given("torch", torch.from_numpy(numbers.copy()), numbers, plain=True)
        given = array(self.rng, numbers)
        if not isinstance(given.value, Tensor):
            given.truth = None  # the operators take tensors alone
        return given

    def _shape(self) -> tuple[int, ...]:
        rng = self.rng
        trailing = pick(rng, ((), (1,), (3,), (0,), (2, 3), (17,), (64,), (2, 0, 3)))
        return (int(pick(rng, (0, 1, 2, 5, 9))), *trailing)

    def public(self) -> None:
        """A public function."""
        rng = self.rng
        name = pick(rng, _CALLS)
        shape, kind = self._shape(), pick(rng, (np.float32, np.float64))
        steps = shape[0]
        shapes = {"r": shape, "l": shape, "v": (steps + 1, *shape[1:])}
        given: list[Given] = []
        for letter in _CALLS[name]:
            if letter in shapes:
                wanted = shapes[letter]
                if rng.random() < 0.05:
                    wanted = pick(rng, (wanted[1:], (*wanted, 2), (steps + 2, *wanted[1:])))
                given.append(self._array(wanted, kind if rng.random() < 0.95 else np.float16))
            elif letter == "G":
                number = pick(rng, (0.9, 0, 1, -0.5, 0.96, np.float32(0.5), np.float64(0.25)))
                number = pick(rng, _BAD_NUMBERS) if rng.random() < 0.08 else number
                fine = isinstance(number, (int, float, np.floating)) and abs(number) < 2
                given.append(
                    Given(repr(number), number, np.asarray(number) if fine else None, fine)
                )
            else:
                smallest = 2 if name == "n_step_dice_returns" else 1
                n: Any = int(rng.integers(smallest, max(smallest, steps) + 1))
                n = pick(rng, _BAD_WINDOWS) if rng.random() < 0.1 else n
                fine = type(n) is int and smallest <= n <= steps
                given.append(Given(repr(n), n, np.asarray(n) if fine else None, fine))
        self.done.append(f"ops.{name}({', '.join(show(one.value) for one in given)})")
        arrays = [one.truth for one, c in zip(given, _CALLS[name], strict=True) if c in shapes]
        if arrays[0] is not None and arrays[0].ndim:
            first = arrays[0].shape  # may have any shape: the others must fit it
            shapes = {"r": first, "l": first, "v": (first[0] + 1, *first[1:])}
        legal = all(one.truth is not None for one in given) and all(
            truth is not None and truth.shape == shapes[c] and truth.dtype == arrays[0].dtype
            for truth, c in zip(arrays, [c for c in _CALLS[name] if c in shapes], strict=True)
        )
        out = self._tried(getattr(ops, name), given, legal)
        if out is not None:
            self._compare(name, out, given)

    @staticmethod
    def _refused_by_torch(error: BaseException) -> bool:
        """Whether torch itself refuses a fake tensor beside a real one."""
        return type(error) is AssertionError and "FakeTensors" in str(error)

    def _tried(self, call: Callable[..., Any], given: list[Given], legal: bool) -> Tensor | None:
        try:
            out: Tensor = call(*(one.value for one in given))
        except REFUSALS as error:
            if not str(error):
                raise Wrong("the error says nothing") from error
            if legal and all(one.plain for one in given):
                raise Wrong(f"refused, but it is legal: {type(error).__name__} {error}") from error
            self.refused += 1
            return None
        except AssertionError as error:
            if not self._refused_by_torch(error):
                raise
            self.refused += 1
            return None
        self.carried_out += 1
        # A tensor without numbers may have a result without numbers.
        if out.is_meta or type(out).__name__ == "FakeTensor":
            return None
        if not legal:
            raise Wrong("taken")
        return out

    def _compare(self, name: str, out: Tensor, given: list[Given]) -> None:
        """In columns whose numbers are all finite, as the reference in float64."""
        # ndim 0 are gamma, lam, n, which stay what they are.
        truths = [one.truth for one in given]
        wide = [
            torch.from_numpy(t.astype(np.float64)) if t.ndim else one.value
            for t, one in zip(truths, given, strict=True)
            if t is not None
        ]
        wanted = getattr(loqa.reference, name)(*wide)
        if out.shape != wanted.shape:
            raise Wrong(f"shape {list(out.shape)}, the reference has {list(wanted.shape)}")
        finite = torch.ones(wanted.shape[1:], dtype=torch.bool)
        for one in wide:
            if isinstance(one, Tensor):
                finite &= one.isfinite().all(0)
        scale = max((one.nan_to_num(0, 0, 0).abs().max().item()
                     for one in wide if isinstance(one, Tensor) and one.numel()), default=0)  # fmt: skip
        precise = {torch.float32: (1e-5, 1e-5), torch.float64: (1e-12, 1e-12)}
        rtol, atol = precise.get(out.dtype, (2e-2, 2e-2))
        torch.testing.assert_close(
            out.double()[:, finite], wanted[:, finite], rtol=rtol, atol=atol * (1 + 10 * scale)
        )

    def raw(self) -> None:
        """An operator as torch has it, with arrays that need not fit: no foreign memory is touched."""
        rng = self.rng
        schema = pick(rng, _schemas())
        shape, kind = self._shape(), pick(rng, (np.float32, np.float64))
        consistent = rng.random() < 0.4
        values: list[Any] = []
        for argument in schema.arguments:
            kinds = str(argument.type)
            if "Tensor" in kinds:
                if "Optional" in kinds and rng.random() < 0.5:
                    values.append(None)
                    continue
                steps = shape[0] + (argument.name == "values")
                like = (steps, *shape[1:]) if consistent else self._shape()
                given = self._array(like, kind)
                values.append(given.value if isinstance(given.value, Tensor) else torch.zeros(like))
                if argument.name == "ends" and rng.random() < 0.8:
                    values[-1] = torch.from_numpy(rng.integers(0, 4, like).astype(np.uint8))
            elif kinds == "int":
                values.append(pick(rng, (1, 2, 3, 0, -1, shape[0], 2**31, 2**63 - 1, -(2**63))))
            elif kinds == "bool":
                values.append(bool(rng.integers(2)))
            else:
                values.append(pick(rng, (0.9, 0.0, 1.0, float("nan"), float("inf"), 1e300)))
        self.done.append(f"torch.ops.{schema.name}({', '.join(map(show, values))})")
        operator = getattr(torch.ops.loqa, schema.name.partition("::")[2])
        try:
            out = operator(*values)
        except REFUSALS as error:
            if not str(error):
                raise Wrong("the error says nothing") from error
            self.refused += 1
            return
        except (RuntimeError, AssertionError) as error:
            # Torch's own, of arguments that no operator of it takes.
            if not (self._refused_by_torch(error) or "loqa::" in str(error)):
                raise
            self.refused += 1
            return
        self.carried_out += 1
        for one in (out,) if isinstance(out, Tensor) else out:
            if one.is_cpu and type(one) is Tensor:
                one.sum()

    def gradient(self) -> None:
        """First derivatives in every array, as the reference has them."""
        rng = self.rng
        name = pick(rng, _CALLS)
        steps = int(rng.integers(2, 6))
        shape = (steps, *pick(rng, ((), (3,), (2, 3))))
        arguments: list[Any] = []
        for letter in _CALLS[name]:
            if letter in "rlv":
                rows = (steps + (letter == "v"), *shape[1:])
                arguments.append(torch.from_numpy(rng.normal(size=rows)).requires_grad_())
            else:
                arguments.append(0.9 if letter == "G" else 2)
        self.done.append(f"gradient of {name} at {list(shape)}")
        inputs = [one for one in arguments if isinstance(one, Tensor)]
        both = []
        for module in (ops, loqa.reference):
            out = getattr(module, name)(*arguments)
            weights = torch.arange(out.numel(), dtype=torch.float64).reshape(out.shape).cos()
            both.append(torch.autograd.grad((out * weights).sum(), inputs, allow_unused=True))
        for ours, theirs in zip(*both, strict=True):
            if ours is None or theirs is None:
                if (ours if theirs is None else theirs) is not None and bool(
                    (ours if theirs is None else theirs).any()
                ):
                    raise Wrong("a gradient is missing")
                continue
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
        self.carried_out += 1


def _schemas() -> list[Any]:
    return [one for one in torch._C._jit_get_all_schemas() if one.name.startswith("loqa::")]


def run(rng: Generator, case: OpsCase) -> None:
    """One call of a kernel."""
    pick(rng, (case.public, case.public, case.public, case.raw, case.raw, case.gradient))()
