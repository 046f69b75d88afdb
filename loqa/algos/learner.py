"""The update step of the actor-critic learners: actor, then critic, then target network."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from loqa._distributed import ProcessGroup
from loqa.agents.actor_critic import Agent, Evaluation
from loqa.agents.networks import StateHead
from loqa.algos.loqa import ActorLosses, LOQASettings, actor_losses, critic_losses, critic_targets
from loqa.algos.trajectory import Trajectory

_WEIGHTS = ("entropy_bonus", "shaping_weight")  # of the parts of the actor's loss


@dataclass(frozen=True)
class UpdateMetrics:
    """What one update has to say, as constants on the agent's device; means are taken when read.

    Attributes:
        losses: parts of the actor's loss, one number an episode.
        critic_loss: mean over the batch.
        grad_norm: global norm of the actor step's gradient before clipping; None if not clipped.
        evaluation: the agent's seat before the update.
    """

    losses: ActorLosses
    critic_loss: Tensor
    grad_norm: Tensor | None
    evaluation: Evaluation

    @property
    def agent_loss(self) -> Tensor:
        """Mean of -l A."""
        return self.losses.agent.mean()

    @property
    def opponent_loss(self) -> Tensor | None:
        """Mean of -log pihat A; None without shaping."""
        return None if self.losses.opponent is None else self.losses.opponent.mean()

    @property
    def means(self) -> dict[str, Tensor]:
        """The losses "agent", "opponent" (with shaping) and "critic"."""
        losses = {
            "agent": self.agent_loss,
            "opponent": self.opponent_loss,
            "critic": self.critic_loss,
        }
        return {name: loss for name, loss in losses.items() if loss is not None}

    @property
    def entropy_loss(self) -> Tensor:
        """Minus the mean entropy of the policy in nats, whether it has a weight or not."""
        return -self.evaluation.entropies.mean()


class Learner:
    """An agent with its target network and optimisers.

    One `update` is the published order: actor step, critic step on the same episodes with the
    updated parameters, then target = ema target + (1 - ema) agent. The actor step is Adam over both
    heads if its loss reaches the critic ("td0" with `advantage_gradient`), else over the actor
    alone; the critic step is Adam over the critic, the only head its loss reaches.

    Args:
        agent: trained in place.
        settings: of losses and steps.
        processes: that hold the same agent and have each a part of the batch, all of one size; their
            gradients are averaged. Means over the batch inside the losses are each one's own.
        network_lr: Adam's rate of the actor's network where it has a table beside it
            (`loqa.agents.networks.StateHead`); the table's is the settings' `actor_lr`.
        exploration: share of uniformly random play while sampling, e, where log-probabilities, values
            and entropies are to be those of the policy that is played, mu = (1 - e) pi + e / K; 0 takes
            those of pi. For the agent's seat, and for the other where its own heads speak for it.
        capturable: keeps what `set_rates` sets on the agent's device, in float32, so that `update`
            can be recorded (`loqa.training.graphs`) and `set_rates` is heard by what was.
    """

    def __init__(
        self,
        agent: Agent,
        settings: LOQASettings,
        processes: ProcessGroup | None = None,
        capturable: bool = False,
        exploration: float = 0.0,
        network_lr: float = 1e-3,
    ) -> None:
        self.agent = agent
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
        # The rate by which each parameter of the actor step goes, and that of the network beside a table.
        self._actor_rates = [settings.actor_lr]
        groups = [self._actor_parameters]
        if isinstance(agent.actor, StateHead) and agent.actor.table is not None:
            beside = list(agent.actor.network.parameters())
            these = {id(parameter) for parameter in beside}
            groups = [[p for p in self._actor_parameters if id(p) not in these], beside]
            self._actor_rates.append(network_lr)
        device = None
        if capturable:
            device = self._parameters[0].device
            self._weights = {
                name: torch.tensor(getattr(settings, name), device=device) for name in _WEIGHTS
            }
        self.actor_optimizer = _adam(groups, self._actor_rates, device)
        self.critic_optimizer = _adam([self._critic_parameters], [settings.critic_lr], device)

    def set_rates(
        self, entropy_bonus: float, shaping_weight: float, actor_lr: float, critic_lr: float
    ) -> None:
        """Changes the settings that may change from one update to the next."""
        self.settings = replace(
            self.settings,
            entropy_bonus=entropy_bonus,
            shaping_weight=shaping_weight,
            actor_lr=actor_lr,
            critic_lr=critic_lr,
        )
        for name, weight in self._weights.items():
            weight.fill_(getattr(self.settings, name))
        self._actor_rates[0] = actor_lr
        _set_rates(self.actor_optimizer, self._actor_rates)
        _set_rates(self.critic_optimizer, [critic_lr])

    def set_network_rate(self, rate: float) -> None:
        """Changes `network_lr`; nothing where no network has a table beside it."""
        self._actor_rates[1:] = [rate] * len(self._actor_rates[1:])
        _set_rates(self.actor_optimizer, self._actor_rates)

    def update(
        self,
        trajectory: Trajectory,
        opponent: Evaluation | None = None,
        player: int = 0,
        actor_step: bool = True,
    ) -> UpdateMetrics:
        """One update of the agent on a batch of two-player episodes.

        Args:
            trajectory: on-policy episodes.
            opponent: evaluation of the other seat; None lets the agent's own heads (as they are
                before the update) speak for it, which is self-play with the present copy.
            player: the agent's seat, 0 or 1.
            actor_step: whether the actor's step is taken; else only the critic learns.

        Returns:
            Scalars for the log.

        Raises:
            ValueError: not two players, or no such seat.
        """
        if trajectory.num_players != 2 or player not in (0, 1):
            raise ValueError(
                f"expected a two-player trajectory and player 0 or 1, "
                f"got {trajectory.num_players} players and player {player}"
            )
        settings = self.settings
        weights = self._weights or {name: getattr(settings, name) for name in _WEIGHTS}
        if self._weights and not settings.entropy_bonus:
            # Any number but 0: what is recorded has the term, its weight is on the device.
            settings = replace(settings, entropy_bonus=1.0)
        rewards = trajectory.rewards[:, :, player].contiguous()
        other_rewards = trajectory.rewards[:, :, 1 - player].contiguous()
        own = self._evaluate(trajectory, player)
        evaluation = own.detach()
        if settings.shaping_weight == 0:
            opponent = None
        elif opponent is None:
            opponent = self._own_view_of(trajectory, 1 - player, evaluation)

        losses = actor_losses(own, opponent, rewards, other_rewards, settings)
        gradients = torch.autograd.grad(losses.total(**weights), self._actor_parameters)
        self._processes.mean_(gradients)
        grad_norm = None
        if settings.clip_norm is not None:
            grad_norm = clip_global_norm_(gradients, settings.clip_norm)
        if actor_step:
            _apply(self.actor_optimizer, self._actor_parameters, gradients)

        target = None
        if settings.critic_target != "returns":
            with torch.no_grad():
                target = self._evaluate(trajectory, player, self.target)
        if self._actor_trains_critic:
            # Else the critic is what it was. The loss below does not read the policy.
            own = self.agent.evaluate(
                trajectory.obs[:, :, player],
                trajectory.actions[:, :, player],
                evaluation.log_prob_table,
            )
        critic_loss = critic_losses(own, critic_targets(rewards, target, settings)).mean()
        gradients = torch.autograd.grad(critic_loss, self._critic_parameters)
        self._processes.mean_(gradients)
        _apply(self.critic_optimizer, self._critic_parameters, gradients)

        with torch.no_grad():
            torch._foreach_lerp_(self._target_parameters, self._parameters, 1 - settings.target_ema)
        return UpdateMetrics(losses.detach(), critic_loss.detach(), grad_norm, evaluation)

    def _evaluate(
        self, trajectory: Trajectory, seat: int, agent: Agent | None = None
    ) -> Evaluation:
        agent = agent or self.agent
        said = agent.evaluate(trajectory.obs[:, :, seat], trajectory.actions[:, :, seat])
        return said.played(self._exploration) if self._exploration else said

    def _own_view_of(self, trajectory: Trajectory, seat: int, own: Evaluation) -> Evaluation:
        """The agent's heads on another seat, as constants; `own` is detached."""
        if own.rows is not None:
            other_obs, other_actions = trajectory.obs[:, :, seat], trajectory.actions[:, :, seat]
            return own.of_seat(other_obs, other_actions)
        with torch.no_grad():
            return self._evaluate(trajectory, seat)

    def state_dict(self) -> dict[str, Any]:
        """Everything the next update depends on."""
        return {
            "agent": self.agent.state_dict(),
            "target": self.target.state_dict(),
            "actor_optimizer": _state_of(self.actor_optimizer),
            "critic_optimizer": _state_of(self.critic_optimizer),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict` of any device; later updates are the same bit for bit on the same one.

        Not after an update was recorded: the optimisers' state moves in memory.
        """
        self.agent.load_state_dict(state["agent"])
        self.target.load_state_dict(state["target"])
        _restore(self.actor_optimizer, state["actor_optimizer"])
        _restore(self.critic_optimizer, state["critic_optimizer"])


def clip_global_norm_(gradients: tuple[Tensor, ...], max_norm: float) -> Tensor:
    """Scale gradients in place to a global norm of at most max_norm: g if |g| < max else g/|g| max.

    Returns:
        The norm before clipping, a 0-d tensor.
    """
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (max_norm / norm).clamp(max=1.0))
    return norm


def _adam(
    groups: list[list[torch.nn.Parameter]], rates: list[float], device: torch.device | None
) -> torch.optim.Adam:
    """A rate for each group of parameters, kept on the device if there is one."""
    # b1 0.9, b2 0.999, eps 1e-8 outside the root, bias-corrected: as published.
    optimizer = torch.optim.Adam(
        [
            {"params": group, "lr": rate if device is None else torch.tensor(rate, device=device)}
            for group, rate in zip(groups, rates, strict=True)
        ],
        fused=True,
        capturable=device is not None,
    )
    # Torch warns of steps that are not captured; the first ones never are.
    optimizer._warned_capturable_if_run_uncaptured = True
    return optimizer


def _set_rates(optimizer: torch.optim.Adam, rates: list[float]) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _state_of(optimizer: torch.optim.Adam) -> dict[str, Any]:
    """`state_dict` with learning rates as numbers: the same on every device."""
    state = optimizer.state_dict()
    groups = [{**group, "lr": float(group["lr"])} for group in state["param_groups"]]
    return {**state, "param_groups": groups}


def _restore(optimizer: torch.optim.Adam, state: dict[str, Any]) -> None:
    """Loads `_state_of` another optimizer, perhaps on another device; stays what it is."""
    own = [(group["lr"], group["capturable"]) for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    loaded = [float(group["lr"]) for group in optimizer.param_groups]
    for group, (rate, capturable) in zip(optimizer.param_groups, own, strict=True):
        group |= {"lr": rate, "capturable": capturable}
    _set_rates(optimizer, loaded)


def _apply(
    optimizer: torch.optim.Adam,
    parameters: list[torch.nn.Parameter],
    gradients: tuple[Tensor, ...],
) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    for parameter in parameters:
        parameter.grad = None
