"""Continuous games in plain Python: the specification of the native simulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from loqa.envs.continuous_game.presets import ContinuousPreset
from loqa.reference.played import Played


class ContinuousGame(Played):
    """B games in which n players choose a number in [0, 1] at once, again and again.

    Of action a, where S is the sum of the others' actions in the order of seats, player i earns
    base + own a + others S + square (a a) + cross (a S), all in float32, from left to right. Every step, each
    sees what all did last.

    Observation of one player, n + 1 numbers: 1, the own last action, then those of the seats after one's own
    in turn; zeros before the first step.
    """

    num_actions = None

    def __init__(
        self,
        num_envs: int,
        preset: ContinuousPreset,
        *,
        num_players: int = 2,
        episode_length: int | None = None,
        seed: int = 0,
        first_env: int = 0,
    ) -> None:
        payoff = preset.payoff_of(num_players)
        self.payoff = [np.float32(value) for value in payoff]
        self.cooperate = payoff.cooperative(num_players)
        self.defect = payoff.equilibrium(num_players)
        self.last_actions = np.full((num_envs, num_players), -1, np.float32)
        length = preset.episode_length if episode_length is None else episode_length
        super().__init__(num_envs, num_players, length, seed, first_env)

    def start(self, env: int) -> None:
        self.last_actions[env] = -1

    def observe(self) -> np.ndarray:
        """What each player sees now, [B, n, n + 1]."""
        seen = np.zeros((self.num_envs, self.num_players, 1 + self.num_players), np.float32)
        for env, last in enumerate(self.last_actions):
            for p in range(self.num_players):
                if last[0] >= 0:
                    seen[env, p] = [1, *last[p:], *last[:p]]
        return seen

    def play(self, env: int, actions: Any) -> list[Any]:
        base, own, others, square, cross = self.payoff
        self.last_actions[env] = [action[0] for action in actions]
        paid = []
        for p, a in enumerate(self.last_actions[env]):
            total = self._others(env, p)
            paid.append(base + own * a + others * total + square * (a * a) + cross * (a * total))
        return paid

    def script(self, name: str, env: int, player: int) -> Any:
        """What is best for all; the equilibrium of one step; or what the others did on average, at first
        what is best for all."""
        if name == "always-defect":
            return self.defect
        if name == "always-cooperate" or self.last_actions[env, player] < 0:
            return self.cooperate
        return self._others(env, player) / np.float32(self.num_players - 1)

    def _others(self, env: int, player: int) -> np.float32:
        total = np.float32(0)
        for j, action in enumerate(self.last_actions[env]):
            if j != player:
                total += action
        return total

    def get_state(self) -> dict[str, np.ndarray]:
        """last_actions [B, n] (-1 before the first step) and t [B]."""
        return {"last_actions": self.last_actions.copy(), "t": np.array(self.t)}
