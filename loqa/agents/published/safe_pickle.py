"""Reads pickles of NumPy arrays in plain containers without running anything from them.

`pickle.load` calls whatever a file names. Here the file's instructions are only looked at
(`pickletools.genops` decodes them, and imports and calls nothing) by a small stack machine that
knows containers, numbers, strings, and the few names below, each of which stands for a function of
this module: nothing is imported by name, and no object of the file is ever called. Everything else
is refused. What a file may make is bounded by its size: `_Budget` counts every byte and value.
"""

from __future__ import annotations

import math
import pickletools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from loqa._checks import plural
from loqa.storage.reading import MAX_BYTES, FileError, short

_MAX_OPCODES = 1_000_000
_MAX_VALUES = 1_000_000
_MAX_INTEGER = 2**64  # of a key: larger ones can be chosen so that they collide
_RATIO, _SPARE = 4, 2**20  # bytes made for one of the file, and for the smallest file


class UnsafePickleError(FileError):
    """A pickle that asks for something that is not allowed, or is damaged."""


class _Budget:
    """What a file may still make."""

    def __init__(self, size: int) -> None:
        self._bytes = _RATIO * size + _SPARE
        self._values = _MAX_VALUES

    def take(self, values: int = 0, made: int = 0) -> None:
        """Counts; UnsafePickleError when it is used up."""
        self._values -= values
        self._bytes -= made
        if self._values < 0:
            raise UnsafePickleError(f"it unfolds to more than {_MAX_VALUES} values")
        if self._bytes < 0:
            raise UnsafePickleError("it unfolds to far more bytes than it has")


class _Mark:
    """Where a run of items begins on the stack."""


class _DType:
    """What a pickled NumPy type says of itself."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or len(code) > 4 or code[:1] not in "biufS<>|=":
            raise UnsafePickleError(f"arrays of type {short(code)} are not allowed")
        self.dtype = np.dtype(code)
        if self.dtype.kind not in "biuf" or not self.dtype.itemsize:
            raise UnsafePickleError(f"arrays of type {short(code)} are not allowed")

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise UnsafePickleError("a damaged array type")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array on its way; `value` once its state came."""

    def __init__(self, *_: Any) -> None:
        self.value: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise UnsafePickleError("a damaged array")
        _, shape, dtype, fortran, data = state
        self.value = _as_array(data, dtype, shape, "F" if fortran else "C")


def _as_array(data: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
    """A view of the bytes: arrays that share them cost nothing."""
    if isinstance(data, str):
        data = data.encode("latin1")
    sane = isinstance(shape, tuple) and len(shape) <= 32
    if not sane or not all(type(side) is int and 0 <= side <= MAX_BYTES for side in shape):
        raise UnsafePickleError(f"an array claims the shape {short(shape)}")
    if not isinstance(dtype, _DType) or not isinstance(data, bytes | bytearray):
        raise UnsafePickleError("a damaged array")
    if math.prod(shape) * dtype.dtype.itemsize != len(data) or order not in ("C", "F"):
        raise UnsafePickleError(
            f"an array claims {dtype.dtype} {list(shape)}, but has {len(data)} "
            f"{plural(len(data), 'byte')}"
        )
    return np.frombuffer(data, dtype.dtype).reshape(shape, order=order)


def _scalar(dtype: Any, data: Any = b"") -> Any:
    return _as_array(data, dtype, ()).item()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise UnsafePickleError("a damaged string of bytes")
    return text.encode("latin1")


def _empty_bytes(*arguments: Any) -> bytes:
    if arguments:
        raise UnsafePickleError("a damaged string of bytes")
    return b""


def _mapping(items: Any = ()) -> dict[Any, Any]:
    if not isinstance(items, dict | list | tuple):
        raise UnsafePickleError(f"a mapping made from a {type(items).__name__}")
    pairs = list(items.items()) if isinstance(items, dict) else list(items)
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise UnsafePickleError("a damaged mapping")
    return _dict_of([part for pair in pairs for part in pair])


def _jax_array(build: Any, arguments: Any, state: Any, *_: Any) -> np.ndarray:
    """jax pickles an array as the pieces of a NumPy array."""
    if not isinstance(build, _Name) or build.call is not _Array:
        raise UnsafePickleError("a damaged jax array")
    array = _Array()
    array.set_state(state)
    assert array.value is not None
    return array.value


class _Name:
    """A name of the file that is allowed, and what stands for it."""

    def __init__(self, text: str, call: Callable[..., Any]) -> None:
        self.text, self.call = text, call


def _no_call(*_: Any) -> Any:
    raise UnsafePickleError("numpy.ndarray is not called by a pickled array")


_GLOBALS = {
    (module, name): _Name(f"{module}.{name}", call)
    for modules, name, call in (
        (("numpy",), "ndarray", _no_call),
        (("numpy",), "dtype", _DType),
        (("numpy.core.multiarray", "numpy._core.multiarray"), "_reconstruct", _Array),
        (("numpy.core.multiarray", "numpy._core.multiarray"), "scalar", _scalar),
        (("numpy.core.numeric", "numpy._core.numeric"), "_frombuffer", _as_array),
        (("_codecs",), "encode", _encode),
        (("__builtin__", "builtins"), "bytes", _empty_bytes),
        (("collections",), "OrderedDict", _mapping),
        (("flax.core.frozen_dict",), "FrozenDict", _mapping),
        (("jax._src.array",), "_reconstruct_array", _jax_array),
    )
    for module in modules
}
_VALUES = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BYTEARRAY8"),
    )
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_GETS = frozenset(("GET", "BINGET", "LONG_BINGET"))


class _Machine:
    """Runs the allowed instructions."""

    def __init__(self, budget: _Budget) -> None:
        self.budget = budget
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        value = self.stack.pop()
        if isinstance(value, _Mark):
            raise UnsafePickleError("a mark where a value should be")
        return value

    def pop_to_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[place], _Mark):
                items = self.stack[place + 1 :]
                del self.stack[place:]
                return items
        raise UnsafePickleError("a mark is missing")

    def run(self, opcode: str, argument: Any) -> None:
        """One instruction."""
        push = self.stack.append
        if opcode in _VALUES:
            push(argument)
        elif opcode in _CONSTANTS:
            push(_CONSTANTS[opcode])
        elif opcode in _PUTS:
            if not 0 <= argument < 2**32:
                raise UnsafePickleError(f"memo place {short(argument)}")
            self.memo[argument] = self.stack[-1]
        elif opcode == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif opcode in _GETS:
            push(self.memo[argument])
        elif opcode == "MARK":
            push(_Mark())
        elif opcode == "POP":
            self.stack.pop()
        elif opcode == "POP_MARK":
            self.pop_to_mark()
        elif opcode == "DUP":
            push(self.stack[-1])
        elif opcode in ("GLOBAL", "STACK_GLOBAL"):
            push(self._name(opcode, argument))
        elif opcode == "REDUCE":
            arguments, name = self.pop(), self.pop()
            push(self._reduce(name, arguments))
        elif opcode == "BUILD":
            state, target = self.pop(), self.stack[-1]
            if not isinstance(target, _Array | _DType):
                raise UnsafePickleError(f"sets the state of a {type(target).__name__}")
            if isinstance(state, tuple) and state and isinstance(state[-1], str):
                self.budget.take(made=len(state[-1]))  # encoded anew each time
            target.set_state(state)
        else:
            self._container(opcode)

    def _name(self, opcode: str, argument: Any) -> _Name:
        if opcode == "GLOBAL":
            module, _, name = str(argument).partition(" ")
        else:
            name, module = self.pop(), self.pop()
        if not (isinstance(module, str) and isinstance(name, str)):
            raise UnsafePickleError("a name that is no text")
        if (module, name) not in _GLOBALS:
            raise UnsafePickleError(
                f"it asks for {short(f'{module}.{name}')}, which is not allowed"
            )
        return _GLOBALS[module, name]

    def _reduce(self, name: Any, arguments: Any) -> Any:
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise UnsafePickleError(f"it calls a {type(name).__name__}")
        for one in arguments:
            if isinstance(one, dict | list | tuple):
                self.budget.take(values=len(one))
            elif isinstance(one, str | bytes | bytearray):
                self.budget.take(made=len(one))
        return name.call(*arguments)

    def _container(self, opcode: str) -> None:
        stack = self.stack
        makes: dict[str, Callable[..., Any]] = {"DICT": _dict_of, "LIST": list, "TUPLE": tuple}
        kind = opcode.removeprefix("EMPTY_")
        if kind in makes:
            stack.append(makes[kind](self.pop_to_mark() if kind == opcode else []))
        elif opcode in ("TUPLE1", "TUPLE2", "TUPLE3"):
            items = [self.pop() for _ in range(int(opcode[-1]))]
            stack.append(tuple(reversed(items)))
        elif opcode in ("APPEND", "APPENDS"):
            items = [self.pop()] if opcode == "APPEND" else self.pop_to_mark()
            _expect(stack[-1], list).extend(items)
        elif opcode in ("SETITEM", "SETITEMS"):
            items = [self.pop(), self.pop()][::-1] if opcode == "SETITEM" else self.pop_to_mark()
            _expect(stack[-1], dict).update(_dict_of(items))
        else:
            raise UnsafePickleError(f"instruction {opcode} is not allowed")


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise UnsafePickleError(f"a {type(value).__name__} where a {kind.__name__} should be")
    return value


def _dict_of(items: list[Any]) -> dict[Any, Any]:
    keys = items[::2]
    if len(items) % 2 or not all(
        isinstance(key, str) or (isinstance(key, int) and abs(key) < _MAX_INTEGER) for key in keys
    ):
        raise UnsafePickleError("keys of a mapping must be strings or integers of 64 bits")
    return dict(zip(items[::2], items[1::2], strict=True))


def loads(data: bytes) -> Any:
    """The arrays, numbers, strings, lists, tuples and dicts that a pickle holds.

    Arrays of booleans, integers and floats; jax's arrays become NumPy's, flax's frozen dicts and
    ordered dicts become dicts.

    Raises:
        UnsafePickleError: the file asks for anything else, is damaged, cut short, or too large.
    """
    if len(data) > MAX_BYTES:
        raise UnsafePickleError(f"it is larger than {MAX_BYTES} bytes")
    machine = _Machine(_Budget(len(data)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python and NumPy, about odd text
            for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
                if number > _MAX_OPCODES:
                    raise UnsafePickleError(f"it has more than {_MAX_OPCODES} instructions")
                if opcode.name == "STOP":
                    break
                if opcode.name not in ("PROTO", "FRAME"):
                    machine.run(opcode.name, argument)
            if len(machine.stack) != 1:
                raise UnsafePickleError(f"it leaves {len(machine.stack)} values")
            return _finish(machine.stack[0], machine.budget)
    except UnsafePickleError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
            MemoryError) as error:  # fmt: skip
        raise UnsafePickleError(
            f"it is damaged: {type(error).__name__}: {short(str(error))}"
        ) from error


def _finish(value: Any, budget: _Budget) -> Any:
    """Replaces what stands for arrays by them, within the budget: a small file can share its parts so
    often that walking it never ends."""
    budget.take(values=1)
    if isinstance(value, dict):
        return {key: _finish(item, budget) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_finish(item, budget) for item in value)
    if isinstance(value, _Array):
        if value.value is None:
            raise UnsafePickleError("an array without content")
        value = value.value
    if isinstance(value, np.ndarray):
        budget.take(made=value.nbytes)
        return value.copy()
    if isinstance(value, _Name | _DType | _Mark):
        raise UnsafePickleError(f"a {type(value).__name__.strip('_')} is no value")
    return value
