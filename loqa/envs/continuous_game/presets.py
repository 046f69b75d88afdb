"""Rule presets of continuous games: coefficients of a quadratic payoff."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from loqa.envs.base import Preset


class Payoff(NamedTuple):
    """r_i = base + own a + others S + square a^2 + cross a S, a the own action, S the sum of the others',
    in float32, from left to right."""

    base: float = 0.0
    own: float = 0.0
    others: float = 0.0
    square: float = 0.0
    cross: float = 0.0

    def cooperative(self, players: int) -> float:
        """The action in [0, 1] with which n players who all play it earn the most.

        (own + (n - 1) others) a + (square + (n - 1) cross) a^2
        """
        slope = self.own + (players - 1) * self.others
        return _best(slope, self.square + (players - 1) * self.cross)

    def equilibrium(self, players: int) -> float:
        """The action in [0, 1] that all play in the equilibrium of one step.

        own + 2 square a + cross (n - 1) a = 0,   or the end of [0, 1] to which this leads
        """
        return _best(self.own, self.square + (players - 1) * self.cross / 2)


def _best(slope: float, curve: float) -> float:
    """Where slope a + curve a^2 is the most in [0, 1]."""
    if curve >= 0:
        return float(slope + curve > 0)
    return min(1.0, max(0.0, -slope / (2 * curve)))


@dataclass(frozen=True)
class ContinuousPreset(Preset):
    """A game of actions in [0, 1]."""

    payoff: Payoff
    """Of two players."""
    shared: bool = False
    """Whether what an action gives is shared by the other players, however many they are."""

    def payoff_of(self, players: int) -> Payoff:
        """The payoffs of n players."""
        each = self.payoff.others / (players - 1 if self.shared else 1)
        return self.payoff._replace(others=each)


CONTINUOUS_PRESETS = {
    "continuous-ipd": {
        "donation": ContinuousPreset(
            "donation",
            1,
            "the prisoner's dilemma of donations with degrees of giving: r_i = -2 + 2 c_j - c_i",
            Payoff(base=-2.0, own=-1.0, others=2.0),
            shared=True,
        )
    },
    "cournot": {
        "linear": ContinuousPreset(
            "linear",
            1,
            "Cournot (1838), linear demand, no costs: r_i = c_i (1 - c_i - c_j)",
            Payoff(own=1.0, square=-1.0, cross=-1.0),
        )
    },
}
"""By name of the game; the first preset of each is its default."""
