"""The data of a batch of episodes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Trajectory:
    """B episodes of T steps by A players, time-major.

    Attributes:
        obs: `[T+1, B, A, ...]`; `obs[t]` is what `actions[t]` was chosen from. Features, or
            integers `[T+1, B, A]` for the five-state index of the prisoner's dilemma.
        actions: `[T, B, A]` integers.
        rewards: `[T, B, A]`; `rewards[t]` is paid for `actions[t]`.

    Raises:
        ValueError: the shapes do not fit together.
    """

    obs: Tensor
    actions: Tensor
    rewards: Tensor

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
