"""What a policy answers is checked, in the step in which it answers it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import loqa
from loqa.agents.policy import PolicyError
from loqa.evaluation.best_response import ResponseSettings, train_best_response
from loqa.evaluation.mcts import SearchSettings, mcts_best_response

UNIFORM = torch.full((4,), 0.25).log()


class Answers:
    """Gives what it is told to: `log_probs` of a batch size, and `state` after a step."""

    def __init__(
        self,
        log_probs: Callable[[int], Any] = lambda size: UNIFORM.expand(size, 4),
        state: Callable[[Tensor], Any] = lambda state: state,
        first: Callable[[int], Any] = lambda size: torch.zeros(size, 1),
    ) -> None:
        self.log_probs, self.state, self.first = log_probs, state, first

    def initial_state(self, batch_size: int) -> Any:
        return self.first(batch_size)

    def step(self, obs: Tensor, state: Tensor) -> Any:
        return self.log_probs(len(obs)), self.state(state)


class Alone(Answers):
    def step(self, obs: Tensor, state: Tensor) -> Any:
        return self.log_probs(len(obs))


def broken(size: int) -> Tensor:
    raise KeyError("weights")


def one_nan(size: int) -> Tensor:
    table = UNIFORM.expand(size, 4).clone()
    table[-1, 2] = torch.nan
    return table


WRONG = {
    "NaN": (Answers(one_nan), "must be 1, got nan"),
    "probabilities": (Answers(lambda size: torch.full((size, 4), 0.25)), "must be 1, got 5.136"),
    "logits": (Answers(lambda size: torch.ones(size, 4)), "must be 1, got 10.87"),
    "two actions": (
        Answers(lambda size: torch.full((size, 2), 0.5).log()),
        r"must return log-probabilities \[8, 4\].*got \[8, 2\] torch.float32",
    ),
    "another batch": (Answers(lambda size: UNIFORM[None]), r"got \[1, 4\]"),
    "integers": (Answers(lambda size: torch.zeros(size, 4, dtype=torch.int64)), "torch.int64"),
    "another device": (
        Answers(lambda size: torch.zeros(size, 4, device="meta")), "on the CPU.*on meta",
    ),
    "an array": (Answers(lambda size: UNIFORM.expand(size, 4).numpy()), "got ndarray"),
    "no state": (Alone(), "the next state, got .8, 4. torch.float32"),
    "None as state": (Answers(state=lambda state: None), "return the state as a tensor.*NoneType"),
    "a short state": (Answers(state=lambda state: state[:3]), r"state as a tensor \[8, S\].*\[3, 1\]"),
    "None at first": (Answers(first=lambda size: None), "initial_state must return.*NoneType"),
    "a raise": (Answers(broken), r"failed in step\(obs \[8, 4, 3, 3\].*KeyError: 'weights'"),
    "a raise at first": (Answers(first=broken), r"failed in initial_state\(8\): KeyError"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_answer_is_named(kind: str) -> None:
    policy, message = WRONG[kind]
    with pytest.raises(PolicyError, match=f"^mine.*{message}"):
        loqa.evaluate(
            loqa.evaluation.players.as_player(policy, "mine"), "ad", game="coin_game", episodes=8
        )


def test_everywhere_where_policies_play() -> None:
    policy = Answers(lambda size: torch.full((size, 4), 0.25))
    quick = ResponseSettings(iterations=1, batch_size=8)
    for play in (
        lambda: loqa.league({"mine": policy, "ad": "ad"}, game="coin_game", episodes=4),
        lambda: train_best_response(policy, game="coin_game", training=quick),
        lambda: mcts_best_response(policy, episode_length=2),
    ):
        with pytest.raises(PolicyError, match=r"the sum of exp over actions must be 1"):
            play()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floats_are_right(dtype: torch.dtype) -> None:
    policy = Answers(lambda size: UNIFORM.to(dtype).expand(size, 4))
    result = loqa.evaluate(policy, "ad", game="coin_game", episodes=8)
    assert result.total.statistics["action_entropy"][0] > 1.3


def test_what_a_policy_keeps_does_not_change_behind_its_back() -> None:
    """The state is the observation itself: it must be that of the step before."""
    seen: list[tuple[Tensor, Tensor]] = []

    class Keeps(Answers):
        def step(self, obs: Tensor, state: Tensor) -> Any:
            seen.append((obs.flatten(1).clone(), state.clone()))
            return UNIFORM.expand(len(obs), 4), obs.flatten(1)

    keeps = Keeps(first=lambda size: torch.zeros(size, 36))
    loqa.evaluate(keeps, "random", game="coin_game", episodes=4, num_threads=1, episode_length=5)
    first = seen[:5]  # seat 0
    for (before, _), (_, state) in pairwise(first):
        assert torch.equal(before, state)


def test_search_hands_a_policy_its_own_kind_of_state() -> None:
    kinds = set()

    class Counts(Answers):
        def step(self, obs: Tensor, state: Tensor) -> Any:
            kinds.add((state.dtype, tuple(state.shape[1:])))
            return UNIFORM.expand(len(obs), 4), state + 1

    counts = Counts(first=lambda size: torch.zeros(size, 2, 3, dtype=torch.int64))
    response = mcts_best_response(
        counts, guide="random", episode_length=3, search=SearchSettings(1, 2, 2)
    )
    loqa.evaluate(response, counts, episodes=2)
    assert kinds == {(torch.int64, (2, 3))}
