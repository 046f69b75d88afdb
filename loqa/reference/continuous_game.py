"""Continuous games in plain Python: the specification of the native simulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from loqa import _checks
from loqa.envs.continuous_game.presets import CONTINUOUS_PRESETS, Payoff
from loqa.reference.played import Played


class ContinuousGame(Played):
    """B games in which n players choose a number in [0, 1] at once, again and again.

    Of action a, where S is the sum of the others' actions in the order of seats, player i earns
    base + own a + others S + square (a a) + cross (a S), all in float32, from left to right. Every step, each
    sees what all did last. Step `episode_length` is the last (truncated). Nothing resets by itself.

    Observation of one player, n + 1 numbers: 1, the own last action, then those of the seats after one's own
    in turn; zeros before the first step.
    """

    def __init__(
        self,
        num_envs: int,
        payoff: Payoff,
        num_players: int,
        episode_length: int,
        seed: int,
        first_env: int,
    ) -> None:
        self.payoff = [np.float32(value) for value in payoff]
        self.cooperate = payoff.cooperative(num_players)
        self.defect = payoff.equilibrium(num_players)
        self.last_actions = np.full((num_envs, num_players), -1, np.float32)
        super().__init__(num_envs, num_players, None, episode_length, seed, first_env)

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


def make_continuous_game(
    game: str,
    preset: str | None,
    num_envs: int,
    *,
    num_players: int = 2,
    episode_length: int | None = None,
    seed: int = 0,
    first_env: int = 0,
) -> ContinuousGame:
    """The reference game with the settings of a preset, as `loqa.make` takes them."""
    rules = _checks.preset_of(CONTINUOUS_PRESETS[game], preset)
    length = rules.episode_length if episode_length is None else episode_length
    return ContinuousGame(
        num_envs, rules.payoff_of(num_players), num_players, length, seed, first_env
    )
