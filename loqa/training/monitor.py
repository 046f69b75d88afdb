"""Evaluations on the way: what the agent earns, thresholds, and the weight that follows them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loqa.agents.policy import Policy
from loqa.runtime.device import fetch
from loqa.runtime.random import stream_seed

if TYPE_CHECKING:
    from loqa.envs.base import Env
    from loqa.training.trainer import Trainer


class Monitor:
    """What is said of a run's agent.

    Every `evaluate_every` iterations the agent meets itself and the scripted players of the game's
    record; where self-play has a target the shaping weight is steered by what it earned.

    Attributes:
        agent: that learns, in seat 0.
        agents: all that learn, in order of their seats.
        evaluation: the newest; empty before the first.
        shaping_weight: as it is steered.
        began: the iteration after which rates are annealed and the weight is steered, None before that.
        seconds_to_threshold: of each threshold of the game, until it was met first; None before that.
        seconds_to_threshold_for_good: of each threshold, the seconds at the first of the evaluations
            that have all met it; None where the newest does not.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self.config, self.agent = trainer, trainer.config, trainer.agent
        self.agents = [self.agent, *(one.agent for one in trainer.opponents.algorithms)]
        self._env: Env | None = None
        self._first = float(getattr(trainer.config.settings(), "shaping_weight", 0.0))
        self.shaping_weight = self._first
        schedule, looks = trainer.config.schedule, trainer.config.evaluation.evaluate_every
        waits = schedule.anneal_once == "answers" and looks
        self.began = None if waits else schedule.anneal_after
        self.evaluation: dict[str, Any] = {}
        reachable = not trainer.game.no_threshold(trainer.config.env)
        self.seconds_to_threshold: dict[str, float | None] = dict.fromkeys(
            trainer.game.thresholds if reachable else ()
        )
        self.seconds_to_threshold_for_good: dict[str, float | None] = dict(
            self.seconds_to_threshold
        )

    @property
    def stops(self) -> bool:
        """Whether the threshold is met at which the run was to end."""
        return self.seconds_to_threshold.get(self.config.evaluation.stop_at) is not None

    def evaluate(self, seconds: float) -> None:
        """Plays the agent against itself and the game's scripted players, after `seconds` of training."""
        trainer, game, settings = self._trainer, self._trainer.game, self.config.env
        rewards, measured = [], {}
        against = {"self_play": None, **game.against}
        for name, script in against.items():
            played = self._played(name, script)
            rewards.append(played.rewards.mean((0, 1)))
            if script is None:
                measured = dict(game.measure(played, settings))
        trainer.processes.mean_([*rewards, *measured.values()])
        numbers = fetch([*rewards, *measured.values()])
        paid, counted = numbers[: len(rewards)], [number for (number,) in numbers[len(rewards) :]]
        self.evaluation = dict(zip(against, paid, strict=True))
        if measured:
            # JSON has no NaN: nothing was counted.
            known = [number if math.isfinite(number) else None for number in counted]
            self.evaluation["statistics"] = dict(zip(measured, known, strict=True))
        self.evaluation |= game.evaluated(self.evaluation)
        # A longer run is evaluated after the same iterations: but for the last, which always is.
        if trainer.iteration % self.config.evaluation.evaluate_every == 0:
            self._steer()
            late = trainer.iteration >= self.config.schedule.anneal_after
            if self.began is None and late and game.answers(self.evaluation, settings):
                self.began = trainer.iteration
        met = game.reached(self.evaluation, settings)
        for name, since in self.seconds_to_threshold_for_good.items():
            now = seconds if since is None else since
            self.seconds_to_threshold_for_good[name] = now if name in met else None
            if name in met and self.seconds_to_threshold[name] is None:
                self.seconds_to_threshold[name] = seconds

    def self_play(self) -> list[float]:
        """Mean reward a step of each seat where the agent meets itself and nobody explores, sampled."""
        (rewards,) = fetch([self._played("evaluation", None).rewards.mean((0, 1))])
        return rewards

    def metrics(self) -> dict[str, Any]:
        """For a line of metrics."""
        line, rates = self._trainer.game.metrics(self), self._trainer.rates
        if self.config.steering.self_play_target is not None and "shaping_weight" in rates:
            line["shaping_weight"] = rates["shaping_weight"]
        if self._trainer.evaluates_now:
            line |= self.evaluation | self._thresholds()
        return line

    def summary(self) -> dict[str, Any]:
        """What the run has come to."""
        return {**self._trainer.game.summary(self), **self.evaluation, **self._thresholds()}

    def _thresholds(self) -> dict[str, Any]:
        if not self.seconds_to_threshold:
            return {}
        return {
            "seconds_to_threshold": dict(self.seconds_to_threshold),
            "seconds_to_threshold_for_good": dict(self.seconds_to_threshold_for_good),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "evaluation": self.evaluation,
            "shaping_weight": self.shaping_weight,
            "began": self.began,
            "seconds_to_threshold": self.seconds_to_threshold,
            "seconds_to_threshold_for_good": self.seconds_to_threshold_for_good,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.evaluation = dict(state["evaluation"])
        self.shaping_weight = float(state["shaping_weight"])
        self.began = state["began"]
        self.seconds_to_threshold = dict(state["seconds_to_threshold"])
        self.seconds_to_threshold_for_good = dict(state["seconds_to_threshold_for_good"])

    def _played(self, purpose: str, script: str | None) -> Any:
        """Episodes of the agent against a scripted player in every other seat, or against itself."""
        trainer = self._trainer
        if self._env is None:
            episodes = self.config.evaluation.evaluation_episodes
            self._env = trainer.make_env(episodes, "evaluation episodes")
        if hasattr(self._env, "rollout_policies"):
            # It may draw its own numbers. Then it counts episodes from here: not from how often it was
            # played, which a resumed run does not know.
            seed = stream_seed(self.config.loop.seed, purpose, trainer.iteration)
            self._env.reset(seed=seed)
        agent: Policy | str = trainer.seat_of(trainer.agent)
        players = self._env.spec.num_players
        others: list[Policy | str] = [agent if script is None else script] * (players - 1)
        if script is None and len(self.agents) > 1:  # independent learners meet each other
            others = [trainer.seat_of(one) for one in self.agents[1:]]
        return trainer.play(self._env, [agent, *others], purpose)[0]

    def _steer(self) -> None:
        """Moves the shaping weight by how much self-play misses its target."""
        steering, every = self.config.steering, self.config.evaluation.evaluate_every
        iteration = self._trainer.iteration
        if steering.self_play_target is None or self.began is None or iteration <= self.began:
            return
        paid = self.evaluation["self_play"]
        missing = steering.self_play_target - sum(paid) / len(paid)
        moved = self.shaping_weight * math.exp(steering.steering_rate * every * missing)
        limit = steering.steering_limit
        self.shaping_weight = min(max(moved, self._first / limit), self._first * limit)
