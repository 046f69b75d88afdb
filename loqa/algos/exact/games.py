"""Two-player games of two actions whose returns are computed, not sampled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from loqa import _checks
from loqa.algos.exact.values import visits
from loqa.envs.matrix_game.presets import MATRIX_PRESETS, MatrixPreset, as_payoff, cooperation_first

_FACTORS = MATRIX_PRESETS["ipd"]["pola22"]
NAMES = (*(name for name in MATRIX_PRESETS if name != "matrix-game"), "public-goods")
"""Of the games that `game` knows."""
_MANY = 2**31 - 1


@dataclass(frozen=True)
class ExactGame:
    """A repeated game of two players and two actions.

        V_i = E sum_{t<T} g^t r^i_t

    A game without end has five states, the start and CC, CD, DC, DD, own action first; so has one of
    T > 1 steps. A game of one step has the start alone.

    Args:
        name: in tables and figures.
        payoff: `[2, 2]`, to me by own and other's action, or `[2, 2, 2]`, one for each player, or these
            numbers in a row. Action 0 is called C.
        discount: g, in [0, 1); in a game of T steps up to 1.
        steps: T; None is a game without end.

    Raises:
        ValueError: another shape, or a value out of range.
    """

    name: str
    payoff: Any
    discount: float = 0.96
    steps: int | None = None

    def __post_init__(self) -> None:
        table = as_payoff(self.payoff, "float64")
        if table.shape != (2, 2, 2):
            raise ValueError(
                f"payoff must be of two actions, [2, 2] or [2, 2, 2], got {list(table.shape)}"
            )
        _checks.real("discount", self.discount, 0, 1)
        if self.steps is not None:
            _checks.integer("steps", self.steps, 1, _MANY)
        elif self.discount == 1:
            raise ValueError("discount must be below 1 in a game without end, got 1.0")
        # Hashable, whatever was given.
        plain = tuple(tuple(map(tuple, one)) for one in table.tolist())
        object.__setattr__(self, "payoff", plain)

    @property
    def num_states(self) -> int:
        """S: 5, or 1 in a game of one step."""
        return 1 if self.steps == 1 else 5

    @property
    def weight(self) -> float:
        """What turns a return into a reward per step: 1 / sum_{t<T} g^t."""
        if self.steps is None:
            return 1 - self.discount
        if self.discount == 1:
            return 1 / self.steps
        # expm1: a discount near 1 would cancel.
        log = math.log(self.discount) if self.discount else -math.inf
        return (1 - self.discount) / -math.expm1(self.steps * log)

    def values(
        self, mine: Tensor, theirs: Tensor, seat: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Discounted returns, mine and the other's; differentiable as often as one likes.

        Args:
            mine, theirs: logits of C, `[..., S]`, each from its own player's point of view.
            seat: where I sit; None is both in turn, the first dimension of `mine`: `[2, ..., S]`.

        Returns:
            V of me and of the other, `[...]`.
        """
        count = visits(mine, theirs, self.discount, self.steps)
        own, others = _payoffs(self, mine.dtype, mine.device)
        if seat is not None:
            return count @ own[seat], count @ others[seat]
        shape = (2, *(1,) * (count.dim() - 2), 4)
        return (count * own.reshape(shape)).sum(-1), (count * others.reshape(shape)).sum(-1)


@cache
def _payoffs(game: ExactGame, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """To whom sits in each seat, and to the other, over CC, CD, DC, DD as that seat sees them: `[2, 4]`."""
    with torch.inference_mode(False):  # these are kept for callers outside it
        table = torch.tensor(game.payoff, dtype=dtype, device=device)
        return table.reshape(2, 4), table.flip(0).mT.reshape(2, 4)


def game(
    name: str = "ipd",
    *,
    payoff: Any = None,
    factor: float | None = None,
    discount: float | None = None,
    steps: int | None = None,
) -> ExactGame:
    """A game by its name, with the payoffs and the discount of its first preset.

    Args:
        name: one of `NAMES`. In "public-goods" who cooperates pays 1, and the pot times `factor` is
            shared: f - 1, f/2 - 1, f/2, 0 for CC, CD, DC, DD (Zhao et al. 2022).
        payoff: others, as in `ExactGame`.
        factor: f, of public goods alone (default 1.33).
        discount: another one.
        steps: as in `ExactGame`.

    Raises:
        ValueError: an unknown name (the nearest is given), a factor of another game, a value out of range.
    """
    _checks.one_of("game", name, NAMES)
    preset = _preset(name)
    if factor is not None:
        if name != "public-goods":
            raise ValueError(f"factor is of the game public-goods, got it with {name}")
        if payoff is not None:
            raise ValueError("payoff and factor both say what is paid: give one of them")
        payoff = preset.payoff_of_factor(_checks.real("factor", factor))[::-1]  # C first
    if payoff is None:
        payoff = as_payoff(preset.payoff, "float64")
        if preset.cooperate is not None:
            payoff = cooperation_first(preset)
    return ExactGame(name, payoff, preset.discount if discount is None else discount, steps)


def _preset(name: str) -> MatrixPreset:
    return _FACTORS if name == "public-goods" else next(iter(MATRIX_PRESETS[name].values()))
