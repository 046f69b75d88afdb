"""Episodes of the Coin Game for tests: natively, or step by step in torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.native import StackedHead
from loqa.agents.outputs import SeatOutputs
from loqa.agents.places import ones
from loqa.agents.sets import AgentSets
from loqa.algos.trajectory import Trajectory
from loqa.training.collect import collect, collect_by_steps


def actor(
    parameters: Mapping[str, Tensor], records: bool = False, index: Tensor | None = None
) -> AgentSets:
    """Parameter sets of recurrent networks of any size."""
    first = "actor.linear1.weight" if "actor.linear1.weight" in parameters else "actor.weight_ih"
    features = parameters[first].shape[-1]
    return AgentSets(build_agent("gru", "gru", features, 4), parameters, records, index)


def spread_out(agent: Agent, generator: torch.Generator) -> Agent:
    """Logits spread out, so that actions depend on what is seen and remembered; no bias is 0."""
    with torch.no_grad():
        for name, parameter in agent.named_parameters():
            if "bias" in name:
                parameter.normal_(0, 0.3, generator=generator)
        agent.actor.get_submodule("linear_end").weight.mul_(3)
    return agent


def rollout(
    env: Any, players: Sequence[AgentSets | str], draws: Tensor, seed: int
) -> tuple[Trajectory, SeatOutputs | None]:
    """The episodes, and what seat 1 said of them on the way."""
    trajectory, outputs = collect(env, players, lambda: draws, seed)
    return planes(trajectory, env), outputs[1]


def rollout_by_steps(
    env: Any, players: Sequence[AgentSets | str], draws: Tensor, seed: int
) -> tuple[Trajectory, SeatOutputs | None]:
    """The same, step by step."""
    trajectory, outputs = collect_by_steps(env, players, draws, env.reset(seed=seed))
    return planes(trajectory, env), outputs[1]


def planes(trajectory: Trajectory, env: Any) -> Trajectory:
    """With planes, where the observations are cells."""
    board = (4, env.height, env.width)
    if trajectory.obs.shape[3:] == board:
        return trajectory
    seen = ones(trajectory.obs, 4 * env.height * env.width)
    return replace(trajectory, obs=seen.reshape(*seen.shape[:3], *board))


def evaluate_sets(
    agent: Agent, parameters: Mapping[str, Tensor], obs: Tensor, actions: Tensor
) -> SeatOutputs:
    """What N parameter sets `[N, ...]` say, each by itself of its own B / N consecutive episodes."""
    said = [
        functional_call(agent, {name: values[n] for name, values in parameters.items()}, (seen,))
        for n, seen in enumerate(obs.chunk(len(next(iter(parameters.values()))), 1))
    ]
    log_probs, q_values = (torch.cat(tables, 1) for tables in zip(*said, strict=True))
    return SeatOutputs(log_probs, q_values, actions.long())


class Heads:
    """Native parameter sets in a seat."""

    def __init__(self, actor: StackedHead, critic: StackedHead | None = None) -> None:
        self._heads = actor, critic

    def native_heads(self) -> tuple[StackedHead, StackedHead | None]:
        return self._heads


def play(
    env: Any,
    actors: Sequence[StackedHead | str],
    critic: StackedHead | None,
    draws: Tensor,
    seed: int,
) -> tuple[Trajectory, SeatOutputs | None]:
    """Natively, whatever the sets are; the critic is seat 1's."""
    critics = (None, critic)
    seats = [
        one if isinstance(one, str) else Heads(one, critics[seat])
        for seat, one in enumerate(actors)
    ]
    trajectory, outputs = collect(env, seats, lambda: draws, seed)  # type: ignore[arg-type]
    return trajectory, outputs[1]
