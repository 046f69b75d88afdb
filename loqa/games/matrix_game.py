"""The records of matrix games: the iterated prisoner's dilemma and its kin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from loqa import _checks
from loqa.agents.memory1 import discounted_value
from loqa.envs.base import Env
from loqa.envs.matrix_game.env import make_matrix_game
from loqa.envs.matrix_game.presets import MATRIX_PRESETS, as_payoff
from loqa.games.answers import STATES, cooperation, cooperation_own_play, strategy_name
from loqa.games.base import Game, Inputs, Making, RunView
from loqa.games.matrix_matches import MatrixMatches
from loqa.games.matrix_view import outcome, view
from loqa.games.registry import register


@dataclass(frozen=True)
class IPDSettings:
    """The iterated prisoner's dilemma.

    Attributes:
        episode_length: T, steps in an episode.
        payoff: payoff to me for CC, CD, DC, DD.
    """

    episode_length: int = 50
    payoff: tuple[float, ...] = (-1.0, -3.0, 0.0, -2.0)

    def __post_init__(self) -> None:
        _checks.integer("episode_length", self.episode_length, 1, 2**31 - 1)
        if len(self.payoff) != 4:
            raise ValueError(f"payoff must be 4 numbers for CC, CD, DC, DD, got {self.payoff}")
        as_payoff(self.payoff)


def _make_env(settings: IPDSettings, making: Making) -> Env:
    return make_matrix_game(
        "ipd",
        "loqa24",
        making.num_envs,
        payoff=settings.payoff,
        episode_length=settings.episode_length,
        seed=making.seed,
        device=making.device,
        obs="index",
        num_threads=making.num_threads,
        first_env=making.first_env,
    )


def p_cooperate(run: RunView) -> dict[str, float]:
    """P(C) in each of `STATES`."""
    answers = cooperation(run.agent, run.config.env.episode_length)
    return dict(zip(STATES, answers, strict=True))


def self_play(run: RunView) -> list[float]:
    """Mean reward per step of both seats where the agent meets itself and nobody explores.

    Exact for agents without memory (`loqa.agents.memory1`); else sampled.
    """
    if run.agent.actor.recurrent:
        return run.self_play()
    settings: IPDSettings = run.config.env
    # Rounding can lift a probability just above 1. NaN, of a run on a GPU, is no strategy.
    strategy = [min(p, 1.0) for p in p_cooperate(run).values()]
    if any(map(math.isnan, strategy)):
        return [math.nan, math.nan]
    steps = settings.episode_length
    total = discounted_value(strategy, strategy, 1.0, payoff=settings.payoff, steps=steps)
    return [float(value) / steps for value in total]


def _metrics(run: RunView) -> dict[str, Any]:
    return {"p_cooperate": p_cooperate(run), "self_play": self_play(run)}


def _summary(run: RunView) -> dict[str, Any]:
    """What was learned. Of a recurrent agent "p_cooperate" is of random histories, and
    "p_cooperate_own_play" of its own with the exploration of training, None where it never was."""
    found = p_cooperate(run)
    summary = {"p_cooperate": found, "strategy": strategy_name(found), "self_play": self_play(run)}
    if run.agent.actor.recurrent:
        length, exploration = run.config.env.episode_length, run.config.loop.exploration
        own = cooperation_own_play(run.agent, length, exploration)
        summary["p_cooperate_own_play"] = {
            state: None if math.isnan(p) else p for state, p in zip(STATES, own, strict=True)
        }
    return summary


IPD = register(
    Game(
        name="ipd",
        env_name="ipd",
        kin=tuple(MATRIX_PRESETS),
        view=lambda: view,
        outcome=outcome,
        figures="loqa.plotting.matrix_game",
        matches=MatrixMatches("ipd"),
        settings=IPDSettings,
        make_env=_make_env,
        inputs=lambda settings: Inputs("states", 4, 2),
        metrics=_metrics,
        summary=_summary,
        defaults={
            "iterations": 600,
            "actor_lr": 2e-2,
            "critic_lr": 3e-2,
            "shaping_weight": 3.0,
            "softmax_temperature": 3.0,
            "stop_normaliser_gradient": True,
            "advantage": "gae",
            "advantage_lambda": 0.9,
            "shaping_advantage": "td0",
            "opponent_baseline": "batch",
            "critic_target": "returns",
            "exploration": 0.2,
            "critic_warmup": 50,
            "actor_table": True,
            "anneal": 200,
            "anneal_after": 100,
            "network_lr_final": 0.0,
        },
        variants={"actor": {"gru": {"iterations": 400, "batch_size": 128}}},
        presets={
            "default": {},
            "paper": {
                "iterations": 25_000,
                "batch_size": 2048,
                "actor_lr": 1e-3,
                "critic_lr": 1e-2,
                "shaping_weight": 1.0,
                "softmax_temperature": 1.0,
                "stop_normaliser_gradient": False,
                "advantage": "td0",
                "advantage_lambda": 0.7,
                "shaping_advantage": "same",
                "opponent_baseline": "none",
                "critic_warmup": 0,
                "actor_table": False,
                "advantage_gradient": True,
                "advantage_baseline": "none",
                "critic_target": "sarsa",
            },
        },
    )
)
