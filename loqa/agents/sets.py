"""Parameter sets in a seat: one agent as it is now, or many of one architecture side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from loqa.agents.actor_critic import Agent
from loqa.agents.canonical import CanonicalHead
from loqa.agents.native import StackedHead, reads
from loqa.agents.networks import GRUHead, Head
from loqa.agents.places import are_places, as_rows, ones
from loqa.ops.gru import GRUPolicy, under


@dataclass(frozen=True)
class AgentSets:
    """A policy for one batch, with what its critic says if that is to be recorded.

    Of G sets each plays B / G consecutive games.

    Attributes:
        agent: the architecture; its own parameters are not read.
        parameters: by name, those of one set, or `[N, ...]` of N.
        records: whether q(s, .) is wanted beside the episodes.
        index: `[G]` int64, which of the N sets; all of them if None.
    """

    agent: Agent
    parameters: Mapping[str, Tensor]
    records: bool = False
    index: Tensor | None = None

    @classmethod
    def of(cls, agent: Agent, records: bool = False) -> AgentSets:
        """The agent as it is now."""
        return cls(agent, dict(agent.named_parameters()), records)

    @property
    def stacked(self) -> bool:
        """Whether there may be several sets."""
        name, first = next(iter(self.parameters.items()))
        return first.ndim > dict(self.agent.named_parameters())[name].ndim

    def initial_state(self, batch_size: int) -> Tensor:
        return self._actor.initial_state(batch_size)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """What `Agent.step` answers to observations `[B, ...]`, and the next state."""
        outputs, state = self._step(self._actor, self.agent.actor, obs, state)
        return self.agent.answer(outputs), state

    def critic_state(self, batch_size: int) -> Tensor:
        return self._critic.initial_state(batch_size)

    def critic_step(self, obs: Tensor, state: Tensor, t: int | Tensor) -> tuple[Tensor, Tensor]:
        """q_t(s, .), `[B, K]`, and the critic's next state; t is one number, or `[B]` one of each game."""
        return self._step(self._critic, self.agent.critic, obs, state, t)

    def memory1(self) -> Tensor | None:
        """Probabilities of the actions in each state, `[S, K]`, or `[G, S, K]` of several sets; None unless
        the policy is of memory 1."""
        agent = self.agent
        if agent.observes != "states" or agent.actor.recurrent:
            return None
        device = next(iter(self.parameters.values())).device
        states = torch.arange(agent.states.count, device=device)
        assert isinstance(self._actor, _Rows)
        logits = self._actor.rows(self._input(states, agent.actor))
        return logits.log_softmax(-1).exp()

    def native_heads(self) -> tuple[StackedHead, StackedHead | None] | None:
        """Actor and critic (if it records) as the core reads them; None if it cannot."""
        agent = self.agent
        (actor, name), (critic, critic_name) = (
            _inside("actor.", agent.actor), _inside("critic.", agent.critic)
        )  # fmt: skip
        recurrent = isinstance(actor, GRUHead) and isinstance(critic, GRUHead)
        if not recurrent or agent.observes != "features" or not reads(self.parameters):
            return None
        recorded = None
        if self.records:
            recorded = StackedHead(self.parameters, critic_name, self.index, reads_time=True)
        return StackedHead(self.parameters, name, self.index), recorded

    def folded_heads(self) -> tuple[GRUPolicy, GRUPolicy | None] | None:
        """Actor and critic (if it records) laid out for stepping; None unless both are recurrent heads that
        read the observation as it is."""
        agent = self.agent
        if agent.observes != "features":
            return None
        if not (isinstance(agent.actor, GRUHead) and isinstance(agent.critic, GRUHead)):
            return None
        actor, critic = self._actor, self._critic if self.records else None
        assert isinstance(actor, GRUPolicy)
        assert critic is None or isinstance(critic, GRUPolicy)
        return actor, critic

    @property
    def canonical(self) -> bool:
        """Whether boards are seen in their canonical image (`loqa.agents.canonical`)."""
        return isinstance(self.agent.actor, CanonicalHead)

    @cached_property
    def _actor(self) -> GRUPolicy | _Rows:
        return self._head("actor.", self.agent.actor)

    @cached_property
    def _critic(self) -> GRUPolicy | _Rows:
        return self._head("critic.", self.agent.critic)

    def _head(self, prefix: str, head: Head) -> GRUPolicy | _Rows:
        head, prefix = _inside(prefix, head)
        own = under(self.parameters, prefix)
        if self.index is not None:
            own = {name: value[self.index].float() for name, value in own.items()}
        return GRUPolicy.of(own) if isinstance(head, GRUHead) else _Rows(head, own, self.stacked)

    def _step(
        self,
        policy: GRUPolicy | _Rows,
        head: Head,
        obs: Tensor,
        state: Tensor,
        t: int | Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """A step of the network of a head, `[B, K]`; `t` as of `critic_step`, if it reads the step index."""
        if isinstance(head, CanonicalHead):
            flat = obs.reshape(len(obs), -1)
            known = are_places(flat, 1, self.agent.actor.num_inputs)
            places, image = head.seen(flat if known else head.placed(flat))
            output, state = self._step(policy, head.network, places, state, t)
            return head.named_back(output, image), state
        x = self._input(obs, head)
        if not isinstance(t, Tensor):
            return policy.step(x, state, t)
        if not x.is_floating_point():
            x = ones(x, self.agent.actor.num_inputs)
        return policy.step(torch.cat([x, t[:, None].to(x.dtype)], -1), state)

    def _input(self, obs: Tensor, head: Head) -> Tensor:
        agent = self.agent
        if isinstance(head, GRUHead) and agent.observes == "features":
            flat, features = obs.reshape(len(obs), -1), agent.actor.num_inputs
            if are_places(flat, 1, features):  # which `GRUPolicy` reads as they are
                given = next(iter(self.parameters.values())).dtype
                dtype = torch.promote_types(given, torch.float32)
                return flat if as_rows(features) else ones(flat, features, dtype)
            return flat if flat.dtype == torch.float64 else flat.float()
        if head is agent.actor:
            made = agent._actor_input(obs, 1, rows=False)
        else:
            made = agent._features(obs, 1, head, rows=False)
        assert isinstance(made, Tensor)
        return made


def _inside(prefix: str, head: Head) -> tuple[Head, str]:
    """The network of a `CanonicalHead`, and what the names of its parameters begin with."""
    return (
        (head.network, f"{prefix}network.") if isinstance(head, CanonicalHead) else (head, prefix)
    )


class _Rows:
    """A head of any kind, with the parameters of one or of several sets."""

    def __init__(self, head: Head, parameters: dict[str, Tensor], stacked: bool) -> None:
        self._head, self._called = head, Called(head)
        self._parameters = {f"module.{name}": value for name, value in parameters.items()}
        self._stacked = stacked
        self._sets = len(next(iter(parameters.values()))) if stacked else 1

    def initial_state(self, batch_size: int) -> Tensor:
        like = next(iter(self._parameters.values()))
        return self._head.initial_state(batch_size).to(like.device, like.dtype)

    @torch.no_grad()
    def step(self, x: Tensor, state: Tensor, t: int | None = None) -> tuple[Tensor, Tensor]:
        if t is not None:
            x = torch.cat([x, x.new_full((len(x), 1), t)], -1)
        if not self._stacked:
            return self._call(x, state)
        each = len(x) // self._sets
        groups = (one.reshape(self._sets, each, *one.shape[1:]) for one in (x, state))
        output, state = self._call(*groups)
        return output.flatten(0, 1), state.flatten(0, 1)

    @torch.no_grad()
    def rows(self, x: Tensor) -> Tensor:
        """The same inputs for every set: `[N, ...]` -> `[G, N, K]`, or `[N, K]` of one."""
        state = self.initial_state(len(x))
        if self._stacked:
            x, state = (one.expand(self._sets, *one.shape) for one in (x, state))
        return self._call(x, state)[0]

    def _call(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        def call(parameters: dict[str, Tensor], *args: Tensor) -> Any:
            return torch.func.functional_call(self._called, parameters, ("step", *args))

        function = torch.func.vmap(call) if self._stacked else call
        output, after = function(self._parameters, x, state)
        return output, after


class Called(nn.Module):
    """Methods of a module as a module's call, which can be made with other parameters ("module...")."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, method: str, *args: Any) -> Any:
        return getattr(self.module, method)(*args)
