"""Rule presets: which paper's game a name stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from loqa import _checks
from loqa.envs.base import Preset


@dataclass(frozen=True)
class MatrixPreset(Preset):
    """An iterated two-player matrix game as somebody published it."""

    payoff: tuple[Any, ...]
    """(own payoff for joint actions in the order own * K + other), or one such tuple a player; empty:
    the user must give it."""
    obs: str
    """Default observation mode."""
    noise: float = 0.0
    """Default probability that an action is replaced by another one."""
    public_goods: bool = False
    """Payoffs come from a contribution factor."""
    cooperate: int | None = 0
    """The action code of cooperation; None in a game that has none."""

    def payoff_of_factor(self, factor: float) -> tuple[float, ...]:
        """Payoffs of the public-goods form: who cooperates pays 1, the pot times `factor` is shared.

        With action code 0 = D, 1 = C, in the order DD, DC, CD, CC: 0, f/2, f/2 - 1, f - 1.
        """
        if not self.public_goods:
            raise ValueError(f"preset {self.name!r} has no contribution_factor; only 'pola22' has")
        return _public_goods(factor)


def _public_goods(factor: float) -> tuple[float, ...]:
    return (0.0, factor / 2, factor / 2 - 1, factor - 1)


def as_payoff(payoff: Any, dtype: Any = np.float32) -> np.ndarray:
    """Payoffs as [2, K, K] (player, own action, other's action), K in 2..11, float32 by default.

    Accepts [2, K, K]; [K, K] or its K*K numbers in a row for a symmetric game; or two such rows.

    Raises:
        ValueError: another shape, or a payoff that is not finite.
    """
    if isinstance(payoff, tuple) and not payoff:
        raise ValueError(
            "payoff must be given for matrix-game: K*K numbers (own action major), for the prisoner's "
            "dilemma payoff=[-1, -3, 0, -2]"
        )
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
            array = np.array(payoff, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"payoff must be an array of numbers, got {payoff!r}") from error
    actions = round(array.shape[-1] ** 0.5) if array.ndim else 0
    flat = array.ndim == 1 or (array.ndim == 2 and array.shape == (2, actions**2) and actions > 1)
    if flat and actions**2 == array.shape[-1]:
        array = array.reshape(*array.shape[:-1], actions, actions)
    if array.ndim == 2:
        array = np.stack([array, array])
    if array.ndim != 3 or array.shape[0] != 2 or array.shape[1] != array.shape[2]:
        raise ValueError(
            f"payoff must be [2, K, K], [K, K] or K*K numbers (own action major), "
            f"got {list(np.shape(payoff))}"
        )
    if not 2 <= array.shape[1] <= 11:
        raise ValueError(f"payoff must be for 2 to 11 actions, got {array.shape[1]}")
    if not np.isfinite(array).all():
        raise ValueError(f"payoff must be finite, got {array.tolist()}")
    return np.ascontiguousarray(array)


def cooperation_first(payoff: Any) -> np.ndarray:
    """Payoffs [2, K, K] float64 in which action 0 is to cooperate.

    Args:
        payoff: numbers as `as_payoff` takes them, for CC, CD, DC, DD; or a preset, or the name of one of
            "ipd", whose action codes may be the other way round.

    Raises:
        ValueError: as `as_payoff`; an unknown preset, or one in which no action is cooperation.
    """
    if isinstance(payoff, str):
        presets = MATRIX_PRESETS["ipd"]
        payoff = presets[_checks.one_of("payoff", payoff, presets)]
    if not isinstance(payoff, MatrixPreset):
        return as_payoff(payoff, np.float64)
    if payoff.cooperate is None:
        raise ValueError(f"preset {payoff.name!r} has no action that is cooperation")
    table = as_payoff(payoff.payoff, np.float64)
    return np.ascontiguousarray(table if payoff.cooperate == 0 else table[:, ::-1, ::-1])


_PRISONERS = (-1.0, -3.0, 0.0, -2.0)

# For each game its presets, the default first.
MATRIX_PRESETS: dict[str, dict[str, MatrixPreset]] = {
    game: {preset.name: preset for preset in presets}
    for game, presets in {
        "ipd": (
            MatrixPreset("loqa24", 1, "Aghajohari et al., ICLR 2024", _PRISONERS, "bits"),
            MatrixPreset(
                "lola18", 1, "Foerster et al., AAMAS 2018", _PRISONERS, "onehot", episode_length=150
            ),
            MatrixPreset(
                "pola22",
                1,
                "Zhao et al., NeurIPS 2022; action 0 is to defect",
                _public_goods(1.33),
                "actions",
                public_goods=True,
                cooperate=1,
            ),
            MatrixPreset(
                "axelrod",
                1,
                "Axelrod 1984",
                (3.0, 0.0, 5.0, 1.0),
                "index",
                episode_length=200,
                discount=1.0,
            ),
        ),
        "matching-pennies": (
            MatrixPreset(
                "lola18",
                1,
                "Foerster et al., AAMAS 2018",
                ((1.0, -1.0, -1.0, 1.0), (-1.0, 1.0, 1.0, -1.0)),
                "onehot",
                cooperate=None,
                episode_length=150,
                discount=0.9,
            ),
        ),
        "chicken": (
            MatrixPreset(
                "mfos22",
                1,
                "Lu et al., ICML 2022",
                (0.0, -1.0, 1.0, -100.0),
                "onehot",
                episode_length=100,
            ),
        ),
        "stag-hunt": (
            MatrixPreset("textbook", 1, "textbook payoffs", (4.0, 1.0, 3.0, 2.0), "onehot"),
        ),
        "hawk-dove": (
            MatrixPreset("textbook", 1, "textbook payoffs", (3.0, 1.0, 4.0, 0.0), "onehot"),
        ),
        "matrix-game": (
            MatrixPreset("custom", 1, "payoffs given by the user", (), "onehot", cooperate=None),
        ),
    }.items()
}
