"""The games that are known, by name; a game of a user's own enters by `register`."""

from __future__ import annotations

from importlib import import_module

from loqa import _checks
from loqa.games.base import Game

# Loaded when they are first asked for: a run of one game needs none of the others.
_BUILT_IN = {"ipd": "loqa.games.matrix_game", "coin": "loqa.games.coin_game"}
_games: dict[str, Game] = {}


def register(game: Game) -> Game:
    """Makes a game known by its name.

    Raises:
        ValueError: another game has the name.
    """
    if _games.get(game.name, game) is not game:
        raise ValueError(f"there is a game {game.name!r} already")
    _games[game.name] = game
    return game


def names() -> list[str]:
    """Of all games, in the order in which they were registered; those of the package first."""
    return list(dict.fromkeys([*_BUILT_IN, *_games]))


def game(name: str) -> Game:
    """The game of a name, as on the command line and in config.json ("coin"), or of an environment's
    spec ("coin_game"); `-` and `_` are the same.

    Raises:
        ValueError: there is none; the nearest name is given.
    """
    wanted = name.replace("-", "_")
    for known in names():
        if known not in _games:
            import_module(_BUILT_IN[known])
        found = _games[known]
        if wanted in (found.name.replace("-", "_"), found.env_name.replace("-", "_")):
            return found
    _checks.one_of("game", name, names())
    raise AssertionError("unreachable")
