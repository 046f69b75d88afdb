"""Gradient steps: Adam as published, with what saving, rates that change and recording need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from loqa.agents.actor_critic import Agent
from loqa.agents.networks import StateHead

if TYPE_CHECKING:
    from loqa.algos.ppo import PPOSettings
    from loqa.algos.settings import ActorCriticSettings


def actor_and_critic(
    agent: Agent,
    parameters: list[torch.nn.Parameter],
    settings: ActorCriticSettings | PPOSettings,
    device: torch.device | None = None,
) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    """`adam` of the parameters of an actor's step, and of the critic's. A network beside a table is a second
    group, with a rate of its own (`loqa.agents.networks.StateHead`)."""
    groups, actor = [parameters], agent.actor
    if isinstance(actor, StateHead) and actor.table is not None:
        beside = list(actor.network.parameters())
        these = {id(parameter) for parameter in beside}
        groups = [[one for one in parameters if id(one) not in these], beside]
    rates = [settings.actor_lr, settings.network_lr][: len(groups)]
    critic = adam([list(agent.critic.parameters())], [settings.critic_lr], device)
    return adam(groups, rates, device), critic


def follow(
    settings: ActorCriticSettings | PPOSettings, actor: torch.optim.Adam, critic: torch.optim.Adam
) -> None:
    """Sets the rates of `actor_and_critic` anew."""
    set_rates(actor, [settings.actor_lr, settings.network_lr][: len(actor.param_groups)])
    set_rates(critic, [settings.critic_lr])


def global_norm(gradients: Sequence[Tensor]) -> Tensor:
    """|g| of all tensors together, a 0-d tensor."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tuple(gradients))))
    return norm


def clip_global_norm_(gradients: tuple[Tensor, ...], max_norm: float) -> Tensor:
    """Scales gradients in place to a global norm of at most max_norm, g if |g| < max else g/|g| max; the norm
    before clipping."""
    norm = global_norm(gradients)
    torch._foreach_mul_(gradients, (max_norm / norm).clamp(max=1.0))
    return norm


def adam(
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


def set_rates(optimizer: torch.optim.Optimizer, rates: list[float]) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def state_of(optimizer: torch.optim.Adam) -> dict[str, Any]:
    """`state_dict` with learning rates as numbers: the same on every device."""
    state = optimizer.state_dict()
    groups = [{**group, "lr": float(group["lr"])} for group in state["param_groups"]]
    return {**state, "param_groups": groups}


def restore(optimizer: torch.optim.Adam, state: dict[str, Any]) -> None:
    """Loads `state_of` another optimizer, perhaps on another device; stays what it is."""
    own = [(group["lr"], group["capturable"]) for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    loaded = [float(group["lr"]) for group in optimizer.param_groups]
    for group, (rate, capturable) in zip(optimizer.param_groups, own, strict=True):
        group |= {"lr": rate, "capturable": capturable}
    set_rates(optimizer, loaded)


def apply(
    optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor], gradients: Sequence[Tensor]
) -> None:
    """One step of the optimizer with these gradients, which are not kept."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    for parameter in parameters:
        parameter.grad = None
