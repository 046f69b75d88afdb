"""Where the episodes of a batch end before its last step, and what is said of those that were cut."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ends:
    """Ends of one seat's episodes; a step that is both counts as terminated.

    Attributes:
        terminated: `[T, B]` bool: what comes after is worth nothing.
        truncated: `[T, B]` bool: the episode is cut, what comes after is worth its value; None: nowhere.
        final_obs: `[N, ...]`, what would have been acted on next after each truncated step but the last
            one, in the order of `truncated[:-1].nonzero()`. After step T - 1 it is `obs[T]`.
    """

    terminated: Tensor
    truncated: Tensor | None = None
    final_obs: Tensor | None = None

    @property
    def done(self) -> Tensor:
        """`[T, B]`: what comes after step t belongs to another episode, or to none."""
        return self.terminated if self.truncated is None else self.terminated | self.truncated

    @property
    def resets(self) -> Tensor:
        """`[T, B]`: `obs[t + 1]` is the first of an episode. An episode cut at T goes on to `obs[T]`."""
        if self.truncated is None:
            return self.terminated
        return torch.cat([self.done[:-1], self.terminated[-1:]])

    @property
    def where(self) -> Tensor:
        """t B + b of each truncated step before the last one, `[N]` int64."""
        assert self.truncated is not None
        return self.truncated[:-1].reshape(-1).nonzero().squeeze(-1)

    @property
    def cut(self) -> Tensor | None:
        """`[T, B]`: truncated and not terminated; None: nowhere."""
        return None if self.truncated is None else self.truncated & ~self.terminated


def episode_steps(count: int, like: Tensor, resets: Tensor | None = None) -> Tensor:
    """The index of each of `count` steps in its episode, `[count, 1]` or `[count, B]`, in the dtype and on
    the device of `like`; `resets [count - 1, B]` as in `Ends`."""
    steps = torch.arange(count, dtype=like.dtype, device=like.device)[:, None]
    if resets is None:
        return steps
    begun = torch.where(resets, steps[1:], 0.0).cummax(0).values
    return torch.cat([steps[:1].expand(-1, resets.shape[1]), steps[1:] - begun])


@dataclass(frozen=True)
class FinalTables:
    """What an agent's heads say of `Ends.final_obs`, N of them.

    Attributes:
        log_prob_table: `[N, K]`.
        q_table: `[N, K]`.
        where: `[N]` int64, t B + b of the step that was truncated.
    """

    log_prob_table: Tensor
    q_table: Tensor
    where: Tensor

    @property
    def values(self) -> Tensor:
        """`[N]`, V = sum_a pi(a) q(a)."""
        return (self.log_prob_table.exp() * self.q_table).sum(-1)

    def put(self, following: Tensor, of_final: Tensor) -> Tensor:
        """`following [T, B]`, what is said of `obs[t + 1]`, with `of_final [N]` after truncated steps."""
        flat = following.reshape(-1).index_copy(0, self.where, of_final)
        return flat.reshape(following.shape)
