"""Continuous games in plain Python: the specification of the native simulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from loqa import _checks
from loqa.envs.continuous_game.presets import CONTINUOUS_PRESETS, Payoff
from loqa.reference.stepped import Stepped


class ContinuousGame(Stepped):
    """B games in which n players choose a number in [0, 1] at once, again and again.

    Of action a, where S is the sum of the others' actions in the order of seats, player i earns
    base + own a + others S + square (a a) + cross (a S), all in float32, from left to right. Every step, each
    sees what all did last. Step `episode_length` is the last (truncated). Nothing resets by itself.

    Observation of one player, n + 1 numbers: 1, the own last action, then those of the seats after one's own
    in turn; zeros before the first step.
    """

    def __init__(
        self, num_envs: int, payoff: Payoff, num_players: int, episode_length: int
    ) -> None:
        self.num_envs = num_envs
        self.payoff = [np.float32(value) for value in payoff]
        self.num_players = num_players
        self.episode_length = episode_length
        self.t = [0] * num_envs
        self.last_actions = np.full((num_envs, num_players), -1, np.float32)

    def reset(self, seed: int | None = None, mask: Any = None) -> np.ndarray:
        """New episodes, of all environments or of those in `mask`."""
        for env in range(self.num_envs):
            if mask is None or mask[env]:
                self.t[env] = 0
                self.last_actions[env] = -1
        return self.observe()

    def observe(self) -> np.ndarray:
        """What each player sees now, [B, n, n + 1]."""
        seen = np.zeros((self.num_envs, self.num_players, 1 + self.num_players), np.float32)
        for env, last in enumerate(self.last_actions):
            for p in range(self.num_players):
                if last[0] >= 0:
                    seen[env, p] = [1, *last[p:], *last[:p]]
        return seen

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One step of actions [B, n, 1]: observations, rewards [B, n], terminated [B], truncated [B]."""
        base, own, others, square, cross = self.payoff
        rewards = np.zeros((self.num_envs, self.num_players), np.float32)
        for env in range(self.num_envs):
            chosen = [np.float32(action[0]) for action in actions[env]]
            for p, a in enumerate(chosen):
                total = np.float32(0)
                for j, other in enumerate(chosen):
                    if j != p:
                        total += other
                paid = base + own * a + others * total + square * (a * a) + cross * (a * total)
                rewards[env, p] = paid
            self.last_actions[env] = chosen
            self.t[env] += 1
        return self.observe(), rewards, np.zeros(self.num_envs, bool), self.truncated()

    def truncated(self) -> np.ndarray:
        """Whether each episode has reached its length, [B]."""
        return np.array([t >= self.episode_length for t in self.t])

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
    return ContinuousGame(num_envs, rules.payoff_of(num_players), num_players, length)
