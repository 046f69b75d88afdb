"""Games of two actions whose returns are computed, not sampled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loqa import _checks
from loqa.algos.exact.chain import actions, seen
from loqa.envs.matrix_game.presets import MATRIX_PRESETS, as_payoff, cooperation_first
from loqa.envs.public_goods.presets import PUBLIC_GOODS_PRESETS
from loqa.ops.meta_game import exact_gradient

_FACTORS = MATRIX_PRESETS["ipd"]["pola22"]
_FACTOR = 2 * float(np.ravel(_FACTORS.payoff)[1])  # f / 2 is paid for DC
NAMES = (*(name for name in MATRIX_PRESETS if name != "matrix-game"), "public-goods", "n-ipd")
"""Of the games that `game` knows."""
OF_MANY = ("public-goods", "n-ipd")
"""Those of any number of players."""
MAX_PLAYERS = 8
_MANY = 2**31 - 1


@dataclass(frozen=True)
class ExactGame:
    """A repeated game of n players and two actions.

        V_i = E sum_{t<T} g^t r^i_t

    A game without end has 2^n + 1 states, the start and what all did, own action first; so has one of
    T > 1 steps. For two players: start, CC, CD, DC, DD. A game of one step has the start alone.

    Args:
        name: in tables and figures.
        payoff: to me by my action and those of the next players in turn, `[2, ..., 2]`; or one such table
            for each player, `[n, 2, ..., 2]`; or these numbers in a row. Action 0 is called C.
        discount: g, in [0, 1); in a game of T steps up to 1.
        steps: T; None is a game without end.
        num_players: n, 2 to 8.

    Raises:
        ValueError: another shape, or a value out of range.
    """

    name: str
    payoff: Any
    discount: float = 0.96
    steps: int | None = None
    num_players: int = 2

    def __post_init__(self) -> None:
        _checks.integer("num_players", self.num_players, 2, MAX_PLAYERS)
        table = _table(self.payoff, self.num_players)
        _checks.real("discount", self.discount, 0, 1)
        if self.steps is not None:
            _checks.integer("steps", self.steps, 1, _MANY)
        elif self.discount == 1:
            raise ValueError("discount must be below 1 in a game without end, got 1.0")
        # Hashable, whatever was given.
        object.__setattr__(self, "payoff", _plain(table.tolist()))

    @property
    def num_states(self) -> int:
        """S: 2^n + 1, or 1 in a game of one step."""
        return 1 if self.steps == 1 else 2**self.num_players + 1

    @property
    def symmetric(self) -> bool:
        """Whether the same is paid to every player for what it sees."""
        return len(set(self.payoff)) == 1

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
        """Discounted returns of two players, mine and the other's; differentiable as often as one likes.

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

    def others_gradient(self, mine: Tensor, theirs: Tensor, seat: int) -> tuple[Tensor, Tensor]:
        """`values [2, ...]` without the graph, and the gradient `[..., S]` of the other's for its logits."""
        if self.steps is None:
            own, others = _payoffs(self, torch.float64, torch.device("cpu"))
            payoffs = (own[seat].tolist(), others[seat].tolist())
            return exact_gradient(mine, theirs, payoffs, self.discount)
        with torch.enable_grad():
            theirs = theirs.detach().requires_grad_()
            values = torch.stack(self.values(mine.detach(), theirs, seat))
            (gradient,) = torch.autograd.grad(values[1].sum(), theirs)
        return values.detach(), gradient

    def outcome_payoffs(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """What each player is paid in each outcome, player 0's action first, `[n, 2^n]`."""
        table = torch.tensor(self.payoff, dtype=dtype, device="cpu").flatten(1)
        return table.gather(1, seen(self.num_players)[:, 1:] - 1)


def visits(mine: Tensor, theirs: Tensor, discount: float, steps: int | None = None) -> Tensor:
    """Discounted expected number of times that each outcome occurs, `[..., 4]`.

        d0 (I - g M)^-1,   for T steps: sum_{t<T} g^t d0 M^t

    d0 is the distribution of the first outcome, M the transition matrix, both over CC, CD, DC, DD as I see
    them. `loqa.agents.memory1` computes the same numbers to the last digit for probabilities however close to
    0 or 1, without derivatives. Here a linear solver does it: its error grows like 1 / (1 - g), and
    derivatives of every order go through it. By elimination an update of LOLA takes twice as long.

    Args:
        mine, theirs: logits of C at the start and after CC, CD, DC, DD, own action first, `[..., 5]`; for
            one step the start's alone, `[..., 1]`.
        discount: g.
        steps: T; None is a game without end, g < 1.
    """
    if steps != 1:
        # As I see the states. By slices: an index of a list costs a scatter in every derivative.
        start_cc, cd, dc, dd = torch.split(theirs, [2, 1, 1, 1], -1)
        theirs = torch.cat([start_cc, dc, cd, dd], -1)
    p, not_p = torch.sigmoid(mine), torch.sigmoid(-mine)  # 1 - p would lose what is near 0
    q, not_q = torch.sigmoid(theirs), torch.sigmoid(-theirs)
    outcomes = torch.stack([p * q, p * not_q, not_p * q, not_p * not_q], -1)
    state: Tensor = outcomes[..., 0, :]
    if steps == 1:
        return state
    chain = discount * outcomes[..., 1:, :]
    if steps is None:
        identity = torch.eye(4, dtype=chain.dtype, device=chain.device)
        forever: Tensor = torch.linalg.solve(identity - chain.mT, state)
        return forever
    total = state
    for _ in range(steps - 1):
        state = (state[..., None, :] @ chain)[..., 0, :]
        total = total + state
    return total


def _table(payoff: Any, players: int) -> np.ndarray:
    """Payoffs `[n, 2, ..., 2]` float64."""
    if players == 2:
        table = as_payoff(payoff, "float64")
        if table.shape != (2, 2, 2):
            raise ValueError(
                f"payoff must be of two actions, [2, 2] or [2, 2, 2], got {list(table.shape)}"
            )
        return table
    try:
        table = np.array(payoff, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"payoff must be an array of numbers, got {payoff!r}") from error
    one = (2,) * players
    if table.shape in (one, (2**players,)):
        table = np.broadcast_to(table.reshape(one), (players, *one))
    if table.shape not in ((players, *one), (players, 2**players), (players * 2**players,)):
        raise ValueError(
            f"payoff must be {2**players} numbers for {players} players, own action first, or "
            f"{players} times as many, got {list(table.shape)}"
        )
    if not np.isfinite(table).all():
        raise ValueError(f"payoff must be finite, got {table.tolist()}")
    return table.reshape(players, *one)


def _plain(table: Any) -> Any:
    return tuple(map(_plain, table)) if isinstance(table, list) else table


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
    num_players: int = 2,
) -> ExactGame:
    """A game by its name, with the payoffs and the discount of its first preset.

    With a_j = 1 for C and 0 for D:

        "public-goods"   r_i = (f/n) sum_j a_j - a_i
        "n-ipd"          r_i = -2 + 2/(n-1) sum_{j != i} a_j - a_i

    In the first who cooperates pays 1, and the pot times f is shared (Zhao et al. 2022). The second is "ipd"
    for two players; for any number all C earn -1 and all D earn -2.

    Args:
        name: one of `NAMES`.
        payoff: others, as in `ExactGame`.
        factor: f, of public goods alone (default 1.33).
        discount: another one.
        steps: as in `ExactGame`.
        num_players: n; other than two in `OF_MANY` alone.

    Raises:
        ValueError: an unknown name (the nearest is given), a factor of another game, a number of players
            that a game has not, a value out of range.
    """
    _checks.one_of("game", name, NAMES)
    _checks.integer("num_players", num_players, 2, MAX_PLAYERS)
    if num_players != 2 and name not in OF_MANY:
        raise ValueError(
            f"{name} is of two players, got num_players {num_players}: {' and '.join(OF_MANY)} take any "
            "number"
        )
    if factor is not None:
        if name != "public-goods":
            raise ValueError(f"factor is of the game public-goods, got it with {name}")
        if payoff is not None:
            raise ValueError("payoff and factor both say what is paid: give one of them")
        _checks.real("factor", factor)
    elif name == "public-goods":
        factor = _FACTOR
    preset = _FACTORS
    if name != "public-goods":
        preset = _checks.preset_of(MATRIX_PRESETS["ipd" if name in OF_MANY else name], None)
    if payoff is None and name in OF_MANY:
        paid = _checks.preset_of(PUBLIC_GOODS_PRESETS[name], None).payoff(num_players, 2, factor)
        gives = 1 - actions(num_players).double()  # level 1 is C
        payoff = (paid.base + paid.gain * gives[1:].sum(0) + paid.own * gives[0]).tolist()
    elif payoff is None:
        payoff = preset.payoff if preset.cooperate is None else cooperation_first(preset)
    return ExactGame(
        name, payoff, preset.discount if discount is None else discount, steps, num_players
    )
