"""Coin Game episodes between networks: one agent, past agents side by side, scripted players."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from loqa.agents import native as native_rollout
from loqa.agents.actor_critic import Agent, Evaluation
from loqa.agents.native import StackedHead
from loqa.algos.trajectory import Trajectory
from loqa.envs.coin_game.env import CoinGame
from loqa.ops.gru import GRUPolicy


@dataclass(frozen=True)
class Actor:
    """A seat's policy for one batch, with its critic if that is to be recorded.

    Attributes:
        parameters: of a recurrent `Agent` by name; stacked sets have a leading axis.
        with_critic: whether q(s, .) is recorded.
        index: `[G]` int64, which of the stacked sets; all of them if None.
    """

    parameters: Mapping[str, Tensor]
    with_critic: bool = False
    index: Tensor | None = None

    @classmethod
    def of_agent(cls, agent: Agent) -> Actor:
        """The agent as it is now."""
        return cls(dict(agent.named_parameters()))

    @cached_property
    def policy(self) -> GRUPolicy:
        """Outputs logits."""
        return self._head("actor.")

    @cached_property
    def critic(self) -> GRUPolicy | None:
        """Outputs q(s, .), reads the step index after the observation."""
        return self._head("critic.") if self.with_critic else None

    def _head(self, prefix: str) -> GRUPolicy:
        own = {name: value for name, value in self.parameters.items() if name.startswith(prefix)}
        if self.index is not None:
            own = {name: value[self.index].float() for name, value in own.items()}
        return GRUPolicy.of(own, prefix)


def rollout(
    env: CoinGame, players: tuple[Actor, Actor | str], draws: Tensor, seed: int
) -> tuple[Trajectory, Evaluation | None]:
    """A batch of whole episodes, on policy.

    Args:
        env: with float32 planes, or with cells: then first layers are sums of rows.
        players: of seat 0 and 1; a name is a scripted player.
        draws: uniform numbers `[T, 2, B]` that actions are drawn with, by inversion.
        seed: that the environment is reset with.

    Returns:
        The episodes, with planes, and what seat 1's networks say of them if its critic was given (constants).
    """
    second = players[1]
    networks = [player for player in players if not isinstance(player, str)]
    readable = all(native_rollout.reads(network.parameters) for network in networks)
    if env.device.type != "cpu" or not readable:
        return rollout_by_steps(env, players, draws, seed)
    actors = [
        player
        if isinstance(player, str)
        else StackedHead(player.parameters, "actor.", player.index)
        for player in players
    ]
    critic = None
    if not isinstance(second, str) and second.with_critic:
        critic = StackedHead(second.parameters, "critic.", second.index, reads_time=True)
    return native_rollout.play(env, (actors[0], actors[1]), critic, draws, seed)


def rollout_by_steps(
    env: CoinGame, players: tuple[Actor, Actor | str], draws: Tensor, seed: int
) -> tuple[Trajectory, Evaluation | None]:
    """The same, step by step in torch: up to rounding the same numbers."""
    return play(env, players, draws, env.reset(seed=seed))


def play(
    env: CoinGame, players: tuple[Actor, Actor | str], draws: Tensor, start: Tensor
) -> tuple[Trajectory, Evaluation | None]:
    """`rollout` from the observations `start` that a reset has given; waits for no device."""
    steps, batch = env.episode_length, env.num_envs
    device = env.device
    cells = env.spec.obs == "cells"
    obs = torch.empty(
        (steps + 1, batch, 2, *env.obs_shape), dtype=env.spec.obs_dtype, device=device
    )
    actions = torch.empty((steps, batch, 2), dtype=torch.uint8, device=device)
    rewards = torch.empty((steps, batch, 2), dtype=torch.float32, device=device)
    first, second = players
    networks = [first] if isinstance(second, str) else [first, second]
    script = second if isinstance(second, str) else None
    states = [network.policy.initial_state(batch) for network in networks]
    critic = networks[-1].critic if script is None else None
    critic_state = None if critic is None else critic.initial_state(batch)
    tables: list[tuple[Tensor, Tensor]] = []
    obs[0] = start
    for t in range(steps):
        if script is not None:
            actions[t] = env.scripted_actions([None, script])
        for seat, network in enumerate(networks):
            features = obs[t, :, seat].flatten(1)
            logits, states[seat] = network.policy.step(features, states[seat])
            log_probs = logits.log_softmax(-1)
            edges = log_probs.exp().cumsum(-1)[:, :-1]
            actions[t, :, seat] = (draws[t, seat, :, None] >= edges).sum(-1)
        if critic is not None and critic_state is not None:  # features are those of seat 1
            q_values, critic_state = critic.step(features, critic_state, t)
            tables.append((log_probs, q_values))
        obs[t + 1], rewards[t], _, _ = env.step(actions[t])
    planes = _planes(obs, env) if cells else obs
    trajectory = Trajectory(planes, actions, rewards)
    if critic is None or critic_state is None:
        return trajectory, None
    features = obs[steps, :, 1].flatten(1)
    logits, _ = networks[1].policy.step(features, states[1])
    q_values, _ = critic.step(features, critic_state, steps)
    tables.append((logits.log_softmax(-1), q_values))
    log_prob_table, q_table = (torch.stack(table) for table in zip(*tables, strict=True))
    return trajectory, Evaluation(log_prob_table, q_table, actions[:, :, 1].long())


def _planes(cells: Tensor, env: CoinGame) -> Tensor:
    """`[..., 3]` places of the ones -> `[..., 4, H, W]` float32 planes."""
    planes = cells.new_zeros((*cells.shape[:-1], 4 * env.height * env.width), dtype=torch.float32)
    planes.scatter_(-1, cells.long(), 1.0)
    return planes.reshape(*cells.shape[:-1], 4, env.height, env.width)
