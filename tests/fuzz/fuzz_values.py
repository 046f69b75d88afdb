"""Arguments as callers may give them: the same numbers in any form, and things that are no numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

# What a refusal may be. Anything else comes from inside.
REFUSALS = (ValueError, TypeError, OverflowError, NotImplementedError, MemoryError)
# Parts of messages that do not say what was expected.
RIDDLES = ("INTERNAL ASSERT", "incompatible function arguments", "NoneType", "has no attribute")


class Wrong(AssertionError):
    """A call gave another result than the oracle, or took what it must refuse."""


@dataclass
class Given:
    """An argument, and the numbers that it stands for (None: it stands for none)."""

    what: str
    value: Any
    truth: np.ndarray | None
    plain: bool = False
    """Whether it must be taken if its numbers are legal; other forms may be refused."""


class _Subclass(Tensor):
    pass


class _Raising:
    def __array__(self, *args: Any, **more: Any) -> Any:
        raise RuntimeError("no array today")


def unaligned(array: np.ndarray) -> np.ndarray:
    """A copy that starts one byte after where its type wants it."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    out = memory[1:].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


def _spread(tensor: Tensor) -> Tensor:
    """The same numbers, every second element of the last dimension of a larger array."""
    wide = torch.zeros(*tensor.shape, 2, dtype=tensor.dtype)
    wide[..., 0] = tensor
    return wide[..., 0]


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.mT.contiguous().mT if tensor.ndim > 1 else tensor


def _without_storage(tensor: Tensor) -> Tensor:
    tensor = tensor.clone()
    tensor.untyped_storage().resize_(0)
    return tensor


def _fake(tensor: Tensor) -> Tensor:
    with FakeTensorMode() as mode:
        return mode.from_tensor(tensor)


def _masked(array: np.ndarray) -> np.ndarray:
    return np.ma.masked_array(array, mask=np.zeros(array.shape, bool))


_UNREADABLE = {
    "meta": lambda t: t.to("meta"),
    "fake": _fake,
    "storage taken": _without_storage,
    "complex": lambda t: t.to(torch.complex64),
    "number": lambda t: 0,
    "none": lambda t: None,
    "text": lambda t: "actions",
    "bytes": lambda t: b"\0" * t.numel(),
    "dict": lambda t: {"actions": t},
    "ragged": lambda t: [[0], [0, 1]],
    "lists of text": lambda t: np.full(tuple(t.shape), "0").tolist(),
    "dates": lambda t: np.zeros(tuple(t.shape), "datetime64[s]"),
    "records": lambda t: np.zeros(tuple(t.shape), [("a", "i4")]),
    "generator": lambda t: (row for row in t.reshape(-1)),
    "raising": lambda t: _Raising(),
    "function": lambda t: np.zeros,
    "nested": lambda t: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    "quantised": lambda t: torch.quantize_per_tensor(t.float(), 1.0, 0, torch.quint8),
}  # fmt: skip
_NUMPY_FORMS: dict[str, tuple[Callable[[np.ndarray], Any], bool]] = {
    "numpy": (np.copy, True),
    "numpy, columns first": (lambda a: np.array(a, order="F"), True),
    "numpy, negative strides": (lambda a: a[..., ::-1].copy()[..., ::-1] if a.ndim else a, True),
    "numpy, other byte order": (lambda a: a.astype(a.dtype.newbyteorder()), True),
    "numpy, unaligned": (unaligned, True),
    "numpy, matrix or records": (lambda a: a.view(np.recarray), False),
    "numpy, masked nowhere": (_masked, False),
    "numpy, of objects": (lambda a: a.astype(object), False),
    "lists": (lambda a: a.tolist(), False),
}
_TORCH_FORMS: dict[str, tuple[Callable[[Tensor], Any], bool]] = {
    "torch": (Tensor.clone, True),
    "torch, spread": (_spread, True),
    "torch, transposed": (_transposed, True),
    "torch, unaligned": (lambda t: torch.from_numpy(unaligned(t.numpy())), False),
    "subclass": (lambda t: t.clone().as_subclass(_Subclass), False),
    "parameter": (lambda t: torch.nn.Parameter(t.clone(), requires_grad=False), False),
    "negative bit": (lambda t: torch._neg_view(-t), False),
    "sparse": (lambda t: t.to_sparse(), False),
    "inference": (lambda t: _inference(t), True),
}


def _inference(tensor: Tensor) -> Tensor:
    with torch.inference_mode():
        return tensor.clone()


def pick(rng: Generator, options: Any) -> Any:
    """One of several."""
    options = list(options)
    return options[int(rng.integers(len(options)))]


def array(rng: Generator, truth: np.ndarray) -> Given:
    """`truth`, of any NumPy type that torch has too, in some form, most often a readable one."""
    quiet = warnings.catch_warnings()
    with quiet:  # what torch says of the forms themselves
        warnings.simplefilter("ignore")
        return _array(rng, truth)


def _array(rng: Generator, truth: np.ndarray) -> Given:
    roll = rng.random()
    if roll < 0.12 and truth.size:  # nothing needs no memory
        name = pick(rng, _UNREADABLE)
        value = _UNREADABLE[name](torch.from_numpy(truth.copy()))
        # What is not read need not be there: the result alone decides.
        return Given(name, value, truth if name == "storage taken" else None)
    if roll < 0.5:
        name = pick(rng, _NUMPY_FORMS)
        make, plain = _NUMPY_FORMS[name]
        value = make(truth)
        if isinstance(value, np.ndarray) and rng.random() < 0.2:
            value.setflags(write=False)
            name += ", read-only"
    else:
        name = pick(rng, _TORCH_FORMS)
        make, plain = _TORCH_FORMS[name]
        if name in ("negative bit", "sparse") and truth.dtype.kind not in "if":
            name, make = "torch", Tensor.clone
        value = make(torch.from_numpy(truth.copy()))
    return Given(f"{name} {truth.dtype} {list(truth.shape)}", value, truth, plain)


def integers(rng: Generator, shape: tuple[int, ...], high: int, low: int = 0) -> Given:
    """Integers in low..high-1, now and then one that is not, of any integer type, in some form."""
    numbers = rng.integers(low, high, shape)
    if rng.random() < 0.15:
        return _no_integers(rng, numbers)
    if numbers.size and rng.random() < 0.2:
        extreme = (low - 1, high, -128, 127, 255, 256 + low, 2**16 + low, 2**32 + low, 2**63 - 1)
        numbers.flat[int(rng.integers(numbers.size))] = pick(rng, extreme)
    signed = (np.int8, np.int16, np.int32, np.int64)
    wide = (np.uint16, np.uint32, np.uint64)
    kind = pick(rng, (*signed, np.uint8, np.int64, *(wide if rng.random() < 0.3 else ())))
    given = array(rng, numbers.astype(kind))
    given.plain = given.plain and kind not in wide
    return given


def _no_integers(rng: Generator, numbers: np.ndarray) -> Given:
    """Of another type or shape."""
    if rng.random() < 0.3:  # bool: True may be taken for 1
        truth = (numbers % 2).astype(bool)
        given = array(rng, truth)
        return Given("bool " + given.what, given.value, given.truth)
    if rng.random() < 0.5:
        kind = pick(rng, (np.float32, np.float64, np.float16))
        given = array(rng, numbers.astype(kind))
        return Given(given.what, given.value, None)
    grown = (*numbers.shape, int(rng.integers(0, 3)))
    shape = pick(rng, (numbers.shape[1:], grown, (0,), (*numbers.shape[:-1], 1), ()))
    given = array(rng, np.zeros(shape, np.int64))
    same = shape == numbers.shape
    return Given(given.what, given.value, given.truth if same else None)


def show(value: Any) -> str:
    """A short description for the report."""
    if isinstance(value, Tensor):
        try:
            return f"{type(value).__name__} {list(value.shape)} {value.dtype} {value.device}"
        except Exception:
            return type(value).__name__
    if isinstance(value, np.ndarray):
        return f"array {list(value.shape)} {value.dtype} strides {value.strides}"
    return repr(value)[:120]
