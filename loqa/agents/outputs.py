"""What an agent says of one seat of a batch of episodes: the losses see only this."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Self

import torch
from torch import Tensor

from loqa.agents.ends import FinalTables, episode_steps
from loqa.agents.places import Features
from loqa.agents.states import States
from loqa.ops.register import check_range


@dataclass(frozen=True)
class SeatOutputs:
    """What an agent's heads say about one seat of B episodes of T steps.

    Two layouts, one meaning. Full: `log_prob_table` and `q_table` are `[T+1, B, K]` and `rows` is
    None. Indexed: they are `[T+1, S, K]`, one line for each step and state, and `rows [T+1, B]`
    holds t S + state. Every property below has the same value in both; all are differentiable in
    the tables.

    Attributes:
        log_prob_table: log-probabilities of the K actions.
        q_table: action values.
        actions: `[T, B]` int64, the actions this seat took.
        rows: `[T+1, B]` int64 or None.
        final: of the observations after truncated steps; None where there are none.
    """

    log_prob_table: Tensor
    q_table: Tensor
    actions: Tensor
    rows: Tensor | None = None
    final: FinalTables | None = None

    @cached_property
    def values(self) -> Tensor:
        """V_t = sum_a pi_t(a) q_t(a), `[T+1, B]`."""
        return self._of_state((self.log_prob_table.exp() * self.q_table).sum(-1))

    @cached_property
    def entropies(self) -> Tensor:
        """H(pi_t) in nats, t < T, `[T, B]`."""
        log_probs = self.log_prob_table
        return self._of_state(-(log_probs.exp() * log_probs).sum(-1))[:-1]

    @cached_property
    def taken_log_probs(self) -> Tensor:
        """log pi_t(a_t), `[T, B]`."""
        return self._of_action(self.log_prob_table)

    @cached_property
    def taken_q_values(self) -> Tensor:
        """q_t(a_t), `[T, B]`."""
        return self._of_action(self.q_table)

    @cached_property
    def max_q_values(self) -> Tensor:
        """max_a q_t(a), `[T+1, B]`."""
        return self._of_state(self.q_table.amax(-1))

    def kl_of(self, reference: SeatOutputs) -> Tensor:
        """KL(reference || self) of the policies in the states that were met, t < T, `[T, B]`: sum over
        actions of reference (log reference - log self)."""
        before, now = reference.log_prob_table, self.log_prob_table
        return self._of_state((before.exp() * (before - now)).sum(-1))[:-1]

    @cached_property
    def next_values(self) -> Tensor:
        """V of what follows step t in its episode, `[T, B]`: V_{t+1}, or that of the observation at which
        the episode was cut."""
        following, final = self.values[1:], self.final
        return following if final is None else final.put(following, final.values)

    @cached_property
    def next_max_q_values(self) -> Tensor:
        """max_a q of the same, `[T, B]`."""
        following, final = self.max_q_values[1:], self.final
        return following if final is None else final.put(following, final.q_table.amax(-1))

    def other_q_logsumexp(self, temperature: float) -> Tensor | None:
        """log sum over b != a_t of exp(q_t(b) / temperature), `[T, B]`; None where actions are numbers."""
        num_actions = self.q_table.shape[-1]
        if num_actions == 2:  # one other action: its value is the sum
            return self._of_action((self.q_table / temperature).flip(-1))
        diagonal = torch.eye(num_actions, dtype=torch.bool, device=self.q_table.device)
        each = (self.q_table / temperature).unsqueeze(-2).masked_fill(diagonal, -torch.inf)
        return self._of_action(each.logsumexp(-1))

    def played(self, exploration: float) -> SeatOutputs:
        """With the policy that is played, mu = (1 - e) pi + e / K, in the place of pi; e in (0, 1] is the
        share of uniformly random play while sampling."""
        uniform = exploration / self.log_prob_table.shape[-1]

        def mixed(log_probs: Tensor) -> Tensor:
            return (log_probs.exp() * (1 - exploration) + uniform).log()

        final = self.final
        if final is not None:
            final = replace(final, log_prob_table=mixed(final.log_prob_table))
        return replace(self, log_prob_table=mixed(self.log_prob_table), final=final)

    def detach(self) -> Self:
        """The same numbers as constants."""
        log_probs, q_values, final = self.log_prob_table.detach(), self.q_table.detach(), self.final
        if final is not None:
            final = FinalTables(final.log_prob_table.detach(), final.q_table.detach(), final.where)
        return replace(self, log_prob_table=log_probs, q_table=q_values, final=final)

    def of_seat(self, obs: Tensor, actions: Tensor) -> SeatOutputs:
        """The same tables read by another seat with `obs [T+1, B]` and `actions [T, B]`; ValueError if the
        layout is full."""
        if self.rows is None:
            raise ValueError("of_seat needs the indexed layout: full tables hold one seat only")
        steps, count, num_actions = self.q_table.shape
        rows = as_states(obs, count) + first_rows(steps, count, obs.device)
        return replace(self, actions=as_actions(actions, num_actions), rows=rows)

    @cached_property
    def _flat_actions(self) -> Tensor:
        assert self.rows is not None
        num_actions = self.log_prob_table.shape[-1]
        return torch.add(self.actions, self.rows[:-1], alpha=num_actions).reshape(-1)

    def _of_state(self, table: Tensor) -> Tensor:
        """`[T+1, B or S]` -> `[T+1, B]`."""
        if self.rows is None:
            return table
        return table.reshape(-1).index_select(0, self.rows.reshape(-1)).reshape(self.rows.shape)

    def _of_action(self, table: Tensor) -> Tensor:
        """`[T+1, B or S, K]` -> `[T, B]`, the entry of the action taken."""
        if self.rows is None:
            return table[:-1].gather(-1, self.actions.unsqueeze(-1)).squeeze(-1)
        # index_select on a flat table: its backward is the cheapest of the gathers.
        entries = table.reshape(-1).index_select(0, self._flat_actions)
        return entries.reshape(self.actions.shape)


def as_states(obs: Tensor, count: int) -> Tensor:
    """The state index as int64."""
    if obs.is_floating_point() or obs.is_complex() or obs.dtype == torch.bool:
        raise ValueError(f"the state index must be of an integer dtype, got {obs.dtype}")
    index = obs.long()
    check_range("the state index", index, count)
    return index


def as_actions(actions: Tensor, num_actions: int) -> Tensor:
    if actions.is_floating_point() or actions.is_complex():
        raise ValueError(f"actions must be of an integer dtype, got {actions.dtype}")
    actions = actions.long()
    check_range("actions", actions, num_actions)
    return actions


def append_time(features: Features) -> Features:
    """`[T+1, B, F]` -> `[T+1, B, F+1]`, last the raw step index t."""
    return append(features, step_index(features))


def step_index(features: Features, resets: Tensor | None = None) -> Tensor:
    """The index of each step in its episode, `[T+1, B, 1]`; `resets` as in `loqa.agents.ends.Ends`."""
    like = features if isinstance(features, Tensor) else features.others
    steps = episode_steps(features.shape[0], like, resets).unsqueeze(-1)
    return steps.expand(-1, features.shape[1], 1)


def append(features: Features, more: Tensor) -> Features:
    """Further features at the end."""
    if isinstance(features, Tensor):
        return torch.cat([features, more], -1)
    return features.with_others(more)


@lru_cache(maxsize=8)
def every_input(
    steps: int, dtype: torch.dtype, device: torch.device, states: States
) -> tuple[Tensor, Tensor, Tensor]:
    """All that the heads can be given in `steps` observations of states: the states `[1, S]`, the critic's
    inputs `[steps, S, K + M + 1]` and `first_rows`."""
    critic_inputs = append_time(states.every_bits(dtype, device).expand(steps, -1, -1))
    assert isinstance(critic_inputs, Tensor)
    every = torch.arange(states.count, device=device)[None]
    return every, critic_inputs, first_rows(steps, states.count, device)


@lru_cache(maxsize=8)
def first_rows(steps: int, count: int, device: torch.device) -> Tensor:
    """The first row of a table of `steps` times `count` rows at each step, `[steps, 1]` int64."""
    return torch.arange(0, steps * count, count, device=device)[:, None]
