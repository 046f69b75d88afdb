"""Agents whose actions are numbers of a box: Gaussian policies, and critics of one value a state."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from loqa.agents.actor_critic import Agent, build_head, sequence
from loqa.agents.ends import Ends, FinalTables
from loqa.agents.hats import Box, HatsHead, RidgeHead
from loqa.agents.networks import Head
from loqa.agents.outputs import SeatOutputs, append_time
from loqa.runtime.distributed import ProcessGroup

if TYPE_CHECKING:
    from loqa.training.config import TrainConfig

_MARGIN = 0.02  # of the box, that the mean keeps from either end, where a sigmoid never comes


@dataclass(frozen=True, kw_only=True)
class GaussianOutputs(SeatOutputs):
    """What an agent of a box says of one seat, in the full layout.

    Its critic has one value a state: the tables have one column, which is chosen for sure.

    Attributes:
        actions: `[T, B, D]` floats as they were drawn, before they were clipped to the box.
        means: m(s_t), `[T, B, D]`.
        sigma: standard deviation of each number of an action.
    """

    means: Tensor
    sigma: float

    @cached_property
    def taken_log_probs(self) -> Tensor:
        """`-|a_t - m(s_t)|^2 / (2 sigma^2)`, the log-density less a constant, `[T, B]`."""
        return -(self.actions - self.means).square().sum(-1) / (2 * self.sigma**2)

    @cached_property
    def entropies(self) -> Tensor:
        """H of the Gaussian in nats, the same everywhere, `[T, B]`."""
        each = 0.5 * math.log(2 * math.pi * math.e * self.sigma**2)
        return torch.full_like(self.means[..., 0], each * self.means.shape[-1])

    @cached_property
    def taken_q_values(self) -> Tensor:
        """V_t, `[T, B]`."""
        return self.values[:-1]

    def kl_of(self, reference: SeatOutputs) -> Tensor:
        """`KL(reference || self)`, `[T, B]`: `|m_reference - m|^2 / (2 sigma^2)`."""
        assert isinstance(reference, GaussianOutputs)
        return (reference.means - self.means).square().sum(-1) / (2 * self.sigma**2)

    def other_q_logsumexp(self, temperature: float) -> None:
        """One action has no part in the integral over all: there is nothing to weigh it against."""
        return

    def played(self, exploration: float) -> GaussianOutputs:
        """The same: what explores is the Gaussian itself."""
        return self

    def detach(self) -> Self:
        """The same numbers as constants."""
        return replace(super().detach(), means=self.means.detach())


class GaussianAgent(Agent):
    """An agent that chooses D numbers of a box [low, high].

        m(s) = low + (high - low) (.02 + .96 sigmoid(x(s))),    pi(a|s) = N(m(s), sigma^2) in each number

    x is the actor's output. Losses are of the numbers as they were drawn; the environment is given them
    clipped to the box. Where nobody explores it plays m(s), which is what `step` answers.

    Args:
        actor: D outputs.
        critic: one output, V.
        box: (low, high).
        sigma: standard deviation, > 0.
        observes: "actions" or "features".
        config, iteration: see `Agent`.

    Raises:
        ValueError: sigma is not above 0, or the box is empty.
    """

    def __init__(
        self,
        actor: Head,
        critic: Head,
        box: Box,
        sigma: float,
        observes: str = "features",
        config: TrainConfig | None = None,
        iteration: int | None = None,
    ) -> None:
        super().__init__(actor, critic, observes, config, iteration)
        if not (math.isfinite(sigma) and sigma > 0):
            raise ValueError(f"sigma must be a number > 0, got {sigma}")
        if not -math.inf < box[0] < box[1] < math.inf:
            raise ValueError(f"box must be two numbers, the lower first, got {box}")
        self.box, self.sigma = box, sigma

    def answer(self, outputs: Tensor) -> Tensor:
        """m, of the actor's outputs `[..., D]`."""
        low, high = self.box
        return low + (high - low) * (_MARGIN + (1 - 2 * _MARGIN) * outputs.sigmoid())

    def log_probs(self, obs: Tensor) -> Tensor:
        """TypeError: there are none of numbers."""
        raise TypeError("an agent of a box has no table of log-probabilities: see `evaluate`")

    def values(self, obs: Tensor) -> Tensor:
        """V_t, `[T+1, B, ...]` -> `[T+1, B]`."""
        return self.q_values(obs).squeeze(-1)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Means `[T+1, B, D]` and values `[T+1, B, 1]` of the same observations."""
        return self.answer(self.actor(self._actor_input(obs, 2))), self.q_values(obs)

    def evaluate(
        self,
        obs: Tensor,
        actions: Tensor,
        log_prob_table: Tensor | None = None,
        ends: Ends | None = None,
    ) -> GaussianOutputs:
        """Both heads on one seat's observations `[T+1, B, ...]` and actions `[T, B, D]`; the table is not
        read."""
        means, _ = sequence(self.actor, self._actor_input(obs, 2), ends)
        values, of_final = self._criticised(obs, ends)
        final = None
        if of_final is not None:
            assert ends is not None
            final = FinalTables(of_final, of_final, ends.where)
        return self.said(self.answer(means), values, actions, final)

    def acting(self, obs: Tensor, actions: Tensor, ends: Ends | None = None) -> GaussianOutputs:
        """The actor's part of `evaluate`, with derivatives of every order; values are 0."""
        means = self.answer(self._every_order(obs, ends))
        return self.said(means, means.new_zeros(()).expand(*obs.shape[:2], 1), actions)

    @property
    def fits(self) -> bool:
        """Whether the critic is fitted (`fit`), and not trained."""
        return isinstance(self.critic, RidgeHead)

    def fit(self, obs: Tensor, returns: Tensor, processes: ProcessGroup) -> None:
        """Fits the critic to a seat's observations `[T+1, B, ...]` and discounted returns `[T, B]`."""
        assert isinstance(self.critic, RidgeHead)
        inputs = append_time(self._features(obs, 2, self.critic, rows=False))
        assert isinstance(inputs, Tensor)
        self.critic.fit(inputs, returns, processes)

    def memory1(self) -> None:
        """No table holds what it does."""
        return

    def said(
        self, answers: Tensor, q_values: Tensor, actions: Tensor, final: FinalTables | None = None
    ) -> GaussianOutputs:
        means, certain = answers[:-1], torch.zeros_like(q_values)
        if actions.shape != means.shape or not actions.is_floating_point():
            raise ValueError(
                f"actions must be floats {list(means.shape)}, got {list(actions.shape)} {actions.dtype}"
            )
        if final is not None:
            final = replace(final, log_prob_table=torch.zeros_like(final.q_table))
        return GaussianOutputs(
            certain, q_values, actions, final=final, means=means, sigma=self.sigma
        )


def build_gaussian_agent(
    actor: str,
    critic: str,
    num_features: int,
    action_size: int,
    box: Box,
    *,
    sigma: float,
    episode_length: int,
    actor_hidden: int = 16,
    critic_hidden: int = 16,
    ridge_decay: float = 0.8,
    observes: str = "features",
    config: TrainConfig | None = None,
    **of_both: Any,
) -> GaussianAgent:
    """An agent of a box from plain settings.

    Args:
        actor: "hats" (where `observes` is "actions"), "mlp", "gru" or "cnn".
        critic: "ridge", "mlp", "gru" or "cnn".
        action_size: D.
        box, sigma, observes, config: see `GaussianAgent`.
        episode_length: T ("ridge").
        ridge_decay: rho ("ridge").
        num_features, actor_hidden, critic_hidden, of_both: as in `loqa.agents.actor_critic.build_agent`.

    Raises:
        ValueError: an unknown kind of head, or "hats" of other observations.
    """
    actor_head: Head
    if actor == "hats":
        if observes != "actions":
            raise ValueError(f"actor hats needs observes 'actions', got {observes!r}")
        actor_head = HatsHead(num_features, action_size, box)
    else:
        actor_head = build_head("actor", actor, num_features, action_size, actor_hidden, **of_both)
    critic_head: Head
    if critic == "ridge":
        seen = box if observes == "actions" else None
        critic_head = RidgeHead(num_features + 1, episode_length, ridge_decay, seen)
    else:
        critic_head = build_head("critic", critic, num_features + 1, 1, critic_hidden, **of_both)
    return GaussianAgent(actor_head, critic_head, box, sigma, observes, config)
