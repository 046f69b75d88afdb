"""The records of continuous games: the prisoner's dilemma of degrees, and Cournot's duopoly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from loqa import _checks
from loqa.agents.actor_critic import Agent
from loqa.agents.player import Player
from loqa.envs.base import Env
from loqa.envs.continuous_game.env import ContinuousGame
from loqa.envs.continuous_game.presets import CONTINUOUS_PRESETS, Payoff
from loqa.envs.registry import make
from loqa.games.base import Game, Inputs, Making, RunView
from loqa.games.continuous_worth import Answer, answers, best_response
from loqa.games.matches import NativeMatches, Numbers
from loqa.games.registry import register
from loqa.games.view import Part, mean, reward_outcome, speed

SCRIPTED = ("always-cooperate", "always-defect", "tit-for-tat", "random")
"""Players that the simulator has."""


@dataclass(frozen=True)
class ContinuousIPDSettings(_checks.Checked):
    """The prisoner's dilemma of degrees: everybody gives a number of [0, 1].

    Attributes:
        num_players: n, 2 to 8.
        episode_length: T, steps in an episode.
    """

    GAME: ClassVar[str] = "continuous-ipd"

    num_players: Annotated[int, _checks.Range(2, 8)] = 2
    episode_length: _checks.Count = 50

    def payoff(self) -> Payoff:
        """Of n players."""
        return _checks.preset_of(CONTINUOUS_PRESETS[self.GAME], None).payoff_of(self.num_players)


@dataclass(frozen=True)
class CournotSettings(ContinuousIPDSettings):
    """Cournot's oligopoly: a quantity of [0, 1] that somebody sells lowers the price for all.

    Attributes:
        num_players: n, 2 to 8.
        episode_length: T, steps in an episode.
    """

    GAME: ClassVar[str] = "cournot"


class ContinuousMatches(NativeMatches[ContinuousGame]):
    """Networks see what all did last."""

    rules = ("num_players",)
    settings = ("preset", "num_players", "episode_length")
    observes = "actions"
    scripted = SCRIPTED

    def agree(self, players: Sequence[Player], settings: dict[str, Any]) -> dict[str, Any]:
        count = self.num_players(settings)
        for one in players:
            known = one.made_for.get("num_players", count)
            if known != count:
                raise ValueError(f"{one.name} is for {known} players, got {count}")
        return settings

    def made_for(self, config: Any) -> dict[str, Any]:
        return {**super().made_for(config), "num_players": config.num_players}

    def statistics(
        self, env: ContinuousGame, obs: Tensor, actions: Tensor, rewards: Tensor
    ) -> Numbers:
        return {"action": actions.double().mean((0, 1, 3)).tolist()}


def _make_env(settings: ContinuousIPDSettings, making: Making) -> Env:
    return make(settings.GAME, **vars(making), **vars(settings))


def _inputs(settings: ContinuousIPDSettings) -> Inputs:
    shape = (1 + settings.num_players,)
    return Inputs("actions", shape[0], 0, shape, action_box=(0.0, 1.0))


def _headline(config: Any) -> tuple[str, Sequence[str]]:
    said = f"{config.num_players} players; actor {config.actor}, critic {config.critic}"
    return said, ["num_players", "actor", "critic"]


def _answer_of(agent: Agent) -> Answer:
    """The agent's own actions, without noise."""
    device = next(agent.parameters()).device

    @torch.no_grad()
    def answer(obs: Tensor) -> Tensor:
        actions, _ = agent.step(obs.to(device), agent.initial_state(len(obs)))
        return actions[:, 0].cpu()

    return answer


def _metrics(run: RunView) -> dict[str, Any]:
    """What each agent that learns and remembers one step at most does; of a further one "..._1"."""
    settings: ContinuousIPDSettings = run.config.env
    payoff, players = settings.payoff(), settings.num_players
    found = {
        f"answers_{seat}" if seat else "answers": answers(_answer_of(agent), payoff, players)
        for seat, agent in enumerate(run.agents)
        if not agent.actor.recurrent
    }
    return {**found, "self_play": run.self_play()}


def _summary(run: RunView) -> dict[str, Any]:
    """What was learned, and of an agent that meets itself what another player gains among its copies."""
    settings: ContinuousIPDSettings = run.config.env
    found = _metrics(run)
    discount = getattr(run.config, "gamma", 1.0)
    if len(run.agents) == 1 and "answers" in found and discount < 1:
        payoff, players = settings.payoff(), settings.num_players
        found |= best_response(_answer_of(run.agent), payoff, players, discount)
    return found


def _view(line: dict[str, Any]) -> list[Part]:
    """Answers, rewards and speed."""
    return [
        *([Part("does", 0)] if "answers" in line else []),
        *(Part(f"{state} {does:.2f}", 1) for state, does in line.get("answers", {}).items()),
        Part(f"reward {mean(line['self_play']):+.3f}", 2),
        Part(speed(line), 6),
    ]


def _outcome(summary: dict[str, Any]) -> str:
    """What was learned, and what it earns."""
    said = []
    for key, name in (("answers", "what it does"), ("answers_1", "what the other does")):
        if key in summary:
            found = ", ".join(f"{state} {action:.2f}" for state, action in summary[key].items())
            said.append(f"{name} after own C or D and the others': {found}")
    said.append(reward_outcome(summary))
    if "best_response_gain" in summary:
        gain, action = summary["best_response_gain"], summary["copies_do"]
        said.append(
            f"copies end at {action:.3f}, the best response to them gains {gain:.4f} a step"
        )
    return "\n".join(said)


_DEFAULTS: dict[str, Any] = {
    "actor": "hats",
    "critic": "ridge",
    "batch_size": 256,
    "stop_normaliser_gradient": True,
    "shaping_weight": 9.0,
    "dice_discount": 0.9,
    "advantage": "gae",
    "advantage_lambda": 0.7,
    "opponent_baseline": "batch",
    "critic_target": "returns",
}
CONTINUOUS_IPD = register(
    Game(
        name="continuous-ipd",
        env_name="continuous-ipd",
        settings=ContinuousIPDSettings,
        make_env=_make_env,
        inputs=_inputs,
        player=lambda name: _checks.one_of("fixed", name, SCRIPTED),
        headline=_headline,
        metrics=_metrics,
        summary=_summary,
        view=lambda: _view,
        outcome=_outcome,
        figures="loqa.plotting.continuous_game",
        film="loqa.envs.continuous_game.film",
        matches=ContinuousMatches("continuous-ipd"),
        defaults={
            **_DEFAULTS,
            "iterations": 400,
            "exploration": 0.4,
            "softmax_temperature": 3.0,
            "actor_lr": 2e-2,
        },
    )
)
COURNOT = register(
    replace(
        CONTINUOUS_IPD,
        name="cournot",
        env_name="cournot",
        settings=CournotSettings,
        matches=ContinuousMatches("cournot"),
        defaults={
            **_DEFAULTS,
            "iterations": 600,
            "exploration": 0.2,
            "softmax_temperature": 0.25,
            "actor_lr": 9e-3,
            "anneal": 600,
            "actor_lr_final": 0.0,
        },
    )
)
