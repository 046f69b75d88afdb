"""Public goods in plain Python: the specification of the native simulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from loqa import _checks
from loqa.envs.public_goods.presets import PUBLIC_GOODS_PRESETS
from loqa.reference.stepped import Stepped


class PublicGoods(Stepped):
    """B games in which n players contribute one of K levels at once, again and again.

    Player i earns base + gain * (sum of the others' levels) + own * (own level), in float32, from left to
    right. Every step, each sees what all did last. Step `episode_length` is the last (truncated). Nothing is
    random, and nothing resets by itself.

    Observation of one player, whose last level is l, and the others' sum is s:

    - `index`: 0 before the first step, else 1 + l ((n - 1) (K - 1) + 1) + s.
    - `count`: one-hot l (K places), one-hot s ((n - 1) (K - 1) + 1 places); zeros before the first step.
    - `joint`: one-hot level of oneself, then of the seats after one's own, in turn; zeros likewise.
    """

    def __init__(
        self,
        num_envs: int,
        payoff: tuple[float, float, float],
        num_players: int,
        num_levels: int,
        obs: str,
        episode_length: int,
    ) -> None:
        self.num_envs = num_envs
        self.base, self.gain, self.own = (np.float32(value) for value in payoff)
        self.num_players = num_players
        self.num_levels = num_levels
        self.obs = obs
        self.episode_length = episode_length
        self.t = [0] * num_envs
        self.last_actions = [[-1] * num_players for _ in range(num_envs)]

    def reset(self, seed: int | None = None, mask: Any = None) -> np.ndarray:
        """New episodes, of all environments or of those in `mask`."""
        for env in range(self.num_envs):
            if mask is None or mask[env]:
                self.t[env] = 0
                self.last_actions[env] = [-1] * self.num_players
        return self.observe()

    def observe(self) -> np.ndarray:
        """What each player sees now, [B, n, *obs_shape]."""
        return np.array(
            [
                [self._see(last[p:] + last[:p]) for p in range(self.num_players)]
                for last in self.last_actions
            ],
            np.int64 if self.obs == "index" else np.float32,
        )

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One step: observations, rewards [B, n], terminated [B], truncated [B]."""
        rewards = np.zeros((self.num_envs, self.num_players), np.float32)
        for env in range(self.num_envs):
            levels = [int(action) for action in actions[env]]
            for p, level in enumerate(levels):
                others = np.float32(sum(levels) - level)
                rewards[env, p] = self.base + self.gain * others + self.own * np.float32(level)
            self.last_actions[env] = levels
            self.t[env] += 1
        return self.observe(), rewards, np.zeros(self.num_envs, bool), self.truncated()

    def truncated(self) -> np.ndarray:
        """Whether each episode has reached its length, [B]."""
        return np.array([t >= self.episode_length for t in self.t])

    def get_state(self) -> dict[str, np.ndarray]:
        """last_actions [B, n] (-1 before the first step) and t [B]."""
        return {"last_actions": np.array(self.last_actions), "t": np.array(self.t)}

    def _see(self, levels: list[int]) -> Any:
        """What is seen by who played levels[0]."""
        k, sums = self.num_levels, (self.num_players - 1) * (self.num_levels - 1) + 1
        started = levels[0] >= 0
        own, others = levels[0], sum(levels[1:])
        if self.obs == "index":
            return 1 + own * sums + others if started else 0
        joint = self.obs == "joint"
        seen = np.zeros(self.num_players * k if joint else k + sums, np.float32)
        if started:
            seen[
                [i * k + level for i, level in enumerate(levels)] if joint else [own, k + others]
            ] = 1
        return seen


def make_public_goods(
    game: str,
    preset: str | None,
    num_envs: int,
    *,
    num_players: int = 3,
    num_levels: int = 2,
    obs: str = "count",
    episode_length: int | None = None,
    seed: int = 0,
    first_env: int = 0,
    **payoff: Any,
) -> PublicGoods:
    """The reference game with the settings of a preset, as `loqa.make` takes them."""
    rules = _checks.preset_of(PUBLIC_GOODS_PRESETS[game], preset)
    length = rules.episode_length if episode_length is None else episode_length
    worth = rules.payoff(num_players, num_levels, **payoff)
    return PublicGoods(num_envs, worth, num_players, num_levels, obs, length)
