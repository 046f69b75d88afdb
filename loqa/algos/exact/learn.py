"""Learning in exact games: many independent runs in one batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import torch
from torch import Tensor

from loqa import _checks
from loqa.algos.exact.games import ExactGame
from loqa.algos.exact.games import game as named_game
from loqa.algos.exact.lola import LOLASettings, POLASettings
from loqa.algos.exact.loqa import LOQASettings, self_play
from loqa.algos.exact.mfos import MFOS, MFOSSettings
from loqa.algos.exact.play import NaiveSettings, Play, both
from loqa.algos.exact.policies import PolicySettings
from loqa.algos.exact.reciprocity import finds_tit_for_tat
from loqa.runtime.random import stream
from loqa.runtime.torch_settings import usual_torch

Watch = Callable[[int, Tensor, Tensor], object]
"""Called with the number of updates done, P(C) of both players `[2, N, S]` and their rewards per step
`[2, N]`; what is true ends the learning."""
Now = tuple[dict[str, Tensor], Tensor, Tensor]
"""What is learned, P(C) and rewards, after an update."""


class Learner(Protocol):
    """Settings of an algorithm that improves memory-1 policies, and its step."""

    def step(self, play: Play, mine: Tensor, theirs: Tensor) -> Tensor:
        """My parameters after an update, `[..., P]`; both are leaves that require a gradient."""


LEARNERS: dict[str, type[Any]] = {
    "naive": NaiveSettings,
    "lola": LOLASettings,
    "loqa": LOQASettings,
    "pola": POLASettings,
    "mfos": MFOSSettings,
}
"""Settings by name, frozen dataclasses. All but LOQA and M-FOS are a `Learner`, in both seats."""
UPDATES = {"naive": 200, "lola": 200, "loqa": 400, "pola": 2, "mfos": 200}
"""How many updates are usual."""
USUAL_POLICIES: dict[str, dict[str, Any]] = {"loqa": {"init_std": 0.1}}
"""Which policies are usual, where it is not `PolicySettings()`."""
_MANY = 2**31 - 1


@dataclass(frozen=True)
class ExactResult:
    """What learning came to.

    Attributes:
        parameters: "players" `[2, N, P]`, of LOQA `[1, N, P]`: one policy in every seat; of M-FOS those of
            its networks, by seat and name, `[N, ...]`.
        p_cooperate: P(C) of both players in each state, `[2, N, S]`, of LOQA `[1, N, S]`; of M-FOS and its
            opponents in the last game of the last meta-episode, the mean over the batch.
        rewards: per step of both after each update, `[updates + 1, 2, N]`, the first before any, of LOQA
            `[updates + 1, 1, N]`; of M-FOS and its opponents the mean over the meta-episode of each update,
            `[updates, 2, N]`.
        found_tit_for_tat: whether, at any of these times, both punished and yet cooperated, `[N]`; see
            `loqa.algos.exact.reciprocity.finds_tit_for_tat`.
    """

    parameters: dict[str, Tensor]
    p_cooperate: Tensor
    rewards: Tensor
    found_tit_for_tat: Tensor


def train(
    game: ExactGame | str = "ipd",
    algo: str = "lola",
    runs: int = 1,
    updates: int | None = None,
    seed: int = 0,
    *,
    watch: Watch | None = None,
    num_threads: int | None = 1,
    **settings: Any,
) -> ExactResult:
    """Trains `runs` independent groups of players, in one batch.

    Args:
        game: or its name, see `loqa.algos.exact.game`.
        algo: one of `LEARNERS`. Both players learn with it; LOQA is one policy in every seat, of any number;
            M-FOS has seat 0 and meets what its settings say.
        runs: N.
        updates: how many; of M-FOS meta-episodes. By default those of `UPDATES`.
        seed: of everything random.
        watch: sees every update.
        num_threads: of torch; None leaves it as it is.
        settings: fields of the algorithm's settings and, but for M-FOS, of `PolicySettings` (LOQA's
            defaults are those of `USUAL_POLICIES`).

    Raises:
        ValueError, TypeError: an unknown name (the nearest is given), or a bad value.
        FloatingPointError: parameters are no longer finite.
    """
    game = named_game(game) if isinstance(game, str) else game
    kinds = {"learner": LEARNERS[_checks.one_of("algo", algo, LEARNERS)]}
    if algo != "mfos":
        kinds["policy"] = PolicySettings
    fields = {part: {one.name for one in dataclasses.fields(kind)} for part, kind in kinds.items()}
    _checks.known_settings(algo, settings, sorted(set().union(*fields.values())))
    settings = {**USUAL_POLICIES.get(algo, {}), **settings}
    made = {
        part: kind(**{name: value for name, value in settings.items() if name in fields[part]})
        for part, kind in kinds.items()
    }
    updates = UPDATES[algo] if updates is None else updates
    return learn(
        game, **made, runs=runs, updates=updates, seed=seed, watch=watch, num_threads=num_threads
    )


def learn(
    game: ExactGame,
    learner: Learner | LOQASettings | MFOSSettings,
    policy: PolicySettings | None = None,
    *,
    runs: int,
    updates: int,
    seed: int = 0,
    watch: Watch | None = None,
    num_threads: int | None = 1,
) -> ExactResult:
    """`train`, with settings made before; M-FOS reads no `policy`."""
    _checks.integer("runs", runs, 1, _MANY)
    _checks.integer("updates", updates, 1, _MANY)
    _checks.integer("seed", seed, 0, 2**63 - 1)
    if game.num_players != 2 and not isinstance(learner, LOQASettings):
        names = {kind: name for name, kind in LEARNERS.items()}
        raise ValueError(
            f"{names.get(type(learner), 'this learner')} is of two players, got {game.num_players}: loqa is "
            "of any number (without shaping_weight it is the naive learner)"
        )
    with usual_torch(num_threads=num_threads):
        if isinstance(learner, MFOSSettings):
            states = _meta_learning(game, learner, runs, seed)
        else:
            policies = (policy or PolicySettings()).made(game.num_states)
            if isinstance(learner, LOQASettings):
                states = self_play(game, policies, learner, runs, seed)
            else:
                states = _learning(Play(game, policies), learner, runs, seed)
        found = torch.zeros(runs, dtype=torch.bool)
        rewards = []
        first = int(isinstance(learner, MFOSSettings))
        for update, state in enumerate(states, first):
            parameters, p_cooperate, now = state
            rewards.append(now)
            finite = torch.isfinite(now).all(0)
            if not finite.all():
                raise FloatingPointError(
                    f"{int((~finite).sum())} of {runs} runs are no longer finite after update {update}: "
                    "lower lr or inner_lr"
                )
            if game.num_states == 5:
                found |= finds_tit_for_tat(game, p_cooperate, now)
            ends = watch is not None and watch(update, p_cooperate, now)
            if ends or update == updates:
                break
        return ExactResult(parameters, p_cooperate, torch.stack(rewards), found)


def _learning(play: Play, learner: Learner, runs: int, seed: int) -> Iterator[Now]:
    """Before the first update, and after each."""
    parameters = play.policy.start(runs, stream(seed, "exact games"))
    while True:
        with torch.no_grad():
            p_cooperate = torch.sigmoid(play.policy.logits(parameters))
            rewards = play.game.weight * play.values(parameters, parameters.flip(0))[0]
        yield {"players": parameters}, p_cooperate, rewards
        parameters = learner.step(play, *both(parameters)).detach()


def _meta_learning(game: ExactGame, settings: MFOSSettings, runs: int, seed: int) -> Iterator[Now]:
    """After each update."""
    learner = MFOS(game, settings, runs, seed)
    for iteration in count(1):
        p_cooperate, rewards = learner.iterate(iteration)
        yield learner.parameters(), p_cooperate, rewards
