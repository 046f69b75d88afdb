"""Whether policies are tit-for-tat, by the definitions that papers use."""

from __future__ import annotations

import torch
from torch import Tensor

from loqa.algos.exact.games import ExactGame

_COOPERATES, _DEFECTS = 0.65, 0.35
_SHARE = 0.8


def is_tit_for_tat(p_cooperate: Tensor) -> Tensor:
    """Whether a player does as the other did: P(C) above .65 at the start, after CC and DC, below .35 after
    CD and DD.

    Args:
        p_cooperate: P(C) at the start and after CC, CD, DC, DD, own action first, `[..., 5]`.

    Returns:
        `[...]`, bool.
    """
    start, cc, cd, dc, dd = p_cooperate.unbind(-1)
    cooperates = torch.minimum(torch.minimum(start, cc), dc) > _COOPERATES
    return cooperates & (torch.maximum(cd, dd) < _DEFECTS)


def finds_tit_for_tat(game: ExactGame, p_cooperate: Tensor, rewards: Tensor) -> Tensor:
    """Whether both players punish and yet cooperate, as Zhao et al. (2022) count it.

    Each cooperates with probability below .65 after the other defected (CD, DD), and the mean reward of both
    is above r_DD + .8 (r_CC - r_DD); in public goods that is .8 (f - 1).

    Args:
        game: whose payoffs count.
        p_cooperate: of both players, `[2, ..., 5]`.
        rewards: per step of both, `[2, ...]`.

    Returns:
        `[...]`, bool.
    """
    payoff = torch.tensor(game.payoff, dtype=rewards.dtype)
    both_cooperate, both_defect = payoff[:, 0, 0].mean(), payoff[:, 1, 1].mean()
    enough = both_defect + _SHARE * (both_cooperate - both_defect)
    punishes = (p_cooperate[..., [2, 4]] < _COOPERATES).all(-1).all(0)
    return punishes & (rewards.mean(0) > enough)
