"""What a memory-1 player of public goods of two levels answers, and what that is worth, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from loqa.algos.exact import chain
from loqa.algos.exact.games import ExactGame
from loqa.algos.exact.reciprocity import applies, reciprocity
from loqa.games.view import Part, reward_outcome, reward_view

GIVES = 0.5
"""Above this probability an answer is drawn as one that gives."""


def state_names(players: int) -> list[str]:
    """In the order of the observation `index`: "start", then the own action, C who gave, and how many of the
    others gave, for three players "D0" to "D2" and "C0" to "C2"."""
    return ["start", *(f"{own}{others}" for own in "DC" for others in range(players))]


def answers(table: Tensor) -> dict[str, float]:
    """P(C) in each state, of probabilities `[S, 2]`; after own C first, the most others first."""
    players = (len(table) - 1) // 2
    found = dict(zip(state_names(players), table[:, 1].tolist(), strict=True))
    ordered = ["start", *(f"{own}{others}" for own in "CD" for others in range(players)[::-1])]
    return {name: found[name] for name in ordered}


@cache
def exact_game(base: float, gain: float, own: float, players: int, discount: float) -> ExactGame:
    """The same game without end: C gives."""
    levels = 1 - torch.tensor(chain.actions(players).tolist(), dtype=torch.float64)
    paid = base + gain * levels[1:].sum(0) + own * levels[0]
    return ExactGame("public goods", paid.tolist(), discount, None, players)


def worth(game: ExactGame, table: Tensor) -> dict[str, Any]:
    """What such a player earns beside its copies, and what others gain by being different.

    Args:
        game: `exact_game`.
        table: probabilities of its actions, `[S, 2]`, by the observation `index`.

    Returns:
        "lone_defector", the reward a step of one who never gives among its copies; "best_response_gain",
        what the best response earns more a step than one of them; "learned", see
        `loqa.algos.exact.reciprocity.Reciprocity.kinds`. Nothing where giving is not better for all, or
        where a run on a GPU has gone wrong.
    """
    if not (applies(game) and bool(table.isfinite().all())):
        return {}
    players = game.num_players
    index = [0, *(1 + (1 - lost // players) * players + players - 1 - lost % players
                  for lost in range(2 * players))]  # fmt: skip
    # Rounding can lift a probability just above 1.
    p_cooperate = table[:, 1].double().cpu().clamp(max=1)[index][chain.counted(players)]
    found = reciprocity(game, p_cooperate[None])
    return {
        "lone_defector": found.lone_defector.item(),
        "best_response_gain": found.best_response_gain.item(),
        "learned": found.kinds[0],
    }


def view(line: dict[str, Any]) -> Sequence[Part]:
    """Answers, rewards and speed."""
    parts = [Part("P(C)", 0)] if "p_cooperate" in line else []
    for name, p in line.get("p_cooperate", {}).items():
        colour = "dodger_blue1" if p > GIVES else "dark_orange"
        parts.append(Part(f"{name} [{colour}]{p:.2f}[/]", 3))
    return [*parts, *reward_view(line)]


def outcome(summary: dict[str, Any]) -> str:
    """What was learned, and what it earns."""
    said = []
    if "p_cooperate" in summary:
        each = ", ".join(f"{name} {p:.2f}" for name, p in summary["p_cooperate"].items())
        said.append(f"P(C) after own C or D and so many others who gave: {each}")
    said.append(reward_outcome(summary))
    if "learned" in summary:
        said.append(
            f"a lone defector earns {summary['lone_defector']:+.3f}, the best response gains "
            f"{summary['best_response_gain']:.3f}: {NAMES[summary['learned']]}"
        )
    return "\n".join(said)


NAMES = {
    "contrite": "strict conditional cooperation, which returns after a lone defection",
    "grim": "strict conditional cooperation, which never forgives",
    "strict": "strict conditional cooperation",
    "threshold": "cooperation that bears a defector",
    "defection": "defection",
    "other": "none of the known kinds",
}
"""Of what was learned."""
