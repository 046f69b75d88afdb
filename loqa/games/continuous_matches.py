"""Matches of continuous games."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from loqa.agents.player import Player
from loqa.agents.strategies import Machine
from loqa.envs.continuous_game.env import ContinuousGame
from loqa.envs.registry import make
from loqa.games.matches import MatchRules, Numbers

SCRIPTED = ("always-cooperate", "always-defect", "tit-for-tat", "random")
"""Players that the simulator has."""


class ContinuousMatches(MatchRules[ContinuousGame]):
    """Networks see what all did last; scripted players are the simulator's."""

    settings = ("preset", "num_players", "episode_length")
    observes = "actions"
    scripted = SCRIPTED

    def __init__(self, game: str) -> None:
        self.game = game

    def make(self, num_envs: int, **settings: Any) -> ContinuousGame:
        made: Any = make(self.game, num_envs, **settings)
        return made  # type: ignore[no-any-return]

    def agree(self, players: Sequence[Player], settings: dict[str, Any]) -> dict[str, Any]:
        count = self.num_players(settings)
        for one in players:
            known = one.made_for.get("num_players", count)
            if known != count:
                raise ValueError(f"{one.name} is for {known} players, got {count}")
        return settings

    def rules_of(self, env: ContinuousGame) -> dict[str, Any]:
        return {**super().rules_of(env), "num_players": env.num_players}

    def num_players(self, settings: Mapping[str, Any]) -> int:
        return int(settings.get("num_players", 2))

    def plays(self, machine: Machine) -> bool:
        return machine.name in self.scripted

    def made_for(self, config: Any) -> dict[str, Any]:
        return {**super().made_for(config), "num_players": config.num_players}

    def play_natively(
        self, env: ContinuousGame, players: Sequence[Player], steps: int
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        if any(one.policy is not None for one in players):
            return None
        return env.rollout_scripted([player.scripted for player in players], steps)

    def statistics(
        self, env: ContinuousGame, obs: Tensor, actions: Tensor, rewards: Tensor
    ) -> Numbers:
        return {"action": actions.double().mean((0, 1, 3)).tolist()}
