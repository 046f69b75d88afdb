"""Exact games: returns of memory-1 policies by linear algebra, and the learners that differentiate them."""

from typing import TYPE_CHECKING

from loqa._lazy import lazy

if TYPE_CHECKING:
    from loqa.algos.exact.games import ExactGame as ExactGame
    from loqa.algos.exact.games import game as game
    from loqa.algos.exact.learn import ExactResult as ExactResult
    from loqa.algos.exact.learn import train as train

__getattr__, __all__ = lazy(
    __name__,
    {
        "ExactGame": "loqa.algos.exact.games",
        "ExactResult": "loqa.algos.exact.learn",
        "game": "loqa.algos.exact.games",
        "train": "loqa.algos.exact.learn",
    },
)
