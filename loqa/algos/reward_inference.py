"""What another player is paid, concluded from how its policy changes: inverse RL from a learner.

A policy alone does not say what its player wants: what my own action does to it enters through the values of
what follows. Its changes do, and linearly. Let x(s) be the player's log-odds of action 0 in state s, and r_k
what it is paid for outcome k as it sees it. A learner that follows its gradient moves by

    dx(s) ~ sum_k r_k F_k(s),    F_k(s) = d J / d x(s)  if outcome k paid 1 and no other paid anything

with J of `loqa.algos.exact.loqa`, twice: as if the player were naive, and as if it shaped me as I shape it.
Every `WINDOW` iterations these are found for what both played on average, and r by weighted least squares
over all windows so far, older ones counting less; as of a naive player, unless the other kind explains the
changes clearly better. A naive player has been one from the beginning: beside it a window makes older ones
count less only as far as it says something itself. Rows are scaled to length 1, since optimisers such as Adam
scale them too. So the scale of r cannot be known, nor a constant: r has mean 0 and the length of my own
rewards. Outcomes that do not occur are not identified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from loqa.algos.exact.games import ExactGame
from loqa.algos.exact.loqa import LOQASettings as ExactSettings
from loqa.algos.exact.loqa import loqa_gradient
from loqa.algos.loqa import LOQASettings

WINDOW = 10
"""Iterations over which actions are counted."""
WARM_UP = 3
"""Windows in which nothing is inferred, so that I shape nobody; nor does the other."""
FORGET = 0.8
"""What a window's rows count, one window later; beside a naive player at least."""
CLEARLY = 0.85
"""The other is taken to shape me if that leaves less than this share of what a naive player leaves
unexplained: beside naive players, whose changes both explain well, this was 0.86 or more."""
_RIDGE = 1e-3
_FEWEST = 50  # visits of a state
_PURE = 0.02  # a share so close to 0 or 1 says little of the log-odds
_STATE = (
    "rewards", "_counts", "_iterations", "_windows", "_normal", "_moments", "_moved", "_kept_normal",
    "_kept_moments",
)  # fmt: skip
_PLAIN: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}  # whatever the defaults are
_DRIFT = 1e-4  # variance of the log-odds that is not of counting


@dataclass
class _Window:
    """What was counted in a window, and what moves it: of each state as the other sees it."""

    log_odds: Tensor
    share: Tensor
    visits: Tensor
    features: Tensor  # [2, 5, 4], of a naive player and of one that shapes


class RewardInference:
    """Of one other player in a game of two players and two actions.

    Args:
        settings: how the other is taken to learn after the warm-up: as I do.
        exploration: e, share of uniformly random play of both.

    Attributes:
        rewards: r for CC, CD, DC and DD as the other sees them, its own action first; 0 at first.
    """

    def __init__(self, settings: LOQASettings, exploration: float) -> None:
        for name, value in (("gamma", settings.gamma), ("exploration", exploration)):
            if value == 1:  # a game without end is worth nothing then, or nobody's policy is played
                raise ValueError(f"opponent_model inferred needs {name} below 1, got {value}")
        self._discount, self._weight = settings.gamma, settings.shaping_weight
        self._exact = ExactSettings(
            softmax_temperature=settings.softmax_temperature,
            dice_discount=settings.dice_discount,
            stop_normaliser_gradient=settings.stop_normaliser_gradient,
            exploration=exploration,
        )
        self.rewards = torch.zeros(4, **_PLAIN)
        self._counts = torch.zeros(2, 5, 2, **_PLAIN)
        self._iterations = self._windows = 0
        self._last: _Window | None = None
        # Of both kinds of player: F'F, F'dx and dx'dx, weighted.
        self._normal = torch.zeros(2, 4, 4, **_PLAIN)
        self._moments = torch.zeros(2, 4, **_PLAIN)
        self._moved = torch.zeros(2, **_PLAIN)
        # F'F and F'dx of the naive kind again, forgotten no sooner than there is something new.
        self._kept_normal = torch.zeros(4, 4, **_PLAIN)
        self._kept_moments = torch.zeros(4, **_PLAIN)

    def observe(self, mine: Tensor, theirs: Tensor, paid: Tensor) -> None:
        """An iteration's actions.

        Args:
            mine, theirs: how often each did each action in each state it saw, `[5, 2]`.
            paid: what I am paid for each outcome as I see it, `[4]`, as far as I know.
        """
        self._counts += torch.stack([mine, theirs]).to(self._counts)
        self._iterations += 1
        if self._iterations == WINDOW:
            paid = paid.to(self._counts)
            now = self._window(paid)
            if self._last is not None:
                self._regress(self._last, now, paid)
            self._windows += 1
            self._last, self._iterations = now, 0
            self._counts.zero_()

    def _window(self, paid: Tensor) -> _Window:
        visits = self._counts.sum(-1) + 2
        played = (self._counts[..., 0] + 1) / visits
        tremble = self._exact.exploration
        share = ((played - tremble / 2) / (1 - tremble)).clamp(0.005, 0.995)
        log_odds = torch.logit(share)
        # In the order of the game: me in seat 0, the other in seat 1.
        warm = self._windows < WARM_UP
        weight = 0.0 if warm else self._weight
        features = []
        for outcome in torch.eye(4, **_PLAIN):
            game = ExactGame("inferred", [paid.tolist(), outcome.tolist()], self._discount)
            found = loqa_gradient(game, log_odds, self._exact, seat=1)
            features.append(torch.stack([found.naive, found.naive + weight * found.shaping]))
        return _Window(log_odds[1], share[1], visits[1], torch.stack(features, -1))

    def _regress(self, before: _Window, now: _Window, paid: Tensor) -> None:
        share, visits = before.share, now.visits
        variance = 1 / (visits * share * (1 - share) + 1) + _DRIFT
        known = (visits > _FEWEST) & (share > _PURE) & (share < 1 - _PURE)
        rows = before.features / (before.features.norm(dim=-1, keepdim=True) + 1e-9)
        weighted = rows.mT * (known / variance)
        moved = now.log_odds - before.log_odds
        normal, moments = weighted @ rows, weighted @ moved
        self._normal = FORGET * self._normal + normal
        self._moments = FORGET * self._moments + moments
        self._moved = FORGET * self._moved + (moved.square() * known / variance).sum()
        news = float(normal[0].trace() / self._kept_normal.trace().clamp(min=1e-9))
        kept = max(FORGET, 1 - news)
        self._kept_normal = kept * self._kept_normal + normal[0]
        self._kept_moments = kept * self._kept_moments + moments[0]
        each = _least_squares(self._normal, self._moments)
        explained = (each * self._moments).sum(-1)
        naive, shaping = (self._moved - explained).tolist()
        shapes = shaping < CLEARLY * naive
        found = each[1] if shapes else _least_squares(self._kept_normal, self._kept_moments)
        found = found - found.mean()
        length = found.norm()
        if self._windows >= WARM_UP and length > 0:
            self.rewards = found / length * (paid - paid.mean()).norm()

    def state_dict(self) -> dict[str, Any]:
        """Everything the next inference depends on."""
        last = None if self._last is None else vars(self._last)
        return {name: getattr(self, name) for name in _STATE} | {"_last": last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict`."""
        for name in _STATE:
            setattr(self, name, state[name])
        self._last = None if state["_last"] is None else _Window(**state["_last"])


def _least_squares(normal: Tensor, moments: Tensor) -> Tensor:
    """r `[..., 4]` from F'F `[..., 4, 4]` and F'dx `[..., 4]`, with a ridge."""
    size = normal.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    ridge = (_RIDGE * size + 1e-9) * torch.eye(4, **_PLAIN)
    found: Tensor = torch.linalg.solve(normal + ridge, moments)
    return found
