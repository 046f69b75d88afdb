"""The records of matrix games: the iterated prisoner's dilemma and its kin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from loqa import _checks
from loqa.agents.actor_critic import Agent
from loqa.agents.memory1 import discounted_value
from loqa.agents.player import MachinePolicy
from loqa.agents.strategies import NAMED
from loqa.envs.base import Env
from loqa.envs.matrix_game.presets import MATRIX_PRESETS, as_payoff
from loqa.envs.registry import make
from loqa.games.answers import (
    STATES,
    cooperation,
    cooperation_own_play,
    nearest_strategy,
    strategy_name,
)
from loqa.games.base import SHAPED, Game, Inputs, Making, RunView
from loqa.games.matrix_matches import MatrixMatches
from loqa.games.registry import register
from loqa.games.view import Part, mean, speed

_RANKS = {"start": 5, "CC": 0, "CD": 1, "DC": 4, "DD": 3}


@dataclass(frozen=True)
class IPDSettings:
    """The iterated prisoner's dilemma.

    Attributes:
        episode_length: T, steps in an episode.
        payoff: payoff to me for CC, CD, DC, DD.
    """

    episode_length: _checks.Count = 50
    payoff: tuple[float, ...] = (-1.0, -3.0, 0.0, -2.0)

    def __post_init__(self) -> None:
        _checks.check_fields(self)
        if len(self.payoff) != 4:
            raise ValueError(f"payoff must be 4 numbers for CC, CD, DC, DD, got {self.payoff}")
        as_payoff(self.payoff)

    def table(self) -> np.ndarray:
        """As of `MatrixSettings`."""
        return as_payoff(self.payoff)


@dataclass(frozen=True)
class MatrixSettings:
    """Any repeated matrix game of two players.

    Attributes:
        episode_length: T, steps in an episode.
        stage_game: whose payoffs are played (`--game` for short), unless `payoff` says.
        payoff: K*K numbers, payoff to me for (own action, other's action), own action first; of an
            asymmetric game 2 K*K numbers, those of the first player and then those of the second.
    """

    episode_length: _checks.Count = 50
    stage_game: Literal["ipd", "chicken", "stag-hunt", "hawk-dove", "matching-pennies"] = "ipd"
    payoff: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _checks.check_fields(self)
        self.table()

    def table(self) -> np.ndarray:
        """Payoffs `[2, K, K]` (player, own action, other's action); ValueError if there are none."""
        if self.payoff is None:
            return as_payoff(_checks.preset_of(MATRIX_PRESETS[self.stage_game], None).payoff)
        count = len(self.payoff)
        half = math.isqrt(count // 2)
        if count == 2 * half * half and math.isqrt(count) ** 2 != count:
            return as_payoff(np.reshape(self.payoff, (2, half, half)))
        return as_payoff(self.payoff)

    @property
    def symmetric(self) -> bool:
        """Whether both players have the same payoffs, each seen from its own side."""
        first, second = self.table()
        return bool((first == second).all())


def _make_env(settings: IPDSettings | MatrixSettings, making: Making) -> Env:
    length = settings.episode_length
    return make("ipd", **vars(making), payoff=settings.table(), episode_length=length, obs="index")


def _inputs(settings: IPDSettings | MatrixSettings) -> Inputs:
    actions = settings.table().shape[-1]
    return Inputs("states", 2 * actions, actions)


def _headline(config: Any) -> tuple[str, Sequence[str]]:
    table = config.env.table()
    shown = ["payoff", "stage_game", "actor", "critic"]
    if table.shape[-1] == 2 and (table[0] == table[1]).all():
        paid = zip(("CC", "CD", "DC", "DD"), table[0].reshape(-1), strict=True)
        game = "payoff " + ", ".join(f"{state} {value:g}" for state, value in paid)
    else:
        rows = "; ".join(",".join(f"{value:g}" for value in one.reshape(-1)) for one in table)
        game = f"payoffs {rows}"
    return f"{game}; actor {config.actor}, critic {config.critic}", shown


def p_cooperate(agent: Agent, config: Any) -> dict[str, float]:
    """P(action 0), called C, in each of `STATES`."""
    return dict(zip(STATES, cooperation(agent, config.env.episode_length), strict=True))


def self_play(run: RunView) -> list[float]:
    """Mean reward per step of both seats where nobody explores: the agent and itself, or two agents that
    learn independently.

    Exact for two actions and agents without memory (`loqa.agents.memory1`); else sampled.
    """
    if any(agent.actor.recurrent or agent.num_actions != 2 for agent in run.agents):
        return run.self_play()
    # Rounding can lift a probability just above 1. NaN, of a run on a GPU, is no strategy.
    found = [p_cooperate(agent, run.config).values() for agent in run.agents]
    strategies = [[min(p, 1.0) for p in answers] for answers in found]
    if any(math.isnan(p) for strategy in strategies for p in strategy):
        return [math.nan, math.nan]
    payoff, steps = run.config.env.table(), run.config.env.episode_length
    total = discounted_value(strategies[0], strategies[-1], 1.0, payoff=payoff, steps=steps)
    return [float(value) / steps for value in total]


def _answers(run: RunView) -> dict[str, Any]:
    """What each agent that learns answers: "p_cooperate" of two actions, else "policy", the
    probabilities of all actions; of a second one "..._other"."""
    two = run.agent.num_actions == 2
    return {
        f"p_cooperate{other}" if two else f"policy{other}": (
            p_cooperate(agent, run.config) if two else _policy(agent)
        )
        for agent, other in zip(run.agents, ("", "_other"), strict=False)
    }


@torch.no_grad()
def _policy(agent: Agent) -> dict[str, list[float]]:
    """Probabilities of all actions at the start and after each joint action "own,other"; of a recurrent
    agent after that step alone."""
    count = agent.num_actions
    states = torch.arange(agent.states.count, device=next(agent.parameters()).device)
    table = agent.log_probs(states[None])[0].exp().tolist()
    names = ["start", *(f"{own},{other}" for own in range(count) for other in range(count))]
    return dict(zip(names, table, strict=True))


def _metrics(run: RunView) -> dict[str, Any]:
    return {**_answers(run), "self_play": self_play(run)}


def _summary(run: RunView) -> dict[str, Any]:
    """What was learned. Of a recurrent agent "p_cooperate" is of random histories, and
    "p_cooperate_own_play" of its own with the exploration of training, None where it never was."""
    summary = _answers(run)
    for other in ("", "_other"):
        if f"p_cooperate{other}" in summary:
            answers = summary[f"p_cooperate{other}"]
            summary[f"strategy{other}"] = strategy_name(answers)
            summary[f"nearest_strategy{other}"] = nearest_strategy(answers)
    summary["self_play"] = self_play(run)
    if run.agent.actor.recurrent and "p_cooperate" in summary:
        length, exploration = run.config.env.episode_length, run.config.loop.exploration
        own = cooperation_own_play(run.agent, length, exploration)
        summary["p_cooperate_own_play"] = {
            state: None if math.isnan(p) else p for state, p in zip(STATES, own, strict=True)
        }
    return summary


def view(line: dict[str, Any]) -> list[Part]:
    """The five cooperation probabilities, rewards without and with exploration, and speed."""
    parts = [Part("P(C)", 0)] if "p_cooperate" in line else []
    for state, p in line.get("p_cooperate", {}).items():
        colour = "dodger_blue1" if p >= 0.5 else "dark_orange"
        parts.append(Part(f"{state} [{colour}]{p:.2f}[/]", _RANKS[state]))
    return [
        *parts,
        Part(f"reward {mean(line['self_play']):+.2f}", 2),
        Part(f"exploring {mean(line['reward']):+.2f}", 7),
        Part(speed(line), 6),
    ]


def outcome(summary: dict[str, Any]) -> str:
    """What was learned, and what it earns."""
    said = []
    for key, name in (("", "P(cooperate)"), ("_other", "P(cooperate) of the other")):
        if f"p_cooperate{key}" in summary:
            found = summary[f"p_cooperate{key}"].items()
            said.append(f"{name}: " + ", ".join(f"{state} {p:.2f}" for state, p in found))
        for state, each in summary.get(f"policy{key}", {}).items():
            said.append(f"P(actions) after {state}: " + ", ".join(f"{p:.2f}" for p in each))
    paid = summary["self_play"]
    each = [mean(paid)] if "p_cooperate_other" not in summary else paid
    earned = " and ".join(f"{one:.3f}" for one in each)
    return "\n".join([*said, f"reward per step in self-play, without exploration: {earned}"])


IPD = register(
    Game(
        name="ipd",
        env_name="ipd",
        kin=tuple(MATRIX_PRESETS),
        player=lambda name: MachinePolicy(NAMED[_checks.one_of("fixed", name, NAMED)]),
        headline=_headline,
        view=lambda: view,
        outcome=outcome,
        figures="loqa.plotting.matrix_game",
        matches=MatrixMatches("ipd"),
        settings=IPDSettings,
        make_env=_make_env,
        inputs=_inputs,
        metrics=_metrics,
        summary=_summary,
        defaults={
            "iterations": 600,
            "actor_lr": 2e-2,
            "critic_lr": 3e-2,
            **SHAPED,
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


MATRIX = register(
    replace(
        IPD,
        name="matrix",
        settings=MatrixSettings,
        kin=(),
        # An agent learns one side of an asymmetric game: each seat has its own.
        adapted=lambda settings: {} if settings.symmetric else {"meets": "learners"},
        figures="loqa.plotting.any_matrix_game",
    )
)
