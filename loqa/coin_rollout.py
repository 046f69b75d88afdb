"""Coin Game episodes between networks: one agent, past agents side by side, scripted players."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from loqa.agents import Agent, Evaluation
from loqa.envs.coin_game import CoinGame
from loqa.gru import GRUPolicy
from loqa.rollout import Trajectory


@dataclass(frozen=True)
class Actor:
    """A seat's policy for one batch, with its critic if that is to be recorded.

    Attributes:
        policy: outputs logits.
        critic: outputs q(s, .), reads the step index after the observation; or None.
    """

    policy: GRUPolicy
    critic: GRUPolicy | None = None

    @classmethod
    def of(cls, parameters: Mapping[str, Tensor], with_critic: bool = False) -> Actor:
        """From the parameters of a recurrent `Agent` by name; stacked sets have a leading axis."""
        critic = GRUPolicy.of(parameters, "critic.") if with_critic else None
        return cls(GRUPolicy.of(parameters, "actor."), critic)

    @classmethod
    def of_agent(cls, agent: Agent) -> Actor:
        """The agent as it is now."""
        return cls.of(dict(agent.named_parameters()))


def rollout(
    env: CoinGame, players: tuple[Actor, Actor | str], generator: Generator
) -> tuple[Trajectory, Evaluation | None]:
    """A batch of whole episodes from a fresh reset, on policy.

    Actions are drawn by inversion of uniform numbers, all taken from the generator beforehand: seat
    and step have fixed places among them.

    Args:
        env: with float32 planes.
        players: of seat 0 and 1; a name is a scripted player.
        generator: of the numbers that actions are drawn with.

    Returns:
        The episodes, and what seat 1's networks say of them if its critic was given (constants).
    """
    steps, batch = env.episode_length, env.num_envs
    draws = torch.rand((steps, 2, batch), generator=generator).to(env.device)
    first, second = players
    scripted = isinstance(second, str)
    observations = torch.empty((steps + 1, batch, 2, *env.obs_shape), device=env.device)
    actions = torch.empty((steps, batch, 2), dtype=torch.uint8, device=env.device)
    rewards = torch.empty((steps, batch, 2), device=env.device)
    tables: list[tuple[Tensor, Tensor]] = []
    seats = [(0, first)] + ([] if isinstance(second, str) else [(1, second)])
    states = [actor.policy.initial_state(batch) for _, actor in seats]
    critic = None if isinstance(second, str) else second.critic
    critic_state = None if critic is None else critic.initial_state(batch)
    observations[0] = env.reset()
    for t in range(steps + 1):
        if scripted and t < steps:
            actions[t] = env.scripted_actions([None, second])
        for index, (seat, actor) in enumerate(seats):
            if t == steps and (seat == 0 or critic is None):
                continue  # nobody asks what would come next
            features = observations[t, :, seat].flatten(1)
            logits, states[index] = actor.policy.step(features, states[index])
            log_probs = logits.log_softmax(-1)
            if t < steps:
                edges = log_probs.exp().cumsum(-1)[:, :-1]
                actions[t, :, seat] = (draws[t, seat, :, None] >= edges).sum(-1)
            if seat == 1 and critic is not None and critic_state is not None:
                timed = torch.cat([features, features.new_full((batch, 1), t)], 1)
                q_values, critic_state = critic.step(timed, critic_state)
                tables.append((log_probs, q_values))
        if t < steps:
            observations[t + 1], rewards[t], _, _ = env.step(actions[t])
    trajectory = Trajectory(observations, actions, rewards)
    if not tables:
        return trajectory, None
    log_prob_table, q_table = (torch.stack(table) for table in zip(*tables, strict=True))
    return trajectory, Evaluation(log_prob_table, q_table, actions[:, :, 1].long())
