"""Learning in exact games: many independent pairs of players in one batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from loqa import _checks
from loqa.algos.exact.games import ExactGame
from loqa.algos.exact.games import game as named_game
from loqa.algos.exact.lola import LOLASettings
from loqa.algos.exact.measures import finds_tit_for_tat
from loqa.algos.exact.naive import NaiveSettings
from loqa.algos.exact.play import Play
from loqa.algos.exact.pola import POLASettings
from loqa.algos.exact.policies import PolicySettings
from loqa.runtime.random import stream
from loqa.runtime.torch_settings import usual_torch

Watch = Callable[[int, Tensor, Tensor], object]
"""Called with the number of updates done, P(C) of both players `[2, N, S]` and their rewards per step
`[2, N]`; what is true ends the learning."""


class Learner(Protocol):
    """Settings of an algorithm of exact games, and its step."""

    def step(self, play: Play, parameters: Tensor) -> Tensor:
        """One update of both players, from the same old parameters, `[2, N, P]`."""


LEARNERS: dict[str, type[Any]] = {
    "naive": NaiveSettings,
    "lola": LOLASettings,
    "pola": POLASettings,
}
"""By name; each a frozen dataclass of settings that is a `Learner`."""
_MANY = 2**31 - 1


@dataclass(frozen=True)
class ExactResult:
    """What learning came to.

    Attributes:
        parameters: `[2, N, P]`.
        p_cooperate: P(C) of both players in each state, `[2, N, S]`.
        rewards: per step of both, before the first update and after each, `[updates + 1, 2, N]`.
        found_tit_for_tat: whether, at any of these times, both punished and yet cooperated, `[N]`; see
            `loqa.algos.exact.measures.finds_tit_for_tat`.
    """

    parameters: Tensor
    p_cooperate: Tensor
    rewards: Tensor
    found_tit_for_tat: Tensor


def train(
    game: ExactGame | str = "ipd",
    algo: str = "lola",
    runs: int = 1000,
    updates: int = 200,
    seed: int = 0,
    *,
    watch: Watch | None = None,
    num_threads: int | None = 1,
    **settings: Any,
) -> ExactResult:
    """Trains `runs` independent pairs of players, in one batch.

    Args:
        game: or its name, see `loqa.algos.exact.game`.
        algo: one of `LEARNERS`; both players learn with it.
        runs: N.
        updates: how many.
        seed: of the first parameters.
        watch: sees every update.
        num_threads: of torch; None leaves it as it is.
        settings: fields of the algorithm's settings and of `PolicySettings`.

    Raises:
        ValueError, TypeError: an unknown name (the nearest is given), or a bad value.
        FloatingPointError: parameters are no longer finite.
    """
    game = named_game(game) if isinstance(game, str) else game
    kind = LEARNERS[_checks.one_of("algo", algo, LEARNERS)]
    of_policy = {field.name for field in dataclasses.fields(PolicySettings)}
    of_learner = {field.name for field in dataclasses.fields(kind)}
    _checks.known_settings(algo, settings, sorted(of_learner | of_policy))
    learner = kind(**{name: value for name, value in settings.items() if name in of_learner})
    policy = PolicySettings(**{key: value for key, value in settings.items() if key in of_policy})
    return learn(game, learner, policy, runs, updates, seed, watch=watch, num_threads=num_threads)


def learn(
    game: ExactGame,
    learner: Learner,
    policy: PolicySettings,
    runs: int,
    updates: int,
    seed: int = 0,
    *,
    watch: Watch | None = None,
    num_threads: int | None = 1,
) -> ExactResult:
    """`train`, with settings made before."""
    _checks.integer("runs", runs, 1, _MANY)
    _checks.integer("updates", updates, 0, _MANY)
    play = Play(game, policy.made(game.num_states))
    with usual_torch(num_threads=num_threads):
        parameters = play.policy.start(runs, stream(seed, "exact games"))
        found = torch.zeros(runs, dtype=torch.bool)
        rewards = []
        for update in range(updates + 1):
            if update:
                parameters = learner.step(play, parameters).detach()
            with torch.no_grad():
                p_cooperate = torch.sigmoid(play.policy.logits(parameters))
                now = game.weight * play.values(parameters, parameters.flip(0))[0]
            rewards.append(now)
            _check_finite(now, update)
            if game.num_states == 5:
                found |= finds_tit_for_tat(game, p_cooperate, now)
            if watch is not None and watch(update, p_cooperate, now):
                break
        return ExactResult(parameters, p_cooperate, torch.stack(rewards), found)


def _check_finite(rewards: Tensor, update: int) -> None:
    finite = torch.isfinite(rewards).all(0)
    if not finite.all():
        raise FloatingPointError(
            f"{int((~finite).sum())} of {len(finite)} runs are no longer finite after update {update}: "
            "lower lr or inner_lr"
        )
