"""The games that are known, by name; a game of a user's own enters by `register`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from loqa import _checks
from loqa.games.base import Game
from loqa.games.matches import MatchRules

# Loaded when they are first asked for: a run of one game needs none of the others.
_BUILT_IN = {
    "coin": "loqa.games.coin_game",
    "ipd": "loqa.games.matrix_game",
    "matrix": "loqa.games.matrix_game",
    "public-goods": "loqa.games.public_goods",
    "continuous-ipd": "loqa.games.continuous_game",
    "cournot": "loqa.games.continuous_game",
    "own": "loqa.games.own",
}
_games: dict[str, Game] = {}


def register(game: Game) -> Game:
    """Makes a game known by its name.

    Raises:
        ValueError: another game has the name.
    """
    if game.name in _BUILT_IN:  # loaded, unless it is what calls
        import_module(_BUILT_IN[game.name])
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
    found = [one for one in _records() if _plain(name) in map(_plain, (one.name, one.env_name))]
    if not found:
        _checks.one_of("game", name, names())
    return found[0]


def played() -> list[tuple[Game, MatchRules[Any]]]:
    """The games in which players can meet, and their rules of matches; where players share several games,
    they meet in the first."""
    return [(one, one.matches) for one in _records() if one.matches is not None]


def matches_of(name: str) -> MatchRules[Any]:
    """The rules of matches of an environment, by the name in its spec; errors as `meeting_in`."""
    return meeting_in(name)[1]


def meeting_in(name: str) -> tuple[str, MatchRules[Any]]:
    """The game as which players meet in an environment, by the name in its spec ("ipd" for "chicken"), and
    its rules of matches.

    Raises:
        ValueError: players of it cannot meet, or nothing is known of it.
    """
    for one, rules in played():
        if _plain(name) in map(_plain, (one.env_name, *one.kin)):
            return one.env_name, rules
    raise ValueError(f"no record says how players of {name} meet")


def _records() -> list[Game]:
    for known in names():
        if known not in _games:
            import_module(_BUILT_IN[known])
    return [_games[known] for known in names()]


def _plain(name: str) -> str:
    return name.replace("-", "_")
