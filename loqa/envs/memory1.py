"""Policies of memory 1 as the core's simulators sample them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from loqa.envs.base import PlayedEpisodes


def tables_of(seats: Sequence[Any], num_envs: int) -> Tensor | None:
    """What the policies in all seats do, `[A, S, K]` or `[B, A, S, K]`.

    None unless each has `memory1()`, which gives its probabilities of the actions in each state, `[S, K]`,
    or `[G, S, K]` of G sets.
    """
    tables: dict[int, Tensor | None] = {}
    for seat in seats:
        if id(seat) not in tables:
            tables[id(seat)] = getattr(seat, "memory1", lambda: None)()
    # Rounding can lift a certain action's probability just above 1. NaN, which a run on a GPU notices
    # some iterations late, must not stop it here.
    found = []
    for seat in seats:
        table = tables[id(seat)]
        if table is None:
            return None
        found.append(table.nan_to_num(1 / table.shape[-1]).clamp(max=1))
    if any(table.ndim == 3 for table in found):
        found = [_for_each(table, num_envs) for table in found]
    return torch.stack(found, -3)


def play(env: Any, seats: Sequence[Any], sample: Callable[[Tensor], Any]) -> PlayedEpisodes | None:
    """The next episode of each environment between policies of memory 1; None where one is not.

    Args:
        env: a simulator of the core.
        seats: who plays.
        sample: its rollout by what they do, see `tables_of`.
    """
    tables = tables_of(seats, env.num_envs)
    if tables is None:
        return None
    env.reset()
    obs, actions, rewards = sample(tables)
    return PlayedEpisodes(obs, actions, rewards, (None,) * env.num_players)


def _for_each(table: Tensor, num_envs: int) -> Tensor:
    """`[S, K]` or `[G, S, K]` -> `[B, S, K]`."""
    if table.ndim == 2:
        return table.expand(num_envs, -1, -1)
    return table.repeat_interleave(num_envs // len(table), 0)
