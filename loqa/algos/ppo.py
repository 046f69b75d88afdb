"""PPO: an agent that takes the other players as a part of its environment, and learns from each batch of
episodes several times (Schulman et al. 2017, "Proximal Policy Optimization Algorithms")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from torch import Tensor

from loqa._checks import Checked, Count, Range, Share
from loqa.agents.actor_critic import Agent
from loqa.agents.ends import Ends
from loqa.agents.outputs import SeatOutputs
from loqa.algos.base import Algorithm, Context, Number, Others
from loqa.algos.loqa import generalized
from loqa.algos.optimizers import (
    actor_and_critic,
    apply,
    clip_global_norm_,
    follow,
    restore,
    state_of,
)
from loqa.algos.registry import register
from loqa.algos.trajectory import Trajectory
from loqa.runtime.random import stream


@dataclass(frozen=True)
class PPOSettings(Checked):
    """PPO.

    Attributes:
        gamma: reward discount.
        advantage_lambda: weight of longer sums in the advantage; 0 is one step.
        bootstrap: whether the state after the last step is worth what the critic says (the episode is cut
            off there), or nothing (it ends).
        clip_ratio: c, how far the ratio of new to old probability may leave 1.
        epochs: passes over a batch.
        minibatches: parts of the batch's episodes, each of one step of both heads.
        entropy_bonus: beta, weight of the policy's entropy.
        clip_norm: largest global norm of each head's gradient; None does not clip.
        actor_lr: Adam's learning rate of the actor.
        critic_lr: Adam's learning rate of the critic.
        network_lr: Adam's learning rate of an actor's network that has a table of logits beside it.

    Raises:
        ValueError: a number out of its range.
    """

    gamma: Share = 0.99
    advantage_lambda: Share = 0.95
    bootstrap: bool = True
    clip_ratio: Annotated[float, Range(1e-9, 10)] = 0.2
    epochs: Count = 4
    minibatches: Count = 8
    entropy_bonus: float = 0.02
    clip_norm: Annotated[float | None, Range(1e-9)] = 0.5
    actor_lr: float = 2e-3
    critic_lr: float = 2e-3
    network_lr: float = 2e-3


def ppo_targets(
    rewards: Tensor,
    values: Tensor,
    settings: PPOSettings,
    ends: Ends | None = None,
    next_values: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Generalized advantages A and the lambda-returns G_t = A_t + V_t, `[T, B]`; constants.

    Args:
        rewards: `[T, B]`.
        values: `[T+1, B]`, V; the last is taken as 0 unless `bootstrap`.
        ends, next_values: as in `loqa.algos.loqa.advantages`.
    """
    if not settings.bootstrap:
        values = torch.cat([values[:-1], torch.zeros_like(values[-1:])])
    following = values[1:] if next_values is None else next_values
    advantages = generalized(
        rewards, values, settings.gamma, settings.advantage_lambda, ends, following
    )
    return advantages, advantages + values[:-1].detach()


def ppo_loss(log_probs: Tensor, before: Tensor, advantages: Tensor, clip_ratio: float) -> Tensor:
    """The clipped surrogate, -mean(min(r A, clip(r, 1 - c, 1 + c) A)) with r = exp(log_probs - before).

    Schulman et al. 2017, equation 7.

    Args:
        log_probs: of the actions taken, differentiable.
        before: the same by the policy that took them.
        advantages: A, of the same shape.
        clip_ratio: c.
    """
    ratio = (log_probs - before).exp()
    clipped = ratio.clamp(1 - clip_ratio, 1 + clip_ratio)
    return -torch.minimum(ratio * advantages, clipped * advantages).mean()


def normalised(advantages: Tensor) -> Tensor:
    """With mean 0 and deviation 1 over the batch."""
    centred = advantages - advantages.mean()
    return centred / (centred.square().mean().sqrt() + 1e-8)


class PPO(Algorithm):
    """Actor: clipped surrogate less beta H, with advantages of mean 0 and deviation 1 in each batch.
    Critic: mean((q(s_t, a_t) - G_t)^2) / 2, with V = sum_a pi(a) q(a).

    Where players explore, log-probabilities, values and entropies are those of the policy that is played.
    """

    rates: Sequence[str] = ("entropy_bonus", "actor_lr", "network_lr", "critic_lr")
    settings: PPOSettings

    def __init__(self, agent: Agent, settings: PPOSettings, context: Context) -> None:
        super().__init__(agent, settings, context)
        self._actor, self._critic = list(agent.actor.parameters()), list(agent.critic.parameters())
        self.actor_optimizer, self.critic_optimizer = actor_and_critic(agent, self._actor, settings)

    def update(
        self, trajectory: Trajectory, others: Others = (), seat: int = 0, iteration: int = 1
    ) -> Mapping[str, Number]:
        settings, own = self.settings, trajectory.seat(seat)
        with torch.no_grad():
            before = self._evaluate(own.obs, own.actions, own.ends)
            following = before.next_values if before.final is not None else None
            advantages, targets = ppo_targets(
                own.rewards, before.values, settings, own.ends, following
            )
            weights = self._weights(trajectory, normalised(advantages), others, seat)
        generator = stream(self.context.seed, "minibatches of PPO", seat, iteration)
        told = []
        for _ in range(settings.epochs):
            order = torch.randperm(trajectory.num_envs, generator=generator, device="cpu")
            for part in order.to(own.rewards.device).chunk(settings.minibatches):
                # What follows a cut is in the targets; memory starts anew after both kinds of ends.
                ended = None if own.ends is None else Ends(own.ends.resets[:, part])
                now = self._evaluate(own.obs[:, part], own.actions[:, part], ended)
                old = before.taken_log_probs[:, part]
                surrogate = torch.stack([
                    ppo_loss(now.taken_log_probs, old, one[:, part], settings.clip_ratio)
                    for one in weights
                ]).sum()  # fmt: skip
                actor_loss = surrogate - settings.entropy_bonus * now.entropies.mean()
                critic_loss = (now.taken_q_values - targets[:, part]).square().mean() / 2
                norm = self._step(self.actor_optimizer, self._actor, actor_loss)
                self._step(self.critic_optimizer, self._critic, critic_loss)
                told.append(torch.stack([surrogate.detach(), critic_loss.detach(), norm]))
        surrogate, critic_loss, norm = torch.stack(told).mean(0)
        found = {"loss/agent": surrogate, "loss/critic": critic_loss, "grad_norm": norm}
        return {**found, "entropy": before.entropies}

    def _weights(
        self, trajectory: Trajectory, advantages: Tensor, others: Others, seat: int
    ) -> Sequence[Tensor]:
        """What the surrogate has in the place of A, from one's own normalised advantages; of several the
        surrogates are added."""
        return (advantages,)

    def _evaluate(self, obs: Tensor, actions: Tensor, ends: Ends | None) -> SeatOutputs:
        said = self.agent.evaluate(obs, actions, ends=ends)
        exploration = self.context.exploration
        return said.played(exploration) if exploration else said

    def _step(
        self, optimizer: torch.optim.Adam, parameters: list[torch.nn.Parameter], loss: Tensor
    ) -> Tensor:
        """One step down a loss; the gradient's norm before clipping."""
        gradients = torch.autograd.grad(loss, parameters)
        self.context.processes.mean_(gradients)
        limit = torch.inf if self.settings.clip_norm is None else self.settings.clip_norm
        norm = clip_global_norm_(gradients, limit)
        apply(optimizer, parameters, gradients)
        return norm

    def set_rates(self, **rates: Any) -> None:
        self.settings = replace(self.settings, **rates)
        follow(self.settings, self.actor_optimizer, self.critic_optimizer)

    def state_dict(self) -> dict[str, Any]:
        return {
            "agent": self.agent.state_dict(),
            "actor_optimizer": state_of(self.actor_optimizer),
            "critic_optimizer": state_of(self.critic_optimizer),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        restore(self.actor_optimizer, state["actor_optimizer"])
        restore(self.critic_optimizer, state["critic_optimizer"])


register("ppo", PPO, PPOSettings, "PPO")
