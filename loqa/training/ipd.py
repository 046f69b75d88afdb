"""Training on the iterated prisoner's dilemma: the iteration, and what is said of the result."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Generator

from loqa._device import fetch
from loqa._random import stream, stream_seed
from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.memory1 import discounted_value
from loqa.agents.networks import NUM_IPD_STATES
from loqa.algos.learner import Learner, UpdateMetrics
from loqa.algos.naive import naive_settings, share_rewards
from loqa.algos.trajectory import Trajectory
from loqa.envs.matrix_game.env import MatrixGame, make_matrix_game
from loqa.training.config import IPDConfig
from loqa.training.graphs import Replayed, recorder_for
from loqa.training.trainer import Trainer

STATES = ("start", "CC", "CD", "DC", "DD")
COOPERATES = 0.9
"""A strategy is said to cooperate in a state if it does so with at least this probability..."""
DEFECTS = 0.2
"""... and to defect if it cooperates with at most this one."""

# Answers (C or D) at the start and after CC, CD, DC, DD, own action first.
STRATEGIES = {
    "tit-for-tat": "CCDCD",
    "always-defect": "DDDDD",
    "always-cooperate": "CCCCC",
    "win-stay-lose-shift": "CCDDC",
    "grim": "CCDDD",
}
_EVALUATION_EPISODES = 512


def strategy_name(p_cooperate: dict[str, float]) -> str:
    """The classical strategy that these five probabilities are, or "other"."""
    answers = "".join(
        "C" if p >= COOPERATES else "D" if p <= DEFECTS else "?"
        for p in (p_cooperate[state] for state in STATES)
    )
    return next((name for name, pattern in STRATEGIES.items() if pattern == answers), "other")


def cooperation(agent: Agent, episode_length: int, seed: int = 0) -> list[float]:
    """P(C) at the start and after CC, CD, DC, DD.

    Exact for agents without memory. For a recurrent agent: the mean over the steps of episodes in
    which both players' actions are drawn uniformly, grouped by the last joint action.

    Args:
        agent: two actions, the first of them to cooperate; on any device.
        episode_length: T of the episodes for a recurrent agent.
        seed: of those episodes.
    Returns:
        Five probabilities in the order of `STATES`.
    """
    device = next(agent.parameters()).device
    with torch.no_grad():
        if not agent.actor.recurrent:
            every_state = torch.arange(NUM_IPD_STATES, device=device)
            table: list[float] = agent.log_probs(every_state[None])[0, :, 0].exp().tolist()
            return table
        generator = stream(seed, "cooperation")
        index = torch.randint(
            1, NUM_IPD_STATES, (episode_length + 1, _EVALUATION_EPISODES), generator=generator
        )
        index[0] = 0
        probabilities = agent.log_probs(index.to(device))[..., 0].exp().cpu()
        return [float(probabilities[index == state].mean()) for state in range(NUM_IPD_STATES)]


def cooperation_own_play(
    agent: Agent, episode_length: int, exploration: float = 0.0, seed: int = 0
) -> list[float]:
    """P(C) at the start and after CC, CD, DC, DD, where the agent meets itself.

    Exact for agents without memory, and the same as `cooperation`. For a recurrent agent: the mean of
    its own probabilities, exploration not counted, over the steps of episodes that two copies of it
    play, grouped by the last joint action. Without exploration it hardly sees some of these states.

    Args:
        agent, episode_length, seed: as in `cooperation`.
        exploration: share of uniformly random play of both copies.
    Returns:
        Five probabilities in the order of `STATES`; NaN in a state that never came.
    """
    if not agent.actor.recurrent:
        return cooperation(agent, episode_length)
    device = next(agent.parameters()).device
    rows = 2 * _EVALUATION_EPISODES
    shape = (episode_length, rows)
    draws = torch.rand(shape, generator=stream(seed, "own play")).to(device)
    totals = torch.zeros(2, NUM_IPD_STATES, dtype=torch.float64, device=device)
    index = torch.zeros(rows, dtype=torch.int64, device=device)
    state = agent.initial_state(rows)
    with torch.no_grad():
        step = agent.stepper()
        for draw in draws:
            log_probs, state = step(index, state)
            p = log_probs[:, 0].exp()
            totals.index_add_(1, index, torch.stack([p, torch.ones_like(p)]).double())
            defects = (draw >= p * (1 - exploration) + exploration / 2).long()
            # The copies of a game lie half of the rows apart.
            index = 1 + 2 * defects + defects.roll(_EVALUATION_EPISODES)
    means: list[float] = (totals[0] / totals[1]).tolist()
    return means


class IPDTrainer(Trainer):
    """Self-play with the present copy: the agent in seat 0 learns, its copy sits in seat 1.

    Iteration n plays episode n of the seed.

    Args:
        config: of the run.
    """

    config: IPDConfig

    def __init__(self, config: IPDConfig) -> None:
        super().__init__(config)
        settings = naive_settings(config) if config.algo == "naive" else config
        self.agent = make_agent(config).to(self.device)
        record = recorder_for(self.device)
        self.learner = Learner(
            self.agent,
            settings,
            capturable=record is not None,
            exploration=config.exploration if config.played_policy else 0.0,
            network_lr=config.network_lr,
        )
        self._update = Replayed(self.learner.update, record)
        self.env = self._make_env(stream_seed(config.seed, "training episodes"))
        self._last: tuple[Trajectory, UpdateMetrics] | None = None

    def iterate(self) -> None:
        self.iteration += 1
        if self.config.actor_table:
            self.learner.set_network_rate(self._network_rate())
        trajectory = self._sample()
        trained = share_rewards(trajectory) if self.config.shared_reward else trajectory
        if self.iteration > self.config.critic_warmup:
            update = self._update(trained)
        else:
            update = self.learner.update(trained, actor_step=False)
        self.check(update)
        self._last = (trajectory, update)

    def _network_rate(self) -> float:
        """`network_lr` on its way to 0."""
        config = self.config
        after = max(0, self.iteration - config.anneal_after)
        share = min(1.0, after / config.anneal) if config.anneal else 0.0
        return config.network_lr * (1 - share)

    def metrics(self) -> dict[str, Any]:
        """Numbers of the last iteration. "reward" is what was paid, under exploration, per step;
        "self_play" is what both earn without it, after the update."""
        assert self._last is not None
        trajectory, update = self._last
        means = update.means
        reward, *losses = fetch([trajectory.rewards.mean((0, 1)), *means.values()])
        return {
            "p_cooperate": self.p_cooperate(),
            "reward": reward,
            "self_play": self.self_play(),
            "loss": dict(zip(means, [value for (value,) in losses], strict=True)),
        }

    def p_cooperate(self) -> dict[str, float]:
        """P(C) in each of `STATES`."""
        return dict(zip(STATES, cooperation(self.agent, self.config.episode_length), strict=True))

    def self_play(self) -> list[float]:
        """Mean reward per step of both seats where the agent meets itself and nobody explores.

        Exact for agents without memory (`loqa.agents.memory1`); else the mean over a batch of episodes.
        """
        if self.agent.actor.recurrent:
            env = self._make_env(0)
            generator = stream(
                self.config.seed, "evaluation actions", self.iteration, device=self.device
            )
            with torch.no_grad():
                (rewards,) = fetch(
                    [self._sample_stepwise(env, generator, 0.0).rewards.mean((0, 1))]
                )
            return rewards
        steps = self.config.episode_length
        # Rounding can lift a probability just above 1. NaN, see `_sample`, is no strategy.
        strategy = [min(p, 1.0) for p in self.p_cooperate().values()]
        if any(map(math.isnan, strategy)):
            return [math.nan, math.nan]
        total = discounted_value(strategy, strategy, 1.0, payoff=self.config.payoff, steps=steps)
        return [float(value) / steps for value in total]

    def summary(self) -> dict[str, Any]:
        """What was learned. Of a recurrent agent "p_cooperate" is of random histories, and
        "p_cooperate_own_play" of its own with the exploration of training, None where it never was."""
        p_cooperate = self.p_cooperate()
        summary = {
            "p_cooperate": p_cooperate,
            "strategy": strategy_name(p_cooperate),
            "self_play": self.self_play(),
        }
        if self.agent.actor.recurrent:
            config = self.config
            own = cooperation_own_play(self.agent, config.episode_length, config.exploration)
            summary["p_cooperate_own_play"] = {
                state: None if math.isnan(p) else p for state, p in zip(STATES, own, strict=True)
            }
        return summary

    def state_dict(self) -> dict[str, Any]:
        return {
            "iteration": self.iteration,
            "learner": self.learner.state_dict(),
            "env": self.env.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], run: Path) -> None:
        self.iteration = int(state["iteration"])
        self.learner.load_state_dict(state["learner"])
        self.env.load_state_dict(state["env"])

    def _make_env(self, seed: int) -> MatrixGame:
        config = self.config
        return make_matrix_game(
            "ipd",
            "loqa24",
            config.batch_size,
            payoff=config.payoff,
            episode_length=config.episode_length,
            seed=seed,
            device=self.device,
            obs="index",
            num_threads=config.num_threads,
        )

    def _sample(self) -> Trajectory:
        config = self.config
        with torch.no_grad():
            if self.agent.actor.recurrent:
                # Counted, not carried: one stream of numbers for each (seed, iteration).
                name = (config.seed, "training actions", self.iteration)
                generator = stream(*name, device=self.device)
                return self._sample_stepwise(self.env, generator, config.exploration)
            every_state = torch.arange(NUM_IPD_STATES, device=self.device)
            probabilities = self.agent.log_probs(every_state[None])[0, :, 0].exp()
        # Rounding can lift a certain action's probability just above 1. NaN, which a run on a GPU
        # notices some iterations late, must not stop it here.
        both = probabilities.nan_to_num(0.5).clamp(max=1).expand(2, -1)
        self.env.reset()
        return Trajectory(
            *self.env.rollout_memory1(both, config.episode_length, config.exploration)
        )

    def _sample_stepwise(
        self, env: MatrixGame, generator: Generator, exploration: float
    ) -> Trajectory:
        rows = env.num_envs * 2
        draws = torch.rand((env.episode_length, rows), generator=generator, device=self.device)
        obs = env.reset()
        state = self.agent.initial_state(rows)
        step = self.agent.stepper()
        all_obs, all_actions, all_rewards = [obs.clone()], [], []
        for draw in draws:
            log_probs, state = step(obs.reshape(rows).long(), state)
            p = log_probs[:, 0].exp() * (1 - exploration) + exploration / 2
            actions = (draw >= p).to(torch.int8).view(-1, 2)
            obs, rewards, _, _ = env.step(actions)
            all_obs.append(obs.clone())
            all_actions.append(actions)
            all_rewards.append(rewards.clone())
        return Trajectory(torch.stack(all_obs), torch.stack(all_actions), torch.stack(all_rewards))


def make_agent(config: IPDConfig) -> Agent:
    """The untrained agent of a configuration."""
    return build_agent(
        config.actor,
        config.critic,
        num_features=4,
        num_actions=2,
        actor_hidden=config.actor_hidden,
        critic_hidden=config.critic_hidden,
        actor_layers_before_gru=config.layers_before_gru,
        critic_layers_before_gru=config.layers_before_gru,
        actor_one_hot=config.actor_one_hot,
        actor_table=config.actor_table,
        generator=stream(config.seed, "initial weights"),
        observes="states",
        config=config,
    )
