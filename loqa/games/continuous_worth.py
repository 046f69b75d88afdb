"""What a player of a continuous game answers, and what that is worth: a best response on a grid."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log

import torch
from torch import Tensor

from loqa.envs.continuous_game.presets import Payoff

Answer = Callable[[Tensor], Tensor]
"""Observations `[N, 1 + n]` to actions `[N]` in [0, 1]."""
_STILL = 1e-6  # of a value, with which value iteration ends
_CPU = torch.device("cpu")  # whatever the default is
_FOLLOWED = 200  # sweeps in which choices stay, between two that choose anew


def reward(payoff: Payoff, own: Tensor, others: Tensor) -> Tensor:
    """Of an action where the sum of the others' is `others`."""
    linear = payoff.base + payoff.own * own + payoff.others * others
    return linear + payoff.square * own.square() + payoff.cross * own * others


def answers(answer: Answer, payoff: Payoff, players: int) -> dict[str, float]:
    """What it does at the start and after last actions, "CD" where it did C and all others D.

    C is the action with which all earn the most together, D that of the equilibrium of one step.
    """
    levels = {"C": payoff.cooperative(players), "D": payoff.equilibrium(players)}
    seen = {"start": [0.0] * (1 + players)}
    for own in levels:
        for other in levels:
            seen[own + other] = [1.0, levels[own], *[levels[other]] * (players - 1)]
    return dict(
        zip(
            seen,
            answer(torch.tensor(list(seen.values()), device=_CPU, dtype=torch.float32)).tolist(),
            strict=True,
        )
    )


def best_response(
    answer: Answer, payoff: Payoff, players: int, discount: float, grid: int = 51
) -> dict[str, float]:
    """What the best response to n - 1 copies of a player earns more than one of them, a step.

    The copies do m(own last action, the others' last actions), without noise, and so they all do the same. A
    state is (x, y): what the one who responds did last, and each of the copies. With y' = m(y; x, y, ..., y),

        V(x, y) = max_a r(a, (n - 1) y') + gamma V(a, y')
        gain = (1 - gamma) (V(start) - V of a copy among copies)

    a is on a grid of [0, 1], and so is x; between points of the grid V is linear in y. Modified policy
    iteration (Puterman and Shin 1978), until no value moves by more than 10^-6.

    Args:
        answer: m.
        payoff: of n players.
        players: n.
        discount: gamma < 1.
        grid: points.

    Returns:
        "best_response_gain"; "copies_earn", what a copy among copies earns a step; "copies_do", their
        action at last.
    """
    points = torch.linspace(0, 1, grid, dtype=torch.float64, device=_CPU)
    x, y = (one.reshape(-1) for one in torch.meshgrid(points, points, indexing="ij"))
    seen = torch.stack([torch.ones_like(x), y, x, *[y] * (players - 2)], -1)
    seen = torch.cat([torch.zeros_like(seen[:1]), seen])
    copies = answer(seen.float()).double()
    lower = (copies * (grid - 1)).long().clamp(max=grid - 2)
    share = (copies * (grid - 1) - lower)[:, None]
    paid = reward(payoff, points[None], (players - 1) * copies[:, None])
    values = torch.zeros(len(seen), dtype=torch.float64, device=_CPU)
    moved = torch.inf
    while moved > _STILL:
        by_copies = values[1:].reshape(grid, grid).T.contiguous()  # [y, x]
        following = torch.lerp(by_copies[lower], by_copies[lower + 1], share)
        best, chosen = (paid + discount * following).max(1)
        moved = (best - values).abs().max().item()
        values, now = best, paid.gather(1, chosen[:, None])[:, 0]
        place = 1 + grid * chosen + lower
        for _ in range(_FOLLOWED):
            values = now + discount * torch.lerp(values[place], values[place + 1], share[:, 0])
    earned, action = _copies(answer, payoff, players, discount)
    return {
        "best_response_gain": (1 - discount) * values[0].item() - earned,
        "copies_earn": earned,
        "copies_do": action,
    }


def _copies(answer: Answer, payoff: Payoff, players: int, discount: float) -> tuple[float, float]:
    """(1 - gamma) sum_t gamma^t r_t where all are copies, and what they do at last."""
    total, left = 0.0, 1.0
    started = torch.ones(1, dtype=torch.float32, device=_CPU)
    action, seen = 0 * started, torch.zeros(1, 1 + players, dtype=torch.float32, device=_CPU)
    steps = ceil(log(_STILL * (1 - discount)) / log(discount)) if discount else 1
    for _ in range(steps):
        action = answer(seen)
        own = action.double()
        total += left * reward(payoff, own, (players - 1) * own).item()
        left *= discount
        seen = torch.cat([started, action.expand(players)])[None]
    return (1 - discount) * total, action.item()
