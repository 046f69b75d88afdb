"""The chain of n memory-1 players of two actions: what they play in each state, and what it is worth.

There are 2^n outcomes and 2^n + 1 states: the start, then the outcomes. Outcomes are written in binary,
player 0 first, C = 0, D = 1: for two players CC, CD, DC, DD. A player's table is from its own point of
view: its own action first, then those of the next players in turn, the last being followed by player 0.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def num_players(num_states: int) -> int:
    """n of 2^n + 1 states."""
    return (num_states - 1).bit_length() - 1


@cache
def actions(players: int) -> Tensor:
    """What each player did in each outcome, 0 = C, `[n, 2^n]` int64."""
    with torch.inference_mode(False):  # these are kept for callers outside it
        outcomes = torch.arange(2**players, device="cpu")
        return torch.stack([outcomes >> (players - 1 - one) & 1 for one in range(players)])


@cache
def seen(players: int) -> Tensor:
    """Each state as each player sees it, `[n, 2^n + 1]` int64."""
    with torch.inference_mode(False):
        weights = 2 ** torch.arange(players - 1, -1, -1, device="cpu")
        table = actions(players)
        rows = [(table.roll(-one, 0) * weights[:, None]).sum(0) for one in range(players)]
        table = torch.stack(rows)
        return torch.cat([torch.zeros_like(table[:, :1]), table + 1], 1)


@cache
def counted(players: int) -> Tensor:
    """Each state in the coarser order start, C and D with n - 1 ... 0 others who cooperated, `[2^n + 1]`."""
    with torch.inference_mode(False):
        table = actions(players)
        counts = 1 + players * table[0] + table[1:].sum(0)
        return torch.cat([torch.zeros_like(counts[:1]), counts])


def state_names(players: int) -> list[str]:
    """ "start", then what all did, own action first: for three players "CCC", "CCD", "CDC" and so on."""
    rows = actions(players).mT.tolist()
    return ["start", *("".join("CD"[action] for action in row) for row in rows)]


def played(logits: Tensor, exploration: float = 0.0) -> Tensor:
    """P(C) and P(D) as they are played, mu = (1 - e) pi + e / 2, `[...]` -> `[..., 2]`."""
    both = torch.stack([torch.sigmoid(logits), torch.sigmoid(-logits)], -1)  # 1 - p loses digits
    return (1 - exploration) * both + exploration / 2


def outcomes(mu: Tensor, without: int | None = None) -> Tensor:
    """The distribution of the next outcome in each state, `[..., 2^n + 1, 2^n]`.

    Args:
        mu: of each player from its own point of view, `[n, ..., 2^n + 1, 2]`.
        without: a player whose factor is left out: the distribution given what it does.
    """
    players = mu.shape[0]
    joint = mu.new_ones((*mu.shape[1:-1], 1))
    for one, states in enumerate(seen(players)):
        factor = mu[one].index_select(-2, states)
        if one == without:
            factor = torch.ones_like(factor)
        joint = (joint[..., :, None] * factor[..., None, :]).flatten(-2)
    return joint


def values(joint: Tensor, payoffs: Tensor, discount: float) -> tuple[Tensor, Tensor]:
    """What each outcome and each state is worth to each player, in a game without end.

        W(o) = r(o) + g V(o),   V(s) = sum_o pi(o|s) W(o)

    Args:
        joint: `[..., 2^n + 1, 2^n]`, see `outcomes`.
        payoffs: r of m players, `[m, 2^n]`.
        discount: g, below 1.

    Returns:
        W `[..., 2^n, m]` and V `[..., 2^n + 1, m]`.
    """
    chain = joint[..., 1:, :]
    identity = torch.eye(chain.shape[-1], dtype=chain.dtype, device=chain.device)
    after = torch.linalg.solve(identity - discount * chain, chain @ payoffs.mT)
    worth = payoffs.mT + discount * after
    return worth, joint @ worth


def action_values(others: Tensor, worth: Tensor, player: int) -> Tensor:
    """Q(s, a) = E[W | s, this player does a], `[..., 2^n + 1, 2]`, of W `worth [..., 2^n]` to anybody;
    `others` are `outcomes` without this player."""
    done = actions(num_players(others.shape[-2]))[player]
    choice = torch.nn.functional.one_hot(done, 2).to(others)
    return (others * worth[..., None, :]) @ choice
