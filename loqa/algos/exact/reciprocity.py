"""What policies have learned: whether one in every seat cooperates with itself, and what one gains by
leaving; whether two are tit-for-tat.

Shares are of the way from all D to all C: with r_D and r_C what each earns then, the three bounds are, for
the prisoner's dilemma of n players (-2 and -1), -1.1, -1.8 and .1 a step.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from loqa.algos.exact import chain
from loqa.algos.exact.best_response import best_response_gain
from loqa.algos.exact.games import ExactGame

COOPERATES = 0.9
"""Self-play earns at least this share..."""
LONE = 0.2
"""... and a lone defector at most this one, ..."""
GAIN = 0.1
"""... and the best response gains at most this one: strict conditional cooperation."""
KINDS = ("contrite", "grim", "strict", "threshold", "defection", "other")
STEPS = 50
_ABOVE, _BELOW = 0.65, 0.35  # P(C) of tit-for-tat where it cooperates, and where it defects


@dataclass(frozen=True)
class Reciprocity:
    """Of N policies. Rewards are means over the first `STEPS` steps, without exploration.

    Attributes:
        self_play: reward a step of each of n copies, `[N]`.
        share: of the way from all D to all C that self-play comes, `[N]`.
        lone_defector: of one who always defects among n - 1 copies, `[N]`.
        best_response_gain: see `loqa.algos.exact.best_response.best_response_gain`, `[N]`.
        strict: whether these numbers are those of strict conditional cooperation, `[N]` bool.
        tolerates: how many defectors among the others somebody bears who cooperated: the largest m such that
            it cooperates (P above 1/2) after 0, 1, ... m of them, whoever they were; -1 if not even after
            none, `[N]` int64.
        errors_to_return: how many answers must be mistaken on the way from one player's lone defection back
            to all C, at the least, each answer rounded to C or D, `[N]` int64; tit-for-tat needs one.
        grim: whether it cooperates after all did (P above 1/2) and after no other outcome, `[N]` bool.
    """

    self_play: Tensor
    share: Tensor
    lone_defector: Tensor
    best_response_gain: Tensor
    strict: Tensor
    tolerates: Tensor
    errors_to_return: Tensor
    grim: Tensor

    @property
    def kinds(self) -> list[str]:
        """One of `KINDS` for each policy.

        "contrite", "grim", "strict": strict conditional cooperation that returns to cooperation without an
        error after a lone defection (the contrite path), that cooperates after all C alone, or neither.
        "threshold": it cooperates in self-play and bears a defector. "defection": self-play earns at most
        a tenth of the way.
        """
        found = []
        numbers = (self.strict, self.errors_to_return, self.grim, self.tolerates, self.share)
        for strict, errors, grim, tolerates, share in zip(
            *(one.tolist() for one in numbers), strict=True
        ):
            if strict:
                found.append("contrite" if errors == 0 else "grim" if grim else "strict")
            elif share >= COOPERATES and tolerates >= 1:
                found.append("threshold")
            else:
                found.append("defection" if share <= 1 - COOPERATES else "other")
        return found

    @property
    def counts(self) -> dict[str, int]:
        """How many policies are of each kind, the most frequent first."""
        return dict(Counter(self.kinds).most_common())


def applies(game: ExactGame) -> bool:
    """Whether `reciprocity` measures policies of this game."""
    first = game.outcome_payoffs()[0]
    return game.symmetric and game.steps is None and bool(first[0] > first[-1])


@torch.no_grad()
def reciprocity(game: ExactGame, p_cooperate: Tensor) -> Reciprocity:
    """Measures a batch of policies, each in every seat of the game.

    Args:
        game: symmetric, without end, in which all earn more by C than by D.
        p_cooperate: P(C) in each state, `[N, 2^n + 1]` float64.

    Raises:
        ValueError: another game, or a shape that does not fit.
    """
    payoffs = game.outcome_payoffs(p_cooperate.dtype)
    best, worst = payoffs[0, 0].item(), payoffs[0, -1].item()
    if not applies(game):
        raise ValueError(
            "reciprocity is of games without end that pay every player the same, and more for all C than for "
            f"all D: {game.name} is not one"
        )
    if p_cooperate.dim() != 2:
        raise ValueError(
            f"p_cooperate must be [N, {game.num_states}], got {list(p_cooperate.shape)}"
        )
    gain = best_response_gain(game, p_cooperate)
    copies = p_cooperate.expand(game.num_players, *p_cooperate.shape)
    defector = torch.cat([torch.zeros_like(copies[:1]), copies[1:]])
    alone, among = _rewards(copies, payoffs), _rewards(defector, payoffs)
    share = (alone[:, 0] - worst) / (best - worst)
    lone = (among[:, 0] - worst) / (best - worst)
    answers = p_cooperate > 0.5
    return Reciprocity(
        self_play=alone[:, 0],
        share=share,
        lone_defector=among[:, 0],
        best_response_gain=gain,
        strict=(share >= COOPERATES) & (lone <= LONE) & (gain <= GAIN * (best - worst)),
        tolerates=_tolerated(answers),
        errors_to_return=_errors_to_return(answers),
        grim=answers[:, 1] & ~answers[:, 2:].any(1),
    )


def _rewards(p_cooperate: Tensor, payoffs: Tensor) -> Tensor:
    """Mean reward of each player over `STEPS` steps, `[n, N, 2^n + 1]` -> `[N, n]`."""
    joint = chain.outcomes(torch.stack([p_cooperate, 1 - p_cooperate], -1))
    where = joint[:, 0]
    total = where
    for _ in range(STEPS - 1):
        where = (where[:, None] @ joint[:, 1:])[:, 0]
        total = total + where
    return total @ payoffs.mT / STEPS


def _tolerated(answers: Tensor) -> Tensor:
    players = chain.num_players(answers.shape[-1])
    counts = chain.counted(players)
    each = [answers[:, counts == 1 + defectors].all(1) for defectors in range(players)]
    return torch.stack(each, 1).long().cumprod(1).sum(1) - 1


def _errors_to_return(answers: Tensor) -> Tensor:
    """Shortest ways over the outcomes, a step from o to o' costing what the answers to o differ from o'."""
    players = chain.num_players(answers.shape[-1])
    seen, acts = chain.seen(players), chain.actions(players)
    chosen = ~answers[:, seen[:, 1:]]  # [N, n, 2^n], True = D
    wrong = (chosen[..., None] != acts[:, None, :].bool()).sum(1)  # [N, 2^n, 2^n]
    costs = wrong[..., 0]
    for _ in range(acts.shape[1]):
        shorter = torch.minimum(costs, (wrong + costs[:, None, :]).amin(-1))
        if torch.equal(shorter, costs):
            break
        costs = shorter
    return costs[:, 2 ** (players - 1)]  # player 0 alone has defected


def is_tit_for_tat(p_cooperate: Tensor) -> Tensor:
    """Whether a player does as the other did: P(C) `[..., 5]` above .65 at the start, after CC and DC, below
    .35 after CD and DD, own action first; `[...]` bool."""
    start, cc, cd, dc, dd = p_cooperate.unbind(-1)
    cooperates = torch.minimum(torch.minimum(start, cc), dc) > _ABOVE
    return cooperates & (torch.maximum(cd, dd) < _BELOW)


def finds_tit_for_tat(game: ExactGame, p_cooperate: Tensor, rewards: Tensor) -> Tensor:
    """Whether both players punish and yet cooperate, as Zhao et al. (2022) count it.

    Each cooperates with probability below .65 after the other defected (CD, DD), and the mean reward of both
    is above r_DD + .8 (r_CC - r_DD); in public goods that is .8 (f - 1).

    Args:
        game: whose payoffs count.
        p_cooperate: of both players, `[2, ..., 5]`.
        rewards: per step of both, `[2, ...]`.
    """
    payoff = torch.tensor(game.payoff, dtype=rewards.dtype)
    both_cooperate, both_defect = payoff[:, 0, 0].mean(), payoff[:, 1, 1].mean()
    enough = both_defect + 0.8 * (both_cooperate - both_defect)
    punishes = (p_cooperate[..., [2, 4]] < _ABOVE).all(-1).all(0)
    return punishes & (rewards.mean(0) > enough)
