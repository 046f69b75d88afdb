"""What reference games have in common: they are stepped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np


class Stepped(ABC):
    """B games in plain Python.

    Attributes:
        num_envs: B.
        num_players: A.
    """

    num_envs: int
    num_players: int

    @abstractmethod
    def observe(self) -> np.ndarray:
        """What each player sees now, [B, A, ...]."""

    @abstractmethod
    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One step: observations, rewards [B, A], terminated [B], truncated [B]."""

    def rollout(self, actions: Any) -> tuple[np.ndarray, np.ndarray]:
        """T steps of actions [T, B, A, ...]: observations [T+1, ...] and rewards [T, B, A]."""
        obs, rewards = [self.observe()], [np.zeros((self.num_envs, self.num_players), np.float32)]
        for now in actions:
            seen, paid, _, _ = self.step(now)
            obs.append(seen)
            rewards.append(paid)
        return np.stack(obs), np.stack(rewards)[1:]
