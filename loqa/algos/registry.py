"""The algorithms that are known, by name; a user's own enters by `register`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from torch import Generator

from loqa import _checks
from loqa.agents.actor_critic import Agent
from loqa.algos.base import Algorithm

MakeAgent = Callable[[Any, Any, Generator], Agent]
"""The untrained agent of a configuration, from what it reads (`loqa.games.base.Inputs`) and a source of
initial weights."""

# Modules that register the algorithms of the package when they are imported.
_BUILT_IN = tuple(
    f"loqa.algos.{name}"
    for name in ("actor_critic", "advantage_alignment", "lola", "mfos", "pola", "ppo")
)


@dataclass(frozen=True)
class Entry:
    """An algorithm that is known: its class, its settings, and what they are set to besides."""

    algorithm: type[Algorithm]
    settings: type[Any]
    title: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    agent: MakeAgent | None = None

    def defaults_in(self, game: str) -> dict[str, Any]:
        """Fields of a run, of any part, that this algorithm has other defaults for."""
        return {**self.defaults.get("", {}), **self.defaults.get(game, {})}


_known: dict[str, Entry] = {}


def register(
    name: str,
    algorithm: type[Algorithm],
    settings: type[Any],
    title: str | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
    agent: MakeAgent | None = None,
    **fixed: Any,
) -> None:
    """Makes an algorithm known as `--algo name`.

    Args:
        name: on the command line and in config.json.
        algorithm: its class.
        settings: a frozen dataclass; each field becomes an option.
        title: what figures and tables call it; its name by default.
        defaults: fields of a run, of any part, that differ from a game's: by the game's name, and "" for
            any game.
        agent: makes its agent; by default that of the run's network settings.
        fixed: fields that are always so.

    Raises:
        ValueError: another algorithm has the name.
    """
    if algorithm.__module__ not in _BUILT_IN:
        names()  # of the package's own: they are taken
    entry = Entry(algorithm, settings, title or name, fixed, defaults or {}, agent)
    if _known.get(name, entry) != entry:
        raise ValueError(f"there is an algorithm {name!r} already")
    _known[name] = entry


def names() -> list[str]:
    """Of all algorithms."""
    for module in _BUILT_IN:
        import_module(module)
    return sorted(_known)


def entry(name: str) -> Entry:
    """The algorithm of a name.

    Raises:
        ValueError: there is none; the nearest name is given.
    """
    return _known[_checks.one_of("algo", name, names())]
