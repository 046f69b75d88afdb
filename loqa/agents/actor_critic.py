"""Agents: a policy and a critic with nothing shared between them.

`Agent.evaluate` computes all that losses need of one seat of a batch of episodes. Where heads without memory
read an index of S states it evaluates the S (T+1) inputs that exist, instead of B (T+1) copies.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn

from loqa import _checks
from loqa.agents.canonical import CanonicalHead, Move
from loqa.agents.ends import Ends, FinalTables
from loqa.agents.networks import CNNHead, GRUHead, Head, LogitsHead, MLPHead, StateHead, Step
from loqa.agents.outputs import (
    SeatOutputs,
    append,
    append_time,
    as_actions,
    as_states,
    every_input,
    step_index,
)
from loqa.agents.places import Features, Places, are_places, as_rows, ones
from loqa.agents.states import States

if TYPE_CHECKING:
    from loqa.training.config import TrainConfig

OBSERVES = ("states", "features", "actions")


class Agent(nn.Module):
    """Actor and critic with separate parameters.

    The actor reads the observation; the critic reads it with the raw step index t = 0..T appended
    last. What an observation is, the agent declares:

    - "states" (`loqa.agents.states`): the index `[T+1, B]` of any integer dtype (in the prisoner's dilemma
      0 start, 1 CC, 2 CD, 3 DC, 4 DD, own action first), or its bits `[T+1, B, K + M]`.
    - "features": `[T+1, B, ...]` of any dtype, as many numbers (flattened) as the actor has inputs;
      `[T+1, B]` where it has one. Fewer integers are places of ones (`loqa.agents.places`).
    - "actions": the last actions of all players `[T+1, B, 1 + n]` (`loqa.agents.hats`).

    Whether an index or an action is in range is looked at on the CPU only: elsewhere a look would wait
    for the device.

    Args:
        actor: head with K outputs, the logits of the policy.
        critic: head with K outputs, q(s, .).
        observes: one of these; by default "states" if the actor has four inputs, else "features".
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
        self.observes = natural if observes is None else observes
        _checks.one_of("observes", self.observes, OBSERVES)
        if self.observes == "states":
            self.states = States(self.num_actions, actor.num_inputs - self.num_actions)
            if self.states.others < 2:
                raise ValueError(
                    f"an agent of states has an actor of {self.num_actions + 2} inputs or more, "
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
        q_values: Tensor = self.critic(append_time(self._features(obs, 2, self.critic)))
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
        ends: Ends | None = None,
    ) -> SeatOutputs:
        """Both heads on one seat's observations and actions.

        Args:
            obs: `[T+1, B, ...]`.
            actions: `[T, B]` integers.
            log_prob_table: of an earlier evaluation, where only the critic is wanted anew.
            ends: where an episode ends and the next begins: memory and the step index start anew.

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
        actions = as_actions(actions, self.num_actions)
        cut = ends is not None and ends.final_obs is not None
        if cut or not self._by_state(obs):
            return self._evaluate_whole(obs, actions, log_prob_table, ends)
        table, critic_inputs, rows = self._every_state(obs, log_prob_table)
        return SeatOutputs(table, self.critic(critic_inputs), actions, rows)

    def acting(self, obs: Tensor, actions: Tensor, ends: Ends | None = None) -> SeatOutputs:
        """The actor's part of `evaluate`, with derivatives of every order; q is 0.

        A recurrent actor goes step by step in torch, and reads planes: the native sequence and the sum of
        rows have the first derivative alone.
        """
        actions = as_actions(actions, self.num_actions)
        rows = None
        if self._by_state(obs):
            table, _, rows = self._every_state(obs)
        else:
            table = self._every_order(obs, ends).log_softmax(-1)
        return SeatOutputs(table, table.new_zeros(()).expand_as(table), actions, rows)

    def _every_order(self, obs: Tensor, ends: Ends | None) -> Tensor:
        """The actor's outputs `[T+1, B, K]` with derivatives of every order."""
        inputs = self._actor_input(obs, 2, rows=False)
        if ends is None:
            return self.actor.every_order(inputs)
        return sequence(self.actor, inputs, ends)[0]

    def _by_state(self, obs: Tensor) -> bool:
        """Whether all that the heads can say is a table of steps and states."""
        return self._is_index(obs, 2) and not self.actor.recurrent and not self.critic.recurrent

    def _every_state(
        self, obs: Tensor, table: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The policy's table of steps and states, the critic's inputs, and the row of each observation."""
        steps, dtype = obs.shape[0], next(self.critic.parameters()).dtype
        states, critic_inputs, offsets = every_input(steps, dtype, obs.device, self.states)
        if table is None:
            table = self.log_probs(states).expand(steps, -1, -1)
        return table, critic_inputs, self._seen(obs) + offsets

    def _evaluate_whole(
        self, obs: Tensor, actions: Tensor, table: Tensor | None, ends: Ends | None
    ) -> SeatOutputs:
        """Full tables, also of the observations at which episodes were cut."""
        final = None if ends is None else ends.final_obs
        said = None
        if table is None:
            seen = None if final is None else self._actor_input(final, 1)
            logits, said = sequence(self.actor, self._actor_input(obs, 2), ends, seen)
            table = logits.log_softmax(-1)
        q_values, q_final = self._criticised(obs, ends)
        tables = None
        if said is not None and q_final is not None:
            assert ends is not None
            tables = FinalTables(said.log_softmax(-1), q_final, ends.where)
        return SeatOutputs(table, q_values, actions, final=tables)

    def _criticised(self, obs: Tensor, ends: Ends | None) -> tuple[Tensor, Tensor | None]:
        """What the critic says, also of the observations at which episodes were cut."""
        features = self._features(obs, 2, self.critic)
        time = step_index(features, None if ends is None else ends.resets)
        of_final = None
        if ends is not None and ends.final_obs is not None:
            assert ends.truncated is not None
            after = time[:-2][ends.truncated[:-1]] + 1
            of_final = append(self._features(ends.final_obs, 1, self.critic), after)
        return sequence(self.critic, append(features, time), ends, of_final)

    def answer(self, outputs: Tensor) -> Tensor:
        """What `step` says, of the actor's outputs `[..., K]`."""
        return outputs.log_softmax(-1)

    def said(
        self, answers: Tensor, q_values: Tensor, actions: Tensor, final: FinalTables | None = None
    ) -> SeatOutputs:
        """What its heads said of a seat step by step: answers and q `[T+1, B, K]`."""
        return SeatOutputs(answers, q_values, actions.long(), final=final)

    def initial_state(self, batch_size: int) -> Tensor:
        """State of the actor before the first step, `[B, S]`."""
        return self.actor.initial_state(batch_size)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The same numbers as `log_probs`; ValueError if `obs` is not what the agent declares."""
        outputs, state = self.actor.step(self._actor_input(obs, 1), state)
        return self.answer(outputs), state

    def stepper(self) -> Step:
        """`Head.stepper` of `step`."""
        step = self.actor.stepper()

        def call(obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            outputs, state = step(self._actor_input(obs, 1), state)
            return self.answer(outputs), state

        return call

    @torch.no_grad()
    def memory1(self) -> Tensor | None:
        """Probabilities of the actions in each state, `[S, K]`; None unless the policy is of memory 1."""
        if self.observes != "states" or self.actor.recurrent:
            return None
        every = torch.arange(self.states.count, device=next(self.parameters()).device)
        return self.log_probs(every[None])[0].exp()

    def _actor_input(self, obs: Tensor, lead: int, rows: bool = True) -> Features:
        if isinstance(self.actor, LogitsHead | StateHead) and self._is_index(obs, lead):
            return self._seen(obs)
        return self._features(obs, lead, self.actor, rows)

    def _seen(self, obs: Tensor) -> Tensor:
        return as_states(obs, self.states.count)

    def _is_index(self, obs: Tensor, lead: int) -> bool:
        return self.observes == "states" and obs.ndim == lead

    def _features(self, obs: Tensor, lead: int, head: Head, rows: bool = True) -> Features:
        """`[lead dimensions, ...]` -> `[lead dimensions, features]` in the head's dtype; with `rows` as
        places, where the head reads them and the features are many."""
        dtype = next(head.parameters()).dtype
        if self._is_index(obs, lead):
            return self.states.to_bits(self._seen(obs), dtype)
        wanted = self.actor.num_inputs
        if self.observes == "features" and are_places(obs, lead, wanted):
            if head.wants_places or (rows and head.reads_places and as_rows(wanted)):
                return Places.of(obs, wanted, dtype)
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
    if isinstance(last, nn.Linear):
        return last.out_features
    known: int = getattr(head, "num_outputs", 2**31)
    return known


def sequence(
    head: Head, x: Features, ends: Ends | None, final: Features | None = None
) -> tuple[Tensor, Tensor | None]:
    """`head(x)`, step by step where episodes end in between and the head has memory; and what it says of
    `final`, the inputs after truncated steps, with the memory of the episode that was cut."""
    if ends is None or not head.recurrent:
        output: Tensor = head(x)
        return output, None if final is None else head(final)
    first = state = head.initial_state(x.shape[1])
    resets, outputs, finals, said = ends.resets, [], [], 0
    for t in range(len(x)):
        if t and final is not None:
            assert ends.truncated is not None
            (where,) = ends.truncated[t - 1].nonzero(as_tuple=True) if t < len(x) - 1 else ((),)
            if len(where):
                finals.append(head.step(final[said : said + len(where)], state[where])[0])
                said += len(where)
        if t:
            state = torch.where(resets[t - 1, :, None], first, state)
        output, state = head.step(x[t], state)
        outputs.append(output)
    return torch.stack(outputs), torch.cat(finals) if finals else None


def build_agent(
    actor: str,
    critic: str,
    num_features: int,
    num_actions: int,
    *,
    actor_hidden: int = 16,
    critic_hidden: int = 16,
    actor_one_hot: bool = False,
    actor_table: bool = False,
    observes: str | None = None,
    config: TrainConfig | None = None,
    moves: tuple[Move, ...] = (),
    **of_both: Any,
) -> Agent:
    """An agent from plain settings.

    Args:
        actor: "logits", "mlp", "gru" or "cnn".
        critic: "mlp", "gru" or "cnn".
        num_features: flattened observation size, the step index not counted.
        num_actions: K.
        actor_hidden, critic_hidden: hidden units ("mlp", "gru", "cnn").
        actor_one_hot: whether an actor of states that is a network reads them one-hot, else in bits.
        actor_table: whether such an actor has a table of logits beside it (`StateHead`).
        observes, config: see `Agent`.
        moves: rows and columns of each action, where boards are seen in their canonical image
            (`loqa.agents.canonical`); `obs_shape` is the board.
        of_both: of `build_head`; the actor reads the generator first.

    Raises:
        ValueError: an unknown kind of head; "logits", one-hot states or a table where `observes` is not
            "states" and num_features is not 2K; or "cnn" for an observation that is no board.
    """
    states = States(num_actions, num_features - num_actions)
    knows = observes == "states" or num_features == 2 * num_actions
    for asked, what in (
        (actor == "logits", "a logits actor"),
        (actor_one_hot or actor_table, "an actor of states"),
    ):
        if asked and not knows:
            raise ValueError(
                f"{what} needs observes 'states', or num_features {2 * num_actions}, got {num_features}"
            )
    actor_head: Head
    if actor == "logits":
        actor_head = LogitsHead(states)
    else:
        inputs = states.count if actor_one_hot else num_features
        actor_head = network = build_head(
            "actor", actor, inputs, num_actions, actor_hidden, **of_both
        )
        if actor_one_hot or actor_table:
            assert not isinstance(network, CNNHead)  # a board has no states
            actor_head = StateHead(network, actor_table, states)
    critic_head = build_head(
        "critic", critic, num_features + 1, num_actions, critic_hidden, **of_both
    )
    if moves:
        board = of_both["obs_shape"]
        actor_head = CanonicalHead(actor_head, board, moves)
        return Agent(actor_head, CanonicalHead(critic_head, board, moves), observes, config)
    return Agent(actor_head, critic_head, observes, config)


def build_head(
    role: str,
    kind: str,
    inputs: int,
    outputs: int,
    hidden: int,
    layers_before_gru: int = 2,
    generator: Generator | None = None,
    obs_shape: tuple[int, ...] = (),
) -> MLPHead | GRUHead | CNNHead:
    """An actor's or a critic's head.

    Args:
        role: "actor" or "critic".
        kind: "mlp", "gru" or "cnn".
        inputs, outputs, hidden: features, K and hidden units.
        layers_before_gru: 0, 1 or 2 ("gru").
        generator: source of the initial weights.
        obs_shape: C, H, W of an observation ("cnn").
    """
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
