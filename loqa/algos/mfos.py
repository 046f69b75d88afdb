"""M-FOS on the Coin Game: the meta-return, and PPO on it (Lu et al., ICML 2022).

A meta-episode is E inner episodes of S steps on B boards, against one opponent that learns after each of
them. The agent (`loqa.agents.mfos`) is to steer what it learns: it maximises what it is paid over all of
them, and does not learn before the meta-episode is over. An iteration of a run is a meta-episode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from loqa._checks import Range, Rate, Share
from loqa.agents.actor_critic import Agent
from loqa.agents.mfos import MFOSActor, MFOSCritic, as_boards, drawn_from
from loqa.agents.policy import Policy
from loqa.algos.base import Adapting, Algorithm, Context, Number, Others
from loqa.algos.mfos_play import NaiveLearner, NaiveSettings, Size, Steering, normalised
from loqa.algos.optimizers import adam, apply, global_norm, restore, state_of
from loqa.algos.ppo import ppo_loss
from loqa.algos.registry import register
from loqa.algos.trajectory import Trajectory
from loqa.ops import discounted_returns
from loqa.runtime.random import stream


@dataclass(frozen=True)
class MFOSSettings(NaiveSettings):
    """Of the meta-game and of both players' PPO; the defaults are as published.

    Attributes:
        inner_episodes: E, of a meta-episode, 2 or more; each has `episode_length` moves.
        idle_step: whether a step follows the moves of an inner episode, as in the published code: the agent
            sees the last board and what the last move was paid, its action moves nothing, and it is paid 0.
            It is learned from like a move, and th knows what it shows. The paper has moves alone.
        lr: Adam's.
        meta_discount: of steps, over the whole meta-episode.
        epochs: steps on each meta-episode, on the whole of it.
        self_play_decay: of two agents that meet "learners": an iteration is played against naive learners
            with probability 1 - `self_play_decay` times the iterations before it, by each agent on
            boards of its own; else the two meet.
        channels: of the networks' convolutions.
        hidden: units of their linear layers and GRUs, and of the memory.
    """

    inner_episodes: Annotated[int, Range(2, 2**20)] = 16
    idle_step: bool = True
    lr: Rate = 2e-4
    meta_discount: Share = 0.995
    epochs: Size = 16
    self_play_decay: Rate = 0.005
    channels: Size = 16
    hidden: Size = 16


def mfos_agent(config: Any, inputs: Any, generator: Generator) -> Agent:
    """The untrained agent of a run.

    Raises:
        ValueError: a game of other than two players, or whose observations are no boards.
    """
    settings, board = config.settings(), tuple(inputs.obs_shape)
    players = getattr(config.env, "num_players", 2)
    if players != 2 or len(board) != 3:
        raise ValueError(
            "M-FOS plays games of two players with observations [C, H, W] (of two actions: "
            f"loqa train matrix --exact --algo mfos), got {players} players and {list(board)}"
        )
    size = (settings.channels, settings.hidden)
    with drawn_from(generator):
        actor = MFOSActor(board, inputs.num_actions, config.env.episode_length, *size)
        critic = MFOSCritic(board, inputs.num_actions, *size)
    return Agent(actor, critic, "features", config)


def meta_outputs(actor: MFOSActor, critic: MFOSCritic, obs: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities `[E, S, B, K]` and values `[E, S, B]` of a meta-episode, `obs [E, S, B, C, H, W]`.
    The gradient of the policy reaches the meta trunk, that of the values does not."""
    episodes = obs.transpose(0, 1)
    learned = actor.next_memory(episodes[:, :-1])
    memory = torch.cat([torch.ones_like(learned[:1]), learned])[:, None]
    of_policy, of_value = (
        head.trunk(episodes.flatten(1, 2)).reshape(*episodes.shape[:3], -1)
        for head in (actor, critic)
    )
    log_probs = actor.logits(of_policy, memory).log_softmax(-1)
    return log_probs.transpose(0, 1), critic.values(of_value, memory).transpose(0, 1)


def meta_returns(rewards: Tensor, discount: float) -> Tensor:
    """G_t = r_t + gamma G_{t+1} within an inner episode of `rewards [E, S, B]`; at its end G_{t+1} is the
    mean over the batch, as the boards that follow are others."""
    found: list[Tensor] = []
    after = torch.zeros_like(rewards[0, 0])
    for episode in rewards.flip(0):
        found.append(discounted_returns(episode.contiguous(), discount, after))
        after = found[-1][0].mean().expand_as(after).contiguous()
    return torch.stack(found[::-1])


@dataclass(frozen=True)
class MetaEpisode:
    """What an update learns from: E inner episodes of S steps on B boards.

    Attributes:
        obs: `[E, S, B, C, H, W]`.
        actions: `[E, S, B]` integers.
        log_probs: of these by the policy that took them, `[E, S, B]`.
        returns: `meta_returns` of the rewards, `normalised`, `[E, S, B]`.
    """

    obs: Tensor
    actions: Tensor
    log_probs: Tensor
    returns: Tensor

    def loss(self, actor: MFOSActor, critic: MFOSCritic, clip_ratio: float = 0.2) -> Tensor:
        """PPO's, with A = G - stop(v) as it is:

        L = -mean min( x A, clip(x) A ) + 1/2 mean (v - G)^2,   x = pi(a) / pi_old(a)
        """
        table, values = meta_outputs(actor, critic, self.obs)
        taken = table.gather(-1, self.actions.long()[..., None])[..., 0]
        advantages = self.returns - values.detach()
        surrogate = ppo_loss(taken, self.log_probs, advantages, clip_ratio)
        return surrogate + 0.5 * functional.mse_loss(values, self.returns)


class MFOS(Algorithm):
    """M-FOS: an iteration is a meta-episode and an update from it."""

    settings: MFOSSettings

    def __init__(self, agent: Agent, settings: MFOSSettings, context: Context) -> None:
        super().__init__(agent, settings, context)
        if context.processes.size > 1:
            raise ValueError("M-FOS takes means over the batch: it runs in one process")
        if context.exploration:
            raise ValueError(
                f"M-FOS plays its policy: exploration must be 0, got {context.exploration}"
            )
        assert isinstance(agent.actor, MFOSActor)
        assert isinstance(agent.critic, MFOSCritic)
        self._actor, self._critic = agent.actor, agent.critic
        self._parameters = list(agent.parameters())
        self.optimizer = adam([self._parameters], [settings.lr], None)

    # --- whom it meets

    @property
    def episodes(self) -> int:
        return self.settings.inner_episodes

    def policy(self) -> Policy:
        self._steering = Steering(self._actor, self.settings.idle_step)
        return self._steering

    def naive_learner(self, iteration: int, seat: int) -> NaiveLearner:
        generator = stream(self.context.seed, "M-FOS naive learner", iteration, seat)
        board, actions = self._actor.board, self._critic.num_outputs
        naive = NaiveLearner(board, actions, self.settings, generator)
        return naive.to(self._parameters[0].device)

    def before(self, seats: Sequence[Policy | str], seat: int) -> None:
        for other, one in enumerate(seats):
            if other != seat and not isinstance(one, Adapting):
                who = repr(one) if isinstance(one, str) else type(one).__name__
                raise ValueError(
                    "M-FOS steers others who learn between the episodes of an iteration: meets must be "
                    f"naive or learners, got {who}"
                )

    # --- learning

    def update(
        self, trajectory: Trajectory, others: Others = (), seat: int = 0, iteration: int = 1
    ) -> Mapping[str, Number]:
        own, settings = trajectory.seat(seat), self.settings
        dtype = self._parameters[0].dtype
        boards = as_boards(own.obs[:-1], self._actor.board, 2, dtype)
        obs, actions, rewards = (
            one.reshape(settings.inner_episodes, -1, *one.shape[1:])
            for one in (boards, own.actions.long(), own.rewards)
        )
        paid = rewards
        if settings.idle_step:
            ended = torch.stack(self._steering.ended)[:, None]
            obs = torch.cat([obs, as_boards(ended, self._actor.board, 3, dtype)], 1)
            paid = functional.pad(rewards, (0, 0, 0, 1))
        returns = normalised(meta_returns(paid, settings.meta_discount))
        with torch.no_grad():
            table, _ = meta_outputs(self._actor, self._critic, obs)
        if settings.idle_step:
            idle = table[:, -1].exp()
            name = (self.context.seed, "M-FOS idle step", iteration, seat)
            drawn = idle.flatten(0, 1).multinomial(1, generator=stream(*name, device=idle.device))
            actions = torch.cat([actions, drawn.reshape(len(actions), 1, -1)], 1)
        before = table.gather(-1, actions[..., None])[..., 0]
        meta = MetaEpisode(obs, actions, before, returns)
        for _ in range(settings.epochs):
            loss = meta.loss(self._actor, self._critic, settings.clip_ratio)
            gradients = torch.autograd.grad(loss, self._parameters)
            apply(self.optimizer, self._parameters, gradients)
        return {
            "loss/agent": loss.detach(),
            "grad_norm": global_norm(gradients),
            "first_reward": rewards[0].mean(),
            "last_reward": rewards[-1].mean(),
        }

    def state_dict(self) -> dict[str, Any]:
        return {"agent": self.agent.state_dict(), "optimizer": state_of(self.optimizer)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        restore(self.optimizer, state["optimizer"])


# Of the run: as published. Nothing is annealed or steered.
_RUN: dict[str, Any] = {
    "meets": "learners",
    "exploration": 0.0,
    "anneal": 0,
    "anneal_after": 0,
    "anneal_once": "at_once",
    "self_play_target": None,
    "early_opponents": 0.0,
    "iterations": 1000,
    "batch_size": 512,
    "log_every": 1,
    "checkpoint_every": 10,
}
_COIN = {"rules": "mfos22", "episode_length": 15, "egocentric": False}
register("mfos", MFOS, MFOSSettings, "M-FOS", {"": _RUN, "coin": _COIN}, mfos_agent)
