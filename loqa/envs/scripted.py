"""Scripted players by name.

Coin Game players live in the native core: `CoinGame.scripted_actions`, `rollout_scripted`. Those of
the iterated prisoner's dilemma are memory-1 vectors for `MatrixGame.rollout_memory1`.
"""

from __future__ import annotations

from loqa import _checks
from loqa.envs.coin_presets import SCRIPTED_COIN_PLAYERS

__all__ = ["MEMORY1_PLAYERS", "SCRIPTED_COIN_PLAYERS", "memory1"]

# Probability of action 0, to cooperate, at the start and after CC, CD, DC, DD (own action first).
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


def memory1(name: str) -> tuple[float, float, float, float, float]:
    """P(cooperate) at the start and after CC, CD, DC, DD for a strategy by name."""
    return MEMORY1_PLAYERS[_checks.one_of("strategy", name, MEMORY1_PLAYERS)]
