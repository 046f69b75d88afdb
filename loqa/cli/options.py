"""The options of `loqa train`: the fields of a configuration, by tyro from its parts."""

from __future__ import annotations

import dataclasses
import inspect
import os
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from loqa.algos import registry as algorithms
from loqa.training.config import TrainConfig, full_name

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_OPTIONS = """
Attributes:
    preset: named settings that the other options start from.
    algo: what learns.
    out: run directory (default: a new one in runs/).
"""
Config = TypeVar("Config", bound=TrainConfig)


def parsed(
    kind: type[Config], given: Sequence[str], prog: str, known: Mapping[str, Any] | None = None
) -> tuple[Config, Path | None]:
    """The configuration that options ask for, and the run directory of `--out`.

    `known` are fields that have other defaults than the game's.

    What `--help` shows can be typed back. Besides tyro's forms these are understood: `--payoff 3,0,5,1`
    with commas, `--played-policy true`, and `none`.

    Raises:
        SystemExit: 0 after `--help`; 2 for an unknown option (the nearest is given) or a bad value.
        ValueError: values that do not go together.
    """
    algo = last_given(given, "algo") or "loqa"
    preset = last_given(given, "preset") or "default"
    legal = algo in algorithms.names() and preset in kind.presets()
    # What depends on another option is shown, and taken, as with that option.
    leading = {name: last_given(given, name) for name in kind.record().variants}
    found = {name: value for name, value in leading.items() if value is not None}
    found = {**(known or {}), **found}
    try:
        base = kind.of_preset(preset, algo=algo, **found) if legal else kind()
    except ValueError:  # tyro says what the choices are
        base = kind.of_preset(preset if preset in kind.presets() else "default")
    parts = {name: getattr(base, name) for name in kind.kinds(base.algo)}
    fields: list[Any] = [
        ("preset", Literal[tuple(kind.presets())], dataclasses.field(default=base.preset)),
        ("algo", Literal[tuple(algorithms.names())], dataclasses.field(default=base.algo)),
        ("out", Path | None, dataclasses.field(default=None)),
        *((name, type(part), dataclasses.field(default=part)) for name, part in parts.items()),
    ]
    # From Python 3.13 on the compiler dedents docstrings, but not this text.
    said = by_tyro(
        fields,
        "\n\n".join(map(inspect.cleandoc, (kind.__doc__ or "", _OPTIONS))),
        tyro_forms(given, kind.field_types(base.algo)),
        prog,
    )
    flat = {name: value for part in parts for name, value in vars(getattr(said, part)).items()}
    before = base.to_dict()
    given_fields = {name: value for name, value in flat.items() if value != before[name]}
    return kind.of_preset(said.preset, algo=said.algo, **{**found, **given_fields}), said.out


def by_tyro(fields: Sequence[Any], doc: str, given: Iterable[str], prog: str) -> Any:
    """What options say of these fields (`dataclasses.make_dataclass`), which `doc` describes."""
    import tyro  # of this command alone

    options = dataclasses.make_dataclass("Options", fields)
    options.__doc__ = doc
    flatly = (tyro.conf.OmitArgPrefixes,)
    leads = os.environ.get("RANK", "0") == "0"  # one of several processes speaks
    return tyro.cli(options, args=list(given), prog=prog, config=flatly, console_outputs=leads)


def last_given(given: Sequence[str], name: str) -> str | None:
    """The value of an option as it was given last, None if it was not."""
    option, value = f"--{name.replace('_', '-')}", None
    for place, token in enumerate(given):
        if token == option and place + 1 < len(given):
            value = given[place + 1]
        elif token.startswith(f"{option}="):
            value = token.partition("=")[2]
    return value


def tyro_forms(given: Sequence[str], kinds: dict[str, Any]) -> Iterator[str]:
    """The options in tyro's forms."""
    tokens = list(given)
    while tokens:
        token = tokens.pop(0)
        if not token.startswith("--"):
            yield token
            continue
        option, equals, value = token.partition("=")
        name = option.removeprefix("--").replace("-", "_")
        name = full_name(name, kinds)
        if name not in kinds:
            yield token
            continue
        options = [kinds[name]]
        if isinstance(kinds[name], types.UnionType):
            options = list(typing.get_args(kinds[name]))
        option = f"--{name.replace('_', '-')}"
        if not equals and tokens:
            taken = bool not in options or tokens[0].lower() in _BOOLEANS
            if taken and not tokens[0].startswith("--"):
                equals, value = "=", tokens.pop(0)
        if not equals:
            yield option
        elif bool in options and value.lower() in _BOOLEANS:
            yes = _BOOLEANS[value.lower()]
            yield option if yes else f"--no-{option.removeprefix('--')}"
        else:
            lists = any(typing.get_origin(one) is tuple for one in options)
            yield option
            values = value.split(",") if lists else [value]
            yield from (
                "None" if one == "none" and type(None) in options else one for one in values
            )
