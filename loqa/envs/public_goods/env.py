"""Public goods: n players contribute one of K levels at once, again and again."""

from __future__ import annotations

from functools import partial
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from loqa import _checks
from loqa.envs.native_game import Common, NativeGame
from loqa.envs.public_goods.presets import (
    OBS_MODES,
    PUBLIC_GOODS_PRESETS,
    PublicGoodsPreset,
    num_sums,
    obs_shape,
)


class PublicGoods(NativeGame):
    """B games of n players. Action l in 0..K-1 contributes l / (K - 1) of what one has.

    State: `last_actions` [B, n] (-1 before the first step) and `t` [B].
    """

    def __init__(
        self,
        game: str,
        preset: PublicGoodsPreset,
        num_envs: int,
        *,
        num_players: int = 3,
        num_levels: int = 2,
        factor: float | None = None,
        benefit: float | None = None,
        cost: float | None = None,
        obs: str = "count",
        obs_dtype: torch.dtype | None = None,
        **common: Unpack[Common],
    ) -> None:
        shape = obs_shape(obs, num_players, num_levels)
        self.payoff = preset.payoff(num_players, num_levels, factor, benefit, cost)
        self.num_states = 1 + num_levels * num_sums(num_players, num_levels)
        dtypes = [torch.float32]
        if obs == "index":
            dtypes = [torch.int64, torch.int8] if self.num_states <= 128 else [torch.int64]
        if obs_dtype not in (None, *dtypes):
            names = " or ".join(map(str, dtypes))
            raise ValueError(f"obs_dtype must be {names} for obs {obs!r}, got {obs_dtype}")
        super().__init__(
            "public-goods",
            {"num_levels": num_levels, "obs": OBS_MODES.index(obs), **self.payoff._asdict()},
            game,
            preset,
            num_envs,
            common,
            num_players=num_players,
            num_actions=num_levels,
            obs=obs,
            obs_shape=shape,
            obs_dtype=obs_dtype or dtypes[0],
        )

    @property
    def obs_bounds(self) -> tuple[int, int]:
        return 0, self.num_states - 1 if self.spec.obs == "index" else 1

    def _check_state(self, state: dict[str, Tensor]) -> None:
        last = state["last_actions"]
        played = ((last >= 0) & (last < self.num_actions)).all(-1)
        if not bool((played | (last == -1).all(-1)).all()):
            raise ValueError(
                f"last_actions must be in 0..{self.num_actions - 1}, or -1 for all players at the start"
            )

    def render(self, index: int = 0) -> np.ndarray:
        """The last contributions: a bar for each player, grey at the start; RGB [64, 32 n, 3]."""
        index = _checks.integer("index", index, 0, self.num_envs - 1)
        levels, most = self._fields["last_actions"][index].tolist(), self.num_actions - 1
        return self._bars([None if level < 0 else 48 * level // most for level in levels])


MAKES = {game: partial(PublicGoods, game) for game in PUBLIC_GOODS_PRESETS}
"""For `loqa.envs.registry`."""
