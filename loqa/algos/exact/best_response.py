"""What answers memory-1 players best, for any number of players and a batch of policies at once.

`loqa.agents.memory1.best_response` is the same for one opponent, and keeps the last digits of
probabilities near 0 and 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from loqa.algos.exact import chain
from loqa.algos.exact.games import ExactGame

_MAX_SWEEPS = 64


class BestResponse(NamedTuple):
    """Of one player, in seat 0.

    Attributes:
        p_cooperate: 0 or 1 in each state, `[..., 2^n + 1]`; ties keep what was there before.
        values: V, its discounted return from each state, `[..., 2^n + 1]`; no player of any memory has more.
    """

    p_cooperate: Tensor
    values: Tensor


@torch.no_grad()
def best_response(game: ExactGame, p_cooperate: Tensor) -> BestResponse:
    """The best answer to n - 1 copies of a memory-1 player.

        Q(s, a) = sum_o P(o|s, a) (r(o) + g V(o)),   V(s) = max_a Q(s, a)

    by policy iteration: value iteration comes to the same V, in log(1e-12) / log(g) sweeps; this takes a
    few, each with an exact solution (Puterman 1994, section 6.4).

    Args:
        game: without end; it may pay its players differently.
        p_cooperate: P(C) of the copies, each from its own point of view, `[..., 2^n + 1]` float64.

    Raises:
        ValueError: a shape that does not fit, or what is not a probability.
    """
    _check(game, p_cooperate)
    others = chain.outcomes(_mu(game, p_cooperate), without=0)
    payoff = game.outcome_payoffs(p_cooperate.dtype)[:1]
    defects = chain.actions(game.num_players)[0]
    answer = torch.zeros_like(p_cooperate, dtype=torch.int64)  # 0 = C
    for _ in range(_MAX_SWEEPS):
        joint = others * (answer[..., None] == defects)
        worth, values = chain.values(joint, payoff, game.discount)
        q_values = chain.action_values(others, worth[..., 0], 0)
        gains = q_values.amax(-1) - values[..., 0]
        better = gains > 1e-12 * (1 + q_values.abs().amax())
        if not better.any():
            break
        answer = torch.where(better, q_values.argmax(-1), answer)
    return BestResponse((answer == 0).to(p_cooperate), values[..., 0])


@torch.no_grad()
def best_response_gain(game: ExactGame, p_cooperate: Tensor) -> Tensor:
    """What one of n copies gains a step by the best response to the others, `[...]`; 0 in an equilibrium.

    (V* - V) / sum_t g^t,   both from the start
    """
    best = best_response(game, p_cooperate).values[..., 0]
    joint = chain.outcomes(_mu(game, p_cooperate))
    payoff = game.outcome_payoffs(p_cooperate.dtype)[:1]
    own = chain.values(joint, payoff, game.discount)[1][..., 0, 0]
    return game.weight * (best - own).clamp(min=0)


def _mu(game: ExactGame, p_cooperate: Tensor) -> Tensor:
    both = torch.stack([p_cooperate, 1 - p_cooperate], -1)
    return both.expand(game.num_players, *both.shape)


def _check(game: ExactGame, p_cooperate: Tensor) -> None:
    if game.steps is not None:
        raise ValueError(f"a best response is to a game without end, got one of {game.steps} steps")
    if p_cooperate.shape[-1:] != (game.num_states,):
        raise ValueError(
            f"p_cooperate must be [..., {game.num_states}] for {game.num_players} players, "
            f"got {list(p_cooperate.shape)}"
        )
    if not ((p_cooperate >= 0) & (p_cooperate <= 1)).all():
        raise ValueError("p_cooperate must be probabilities in [0, 1]")
