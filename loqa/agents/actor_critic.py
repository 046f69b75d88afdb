"""Agents: a policy and a critic with nothing shared between them.

`Agent.evaluate` computes everything the losses need about one seat of a batch of episodes. For the
five-state index of the prisoner's dilemma and heads without memory it evaluates the heads on the
5 (T+1) inputs that exist and looks the numbers up, instead of on B (T+1) copies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor, nn

from loqa import _checks
from loqa.agents.networks import (
    CNNHead,
    GRUHead,
    Head,
    LogitsHead,
    MLPHead,
    StateHead,
    Step,
    index_to_bits,
    num_states,
    ones,
)
from loqa.ops.gru import GRUPolicy
from loqa.ops.register import check_range

if TYPE_CHECKING:
    from loqa.training.config import TrainConfig

OBSERVES = ("states", "features")


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
    """

    log_prob_table: Tensor
    q_table: Tensor
    actions: Tensor
    rows: Tensor | None = None

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

    def other_q_logsumexp(self, temperature: float) -> Tensor:
        """log sum over b != a_t of exp(q_t(b) / temperature), `[T, B]`."""
        num_actions = self.q_table.shape[-1]
        if num_actions == 2:  # one other action: its value is the sum
            return self._of_action((self.q_table / temperature).flip(-1))
        diagonal = torch.eye(num_actions, dtype=torch.bool, device=self.q_table.device)
        each = (self.q_table / temperature).unsqueeze(-2).masked_fill(diagonal, -torch.inf)
        return self._of_action(each.logsumexp(-1))

    def played(self, exploration: float) -> SeatOutputs:
        """With the policy that is played, mu = (1 - e) pi + e / K, in the place of pi.

        Args:
            exploration: e in (0, 1], share of uniformly random play while sampling.
        """
        uniform = exploration / self.log_prob_table.shape[-1]
        mixture = self.log_prob_table.exp() * (1 - exploration) + uniform
        return SeatOutputs(mixture.log(), self.q_table, self.actions, self.rows)

    def detach(self) -> SeatOutputs:
        """The same numbers as constants."""
        return SeatOutputs(
            self.log_prob_table.detach(), self.q_table.detach(), self.actions, self.rows
        )

    def of_seat(self, obs: Tensor, actions: Tensor) -> SeatOutputs:
        """The same tables read by another seat (indexed layout only).

        Args:
            obs: `[T+1, B]` state index.
            actions: `[T, B]` integers.

        Raises:
            ValueError: the layout is full.
        """
        if self.rows is None:
            raise ValueError("of_seat needs the indexed layout: full tables hold one seat only")
        count, actions_of = self.q_table.shape[-2:]
        offsets = _every_input(obs.shape[0], self.q_table.dtype, obs.device, actions_of)[2]
        actions = _as_actions(actions, self.q_table.shape[-1])
        rows = _as_states(obs, count) + offsets
        return SeatOutputs(self.log_prob_table, self.q_table, actions, rows)

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


class Agent(nn.Module):
    """Actor and critic with separate parameters.

    The actor reads the observation; the critic reads it with the raw step index t = 0..T appended
    last. What an observation is, the agent declares:

    - "states": of the prisoner's dilemma, the state index `[T+1, B]` of any integer dtype (0 start, 1
      CC, 2 CD, 3 DC, 4 DD, own action first), or its four bits `[T+1, B, 4]`.
    - "features": `[T+1, B, ...]` of any dtype, as many numbers (flattened) as the actor has inputs;
      `[T+1, B]` where it has one.

    Whether an index or an action is in range is looked at on the CPU only: elsewhere a look would wait
    for the device.

    Args:
        actor: head with K outputs, the logits of the policy.
        critic: head with K outputs, q(s, .).
        observes: "states" or "features"; by default "states" if the actor has four inputs.
        config: of the run that the agent is of, if it is of one.
        iteration: of that run.
    """

    def __init__(
        self,
        actor: Head,
        critic: Head,
        observes: str | None = None,
        config: TrainConfig | None = None,
        iteration: int | None = None,
    ) -> None:
        super().__init__()
        self.actor = actor
        self.critic = critic
        natural = "states" if actor.num_inputs == 4 else "features"
        self.num_actions = _outputs(critic)
        self.num_states = num_states(self.num_actions)
        self.observes = natural if observes is None else observes
        _checks.one_of("observes", self.observes, OBSERVES)
        if self.observes == "states" and actor.num_inputs != 2 * self.num_actions:
            raise ValueError(
                f"an agent of states has an actor of {2 * self.num_actions} inputs, "
                f"got {actor.num_inputs}"
            )
        self.config = config
        self.iteration = iteration

    def log_probs(self, obs: Tensor) -> Tensor:
        """log pi_t(a), `[T+1, B, ...]` -> `[T+1, B, K]`."""
        logits: Tensor = self.actor(self._actor_input(obs, 2))
        return logits.log_softmax(-1)

    def q_values(self, obs: Tensor) -> Tensor:
        """q_t(a), `[T+1, B, ...]` -> `[T+1, B, K]`."""
        q_values: Tensor = self.critic(_append_time(self._features(obs, 2, self.critic)))
        return q_values

    def values(self, obs: Tensor) -> Tensor:
        """V_t = sum_a pi_t(a) q_t(a), `[T+1, B, ...]` -> `[T+1, B]`."""
        return (self.log_probs(obs).exp() * self.q_values(obs)).sum(-1)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """(`log_probs`, `q_values`) of the same observations."""
        return self.log_probs(obs), self.q_values(obs)

    def evaluate(
        self,
        obs: Tensor,
        actions: Tensor,
        log_prob_table: Tensor | None = None,
        terminated: Tensor | None = None,
    ) -> SeatOutputs:
        """Both heads on one seat's observations and actions.

        Args:
            obs: `[T+1, B, ...]`.
            actions: `[T, B]` integers.
            log_prob_table: of an earlier evaluation, where only the critic is wanted anew.
            terminated: `[T, B]` bool, where an episode ends and the next begins: memory and the step
                index start anew.

        Returns:
            An `SeatOutputs`, indexed if obs is the state index and no head has memory.

        Raises:
            ValueError: obs and actions do not fit together.
        """
        if obs.ndim < 2 or actions.shape != (obs.shape[0] - 1, obs.shape[1]):
            raise ValueError(
                f"actions must be [T, B] to obs [T+1, B, ...], "
                f"got {list(actions.shape)} and {list(obs.shape)}"
            )
        actions = _as_actions(actions, _outputs(self.critic))
        table = log_prob_table
        if not self._is_index(obs, 2) or self.actor.recurrent or self.critic.recurrent:
            if table is None:
                logits = _sequence(self.actor, self._actor_input(obs, 2), terminated)
                table = logits.log_softmax(-1)
            inputs = _append_time(self._features(obs, 2, self.critic), terminated)
            return SeatOutputs(table, _sequence(self.critic, inputs, terminated), actions)
        dtype = next(self.critic.parameters()).dtype
        every_state, critic_inputs, offsets = _every_input(
            obs.shape[0], dtype, obs.device, self.num_actions
        )
        if table is None:
            table = self.log_probs(every_state).expand(obs.shape[0], -1, -1)
        q_values: Tensor = self.critic(critic_inputs)
        return SeatOutputs(table, q_values, actions, _as_states(obs, self.num_states) + offsets)

    def initial_state(self, batch_size: int) -> Tensor:
        """State of the actor before the first step, `[B, S]`."""
        return self.actor.initial_state(batch_size)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The policy at one step of a rollout.

        Args:
            obs: `[B, ...]`, as the agent declares it.
            state: `[B, S]` from `initial_state` or the step before.

        Returns:
            `[B, K]` log-probabilities and the next state; the same numbers as `log_probs`.

        Raises:
            ValueError: the observation is not what the agent declares.
        """
        logits, state = self.actor.step(self._actor_input(obs, 1), state)
        return logits.log_softmax(-1), state

    def stepper(self) -> Step:
        """`step` with the parameters as they are now, see `Head.stepper`."""
        step = self.actor.stepper()

        def call(obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            logits, state = step(self._actor_input(obs, 1), state)
            return logits.log_softmax(-1), state

        return call

    @torch.no_grad()
    def memory1(self) -> Tensor | None:
        """P(action 0) in the five states, `[5]`; None unless the agent is a memory-1 policy of them."""
        if self.observes != "states" or self.actor.recurrent:
            return None
        states = torch.arange(self.num_states, device=next(self.parameters()).device)
        return self.log_probs(states[None])[0, :, 0].exp()

    def _actor_input(self, obs: Tensor, lead: int) -> Tensor:
        if isinstance(self.actor, LogitsHead | StateHead) and self._is_index(obs, lead):
            return _as_states(obs, self.num_states)
        return self._features(obs, lead, self.actor)

    def _is_index(self, obs: Tensor, lead: int) -> bool:
        return self.observes == "states" and obs.ndim == lead

    def _features(self, obs: Tensor, lead: int, head: Head) -> Tensor:
        """`[lead dimensions, ...]` -> `[lead dimensions, features]` in the head's dtype."""
        dtype = next(head.parameters()).dtype
        if self._is_index(obs, lead):
            return index_to_bits(_as_states(obs, self.num_states), dtype, self.num_actions)
        wanted = self.actor.num_inputs
        places = not obs.is_floating_point() and obs.ndim == lead + 1 and obs.shape[-1] < wanted
        if self.observes == "features" and places:  # of the ones among the features
            check_range("places", obs, wanted)
            return ones(obs, wanted, dtype)
        if obs.ndim < lead or math.prod(obs.shape[lead:]) != wanted:
            before = "[T+1, B" if lead == 2 else "[B"
            also = f", or the state index {before}]" if self.observes == "states" else ""
            raise ValueError(
                f"obs must be {before}, ...] with {wanted} {_checks.plural(wanted, 'feature')} "
                f"each{also}, "
                f"got {list(obs.shape)} {obs.dtype}"
            )
        return obs.reshape(*obs.shape[:lead], wanted).to(dtype)


def _outputs(head: Head) -> int:
    """K."""
    if isinstance(head, LogitsHead):
        return head.logits.shape[1]
    last = getattr(head, "linear_end", None)
    return last.out_features if isinstance(last, nn.Linear) else 2**31


def _as_states(obs: Tensor, count: int) -> Tensor:
    """The state index of a matrix game as int64."""
    if obs.is_floating_point() or obs.is_complex() or obs.dtype == torch.bool:
        raise ValueError(f"the state index must be of an integer dtype, got {obs.dtype}")
    index = obs.long()
    check_range("the state index", index, count)
    return index


def _as_actions(actions: Tensor, num_actions: int) -> Tensor:
    if actions.is_floating_point() or actions.is_complex():
        raise ValueError(f"actions must be of an integer dtype, got {actions.dtype}")
    actions = actions.long()
    check_range("actions", actions, num_actions)
    return actions


def _append_time(features: Tensor, terminated: Tensor | None = None) -> Tensor:
    """`[T+1, B, F]` -> `[T+1, B, F+1]`, last the raw step index t of the episode."""
    steps = torch.arange(features.shape[0], dtype=features.dtype, device=features.device)
    time = steps[:, None, None].expand(-1, features.shape[1], 1)
    if terminated is not None:
        begun = torch.where(terminated, steps[1:, None], 0.0).cummax(0).values
        time = torch.cat([time[:1], time[1:] - begun.unsqueeze(-1)])
    return torch.cat([features, time], -1)


def _sequence(head: Head, x: Tensor, terminated: Tensor | None) -> Tensor:
    """`head(x)`, step by step where episodes end in between and the head has memory."""
    if terminated is None or not head.recurrent:
        output: Tensor = head(x)
        return output
    first = state = head.initial_state(x.shape[1])
    outputs = []
    for t, one in enumerate(x):
        if t:
            state = torch.where(terminated[t - 1, :, None], first, state)
        output, state = head.step(one, state)
        outputs.append(output)
    return torch.stack(outputs)


@lru_cache(maxsize=8)
def _every_input(
    steps: int, dtype: torch.dtype, device: torch.device, num_actions: int
) -> tuple[Tensor, Tensor, Tensor]:
    """All that the heads can be given in an indexed matrix game of `steps` observations.

    Returns:
        The states `[1, S]`, the critic's inputs `[steps, S, 2K + 1]` and the first row of the tables at
        each step, `[steps, 1]` int64.
    """
    count = num_states(num_actions)
    states = torch.arange(count, device=device)
    critic_inputs = _append_time(index_to_bits(states, dtype, num_actions).expand(steps, -1, -1))
    offsets = torch.arange(0, steps * count, count, device=device)
    return states[None], critic_inputs, offsets[:, None]


def evaluate_stacked(
    agent: Agent, parameters: Mapping[str, Tensor], obs: Tensor, actions: Tensor
) -> SeatOutputs:
    """Evaluate N parameter sets of one architecture, each on its own B/N consecutive episodes.

    Episode b belongs to set b // (B/N); N = B is one agent for each episode.

    Args:
        agent: gives the architecture; its own parameters are not used.
        parameters: name -> `[N, ...]`, the names of `agent.named_parameters()`.
        obs: `[T+1, B, ...]`, B divisible by N.
        actions: `[T, B]` integers.

    Returns:
        A full `SeatOutputs`.

    Raises:
        ValueError: B is not divisible by N, or obs and actions do not fit together.
    """
    num_sets = next(iter(parameters.values())).shape[0]
    steps, batch = obs.shape[:2]
    if batch % num_sets or actions.shape != (steps - 1, batch):
        raise ValueError(
            f"obs [T+1, B, ...] and actions [T, B] must have B divisible by {num_sets} parameter "
            f"sets, got {list(obs.shape)} and {list(actions.shape)}"
        )
    actor_input = agent._actor_input(obs, 2)
    critic_input = _append_time(agent._features(obs, 2, agent.critic))
    log_probs = _stacked_head(agent.actor, "actor.", parameters, actor_input).log_softmax(-1)
    q_values = _stacked_head(agent.critic, "critic.", parameters, critic_input)
    return SeatOutputs(log_probs, q_values, _as_actions(actions, q_values.shape[-1]))


def _stacked_head(head: Head, prefix: str, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """`[T+1, B, ...]` -> `[T+1, B, K]`, each set on its own B/N episodes."""
    if isinstance(head, GRUHead):
        policy = GRUPolicy.of(parameters, prefix)
        state, outputs = policy.initial_state(x.shape[1]), []
        for one in x:
            output, state = policy.step(one, state)
            outputs.append(output)
        return torch.stack(outputs)
    own = {
        name.removeprefix(prefix): value
        for name, value in parameters.items()
        if name.startswith(prefix)
    }
    num_sets = next(iter(own.values())).shape[0]
    groups = x.reshape(len(x), num_sets, -1, *x.shape[2:])

    def call(values: dict[str, Tensor], group: Tensor) -> Tensor:
        output: Tensor = torch.func.functional_call(head, values, (group,))
        return output

    return torch.func.vmap(call, in_dims=(0, 1), out_dims=1)(own, groups).flatten(1, 2)


def build_agent(
    actor: str,
    critic: str,
    num_features: int,
    num_actions: int,
    *,
    actor_hidden: int = 16,
    critic_hidden: int = 16,
    actor_layers_before_gru: int = 2,
    critic_layers_before_gru: int = 2,
    generator: Generator | None = None,
    actor_one_hot: bool = False,
    actor_table: bool = False,
    observes: str | None = None,
    config: TrainConfig | None = None,
    obs_shape: tuple[int, ...] = (),
) -> Agent:
    """An agent from plain settings.

    Args:
        actor: "logits", "mlp", "gru" or "cnn".
        critic: "mlp", "gru" or "cnn".
        num_features: flattened observation size, the step index not counted.
        num_actions: K.
        actor_hidden, critic_hidden: hidden units ("mlp", "gru", "cnn").
        actor_layers_before_gru, critic_layers_before_gru: 0, 1 or 2 ("gru").
        generator: source of the initial weights, read by the actor first, then by the critic.
        actor_one_hot: whether an actor of states that is a network reads them one-hot, else in bits.
        actor_table: whether such an actor has a table of logits beside it (`StateHead`).
        observes, config: see `Agent`.
        obs_shape: C, H, W of an observation ("cnn").

    Raises:
        ValueError: an unknown kind of head, "logits", one-hot states or a table for anything but
            2K observation bits, or "cnn" for an observation that is no board.
    """
    bits = 2 * num_actions
    if actor == "logits" and num_features != bits:
        raise ValueError(f"a logits actor needs num_features {bits}, got {num_features}")
    if (actor_one_hot or actor_table) and num_features != bits:
        raise ValueError(f"an actor of states needs num_features {bits}, got {num_features}")
    actor_head: Head
    if actor == "logits":
        actor_head = LogitsHead(num_actions)
    else:
        actor_head = network = _build_head(
            "actor", actor, num_states(num_actions) if actor_one_hot else num_features, num_actions,
            actor_hidden, actor_layers_before_gru, generator, obs_shape,
        )  # fmt: skip
        if actor_one_hot or actor_table:
            assert not isinstance(network, CNNHead)  # a board has no states
            actor_head = StateHead(network, actor_table)
    critic_head = _build_head(
        "critic", critic, num_features + 1, num_actions, critic_hidden, critic_layers_before_gru,
        generator, obs_shape,
    )  # fmt: skip
    return Agent(actor_head, critic_head, observes, config)


def _build_head(
    role: str,
    kind: str,
    inputs: int,
    outputs: int,
    hidden: int,
    layers_before_gru: int,
    generator: Generator | None,
    obs_shape: tuple[int, ...],
) -> MLPHead | GRUHead | CNNHead:
    if kind == "cnn":
        if len(obs_shape) != 3:
            raise ValueError(f"cnn needs observations [C, H, W], got {list(obs_shape)}")
        others = inputs - math.prod(obs_shape)
        return CNNHead(obs_shape, outputs, hidden, others, generator=generator)
    if kind == "mlp":
        return MLPHead(inputs, outputs, hidden, generator)
    if kind == "gru":
        return GRUHead(inputs, outputs, hidden, layers_before_gru, generator)
    kinds = "'logits', 'mlp', 'gru' or 'cnn'" if role == "actor" else "'mlp', 'gru' or 'cnn'"
    raise ValueError(f"{role} must be {kinds}, got {kind!r}")
