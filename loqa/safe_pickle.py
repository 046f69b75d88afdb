"""Reads pickles of NumPy arrays in plain containers without running anything from them.

`pickle.load` calls whatever a file names. Here the file's instructions are only looked at
(`pickletools.genops` decodes them, and imports and calls nothing) by a small stack machine that
knows containers, numbers, strings, and the few names below, each of which stands for a function of
this module: nothing is imported by name, and no object of the file is ever called. Everything else
is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_BYTES = 256 * 2**20
_MAX_OPCODES = 5_000_000
_MAX_VALUES = 1_000_000


class UnsafePickleError(ValueError):
    """A pickle that asks for something that is not allowed, or is damaged."""


class _Mark:
    """Where a run of items begins on the stack."""


class _DType:
    """What a pickled NumPy type says of itself."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or len(code) > 4 or code[:1] not in "biufS<>|=":
            raise UnsafePickleError(f"arrays of type {code!r} are not allowed")
        self.dtype = np.dtype(code)
        if self.dtype.kind not in "biuf":
            raise UnsafePickleError(f"arrays of type {code!r} are not allowed")

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise UnsafePickleError("a damaged array type")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array on its way; `value` once its state came."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise UnsafePickleError("a damaged array")
        _, shape, dtype, fortran, data = state
        self.value = _as_array(data, dtype, shape, "F" if fortran else "C")


def _as_array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if isinstance(data, str):
        data = data.encode("latin1")
    sane = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
    if not sane or not isinstance(dtype, _DType) or not isinstance(data, bytes | bytearray):
        raise UnsafePickleError("a damaged array")
    count = 1
    for side in shape:
        count *= side
    if count * dtype.dtype.itemsize != len(data) or order not in ("C", "F"):
        raise UnsafePickleError(
            f"an array claims {dtype.dtype} {list(shape)}, but has {len(data)} bytes"
        )
    return np.array(np.frombuffer(bytes(data), dtype.dtype).reshape(shape, order=order))


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
    return _as_array(data, dtype, shape, order)


def _scalar(dtype: Any, data: Any = b"") -> Any:
    return _as_array(data, dtype, (), "C").item()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise UnsafePickleError("a damaged string of bytes")
    return text.encode("latin1")


def _empty_bytes(*arguments: Any) -> bytes:
    if arguments:
        raise UnsafePickleError("a damaged string of bytes")
    return b""


def _mapping(items: Any = ()) -> dict[Any, Any]:
    return dict(_resolve_pairs(items))


def _jax_array(build: Any, arguments: Any, state: Any, *_: Any) -> np.ndarray:
    """jax pickles an array as the pieces of a NumPy array."""
    if build is not _GLOBALS["numpy.core.multiarray", "_reconstruct"]:
        raise UnsafePickleError("a damaged jax array")
    array = _Array()
    array.set_state(state)
    assert array.value is not None
    return array.value


def _resolve_pairs(items: Any) -> list[tuple[Any, Any]]:
    pairs = list(items.items()) if isinstance(items, dict) else list(items)
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise UnsafePickleError("a damaged mapping")
    return [(key, value) for key, value in pairs]


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
        (("numpy.core.multiarray", "numpy._core.multiarray"), "_reconstruct", _reconstruct),
        (("numpy.core.multiarray", "numpy._core.multiarray"), "scalar", _scalar),
        (("numpy.core.numeric", "numpy._core.numeric"), "_frombuffer", _from_buffer),
        (("_codecs",), "encode", _encode),
        (("__builtin__", "builtins"), "bytes", _empty_bytes),
        (("collections",), "OrderedDict", _mapping),
        (("flax.core.frozen_dict",), "FrozenDict", _mapping),
        (("jax._src.array",), "_reconstruct_array", _jax_array),
    )
    for module in modules
}
_GLOBALS["numpy._core.multiarray", "_reconstruct"] = _GLOBALS[
    "numpy.core.multiarray", "_reconstruct"
]

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

    def __init__(self) -> None:
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
            raise UnsafePickleError(f"it asks for {module}.{name}, which is not allowed")
        return _GLOBALS[module, name]

    def _reduce(self, name: Any, arguments: Any) -> Any:
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise UnsafePickleError(f"it calls a {type(name).__name__}")
        return name.call(*arguments)

    def _container(self, opcode: str) -> None:
        stack = self.stack
        if opcode in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": {}, "EMPTY_LIST": [], "EMPTY_TUPLE": ()}[opcode])
        elif opcode in ("TUPLE1", "TUPLE2", "TUPLE3"):
            items = [self.pop() for _ in range(int(opcode[-1]))]
            stack.append(tuple(reversed(items)))
        elif opcode in ("TUPLE", "LIST", "DICT"):
            items = self.pop_to_mark()
            stack.append(
                items
                if opcode == "LIST"
                else tuple(items)
                if opcode == "TUPLE"
                else _dict_of(items)
            )
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
    if len(items) % 2 or not all(isinstance(key, str | int) for key in items[::2]):
        raise UnsafePickleError("keys of a mapping must be strings or integers")
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
    machine = _Machine()
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if number > _MAX_OPCODES:
                raise UnsafePickleError(f"it has more than {_MAX_OPCODES} instructions")
            if opcode.name in ("PROTO", "FRAME"):
                continue
            if opcode.name == "STOP":
                break
            machine.run(opcode.name, argument)
        if len(machine.stack) != 1:
            raise UnsafePickleError(f"it leaves {len(machine.stack)} values")
        return _Finisher().finish(machine.stack[0])
    except UnsafePickleError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, MemoryError,
            RecursionError, UnicodeError) as error:  # fmt: skip
        raise UnsafePickleError(f"it is damaged: {error!r}") from error


class _Finisher:
    """Replaces what stands for arrays by them, within a budget: a small file can share its parts so
    often that walking it never ends."""

    def __init__(self) -> None:
        self.left = _MAX_VALUES

    def finish(self, value: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise UnsafePickleError(f"it unfolds to more than {_MAX_VALUES} values")
        if isinstance(value, dict):
            return {key: self.finish(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.finish(item) for item in value)
        if isinstance(value, _Array):
            if value.value is None:
                raise UnsafePickleError("an array without content")
            return value.value
        if isinstance(value, _Name | _DType | _Mark):
            raise UnsafePickleError(f"a {type(value).__name__.strip('_')} is no value")
        return value
