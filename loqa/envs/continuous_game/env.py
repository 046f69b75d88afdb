"""Continuous games: n players choose a number in [0, 1] at once, again and again."""

from __future__ import annotations

from functools import partial
from typing import Unpack

import numpy as np
from torch import Tensor

from loqa import _checks
from loqa.envs.continuous_game.presets import CONTINUOUS_PRESETS, ContinuousPreset
from loqa.envs.native_game import BoxGame, Common


class ContinuousGame(BoxGame):
    """B games of n players. Actions [B, n, 1] are floats in [0, 1]; what is outside, or NaN, is refused.

    State: `last_actions` [B, n] float32 (-1 before the first step) and `t` [B].
    """

    def __init__(
        self,
        game: str,
        preset: ContinuousPreset,
        num_envs: int,
        *,
        num_players: int = 2,
        **common: Unpack[Common],
    ) -> None:
        players = _checks.integer("num_players", num_players, 2, 8)
        self.payoff = preset.payoff_of(players)
        super().__init__(
            "continuous-game",
            {
                **self.payoff._asdict(),
                "cooperate": self.payoff.cooperative(players),
                "defect": self.payoff.equilibrium(players),
            },
            game,
            preset,
            num_envs,
            common,
            num_players=players,
            num_actions=0,
            obs="actions",
            obs_shape=(1 + players,),
            action_box=(0.0, 1.0),
        )

    def _check_state(self, state: dict[str, Tensor]) -> None:
        last = state["last_actions"]
        played = ((last >= 0) & (last <= 1)).all(-1)  # NaN is not
        if not bool((played | (last == -1).all(-1)).all()):
            raise ValueError("last_actions must be in [0, 1], or -1 for all players at the start")

    def render(self, index: int = 0) -> np.ndarray:
        """The last actions: a bar for each player, grey at the start; RGB [64, 32 n, 3]."""
        index = _checks.integer("index", index, 0, self.num_envs - 1)
        actions = self._fields["last_actions"][index].tolist()
        return self._bars([None if action < 0 else int(48 * action) for action in actions])


MAKES = {game: partial(ContinuousGame, game) for game in CONTINUOUS_PRESETS}
"""For `loqa.envs.registry`."""
