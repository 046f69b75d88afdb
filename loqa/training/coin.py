"""Training on the Coin Game: the iteration, the evaluation on the way, and what the run came to."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import torch

from loqa._device import PhaseClock, fetch
from loqa._distributed import ProcessGroup
from loqa._native import core
from loqa._random import stream, stream_seed
from loqa.agents.actor_critic import Agent, Evaluation, build_agent
from loqa.algos.learner import Learner, UpdateMetrics
from loqa.algos.naive import naive_settings, share_rewards
from loqa.algos.trajectory import Trajectory
from loqa.envs.coin_game.env import CoinGame, make_coin_game
from loqa.envs.coin_game.statistics import coin_statistics
from loqa.envs.coin_game.thresholds import THRESHOLDS, reached
from loqa.training.coin_rollout import Actor, play, rollout
from loqa.training.config import CoinConfig
from loqa.training.graphs import Replayed, recorder_for
from loqa.training.replay import ReplayPool
from loqa.training.trainer import Trainer

_ACTIONS = 4
# From 5 x 5 on a sum of three rows of weights is faster than a product (hidden 32: 15 us against 23 for
# 512 games; hidden 128 at 7 x 7: 26 against 147).
_CELLS_FROM = 25
# Where self-play has a target: change of the logarithm of the shaping weight in an iteration for a
# missing reward of 1 a step, and the largest factor by which the weight may leave its first value.
_STEERING, _STEERED = 0.05, 2.5
STATISTICS = ("other_share", "own_pickups", "other_pickups", "easy_misses", "near_passes")
"""Of `loqa.envs.coin_game.statistics.CoinStatistics`, in self-play, mean of both players."""


class CoinTrainer(Trainer):
    """Self-play against past agents: the agent in seat 0 learns, past agents sit in seat 1.

    Args:
        config: of the run.
        processes: that share its batch. Every process plays its part of the episodes that one alone
            would play. On a GPU rollouts and updates are CUDA graphs; updates not where processes
            exchange gradients inside.
    """

    config: CoinConfig

    def __init__(self, config: CoinConfig, processes: ProcessGroup | None = None) -> None:
        super().__init__(config)
        self._processes = processes or ProcessGroup()
        core.keep_freed_memory()
        self._settings = naive_settings(config) if config.algo == "naive" else config
        self.agent = make_agent(config).to(self.device)
        self._record = recorder_for(self.device)
        self.learner = Learner(
            self.agent, self._settings, self._processes, self._record is not None
        )
        self._update = Replayed(
            self.learner.update, self._record if self._processes.size == 1 else None
        )
        self._plays: dict[str, Replayed] = {}
        self.pool = ReplayPool(self.agent, config.replay_capacity)
        self.pool.push(self.agent)
        self._opponents = self._processes.share(config.opponents)
        self.env = self._make_env(config.batch_size)
        self.evaluation_env = self._make_env(config.evaluation_episodes)
        self.seconds_to_threshold: dict[str, float | None] = dict.fromkeys(THRESHOLDS)
        self._shaping_weight = self._settings.shaping_weight
        self.evaluation: dict[str, Any] = {}
        self._clock = PhaseClock(self.device)
        self._last: tuple[Trajectory, UpdateMetrics] | None = None

    def iterate(self) -> None:
        config = self.config
        self.iteration += 1
        self._anneal()
        with self._clock.phase("rollout"):
            index = self.pool.draw(
                config.opponents,
                stream(config.seed, "opponents", self.iteration, device=self.pool.device),
                early=1 + config.anneal_after // config.replay_every,  # the first is untrained
                share=config.early_opponents,
            )[self._opponents]
            beside = self.pool.device == self.device
            opponents = Actor(
                self.pool.stored() if beside else self.pool.gather(index),
                with_critic=self._settings.shaping_weight != 0,
                index=index if beside else None,
            )
            trajectory, opponent = self._play(
                self.env, (Actor.of_agent(self.agent), opponents), "training"
            )
        with self._clock.phase("update"):
            trained = share_rewards(trajectory) if config.shared_reward else trajectory
            update = self._update(trained, opponent)
            self.check(update)
        if self.iteration % config.replay_every == 0:
            self.pool.push(self.agent)
        self._last = (trajectory, update)

    def evaluate(self, seconds: float) -> None:
        """Plays the agent against itself, always-cooperate and always-defect, when it is time.

        Args:
            seconds: of training so far, what a threshold that is met now is said to have taken.
        """
        if not self.evaluates_now:
            return
        with self._clock.phase("evaluate"):
            agent = Actor.of_agent(self.agent)
            others: dict[str, Actor | str] = {
                "self_play": agent,
                "vs_always_cooperate": "always-cooperate",
                "vs_always_defect": "always-defect",
            }
            rewards, measured = [], []
            for name, other in others.items():
                played, _ = self._play(self.evaluation_env, (agent, other), name)
                rewards.append(played.rewards.mean((0, 1)))
                if other is agent:
                    measures = coin_statistics(played.obs, played.actions, played.rewards)
                    measured = [getattr(measures, name).mean() for name in STATISTICS]
            self._processes.mean_([*rewards, *measured])
            numbers = fetch([*rewards, 1 - measured[0], *measured])
            paid, own_share, statistics = numbers[:3], numbers[3][0], [n for (n,) in numbers[4:]]
            self.evaluation = {
                **dict(zip(others, paid, strict=True)),
                "own_coin_share": _json_number(own_share),
                "statistics": dict(zip(STATISTICS, map(_json_number, statistics), strict=True)),
            }
            self._steer()
        met = reached(
            sum(self.evaluation["self_play"]) / 2,
            self.evaluation["vs_always_defect"][0],
            self.config.height,
            self.config.width,
        )
        for name in met:
            if self.seconds_to_threshold[name] is None:
                self.seconds_to_threshold[name] = seconds

    @property
    def evaluates_now(self) -> bool:
        config = self.config
        return self.iteration % config.evaluate_every == 0 or self.iteration == config.iterations

    @property
    def finished(self) -> bool:
        config = self.config
        if config.stop_at != "never" and self.seconds_to_threshold[config.stop_at] is not None:
            return True
        return super().finished

    def metrics(self) -> dict[str, Any]:
        """Numbers of the last iteration; seconds by phase are those since the last call."""
        assert self._last is not None
        trajectory, update = self._last
        means = update.means
        norm = [] if update.grad_norm is None else [update.grad_norm]
        reward, (entropy,), *rest = fetch(
            [trajectory.rewards.mean((0, 1)), -update.entropy_loss, *means.values(), *norm]
        )
        losses = [value for (value,) in rest]
        line = {
            "reward": reward,
            "entropy": entropy,
            "loss": dict(zip(means, losses, strict=False)),
            "phase_seconds": self._clock.take(),
            "replay": len(self.pool),
        }
        if norm:
            line["grad_norm"] = losses[-1]
        if self.config.self_play_target is not None:
            line["shaping_weight"] = self.learner.settings.shaping_weight
        if self.evaluates_now:
            line |= self.evaluation
            line["seconds_to_threshold"] = dict(self.seconds_to_threshold)
        return line

    def summary(self) -> dict[str, Any]:
        return {
            "height": self.config.height,
            "width": self.config.width,
            **self.evaluation,
            "seconds_to_threshold": self.seconds_to_threshold,
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "iteration": self.iteration,
            "learner": self.learner.state_dict(),
            "pool": self.pool.state_dict(),
            "evaluation": self.evaluation,
            "shaping_weight": self._shaping_weight,
            "seconds_to_threshold": self.seconds_to_threshold,
        }

    def save_files(self, run: Path) -> None:
        """Past agents."""
        directory = run / "replay"
        directory.mkdir(exist_ok=True)
        self.pool.save_blocks(directory)

    def drop_files(self, run: Path) -> None:
        self.pool.drop_blocks(run / "replay")

    def load_state_dict(self, state: dict[str, Any], run: Path) -> None:
        self.iteration = int(state["iteration"])
        self.learner.load_state_dict(state["learner"])
        self.pool.load_state_dict(state["pool"], run / "replay")
        self.evaluation = dict(state["evaluation"])
        self._shaping_weight = float(state["shaping_weight"])
        self.seconds_to_threshold = dict(state["seconds_to_threshold"])

    def _anneal(self) -> None:
        config = self.config
        after = max(0, self.iteration - config.anneal_after)
        share = min(1.0, after / config.anneal) if config.anneal else 0.0

        def between(first: float, final: float) -> float:
            return first + share * (final - first)

        self.learner.set_rates(
            between(config.entropy_bonus, config.entropy_final),
            self._shaping_weight,
            between(config.actor_lr, config.actor_lr_final),
            between(config.critic_lr, config.critic_lr_final),
        )

    def _steer(self) -> None:
        """Moves the shaping weight by how much self-play misses its target."""
        config = self.config
        if config.self_play_target is None or self.iteration <= config.anneal_after:
            return
        if self.iteration % config.evaluate_every:
            return  # the last iteration's evaluation: a longer run has none there
        missing = config.self_play_target - sum(self.evaluation["self_play"]) / 2
        moved = self._shaping_weight * math.exp(_STEERING * config.evaluate_every * missing)
        first = self._settings.shaping_weight
        self._shaping_weight = min(max(moved, first / _STEERED), first * _STEERED)

    def _play(
        self, env: CoinGame, players: tuple[Actor, Actor | str], purpose: str
    ) -> tuple[Trajectory, Evaluation | None]:
        """This process's part of the episodes of (seed, purpose, iteration)."""
        name = (self.config.seed, purpose, self.iteration)
        seed = stream_seed(*name)
        episodes = env.num_envs * self._processes.size
        draws = torch.rand(
            (env.episode_length, 2, episodes),
            generator=stream(*name, device=self.device), device=self.device,
        )  # fmt: skip
        mine = draws[:, :, self._processes.share(episodes)]
        if self._record is None:
            return rollout(env, players, mine, seed)
        replayed = self._plays.setdefault(purpose, Replayed(partial(play, env), self._record))
        played: tuple[Trajectory, Evaluation | None] = replayed(players, mine, env.reset(seed=seed))
        return played

    def _make_env(self, episodes: int) -> CoinGame:
        """An environment for this process's part of so many episodes."""
        config, part = self.config, self._processes.share(episodes)
        return make_coin_game(
            "loqa24",
            part.stop - part.start,
            height=config.height,
            width=config.width,
            episode_length=config.episode_length,
            device=self.device,
            obs="cells" if config.height * config.width >= _CELLS_FROM else "planes",
            num_threads=config.num_threads,
            first_env=part.start,
            check_actions=False,
        )


def make_agent(config: CoinConfig) -> Agent:
    """The untrained agent of a configuration."""
    return build_agent(
        "gru",
        "gru",
        num_features=4 * config.height * config.width,
        num_actions=_ACTIONS,
        actor_hidden=config.actor_hidden,
        critic_hidden=config.critic_hidden,
        actor_layers_before_gru=config.layers_before_gru,
        critic_layers_before_gru=config.layers_before_gru,
        generator=stream(config.seed, "initial weights"),
        observes="features",
        config=config,
    )


def _json_number(number: float) -> float | None:
    """A number that JSON can hold: NaN, nothing was counted, becomes None."""
    return number if math.isfinite(number) else None
