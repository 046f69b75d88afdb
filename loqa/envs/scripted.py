"""Environments whose core plays scripted players."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loqa import _checks
from loqa.envs import actions as given
from loqa.envs.buffers import Lent
from loqa.envs.native import VectorEnv

GIVEN = -1
"""Code of a player who is not scripted; others have their place in `scripted_players`."""
_NO_ACTION = 255
_MAX_STEPS = 2**31 - 1


class Scripted(VectorEnv):
    """What `scripted_actions` and `rollout_scripted` of every game have in common."""

    @property
    def _action_dtype(self) -> torch.dtype:
        """Of actions as the core writes them."""
        return torch.uint8 if self.spec.action_box is None else torch.float32

    def _kinds(self, players: Sequence[str | None]) -> list[int]:
        """A code for each player."""
        if isinstance(players, str) or len(players) != self.num_players:
            raise ValueError(f"players must be {self.num_players} names (or None), got {players!r}")
        known = self.scripted_players
        return [
            GIVEN if name is None else known.index(_checks.one_of("player", name, known))
            for name in players
        ]

    def _no_actions(self) -> Lent:
        """Zeros [B, A], for actions."""
        made = self._memory.empty(tuple(self._action_shape), self._action_dtype)
        made.tensor.zero_()
        return made

    def _given_actions(
        self, kinds: Sequence[int], steps: int, actions: Tensor | np.ndarray | None
    ) -> Lent:
        """Memory [T, B, A] for what is played, with the actions of the players who are not scripted."""
        shape = (_checks.integer("steps", steps, 0, _MAX_STEPS), *self._action_shape)
        played = self._memory.empty(shape, self._action_dtype)
        mine = [player for player, kind in enumerate(kinds) if kind == GIVEN]
        if mine and actions is None:
            raise ValueError(f"actions must be given for the players {mine} that are None")
        if not mine and actions is not None:
            raise ValueError("actions must be None: every player is scripted")
        if mine:
            moves = self._numbers(actions, shape)
            for player in mine:
                played.tensor[..., player] = self._legal(moves[..., player], player)
        return played

    def _numbers(self, actions: Any, shape: tuple[int, ...]) -> Tensor:
        """Actions [T, B, A] of any type, on this device."""
        if self.spec.action_box is not None:
            floats = given.float_actions(actions, (*shape, 1), self.device)
            return torch.as_tensor(floats, device=self.device)[..., 0]
        if self.device.type == "cpu":
            return torch.from_numpy(given.copied_actions(actions, shape, self.device))
        return given.device_actions(actions, shape, self.device)

    def _legal(self, moves: Tensor, player: int) -> Tensor:
        """These actions, if they are legal; on a device what is not becomes no action, of which the core
        tells, as in `step`."""
        if self.spec.action_box is None:
            moves = moves.long()  # torch 2.6 compares no unsigned integers of 16 bits or more
            outside = (moves < 0) | (moves >= self.num_actions)
        else:
            low, high = self.spec.action_box
            outside = ~((moves >= low) & (moves <= high))  # NaN is
        if self._on_device:
            return moves.masked_fill(outside, _NO_ACTION)
        if bool(outside.any()):
            raise ValueError(f"{self._range()} for player {player}")
        return moves

    def _range(self) -> str:
        box = self.spec.action_box
        where = f"0..{self.num_actions - 1}" if box is None else "[{:g}, {:g}]".format(*box)
        return f"actions must be in {where}"
