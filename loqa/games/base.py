"""What the middle asks of a game."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from loqa.agents.actor_critic import Agent
from loqa.agents.policy import Policy
from loqa.algos.trajectory import Trajectory
from loqa.envs.base import Env
from loqa.games.matches import MatchRules
from loqa.games.view import View, reward_outcome, reward_view

SHAPED: Mapping[str, Any] = {
    "shaping_weight": 3.0,
    "softmax_temperature": 3.0,
    "stop_normaliser_gradient": True,
    "advantage": "gae",
    "advantage_lambda": 0.9,
    "shaping_advantage": "td0",
    "opponent_baseline": "batch",
}
"""What LOQA comes to reciprocity by in small games: among their defaults."""


class RunView(Protocol):
    """What a game may look at when it says what a run has come to."""

    agent: Agent
    agents: list[Agent]
    config: Any

    def self_play(self) -> list[float]:
        """Mean reward a step of each seat where the agent meets itself and nobody explores, sampled."""


@dataclass(frozen=True)
class Making:
    """How the environment of a run is made, besides its settings: arguments of `loqa.make`.

    Attributes:
        num_envs: B.
        seed: of the episodes.
        device: where it is.
        num_threads: of the simulator.
        first_env: number of the first environment in the random counters.
    """

    num_envs: int
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    num_threads: int = 1
    first_env: int = 0


@dataclass(frozen=True)
class Inputs:
    """What an agent of a game reads and chooses from.

    Attributes:
        observes: "states" (an index), "features" or "actions", see `loqa.agents.actor_critic.Agent`.
        num_features: of an observation, flattened.
        num_actions: K; 0 where actions are numbers of a box.
        obs_shape: of an observation; convolutions read [C, H, W].
        view: how it is seen, where a game has several ways.
        action_box, action_size: see `loqa.EnvSpec`.
        moves: rows and columns of each action, where boards are seen in their canonical image
            (`loqa.agents.canonical`).
    """

    observes: str
    num_features: int
    num_actions: int
    obs_shape: tuple[int, ...] = ()
    view: str = ""
    action_box: tuple[float, float] | None = None
    action_size: int = 1
    moves: tuple[tuple[int, int], ...] = ()


def _nothing(*args: Any) -> dict[str, Any]:
    return {}


def _unknown(name: str) -> str:
    raise ValueError(f"the game has no scripted players, got {name!r}")


@dataclass(frozen=True)
class Game:
    """All that is particular to a game.

    Attributes:
        name: on the command line and in config.json, "coin".
        env_name: of `loqa.make` and of its environments' specs, "coin_game".
        settings: a frozen dataclass of the game's own settings; it has `episode_length`.
        defaults: fields of a run, of any part, that differ from the parts' own defaults.
        presets: named settings: name -> fields that differ from those.
        adapted: further defaults, by the game's settings.
        before: what the settings that came later were before they existed: field -> value.
        variants: what the preset "default" says besides, by the value of a field: field -> value -> fields.
        make_env: the environment of a run.
        inputs: of its agents, by the settings.
        player: a scripted player by its name: a policy, or the name where the environment knows it.
        against: whom evaluations play besides the agent itself: key in metrics -> scripted player.
        measure: further numbers of the episodes in self-play; NaN where nothing was counted.
        evaluated: what an evaluation says besides, by what it has said.
        thresholds: names of what an agent may reach, the weakest first.
        no_threshold: why none of them can be reached with some settings; "" where they can.
        reached: which of them an evaluation reaches.
        answers: whether an evaluation says that the agent answers who always defects.
        metrics: further numbers of a line of metrics, whenever one is written.
        summary: what the run came to.
        kin: further names of `loqa.make`, whose environments this record knows too.
        headline: a line that says what is played, by the configuration, and the fields that it shows.
        joined: fields that are one word in a run's name: field -> the word, by the configuration and what
            comes between name and value.
        view: makes what is seen of a run's metrics.
        outcome: what is said of a run's summary.
        gains_from_threads: whether the default of one thread is slow on several free cores.
        figures: module that draws runs of it, as `loqa.plotting.rewards` draws those of any game.
        film: module whose `frames_of`, `text_frame` and `save_gif` show it, as those of the Coin Game do; ""
            where there is none.
        matches: what players of it do when they meet; None where they cannot.
    """

    name: str
    env_name: str
    settings: type[Any]
    make_env: Callable[[Any, Making], Env]
    inputs: Callable[[Any], Inputs]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"default": {}})
    adapted: Callable[[Any], Mapping[str, Any]] = _nothing
    before: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    player: Callable[[str], Policy | str] = _unknown
    against: Mapping[str, str] = field(default_factory=dict)
    measure: Callable[[Trajectory, Any], Mapping[str, Tensor]] = _nothing
    evaluated: Callable[[dict[str, Any]], dict[str, Any]] = _nothing
    thresholds: Sequence[str] = ()
    no_threshold: Callable[[Any], str] = lambda settings: ""
    reached: Callable[[Mapping[str, Any], Any], Sequence[str]] = lambda *_: ()
    answers: Callable[[Mapping[str, Any], Any], bool] = lambda *_: True
    metrics: Callable[[RunView], dict[str, Any]] = _nothing
    summary: Callable[[RunView], dict[str, Any]] = _nothing
    kin: tuple[str, ...] = ()
    headline: Callable[[Any], tuple[str, Sequence[str]]] = lambda config: ("", ())
    joined: Mapping[str, Callable[[Any, str], str]] = field(default_factory=dict)
    view: Callable[[], View] = lambda: reward_view
    outcome: Callable[[dict[str, Any]], str] = reward_outcome
    gains_from_threads: bool = False
    figures: str = "loqa.plotting.rewards"
    film: str = ""
    matches: MatchRules[Any] | None = None
