"""What matches between players ask of a game."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from torch import Tensor

from loqa.agents.actor_critic import Agent
from loqa.agents.player import Player
from loqa.agents.policy import Policy
from loqa.agents.strategies import Machine
from loqa.envs.registry import make

E = TypeVar("E", bound=Any)
"""The game's environment."""
Numbers = dict[str, list[float]]
"""By name, of each seat."""


class MatchRules(ABC, Generic[E]):
    """How a game is played by players who may never have met: each method is of one question.

    Attributes:
        settings: names of what `make` takes and a match may be given.
        replaced: setting -> another one that stands for it where it is given.
        rules: names of what else of the environment decides what is played.
        observes: what networks of this game read, as `Agent.observes` says it.
        scripted: names of the players that the simulator itself has.
        published: preset of the agents that `loqa.agents.published` reads, if it is this game they play.
        search: what `loqa.evaluation.mcts` knows of the game, as `loqa.games.coin_matches.CoinSearch` does;
            None where moves cannot be searched for.
    """

    settings: tuple[str, ...] = ("preset", "episode_length")
    replaced: ClassVar[Mapping[str, str]] = {}
    rules: tuple[str, ...] = ()
    observes: str = "features"
    scripted: tuple[str, ...] = ()
    published: str | None = None
    search: Any = None

    @abstractmethod
    def make(self, num_envs: int, **settings: Any) -> E:
        """The environment of matches: `settings`, and seed, device and num_threads."""

    def agree(self, players: Sequence[Player], settings: dict[str, Any]) -> dict[str, Any]:
        """The settings that all players can play by, made from those asked for.

        Raises:
            ValueError: there are none.
        """
        return settings

    def rules_of(self, env: E) -> dict[str, Any]:
        """All that decides what is played, as plain numbers: the same for the same game, however it was
        asked for."""
        spec = env.spec
        return {
            "preset": spec.preset,
            "version": spec.version,
            "episode_length": spec.episode_length,
            **{name: getattr(env, name) for name in self.rules},
        }

    def plays(self, machine: Machine) -> bool:
        """Whether a strategy that cooperates or defects knows what to do."""
        return machine.name in self.scripted

    def made_for(self, config: Any) -> dict[str, Any]:
        """The settings that a run's agent was made for, and its discount, if it had one."""
        discount = getattr(config, "gamma", None)
        known = {} if discount is None else {"discount": discount}
        return {"episode_length": config.episode_length, **known}

    def traits(self, config: Any) -> dict[str, Any]:
        """What else a `Player` should know of a run's agent, by field."""
        return {}

    def policy_of(self, agent: Agent, config: Any) -> Policy:
        """What plays for a run's agent in matches."""
        return agent

    def traits_in(self, env: E) -> dict[str, Any]:
        """The same of an agent that learned in an environment."""
        return {}

    def check_seat(self, env: E, player: Player) -> None:
        """Raises ValueError unless a player of this game can sit in this environment."""

    def num_inputs(self, env: E) -> int:
        """Of a network that reads this environment."""
        return int(np.prod(env.spec.obs_shape))

    def num_players(self, settings: Mapping[str, Any]) -> int:
        """How many play by these settings."""
        return int(settings.get("num_players", 2))

    # --- while they play

    def policy_in(self, env: E, player: Player) -> Policy | None:
        """What plays for a player; None where the simulator itself does."""
        return player.policy

    def seen(self, env: E, obs: Tensor) -> Tensor:
        """What players are shown of an environment's observations."""
        return obs

    def swaps_codes(self, env: E, player: Player) -> bool:
        """Whether what a player takes for action 0 is the game's action 1.

        Raises:
            ValueError: no action of the game is cooperation, and the player knows the game by it.
        """
        return False

    def swapped(self, obs: Tensor) -> Tensor:
        """One seat's observations for a player whose action codes are swapped."""
        return obs

    def play_natively(
        self, env: E, players: Sequence[Player], steps: int
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Whole episodes in one call where the simulator can: observations [T+1, B, A, ...], actions and
        rewards [T, B, A]."""
        return None

    def statistics(self, env: E, obs: Tensor, actions: Tensor, rewards: Tensor) -> Numbers:
        """What the literature measures of episodes."""
        return {}


class NativeMatches(MatchRules[E]):
    """Matches of a game of the package, `game`, whose scripted players are the simulator's.

    Attributes:
        shown: what its players are shown, as arguments of `loqa.make`.
    """

    shown: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, game: str) -> None:
        self.game = game

    def make(self, num_envs: int, **settings: Any) -> Any:
        return make(self.game, num_envs, **settings, **self.shown)

    def play_natively(
        self, env: E, players: Sequence[Player], steps: int
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        if any(one.policy is not None for one in players):
            return None
        played: tuple[Tensor, Tensor, Tensor] = env.rollout_scripted(
            [one.scripted for one in players], steps
        )
        return played
