"""What is learned of one other seat, from what it saw, did and was paid: a policy and a critic.

q^j(s, b)   by Huber regression on the sampled returns of j, in either kind of model
pi^j(b|s)   counted: the share of action b in the batch, where j was in s
            cloned: a network, by maximum likelihood of the actions of j (behavioural cloning)
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from loqa import ops
from loqa.agents.actor_critic import Agent
from loqa.agents.networks import LogitsHead
from loqa.agents.outputs import SeatOutputs
from loqa.agents.states import States
from loqa.algos.loqa import LOQASettings, critic_losses, critic_targets
from loqa.algos.optimizers import actor_and_critic, adam, apply, restore, state_of
from loqa.algos.trajectory import Seat
from loqa.runtime.distributed import ProcessGroup


class SeatModel(ABC):
    """A model of one seat, which takes a step on each batch.

    Args:
        heads: what learns, by name.
        optimizers: of all their parameters.
        processes: that have each a part of the batch; their gradients are averaged.
    """

    def __init__(
        self,
        heads: Mapping[str, nn.Module],
        optimizers: Sequence[torch.optim.Adam],
        processes: ProcessGroup,
    ) -> None:
        self._heads, self._optimizers, self._processes = heads, optimizers, processes

    @abstractmethod
    def evaluate(self, one: Seat) -> SeatOutputs:
        """What the model says of the seat's episodes, differentiable in what learns."""

    @abstractmethod
    def learn(self, one: Seat, said: SeatOutputs) -> dict[str, Tensor]:
        """A step, with what `evaluate` said of the episodes; losses for the log."""

    def _step(self, loss: Tensor) -> None:
        of_each = [
            [one for group in optimizer.param_groups for one in group["params"]]
            for optimizer in self._optimizers
        ]
        gradients = torch.autograd.grad(loss, [one for some in of_each for one in some])
        self._processes.mean_(gradients)
        left = iter(gradients)
        for optimizer, some in zip(self._optimizers, of_each, strict=True):
            apply(optimizer, some, list(islice(left, len(some))))

    def state_dict(self) -> dict[str, Any]:
        """Everything the next step depends on."""
        heads = {name: head.state_dict() for name, head in self._heads.items()}
        return {**heads, "optimizers": [state_of(one) for one in self._optimizers]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores `state_dict`."""
        for name, head in self._heads.items():
            head.load_state_dict(state[name])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            restore(optimizer, saved)


class Counted(SeatModel):
    """Of a seat that sees an index of states: its policy is counted in each batch, its critic learns.

    Args:
        agent: of states, with a critic without memory; that of the model begins as it is.
        settings: `critic_lr` and `gamma`.
        processes: of the run.
    """

    def __init__(self, agent: Agent, settings: LOQASettings, processes: ProcessGroup) -> None:
        # The actor is not used.
        self._agent = Agent(LogitsHead(agent.states), copy.deepcopy(agent.critic), "states")
        self._gamma = settings.gamma
        critic = self._agent.critic
        learns = adam([list(critic.parameters())], [settings.critic_lr], None)
        super().__init__({"critic": critic}, [learns], processes)

    def evaluate(self, one: Seat) -> SeatOutputs:
        """Where nobody was, pi is uniform. Half an action more of each kind: what was never done is not
        impossible."""
        shares = count(one, self._agent.states, self._processes) + 0.5
        log_probs = (shares / shares.sum(-1, keepdim=True)).log()
        table = log_probs.expand(one.obs.shape[0], -1, -1)
        return self._agent.evaluate(one.obs, one.actions, table)

    def learn(self, one: Seat, said: SeatOutputs) -> dict[str, Tensor]:
        done = None if one.ends is None else one.ends.done
        targets = ops.discounted_returns(one.rewards, self._gamma, terminated=done)
        self._step(critic_losses(said, targets).mean())
        return {}


class Cloned(SeatModel):
    """Of any seat: an actor and a critic of the agent's own kind learn.

    Args:
        agent: the model begins as it is.
        settings: `actor_lr` (and `network_lr`), `critic_lr` and `gamma`.
        processes: of the run.
    """

    def __init__(self, agent: Agent, settings: LOQASettings, processes: ProcessGroup) -> None:
        self._agent = copy.deepcopy(agent)
        self._settings = replace(settings, critic_target="returns")
        actor, critic = self._agent.actor, self._agent.critic
        learn = actor_and_critic(self._agent, list(actor.parameters()), settings)
        super().__init__({"actor": actor, "critic": critic}, learn, processes)

    def evaluate(self, one: Seat) -> SeatOutputs:
        return self._agent.evaluate(one.obs, one.actions, ends=one.ends)

    def learn(self, one: Seat, said: SeatOutputs) -> dict[str, Tensor]:
        targets = critic_targets(one.rewards, said, self._settings, one.ends)
        policy, critic = -said.taken_log_probs.mean(), critic_losses(said, targets).mean()
        self._step(policy + critic)  # the heads share nothing
        return {"loss/model_policy": policy.detach(), "loss/model_critic": critic.detach()}


def count(one: Seat, states: States, processes: ProcessGroup) -> Tensor:
    """How often each action was done in each state, `[S, K]`: the mean of all processes."""
    at = one.obs[:-1].long() * states.actions + one.actions.long()
    found = torch.bincount(at.reshape(-1), minlength=states.count * states.actions)
    shares = found.reshape(states.count, states.actions).to(torch.float32)
    processes.mean_([shares])
    return shares
