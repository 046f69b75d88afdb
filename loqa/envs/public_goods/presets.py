"""Rule presets of public goods: what a contribution is worth, and to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from loqa import _checks
from loqa.envs.base import Preset

SCRIPTED = ("always-cooperate", "always-defect", "conditional-cooperator", "grim", "random")
"""Players of the simulator, see csrc/games/README.md."""
OBS_MODES = ("index", "count", "joint")  # in the order of the C++ enum Obs


def num_sums(players: int, levels: int) -> int:
    """How many sums of the others' levels there are."""
    return (players - 1) * (levels - 1) + 1


def obs_shape(obs: str, players: int, levels: int) -> tuple[int, ...]:
    """Of one player's observation.

    Raises:
        ValueError: a number out of range, or no such observation.
    """
    _checks.integer("num_players", players, 2, 8)
    _checks.integer("num_levels", levels, 2, 16)
    count = levels + num_sums(players, levels)
    shapes = {"index": (), "count": (count,), "joint": (players * levels,)}
    return shapes[_checks.one_of("obs", obs, OBS_MODES)]


class Payoff(NamedTuple):
    """r_i = base + gain * (levels of the others) + own * (own level), in float32, from left to right."""

    base: float
    gain: float
    own: float


@dataclass(frozen=True)
class PublicGoodsPreset(Preset):
    """A public-goods game as the literature plays it; a level is l / (K - 1) of what one has."""

    factor: float | None = None
    """The pot times this is shared by all; None where a contribution is for the others alone."""
    benefit: float = 2.0
    """What a full contribution gives the other players together, if it is for them alone."""
    cost: float = 1.0
    """What a full contribution costs."""
    base: float = 0.0
    """What everybody has where nobody contributes."""

    def payoff(
        self,
        players: int,
        levels: int,
        factor: float | None = None,
        benefit: float | None = None,
        cost: float | None = None,
    ) -> Payoff:
        """The payoffs of n players and K levels; what is None is as in the preset.

        Raises:
            ValueError: a number that the preset has no use for.
        """
        each = levels - 1
        if self.factor is None:
            if factor is not None:
                raise ValueError(f"preset {self.name!r} has benefit and cost, and no factor")
            given = _checks.real("benefit", self.benefit if benefit is None else benefit)
            paid = _checks.real("cost", self.cost if cost is None else cost)
            return Payoff(self.base, given / ((players - 1) * each), -paid / each)
        if benefit is not None or cost is not None:
            raise ValueError(f"preset {self.name!r} has a factor, and no benefit and cost")
        share = _checks.real("factor", self.factor if factor is None else factor) / players
        return Payoff(self.base, share / each, (share - 1) / each)


_LINEAR = PublicGoodsPreset(
    "linear",
    1,
    "the linear public-goods game: the pot times the factor is shared by all players",
    factor=1.6,
)
_DONATION = PublicGoodsPreset(
    "donation",
    1,
    "the n-player prisoner's dilemma of donations: who gives pays the cost, the others share the benefit",
    base=-2.0,
)
PUBLIC_GOODS_PRESETS = {"public-goods": {"linear": _LINEAR}, "n-ipd": {"donation": _DONATION}}
"""By name of the game; the first preset of each is its default."""
