"""Reading: one class of error, and bounds on what a file may make of its bytes."""

from __future__ import annotations

import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MAX_BYTES = 256 * 2**20
"""Most that a file of JSON, a published agent or a pickle may hold, unpacked."""
MAX_VALUES = 5_000_000
"""Most values of JSON in a file."""
_MAX_DIGITS = 40
_MAX_LINE = 2**20

# What reading damaged content may come to; everything else is a fault of the reader.
_UNREADABLE = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, RuntimeError,
    SystemError, struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip


class FileError(ValueError):
    """A file is damaged, or not what it should be; says which, where, what was expected, what came.

    Attributes:
        problem: place, what was expected and what came.
        path: of the file; None until the reader that knows it adds it.
    """

    def __init__(self, problem: str, path: Path | None = None, says: str = "is damaged") -> None:
        super().__init__(problem, path, says)
        self.problem, self.path, self._says = problem, path, says

    def __str__(self) -> str:
        return self.problem if self.path is None else f"{self.path} {self._says}: {self.problem}"

    def of(self, path: Path, says: str) -> FileError:
        """The same of a file, if none is named yet."""
        return self if self.path is not None else type(self)(self.problem, path, says)


def wrong(place: str, expected: str, got: object) -> FileError:
    """A `FileError`: at this place this was expected, and that came."""
    return FileError(f"{place}: expected {expected}, got {short(got)}")


def short(value: object) -> str:
    """`value` in at most 80 characters."""
    if isinstance(value, str | bytes) and len(value) > 80:
        value = value[:80]
    elif isinstance(value, dict | list | tuple | int) and not isinstance(value, bool):
        value = value if _is_small(value) else f"a {type(value).__name__}"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _is_small(value: Any) -> bool:
    if isinstance(value, int):
        return _fits(value)
    items = value.values() if isinstance(value, dict) else value
    return len(value) <= 8 and not any(
        isinstance(item, dict | list | tuple) or not _fits(item) for item in items
    )


def _fits(item: Any) -> bool:
    return not isinstance(item, int) or item.bit_length() < 200


@contextmanager
def reading(path: Path, says: str = "is damaged") -> Iterator[None]:
    """Turns whatever damaged content leads to into `FileError` of this file.

    Errors of the operating system and a lack of memory stay what they are.
    """
    try:
        yield
    except FileError as error:
        named = error.of(path, says)
        if named is error:
            raise
        raise named from error
    except _UNREADABLE as error:
        if out_of_memory(error):
            raise
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise FileError(text[:500], path, says) from error


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory is short: torch has RuntimeErrors that do."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in str(error) for words in ("can't allocate memory", "out of memory"))
    )


def parse_json(text: str | bytes, place: str) -> Any:
    """The value of a text in JSON, within `MAX_BYTES` and `MAX_VALUES`.

    Raises:
        FileError: it is none, is nested too deeply, or larger.
    """
    if len(text) > MAX_BYTES:
        raise wrong(place, f"at most {MAX_BYTES} bytes", len(text))
    try:
        if isinstance(text, bytes):
            text = text.decode()
        values = 1 + sum(text.count(sign) for sign in ",[{")
        if values > MAX_VALUES:
            raise wrong(place, f"at most {MAX_VALUES} values", values)
        return json.loads(text, parse_int=_integer)
    except FileError:
        raise
    except RecursionError:
        raise FileError(f"{place}: expected JSON, got one that is nested too deeply") from None
    except ValueError as error:
        raise FileError(f"{place}: expected JSON, got {short(text)} ({error})") from error


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


def read_bytes(path: Path) -> bytes:
    """The content of a file of at most `MAX_BYTES`; FileError if it has more."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise wrong("size", f"at most {MAX_BYTES} bytes", path.stat().st_size).of(
            path, "is too large"
        )
    return data


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        FileNotFoundError: there is no such file.
        FileError: it holds anything else.
    """
    with reading(path):
        value = parse_json(read_bytes(path), "content")
        if not isinstance(value, dict):
            raise FileError(f"it holds no JSON object, got {short(value)}")
        return value


def read_lines(path: Path, required: dict[str, type | tuple[type, ...]]) -> list[dict[str, Any]]:
    """The JSON objects of a file, one a line; a last line cut short by a crash is left out.

    Args:
        path: of the file; without one there are no lines.
        required: keys that every line has, and the types of their values.

    Raises:
        FileError: names the first line that is not one.
    """
    if not path.exists():
        return []
    with reading(path):
        lines = []
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
            if len(line) > _MAX_LINE:
                raise wrong(f"line {number}", f"at most {_MAX_LINE} bytes", len(line))
            one = parse_json(line, f"line {number}")
            if not isinstance(one, dict):
                raise wrong(f"line {number}", "a JSON object", one)
            for key, kind in required.items():
                if not isinstance(one.get(key), kind) or isinstance(one[key], bool):
                    raise wrong(f"line {number}, {key}", _name_of(kind), one.get(key))
            lines.append(one)
        return lines


def _name_of(kind: type | tuple[type, ...]) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return " or ".join(one.__name__ for one in kinds)
