"""The data of a batch of episodes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Trajectory:
    """T steps of B environments with A players, time-major.

    Attributes:
        obs: `[T+1, B, A, ...]`; `obs[t]` is what `actions[t]` was chosen from. Features; places of the
            ones among them (integers, the Coin Game's "cells"); or integers `[T+1, B, A]` for the
            five-state index of the prisoner's dilemma.
        actions: `[T, B, A]` integers.
        rewards: `[T, B, A]`; `rewards[t]` is paid for `actions[t]`.
        terminated: `[T, B]` bool, whether an episode ends with step t for good: what comes after is
            worth nothing. None: no episode ends before T, which is a truncation.

    Raises:
        ValueError: the shapes do not fit together.
    """

    obs: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor | None = None

    def __post_init__(self) -> None:
        shape = self.rewards.shape
        if len(shape) != 3 or shape[0] < 1:
            raise ValueError(f"rewards must be [T, B, A] with T >= 1, got {list(shape)}")
        if self.actions.shape != shape or self.actions.is_floating_point():
            raise ValueError(
                f"actions must be integers {list(shape)} like rewards, "
                f"got {list(self.actions.shape)} {self.actions.dtype}"
            )
        expected = (shape[0] + 1, *shape[1:])
        if self.obs.shape[:3] != expected:
            raise ValueError(
                f"obs must be {[*expected, '...']} (one more step than rewards), "
                f"got {list(self.obs.shape)}"
            )
        ends = self.terminated
        if ends is not None and (ends.shape != shape[:2] or ends.dtype != torch.bool):
            raise ValueError(
                f"terminated must be bool {list(shape[:2])}, got {list(ends.shape)} {ends.dtype}"
            )

    @property
    def num_steps(self) -> int:
        """T."""
        return self.rewards.shape[0]

    @property
    def num_envs(self) -> int:
        """B."""
        return self.rewards.shape[1]

    @property
    def num_players(self) -> int:
        """A."""
        return self.rewards.shape[2]

    def shared(self) -> Trajectory:
        """Every player is paid the mean of all players' rewards.

        The mean and not the sum: it keeps rewards, values and the Huber loss's delta on the scale of the
        game, so the same learning rates serve; the optimal policies are the same.
        """
        return replace(self, rewards=self.rewards.mean(-1, keepdim=True).expand_as(self.rewards))

    def seat(self, number: int) -> Seat:
        """What one player saw, did and was paid."""
        return Seat(
            self.obs[:, :, number],
            self.actions[:, :, number],
            self.rewards[:, :, number].contiguous(),
        )


@dataclass(frozen=True)
class Seat:
    """One player's part of a `Trajectory`: `obs [T+1, B, ...]`, `actions` and `rewards [T, B]`."""

    obs: Tensor
    actions: Tensor
    rewards: Tensor
