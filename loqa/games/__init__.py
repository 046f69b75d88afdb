"""A record for each game: all that training, evaluation, figures and the command line ask of it."""

from typing import TYPE_CHECKING

from loqa._lazy import lazy

if TYPE_CHECKING:
    from loqa.games.base import Game as Game
    from loqa.games.registry import game as game
    from loqa.games.registry import names as names
    from loqa.games.registry import register as register

__getattr__, __all__ = lazy(
    __name__,
    {
        "Game": "loqa.games.base",
        "game": "loqa.games.registry",
        "names": "loqa.games.registry",
        "register": "loqa.games.registry",
    },
)
