"""Small environments as a user would write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import loqa


class TorchEnv:
    """Sees (t, own last action) and is paid for it: 1 for action 1, less 0.5 for every other one's.

    With `ends`, an episode terminates after so many steps, and the next begins in that step.
    """

    players = 2
    length = 6
    ends: int | None = None

    def __init__(self, num_envs: int, seed: int, device: torch.device) -> None:
        self.num_envs, self.device = num_envs, torch.device(device)
        self.spec = loqa.EnvSpec(
            name="small",
            num_players=self.players,
            num_actions=2,
            obs_shape=(2,),
            episode_length=self.length,
            discount=0.9,
        )

    def reset(self, seed: int | None = None) -> Tensor:
        generator = torch.Generator().manual_seed(seed or 0)
        self.luck = torch.rand(self.num_envs, 1, generator=generator).to(self.device)
        self.t = 0
        self.last = torch.zeros(self.num_envs, self.players, device=self.device)
        return self._obs()

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        taken = actions.float()
        rewards = 1.5 * taken - 0.5 * taken.sum(1, keepdim=True) + 0.1 * self.luck
        self.t, self.last = self.t + 1, taken
        over = self.ends is not None and self.t == self.ends
        if over:
            self.t, self.last = 0, torch.zeros_like(taken)
        flags = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        return self._obs(), rewards, flags | over, flags

    def _obs(self) -> Tensor:
        return torch.stack([torch.full_like(self.last, self.t), self.last], -1)


class EndingEnv(TorchEnv):
    """Terminates every 4 steps of 6."""

    ends = 4


class CutEnv(TorchEnv):
    """Truncates every 4 steps of 6, and says what was seen last; rows of no meaning are NaN."""

    ends = 4

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        t = self.t + 1
        obs, rewards, over, flags = super().step(actions)
        seen = torch.stack([torch.full_like(self.last, t), actions.float()], -1)
        self.final_obs = torch.where(over[:, None, None], seen, torch.nan)
        return obs, rewards, flags, over


class ThreePlayers(TorchEnv):
    players = 3


class NumpyEnv:
    """The same in NumPy, with its float64."""

    device = "cpu"

    def __init__(self, num_envs: int, seed: int, device: Any) -> None:
        self.num_envs = num_envs
        self.spec = TorchEnv(num_envs, seed, torch.device("cpu")).spec

    def reset(self, seed: int | None = None) -> np.ndarray:
        self.luck = np.random.default_rng(seed).random((self.num_envs, 1))
        self.last = np.zeros((self.num_envs, 2))
        return np.stack([self.luck + 0 * self.last, self.last], -1)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        assert isinstance(actions, np.ndarray)
        assert actions.dtype == np.int64
        rewards = 1.5 * actions - 0.5 * actions.sum(1, keepdims=True)
        self.last = actions.astype(float)
        flags = np.zeros(self.num_envs, bool)
        return np.stack([self.luck + 0 * self.last, self.last], -1), rewards, flags, flags


class Board(TorchEnv):
    """A board [2, 3, 2] of bytes: where the players stand; action 1 moves on."""

    def __init__(self, num_envs: int, seed: int, device: torch.device) -> None:
        super().__init__(num_envs, seed, device)
        self.spec = loqa.EnvSpec(
            name="board",
            num_players=2,
            num_actions=2,
            obs_shape=(2, 3, 2),
            obs_dtype=torch.uint8,
            episode_length=self.length,
        )

    def _obs(self) -> Tensor:
        places = torch.nn.functional.one_hot((self.t + self.last.long()) % 6, 6)
        seats = torch.stack([places, places.flip(1)], 2)
        return seats.reshape(self.num_envs, 2, 2, 3, 2).to(torch.uint8)
