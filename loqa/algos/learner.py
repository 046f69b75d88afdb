"""The update step of the actor-critic learners: actor, then critic, then target network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from loqa import ops
from loqa.agents.actor_critic import Agent
from loqa.agents.gaussian import GaussianAgent
from loqa.agents.outputs import SeatOutputs
from loqa.algos.base import Number, Others
from loqa.algos.loqa import ActorLosses, actor_losses, critic_losses, critic_targets
from loqa.algos.optimizers import (
    actor_and_critic,
    apply,
    clip_global_norm_,
    follow,
    restore,
    state_of,
)
from loqa.algos.settings import ActorCriticSettings
from loqa.algos.trajectory import Trajectory
from loqa.runtime.distributed import ProcessGroup

_WEIGHTS = ("entropy_bonus", "shaping_weight")  # of the parts of the actor's loss


@dataclass(frozen=True)
class UpdateMetrics:
    """What one update has to say, constants.

    Attributes:
        losses: parts of the actor's loss, one number an episode.
        critic_loss: mean over the batch.
        grad_norm: global norm of the actor step's gradient before clipping; None if not clipped.
        evaluation: the agent's seat before the update.
    """

    losses: ActorLosses
    critic_loss: Tensor
    grad_norm: Tensor | None
    evaluation: SeatOutputs

    def numbers(self) -> dict[str, Number]:
        """For the log: the losses, the policy's entropy in nats, the gradient's norm if it is clipped."""
        found: dict[str, Number] = {"loss/agent": self.losses.agent.mean()}
        if self.losses.opponent is not None:
            found["loss/opponent"] = self.losses.opponent.mean()
        found |= {"loss/critic": self.critic_loss, "entropy": lambda: self.evaluation.entropies}
        if self.grad_norm is not None:
            found["grad_norm"] = self.grad_norm
        return found


class Learner:
    """An agent with its target network and optimisers.

    One `update` is the published order: actor step, critic step on the same episodes with the
    updated parameters, then target = ema target + (1 - ema) agent. The actor step is Adam over both
    heads if its loss reaches the critic ("td0" with `advantage_gradient`), else over the actor
    alone; the critic step is Adam over the critic, the only head its loss reaches. A critic that is fitted
    (`GaussianAgent.fits`) is so first of all, and not trained.

    Args:
        agent: trained in place.
        settings: of losses and steps.
        processes: that hold the same agent and have each a part of the batch, all of one size; their
            gradients are averaged. Means over the batch inside the losses are each one's own.
        exploration: share of uniformly random play while sampling, e, where log-probabilities, values
            and entropies are to be those of the policy that is played, mu = (1 - e) pi + e / K; 0 takes
            those of pi. For the agent's seat, and for the other where its own heads speak for it.
        capturable: keeps what `set_rates` sets on the agent's device, in float32, so that `update`
            can be recorded (`loqa.runtime.graphs`) and `set_rates` is heard by what was.
        losses: of the actor: LOQA's `actor_losses`, or a function of the same arguments.
    """

    def __init__(
        self,
        agent: Agent,
        settings: ActorCriticSettings,
        processes: ProcessGroup | None = None,
        capturable: bool = False,
        exploration: float = 0.0,
        losses: Callable[..., ActorLosses] = actor_losses,
    ) -> None:
        self.agent = agent
        self._losses = losses
        self._exploration = exploration
        self.settings = settings
        self._processes = processes or ProcessGroup()
        self.target = copy.deepcopy(agent).requires_grad_(False)
        self._actor_trains_critic = settings.advantage == "td0" and settings.advantage_gradient
        self._actor_parameters = list(
            (agent if self._actor_trains_critic else agent.actor).parameters()
        )
        self._critic_parameters = list(agent.critic.parameters())
        self._parameters: list[Tensor] = list(agent.parameters())
        self._target_parameters: list[Tensor] = list(self.target.parameters())
        self._weights: dict[str, Tensor] = {}
        device = None
        if capturable:
            device = self._parameters[0].device
            self._weights = {
                name: torch.tensor(getattr(settings, name), device=device) for name in _WEIGHTS
            }
        self.actor_optimizer, self.critic_optimizer = actor_and_critic(
            agent, self._actor_parameters, settings, device
        )

    def set_rates(self, **rates: Any) -> None:
        """Changes settings that may change from one update to the next: `entropy_bonus`,
        `shaping_weight`, `actor_lr`, `network_lr`, `critic_lr`."""
        self.settings = replace(self.settings, **rates)
        for name, weight in self._weights.items():
            weight.fill_(getattr(self.settings, name))
        follow(self.settings, self.actor_optimizer, self.critic_optimizer)

    def update(
        self, trajectory: Trajectory, others: Others = (), player: int = 0, actor_step: bool = True
    ) -> UpdateMetrics:
        """One update of the agent on a batch of episodes.

        Args:
            trajectory: on-policy episodes.
            others: where one says nothing, the agent's own heads (as they are before the update) speak for
                that seat, as in self-play.
            player: the agent's seat.
            actor_step: whether the actor's step is taken; else only the critic learns.

        Raises:
            ValueError: no such seat.
        """
        if not 0 <= player < trajectory.num_players:
            raise ValueError(f"player must be in 0..{trajectory.num_players - 1}, got {player}")
        settings = self.settings
        weights = self._weights or {name: getattr(settings, name) for name in _WEIGHTS}
        if self._weights and not settings.entropy_bonus:
            # Any number but 0: what is recorded has the term, its weight is on the device.
            settings = replace(settings, entropy_bonus=1.0)
        rewards, ends = trajectory.seat(player).rewards, trajectory.ends
        fitted = self.agent if isinstance(self.agent, GaussianAgent) and self.agent.fits else None
        if fitted is not None:
            self._fit(fitted, trajectory, player)
        own = self._evaluate(trajectory, player)
        evaluation = own.detach()
        opponents = []
        for seat in range(trajectory.num_players):
            if seat != player and settings.shaping_weight:
                said = others[seat] if seat < len(others) else None
                if said is None:
                    said = self._own_view_of(trajectory, seat, evaluation)
                opponents.append((said, trajectory.seat(seat).rewards))

        losses = self._losses(own, opponents, rewards, settings, ends)
        gradients = torch.autograd.grad(losses.total(**weights), self._actor_parameters)
        self._processes.mean_(gradients)
        grad_norm = None
        if settings.clip_norm is not None:
            grad_norm = clip_global_norm_(gradients, settings.clip_norm)
        if actor_step:
            apply(self.actor_optimizer, self._actor_parameters, gradients)

        target = None
        if settings.critic_target != "returns" or trajectory.truncated is not None:
            with torch.no_grad():
                target = self._evaluate(trajectory, player, self.target)
        if self._actor_trains_critic:
            # Else the critic is what it was. The loss below does not read the policy.
            seat_of = trajectory.seat(player)
            own = self.agent.evaluate(
                seat_of.obs, seat_of.actions, evaluation.log_prob_table, seat_of.ends
            )
        targets = critic_targets(rewards, target, settings, ends)
        critic_loss = critic_losses(own, targets).mean()
        if fitted is None:
            gradients = torch.autograd.grad(critic_loss, self._critic_parameters)
            self._processes.mean_(gradients)
            apply(self.critic_optimizer, self._critic_parameters, gradients)

        with torch.no_grad():
            torch._foreach_lerp_(self._target_parameters, self._parameters, 1 - settings.target_ema)
        return UpdateMetrics(losses.detach(), critic_loss.detach(), grad_norm, evaluation)

    def _fit(self, agent: GaussianAgent, trajectory: Trajectory, player: int) -> None:
        """A critic that is fitted, before it speaks of these episodes."""
        if trajectory.ends is not None:
            raise ValueError(
                "critic ridge has a mean return for each step: episodes must have T steps"
            )
        own = trajectory.seat(player)
        returns = ops.discounted_returns(own.rewards, self.settings.gamma)
        agent.fit(own.obs, returns, self._processes)

    def _evaluate(
        self, trajectory: Trajectory, seat: int, agent: Agent | None = None
    ) -> SeatOutputs:
        agent, one = agent or self.agent, trajectory.seat(seat)
        said = agent.evaluate(one.obs, one.actions, ends=one.ends)
        return said.played(self._exploration) if self._exploration else said

    def _own_view_of(self, trajectory: Trajectory, seat: int, own: SeatOutputs) -> SeatOutputs:
        """The agent's heads on another seat, as constants; `own` is detached."""
        if own.rows is not None:
            other = trajectory.seat(seat)
            return own.of_seat(other.obs, other.actions)
        with torch.no_grad():
            return self._evaluate(trajectory, seat)

    def state_dict(self) -> dict[str, Any]:
        return {
            "agent": self.agent.state_dict(),
            "target": self.target.state_dict(),
            "actor_optimizer": state_of(self.actor_optimizer),
            "critic_optimizer": state_of(self.critic_optimizer),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict` of any device. Not after an update was recorded: the optimisers' state moves
        in memory."""
        self.agent.load_state_dict(state["agent"])
        self.target.load_state_dict(state["target"])
        restore(self.actor_optimizer, state["actor_optimizer"])
        restore(self.critic_optimizer, state["critic_optimizer"])
