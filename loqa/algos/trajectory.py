"""The data of a batch of episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from loqa.agents.ends import Ends


@dataclass(frozen=True)
class Trajectory:
    """T steps of B environments with A players, time-major.

    Attributes:
        obs: `[T+1, B, A, ...]`; `obs[t]` is what `actions[t]` was chosen from. Features; places of the
            ones among them (integers, the Coin Game's "cells"); or integers `[T+1, B, A]` for the
            five-state index of the prisoner's dilemma.
        actions: `[T, B, A]` integers; or `[T, B, A, D]` floats where they are numbers of a box, as they were
            drawn, before they were clipped to it.
        rewards: `[T, B, A]`; `rewards[t]` is paid for `actions[t]`.
        terminated: `[T, B]` bool, whether an episode ends with step t for good: what comes after is
            worth nothing. None: nowhere.
        truncated: `[T, B]` bool, whether an episode is cut with step t: what comes after is worth
            something, and is not seen. None: no episode is cut before T. Sums of rewards then end at T
            without a value, as published; where `truncated[T - 1]` is given, the value of `obs[T]`
            stands for the rest.
        final_obs: `[N, A, ...]`, what the players saw after each truncated step before the last one, in
            the order of `truncated[:-1].nonzero()`; `obs[t + 1]` is the next episode's first
            observation there. `obs[T]` always belongs to the episode of step T - 1, unless that
            terminated.

    Raises:
        ValueError: the shapes do not fit together.
    """

    obs: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor | None = None
    truncated: Tensor | None = None
    final_obs: Tensor | None = None

    def __post_init__(self) -> None:
        shape = self.rewards.shape
        if len(shape) != 3 or shape[0] < 1:
            raise ValueError(f"rewards must be [T, B, A] with T >= 1, got {list(shape)}")
        numbers = self.actions.is_floating_point()
        if self.actions.shape[:3] != shape or self.actions.ndim != 3 + numbers:
            raise ValueError(
                f"actions must be integers {list(shape)} like rewards, or floats {[*shape, 'D']}, "
                f"got {list(self.actions.shape)} {self.actions.dtype}"
            )
        if numbers and self.actions.is_cpu and not bool(self.actions.isfinite().all()):
            raise ValueError("actions must be finite, got NaN or infinity")
        expected = (shape[0] + 1, *shape[1:])
        if self.obs.shape[:3] != expected:
            raise ValueError(
                f"obs must be {[*expected, '...']} (one more step than rewards), "
                f"got {list(self.obs.shape)}"
            )
        for name in ("terminated", "truncated"):
            ends = getattr(self, name)
            if ends is not None and (ends.shape != shape[:2] or ends.dtype != torch.bool):
                raise ValueError(
                    f"{name} must be bool {list(shape[:2])}, got {list(ends.shape)} {ends.dtype}"
                )
        cuts = 0 if self.truncated is None else int(self.truncated[:-1].sum())
        count = 0 if self.final_obs is None else len(self.final_obs)
        if count != cuts or (count and self.final_obs.shape[1:] != self.obs.shape[2:]):  # type: ignore[union-attr]
            got = None if self.final_obs is None else list(self.final_obs.shape)
            raise ValueError(
                f"final_obs must be {[cuts, *self.obs.shape[2:]]}, one for each truncated step before "
                f"the last one, got {got}"
            )

    @classmethod
    def in_a_row(cls, parts: Sequence[Trajectory]) -> Trajectory:
        """Batches of whole episodes one after the other; each ends for good.

        Raises:
            ValueError: an episode ends inside a batch.
        """
        if any(one.ends is not None for one in parts):
            raise ValueError("batches in a row must hold whole episodes, got some that end inside")
        ends = [torch.zeros_like(one.rewards[..., 0], dtype=torch.bool) for one in parts]
        for one in ends:
            one[-1] = True
        obs = [*(one.obs[:-1] for one in parts), parts[-1].obs[-1:]]
        actions, rewards = (
            [getattr(one, name) for one in parts] for name in ("actions", "rewards")
        )
        return cls(*map(torch.cat, (obs, actions, rewards, ends)))

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

    @property
    def ends(self) -> Ends | None:
        """Where episodes end, for the losses; None: nowhere before T."""
        if self.truncated is None:
            return None if self.terminated is None else Ends(self.terminated)
        never = torch.zeros_like(self.truncated)
        return Ends(never if self.terminated is None else self.terminated, self.truncated)

    def seat(self, number: int) -> Seat:
        """What one player saw, did and was paid."""
        ends, final = self.ends, self.final_obs
        if ends is not None and final is not None:
            ends = replace(ends, final_obs=final[:, number])
        return Seat(
            self.obs[:, :, number],
            self.actions[:, :, number],
            self.rewards[:, :, number].contiguous(),
            ends,
        )


@dataclass(frozen=True)
class Seat:
    """One player's part of a `Trajectory`: `obs [T+1, B, ...]`, `actions [T, B]` (or `[T, B, D]`), `rewards
    [T, B]`, and where episodes end."""

    obs: Tensor
    actions: Tensor
    rewards: Tensor
    ends: Ends | None = None
