"""Which runs a sweep is of: every combination of seeds and settings."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from loqa import _checks
from loqa.algos import registry as algorithms
from loqa.games.registry import names
from loqa.training.config import TrainConfig, config_class, full_name
from loqa.training.own import own_config

_MOST = 100_000  # runs of a sweep


@dataclass(frozen=True)
class Grid:
    """A grid of configurations: every seed with every combination of settings, ordered by seed.

    Attributes:
        game: as `loqa train` takes it: "ipd", "coin", ..., or "package.module:make_env".
        seeds: of the runs.
        settings: fields of the configuration, each with the values that it takes.

    Raises:
        ValueError: an unknown game or field (the nearest is given), a value of the wrong type, values that do
            not go together, or two equal runs.
    """

    game: str
    seeds: Sequence[int] = (0,)
    settings: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plain = {name: tuple(values) for name, values in self.settings.items()}
        if "seed" in plain:
            raise ValueError("seeds are given by seeds (--seed 0..9), not as a setting")
        for name, values in (("seeds", tuple(self.seeds)), *plain.items()):
            if not values:
                raise ValueError(f"{name} must have one value or more")
        object.__setattr__(self, "settings", plain)
        object.__setattr__(self, "seeds", tuple(self.seeds))
        runs = len(self.seeds)
        for values in plain.values():
            runs *= len(values)
        if runs > _MOST:
            raise ValueError(f"a sweep has at most {_MOST:,} runs, got {runs:,}")

    @property
    def fields(self) -> list[str]:
        """The settings that take several values."""
        return [name for name, values in self.settings.items() if len(values) > 1]

    def __iter__(self) -> Iterator[TrainConfig]:
        plain = [self._config(dict(zip(self.settings, values, strict=True)))
                 for values in product(*self.settings.values())]  # fmt: skip
        for seed in self.seeds:
            yield from (one.replace(seed=seed) for one in plain)

    def _config(self, fields: dict[str, Any]) -> TrainConfig:
        if ":" in self.game:
            return own_config(self.game, **fields)
        return _class_of(self.game).of_preset(**fields)


def seeds_of(text: str) -> list[int]:
    """ "0..9", "3" or "0..4,10,12" as numbers.

    Raises:
        ValueError: it is none of these.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dots, last = part.partition("..")
        ends = (first, last) if dots else (first, first)
        if not all(one.isascii() and one.isdigit() for one in ends) or int(ends[0]) > int(ends[1]):
            raise ValueError(f"seeds are written as 0..9, 3 or 0..4,10,12, got {text!r}")
        if int(ends[1]) - int(ends[0]) >= _MOST:
            raise ValueError(f"a sweep has at most {_MOST:,} runs, got the seeds {part}")
        seeds += range(int(ends[0]), int(ends[1]) + 1)
    return list(dict.fromkeys(seeds))


def settings_of(game: str, given: Sequence[str]) -> dict[str, list[str]]:
    """Texts NAME=VALUE,VALUE,... as fields and their values.

    A field that is a list (`payoff`) has commas of its own: each NAME=VALUE is one value of it. A name that
    is given again adds values. `-` and `_` are the same in names.

    Raises:
        ValueError: a text without "=".
    """
    kinds = _field_types(game)
    found: dict[str, list[str]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        name = name.removeprefix("--").replace("-", "_")
        if not equals or not name or not values:
            raise ValueError(f"--set takes NAME=VALUE,VALUE,..., got {text!r}")
        name = full_name(name, kinds)
        parts = [values] if _is_list(kinds.get(name)) else values.split(",")
        found.setdefault(name, []).extend(parts)
    return found


def _field_types(game: str) -> dict[str, Any]:
    """Type of each field, of every algorithm."""
    kind = _class_of(game)
    return {
        name: said for algo in algorithms.names() for name, said in kind.field_types(algo).items()
    }


def _class_of(game: str) -> type[TrainConfig]:
    if ":" in game:
        return config_class("own")
    return config_class(_checks.one_of("game", game, [name for name in names() if name != "own"]))


def _is_list(kind: Any) -> bool:
    return any(typing.get_origin(one) is tuple for one in (kind, *typing.get_args(kind)))
