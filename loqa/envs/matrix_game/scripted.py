"""Strategies of the iterated prisoner's dilemma as vectors for `MatrixGame.rollout_memory1`."""

from __future__ import annotations

from collections.abc import Sequence

from loqa import _checks

# Probability of cooperating at the start and after CC, CD, DC, DD (own action first).
MEMORY1_PLAYERS: dict[str, tuple[float, float, float, float, float]] = {
    "always-cooperate": (1, 1, 1, 1, 1),
    "always-defect": (0, 0, 0, 0, 0),
    "random": (0.5, 0.5, 0.5, 0.5, 0.5),
    "tit-for-tat": (1, 1, 0, 1, 0),
    "win-stay-lose-shift": (1, 1, 0, 0, 1),
    "grim": (1, 1, 0, 0, 0),
    "generous-tit-for-tat": (1, 1, 1 / 3, 1, 1 / 3),
}
"""Generous tit-for-tat forgives with 1/3: min(1 - (T - R) / (R - S), (R - P) / (T - P)) is 1/2 for the
payoffs -1, -3, 0, -2 and 1/3 for Axelrod's 3, 0, 5, 1 (Nowak and Sigmund, Nature 1992), whose
smaller one is used."""


def memory1(name: str, cooperate: int | None = 0) -> tuple[float, float, float, float, float]:
    """A strategy by name, as `MatrixGame.rollout_memory1` takes it.

    Args:
        name: one of `MEMORY1_PLAYERS`.
        cooperate: the game's action code of cooperation, `env.cooperate`.

    Returns:
        P(action 0) in each observation 0 start, 1 + 2 own + other. With code 0 that is P(cooperate) at the
        start and after CC, CD, DC, DD.

    Raises:
        ValueError: no such strategy, or no action of the game is cooperation.
    """
    return by_codes(MEMORY1_PLAYERS[_checks.one_of("strategy", name, MEMORY1_PLAYERS)], cooperate)


def by_codes(
    vector: Sequence[float], cooperate: int | None
) -> tuple[float, float, float, float, float]:
    """P(cooperate) at the start and after CC, CD, DC, DD as P(action 0) by a game's observation index.

    Args:
        vector: five probabilities.
        cooperate: the game's action code of cooperation, 0 or 1.

    Raises:
        ValueError: no action of the game is cooperation (None).
    """
    if cooperate not in (0, 1):
        raise ValueError(f"cooperate must be action 0 or 1 of a game of 2 actions, got {cooperate}")
    start, cc, cd, dc, dd = vector
    if cooperate == 0:
        return start, cc, cd, dc, dd
    return 1 - start, 1 - dd, 1 - dc, 1 - cd, 1 - cc
