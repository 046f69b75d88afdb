"""What reference games have in common: episodes that are stepped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np


class Stepped(ABC):
    """B games in plain Python, whose step `episode_length` is the last (truncated). Nothing resets by itself.

    Attributes:
        num_envs: B.
        num_players: A.
        first_env: number of the first environment in the random counters.
        t, episode: of each environment, the next step and the episode's number.
        terminated: whether the last step ended the episode for good.
    """

    def __init__(
        self, num_envs: int, num_players: int, episode_length: int, seed: int, first_env: int
    ) -> None:
        self.num_envs, self.num_players = num_envs, num_players
        self.episode_length, self.first_env = episode_length, first_env
        self.terminated = [False] * num_envs
        self.reset(seed)
        self._fresh = True  # the first reset() is the episode that is already there

    def reset(self, seed: int | None = None, mask: Any = None) -> np.ndarray:
        """New episodes, of all environments or of those in `mask`; a seed starts from episode 0."""
        goes_on = seed is None and (mask is not None or not self._fresh)
        if seed is not None:
            self.seed = seed
            self.t, self.episode = [0] * self.num_envs, [0] * self.num_envs
        for env in range(self.num_envs):
            if mask is None or mask[env]:
                self.t[env], self.terminated[env] = 0, False
                self.episode[env] += goes_on
                self.start(env)
        self._fresh = False
        return self.observe()

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One step: observations, rewards [B, A], terminated [B], truncated [B]."""
        rewards = np.zeros((self.num_envs, self.num_players), np.float32)
        for env in range(self.num_envs):
            rewards[env] = self.play(env, actions[env])
            self.t[env] += 1
        self._fresh = False
        truncated = np.array([t >= self.episode_length for t in self.t])
        return self.observe(), rewards, np.array(self.terminated), truncated

    def rollout(self, actions: Any) -> tuple[np.ndarray, np.ndarray]:
        """T steps of actions [T, B, A, ...]: observations [T+1, ...] and rewards [T, B, A]."""
        obs, rewards = [self.observe()], [np.zeros((self.num_envs, self.num_players), np.float32)]
        for now in actions:
            seen, paid, _, _ = self.step(now)
            obs.append(seen)
            rewards.append(paid)
        return np.stack(obs), np.stack(rewards)[1:]

    @abstractmethod
    def start(self, env: int) -> None:
        """Puts one environment at the start of an episode."""

    @abstractmethod
    def play(self, env: int, actions: Any) -> Sequence[Any]:
        """One step of one environment, the `t`-th from 0; what each player is paid."""

    @abstractmethod
    def observe(self) -> np.ndarray:
        """What each player sees now, [B, A, ...]."""
