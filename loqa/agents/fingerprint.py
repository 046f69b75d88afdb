"""A hash of what a policy does: of its data and its code, wherever they are kept.

`repr` and `state_dict` leave out what decides: arrays inside attributes, closures, plain attributes of a
module, defaults, globals. Here everything that a policy is made of is followed and hashed. What cannot be
hashed for sure (an open file, a lock, a generator, code that reads the outside world) is refused.
"""

from __future__ import annotations

import dis
import enum
import functools
import hashlib
import struct
import sys
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Modules whose functions read what no hash of a policy can hold.
# fmt: off
_OUTSIDE = frozenset({
    "asyncio", "builtins", "ctypes", "glob", "importlib", "inspect", "io", "mmap", "multiprocessing",
    "os", "pathlib", "pickle", "select", "shelve", "shutil", "signal", "socket", "sqlite3",
    "subprocess", "sys", "tempfile", "threading", "urllib",
})
# fmt: on
_READS_OUTSIDE = frozenset(
    {
        "__import__",
        "breakpoint",
        "compile",
        "eval",
        "exec",
        "globals",
        "input",
        "locals",
        "open",
        "vars",
    }
)
_LIBRARIES = tuple(
    Path(folder).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
    if (folder := sysconfig.get_paths().get(name))
)
_OWN = Path(__file__).resolve().parents[1]


class CannotFingerprintError(ValueError):
    """Something that decides what a policy does cannot be hashed; the message says where it is."""


def fingerprint(*values: Any) -> str:
    """SHA-256 (hex) of everything that `values` are made of.

    Equal for equal data and code, also in another process; different where any array, number, text,
    closure, default, referenced global or line of the user's own code differs. Functions and classes of
    installed packages count by their name and their package's version.

    Raises:
        CannotFingerprintError: a part cannot be hashed for sure.
    """
    total = hashlib.sha256()
    walk = _Walk()
    for value in values:
        for part in walk.parts(value, "it"):
            total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()


class _Walk:
    """Goes through a graph of objects; each is visited once, a later visit is a reference to it."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is used again meanwhile

    def parts(self, value: Any, where: str) -> Iterator[bytes]:
        plain = _plain(value)
        if plain is not None:
            yield plain
            return
        # Whether equal constants are one object is no property of a program.
        if not isinstance(value, tuple | frozenset | types.CodeType):
            if id(value) in self._seen:
                yield f"again {self._seen[id(value)]}".encode()
                return
            self._seen[id(value)] = len(self._seen)
            self._kept.append(value)
        try:
            yield from self._of(value, where)
        except RecursionError:
            raise CannotFingerprintError(f"{where} is nested too deeply") from None

    def _of(self, value: Any, where: str) -> Iterator[bytes]:
        kind = type(value)
        if isinstance(value, torch.Tensor):
            yield from self._tensor(value, where)
        elif isinstance(value, np.ndarray):
            yield from self._array(value, where)
        elif kind in (list, tuple):
            yield f"{kind.__name__} {len(value)}".encode()
            for number, item in enumerate(value):
                yield from self.parts(item, f"{where}[{number}]")
        elif kind is dict:
            yield from self._items(value, where)
        elif kind in (set, frozenset):
            yield f"set {len(value)}".encode()
            yield from sorted(fingerprint(item).encode() for item in value)
        elif isinstance(value, types.ModuleType):
            yield from self._module(value, where)
        elif isinstance(value, types.FunctionType):
            yield from self._function(value, where)
        elif isinstance(value, types.MethodType):
            yield b"method"
            yield from self.parts(value.__self__, f"{where}.__self__")
            yield from self.parts(value.__func__, where)
        elif isinstance(value, functools.partial):
            yield b"partial"
            for name in ("func", "args", "keywords"):
                yield from self.parts(getattr(value, name), f"{where}.{name}")
        elif isinstance(value, staticmethod | classmethod):
            yield kind.__name__.encode()
            yield from self.parts(value.__func__, where)
        elif isinstance(value, property):
            yield b"property"
            for name in ("fget", "fset", "fdel"):
                yield from self.parts(getattr(value, name), f"{where}.{name}")
        elif isinstance(value, type):
            yield from self._class(value, where)
        elif isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType):
            yield from self._builtin(value, where)
        elif isinstance(value, types.CodeType):
            yield from self._code(value, {}, where)
        elif isinstance(value, types.CellType):
            yield b"cell"
            yield from self.parts(_contents(value), where)
        else:
            yield from self._instance(value, where)

    # --- data

    def _tensor(self, value: torch.Tensor, where: str) -> Iterator[bytes]:
        if value.layout is not torch.strided or value.is_quantized or value.is_meta:
            raise CannotFingerprintError(f"{where} is a tensor whose numbers cannot be read")
        kind = type(value)
        if kind not in (torch.Tensor, torch.nn.Parameter):
            yield from self._class(kind, where)
        flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        yield f"tensor {value.dtype} {list(value.shape)}".encode()
        yield flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
        if extra := {name: each for name, each in vars(value).items() if name[:2] != "__"}:
            yield from self._items(extra, where)

    def _array(self, value: np.ndarray, where: str) -> Iterator[bytes]:
        if type(value) is not np.ndarray:
            yield from self._class(type(value), where)
            yield from self._items(getattr(value, "__dict__", {}), where)
            if isinstance(value, np.ma.MaskedArray):
                yield from self.parts(np.ma.getmaskarray(value), f"{where}.mask")
        yield f"array {value.dtype.descr if value.dtype.names else value.dtype.str}".encode()
        yield str(list(value.shape)).encode()
        if value.dtype.hasobject:
            yield from self.parts(value.reshape(-1).tolist(), where)
        else:
            yield np.ascontiguousarray(value).tobytes()

    def _items(self, value: dict[Any, Any], where: str) -> Iterator[bytes]:
        yield f"dict {len(value)}".encode()
        for key, item in value.items():
            yield from self.parts(key, f"{where} (a key)")
            step = f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r:.40}]"
            yield from self.parts(item, where + step)

    def _instance(self, value: Any, where: str) -> Iterator[bytes]:
        kind = type(value)
        yield b"instance"
        yield from self.parts(kind, f"{where}.__class__")
        for base in (dict, list, tuple, set, frozenset):
            if isinstance(value, base):  # a subclass of a container
                yield from self.parts(base(value), where)
        if not isinstance(value, torch.nn.Module | set | frozenset):
            yield from self._beside_attributes(value, where)
        own = dict(sorted(_attributes(value).items()))
        if isinstance(value, torch.nn.Module):  # hooks have the process's next free numbers
            own = {
                name: list(each.values()) if name.endswith("_hooks") and each else each
                for name, each in own.items()
                if name != "_flat_weight_refs"
            }  # of torch's GRU: where its parameters are
        yield from self._items(own, where)

    def _beside_attributes(self, value: Any, where: str) -> Iterator[bytes]:
        """State that is in no attribute (of types written in C): what copying would take along."""
        try:
            reduced = value.__reduce_ex__(4)
        except Exception as error:
            raise CannotFingerprintError(
                f"{where} is a {type(value).__name__}, whose state cannot be read ({error})"
            ) from None
        if isinstance(reduced, str):  # a name that stands for it
            yield reduced.encode()
            return
        usual = all(
            getattr(type(value), name) is getattr(object, name)
            for name in ("__reduce_ex__", "__reduce__", "__getstate__")
        )
        for number, part in enumerate(reduced):
            if number > 2:  # items of containers
                yield from self.parts(None if part is None else list(part), where)
            elif number < 2 or not usual:  # the usual state is the attributes
                yield from self.parts(part, where)

    # --- code

    def _module(self, value: types.ModuleType, where: str) -> Iterator[bytes]:
        if value.__name__.partition(".")[0] in _OUTSIDE:
            raise CannotFingerprintError(f"{where} uses the module {value.__name__}")
        yield f"module {value.__name__}".encode()

    def _function(self, value: types.FunctionType, where: str) -> Iterator[bytes]:
        alone = value.__closure__ is None and "<locals>" not in value.__qualname__
        if alone and _installed(value.__code__.co_filename):
            yield _by_name("function", value)
            return
        yield b"function"
        yield from self._code(value.__code__, value.__globals__, where)
        for part in (value.__defaults__, value.__kwdefaults__):
            yield from self.parts(part, f"{where} (defaults)")
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            yield from self.parts(_contents(cell), f"{where} (closure: {name})")
        if value.__dict__:  # attributes of the function, such as what it wraps
            yield from self._items(value.__dict__, where)

    def _code(self, code: types.CodeType, names: dict[str, Any], where: str) -> Iterator[bytes]:
        """What a piece of code does, and the globals that it reads; not where it is written down."""
        yield b"code"
        yield code.co_code
        for part in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
            yield " ".join(part).encode()
        counts = (code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount, code.co_flags)
        yield str(counts).encode()
        yield getattr(code, "co_exceptiontable", b"")
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                yield from self._code(constant, names, where)
            else:
                yield from self.parts(constant, where)
        if _installed(code.co_filename):
            return
        instructions = list(dis.get_instructions(code))
        for kind in ("LOAD_GLOBAL", "LOAD_NAME"):
            for name in sorted({str(one.argval) for one in instructions if one.opname == kind}):
                if name in names:
                    yield from self.parts(names[name], f"{where} (global: {name})")
                    yield from self._used(names[name], code.co_names, where)
                elif name in _READS_OUTSIDE:
                    raise CannotFingerprintError(f"{where} calls {name}()")
        for name in sorted(
            {str(one.argval) for one in instructions if one.opname == "IMPORT_NAME"}
        ):
            if name not in sys.modules:
                raise CannotFingerprintError(f"{where} imports {name} when it runs")
            yield from self.parts(sys.modules[name], f"{where} (import: {name})")
            yield from self._used(sys.modules[name], code.co_names, where)

    def _used(self, module: Any, names: tuple[str, ...], where: str) -> Iterator[bytes]:
        """The parts of a module of the user's that code may read by name."""
        if isinstance(module, types.ModuleType) and not _standard(module):
            for name in names:
                if name in vars(module):
                    found = vars(module)[name]
                    yield from self.parts(found, f"{where} ({module.__name__}.{name})")
                    yield from self._used(found, names, where)

    def _class(self, value: type, where: str) -> Iterator[bytes]:
        module = sys.modules.get(value.__module__)
        if "<locals>" not in value.__qualname__ and module is not None and _standard(module):
            yield _by_name("class", value)
            return
        yield f"class {value.__qualname__}".encode()
        for base in value.__bases__:
            yield from self.parts(base, f"{where} (base)")
        for name, part in sorted(vars(value).items()):
            if name not in _NOT_OF_A_CLASS and not isinstance(
                part, types.GetSetDescriptorType | types.MemberDescriptorType
            ):
                yield name.encode()
                yield from self.parts(part, f"{where}.{name}")

    def _builtin(self, value: Any, where: str) -> Iterator[bytes]:
        owner = getattr(value, "__self__", None)
        yield f"builtin {getattr(value, '__module__', None)} {value.__qualname__}".encode()
        if value.__name__ in _READS_OUTSIDE and getattr(value, "__module__", "") in (
            "builtins",
            "io",
            "_io",
        ):
            raise CannotFingerprintError(f"{where} calls {value.__name__}()")
        if owner is not None and not isinstance(owner, types.ModuleType):
            yield from self.parts(owner, f"{where}.__self__")


# What Python and its standard library write into a class beside what its author wrote.
# fmt: off
_NOT_OF_A_CLASS = frozenset({
    "__doc__", "__module__", "__qualname__", "__firstlineno__", "__static_attributes__",
    "__annotations__", "__dict__", "__weakref__", "__slots__", "__slotnames__", "__parameters__",
    "__orig_bases__",
    "__abstractmethods__", "_abc_impl", "__match_args__", "__dataclass_fields__",
    "__dataclass_params__", "__annotate__", "__annotate_func__", "__annotations_cache__",
    "__protocol_attrs__", "__non_callable_proto_members__", "_is_protocol", "_is_runtime_protocol",
    "__subclasshook__",
})
# fmt: on


def _plain(value: Any) -> bytes | None:
    """Bytes of a value without parts; None for all others."""
    kind = type(value)
    if value is None or value is Ellipsis or value is NotImplemented:
        return repr(value).encode()
    if kind in (bool, int):
        return f"{kind.__name__} {value}".encode()
    if kind is float:
        return b"float " + struct.pack("<d", value)
    if kind is complex:
        return b"complex " + struct.pack("<dd", value.real, value.imag)
    if kind is str:
        return b"str " + value.encode("utf-8", "surrogatepass")  # type: ignore[no-any-return]
    if kind in (bytes, bytearray):
        raw: bytes = bytes(value)
        return b"bytes " + raw
    if isinstance(
        value, torch.dtype | torch.device | torch.layout | torch.memory_format | np.dtype
    ):
        return f"{kind.__name__} {value}".encode()
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        data: bytes = value.tobytes()
        return f"scalar {value.dtype.str} ".encode() + data
    if kind in (range, slice, np.ufunc):
        return repr(value).encode()
    if isinstance(value, enum.Enum):
        return f"enum {kind.__module__} {kind.__qualname__} {value.name} {value.value!r}".encode()
    return None


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _attributes(value: Any) -> dict[str, Any]:
    """Instance attributes, those in slots too."""
    found = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name in ("__dict__", "__weakref__"):
                continue
            private = name.startswith("__") and not name.endswith("__")
            place = f"_{kind.__name__.lstrip('_')}{name}" if private else name
            if hasattr(value, place):
                found[place] = getattr(value, place)
    return {str(name): item for name, item in found.items()}


@functools.cache
def _installed(file: str | None) -> bool:
    """Whether a file belongs to Python, an installed package or this one: its version stands for it."""
    if not file or file.startswith("<"):
        return bool(file) and str(file).startswith("<frozen")
    path = Path(file).resolve()
    return any(path.is_relative_to(folder) for folder in (*_LIBRARIES, _OWN))


def _standard(module: types.ModuleType) -> bool:
    origin = getattr(module.__spec__, "origin", None)
    return origin in ("built-in", "frozen") or _installed(getattr(module, "__file__", None))


def _by_name(what: str, value: Any) -> bytes:
    package = str(value.__module__).partition(".")[0]
    module = sys.modules.get(package)
    version = getattr(module, "__version__", "")
    return f"{what} {value.__module__} {value.__qualname__} {version}".encode()
