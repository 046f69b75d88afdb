"""Argument checks shared by the public functions: what was expected, and what came."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable


def nearest(name: object, valid: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest valid name, or nothing."""
    close = difflib.get_close_matches(str(name), list(valid), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def one_of(name: str, value: str, valid: Iterable[str]) -> str:
    """`value`, or ValueError naming the valid ones and the nearest of them."""
    valid = list(valid)
    if value not in valid:
        raise ValueError(
            f"{name} must be one of {', '.join(valid)}, got {value!r}{nearest(value, valid)}"
        )
    return value


def integer(name: str, value: object, low: int, high: int) -> int:
    """`value` as int, or TypeError / ValueError unless it is an integer in [low, high]."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {type(value).__name__} {value!r}")
    number = value.__index__()
    if not low <= number <= high:
        raise ValueError(f"{name} must be an integer in [{low}, {high}], got {number}")
    return int(number)


def real(name: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """`value` as float, or TypeError / ValueError unless it is a finite number in [low, high]."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, got {type(value).__name__} {value!r}")
    number = float(value)
    if not (math.isfinite(number) and low <= number <= high):
        raise ValueError(f"{name} must be a finite number in [{low}, {high}], got {number}")
    return number
