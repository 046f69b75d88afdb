"""Argument checks shared by the public functions: what was expected, and what came."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

P = TypeVar("P")


def nearest(name: object, valid: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest valid name, or nothing."""
    close = difflib.get_close_matches(str(name), list(valid), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def plural(number: object, noun: str) -> str:
    """The noun as it is after that number."""
    return noun if number == 1 else f"{noun}s"


def one_of(name: str, value: str, valid: Iterable[str]) -> str:
    """`value`, or ValueError naming the valid ones and the nearest of them."""
    valid = list(valid)
    if value not in valid:
        raise ValueError(
            f"{name} must be one of {', '.join(valid)}, got {value!r}{nearest(value, valid)}"
        )
    return value


def preset_of(presets: Mapping[str, P], name: str | None) -> P:
    """The preset of a name, or ValueError naming the nearest; the first where no name is given."""
    return presets[next(iter(presets)) if name is None else one_of("preset", name, presets)]


def known_settings(where: str, given: Iterable[str], valid: Iterable[str]) -> None:
    """TypeError for the first of the names given that is not valid, with the nearest that is."""
    valid = list(valid)
    for name in given:
        if name not in valid:
            raise TypeError(f"{where} has no setting {name!r}{nearest(name, valid)}")


def integer(name: str, value: object, low: float, high: float) -> int:
    """`value` as int, or TypeError / ValueError unless it is an integer in [low, high].

    NumPy's and torch's integers of no dimension are integers; booleans are not.
    """
    number: Any = value
    if type(number) is not int:
        try:
            if not hasattr(number, "__index__") or not _is_one_number(number, "iu"):
                raise TypeError
            number = number.__index__()
        except TypeError:
            got = f"{type(value).__name__} {value!r}"
            raise TypeError(f"{name} must be an integer, got {got}") from None
    if not low <= number <= high:
        raise ValueError(f"{name} must be an integer in [{low}, {high}], got {number}")
    return int(number)


def real(name: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """`value` as float, or TypeError / ValueError unless it is a finite number in [low, high].

    Whatever has a value as one real number is a number (also NumPy's, fractions, constant tensors
    of no dimension); booleans and text are not.
    """
    number: Any = value
    if type(number) is not float:
        got = f"{type(value).__name__} {value!r}"
        if getattr(number, "requires_grad", False) is True:
            raise TypeError(f"{name} is a constant: detach it first, got {got}")
        try:
            if not hasattr(number, "__float__") or not _is_one_number(number, "iuf"):
                raise TypeError
            number = float(number)
        except (TypeError, RuntimeError):
            raise TypeError(f"{name} must be a number, got {got}") from None
        except (OverflowError, ValueError):
            raise ValueError(f"{name} must be a finite number, got {got}") from None
    if not (math.isfinite(number) and low <= number <= high):
        span = "" if (low, high) == (-math.inf, math.inf) else f" in [{low}, {high}]"
        raise ValueError(f"{name} must be a finite number{span}, got {number}")
    return float(number)


def _is_one_number(value: Any, kinds: str) -> bool:
    """Whether no bool, no text, no array with dimensions; a NumPy scalar must be of these kinds."""
    if isinstance(value, (bool, str, bytes)) or getattr(value, "ndim", 0) != 0:
        return False
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "is_complex", False) or str(dtype) == "torch.bool":
        return False
    return getattr(dtype, "kind", kinds) in kinds


@dataclass(frozen=True)
class Range:
    """The values that a field of settings may have: `Annotated[int, Range(1, 9)]`."""

    low: float = -math.inf
    high: float = math.inf


Count = Annotated[int, Range(1, 2**31 - 1)]
Rate = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]


def boolean(name: str, value: object) -> bool:
    """`value` as bool, or TypeError unless it is True or False (or NumPy's)."""
    if isinstance(value, bool):
        return value
    if str(getattr(value, "dtype", None)) != "bool" or getattr(value, "ndim", None) != 0:
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def text(name: str, value: object) -> str:
    """`value`, or TypeError unless it is text."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, got {type(value).__name__} {value!r}")
    return value


def check_fields(settings: Any) -> None:
    """TypeError or ValueError unless every field of a dataclass holds what its type says: True or False,
    text, a value of its `Literal`, an integer or a finite number in its `Range`, a row of numbers or texts,
    or None where that is allowed.

    What was given as an equal value of another type (an integer of NumPy, a list) becomes the plain one,
    which JSON can hold.
    """
    kind: Any = type(settings)
    for name, check in _fields(kind):
        value = getattr(settings, name)
        plain = check(name, value)
        if plain is not value:
            object.__setattr__(settings, name, plain)  # most are frozen


class Checked:
    """Settings of which `check_fields` is all that is asked."""

    def __post_init__(self) -> None:
        check_fields(self)


@cache
def _fields(kind: Any) -> list[tuple[str, Callable[[str, Any], object]]]:
    found: list[tuple[str, Callable[[str, Any], object]]] = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        span = Range()
        if get_origin(hint) is Annotated:
            hint, span = get_args(hint)
        inner = hint
        if isinstance(hint, UnionType) and NoneType in get_args(hint):
            inner = next(one for one in get_args(hint) if one is not NoneType)
        check = _check_of(inner, span)
        if check is not None:
            found.append((name, check if inner is hint else partial(_unless_none, check)))
    return found


def _check_of(hint: Any, span: Range) -> Callable[[str, Any], object] | None:
    if get_origin(hint) is Literal:
        return partial(one_of, valid=get_args(hint))
    if hint is bool:
        return boolean
    if hint is str:
        return text
    if hint is int:
        return partial(integer, low=span.low, high=span.high)
    if hint is float:
        return partial(real, low=span.low, high=span.high)
    if hint == tuple[float, ...]:
        return partial(_row, real)
    if hint == tuple[str, ...]:
        return partial(_row, text)
    return None


def _row(check: Callable[[str, Any], object], name: str, value: Any) -> tuple[Any, ...]:
    if (
        isinstance(value, (str, bytes))
        or getattr(value, "ndim", 1) != 1
        or not hasattr(value, "__len__")
    ):
        raise TypeError(f"{name} must be a tuple, got {type(value).__name__} {value!r}")
    return tuple(check(name, one) for one in value)


def _unless_none(check: Callable[[str, Any], object], name: str, value: Any) -> object:
    return None if value is None else check(name, value)
