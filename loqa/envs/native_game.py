"""Environments of the core's generic driver: what is common to every game that is one C++ header."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loqa._native import core
from loqa.envs import actions as given
from loqa.envs import device as devices
from loqa.envs.autoreset import Rollout
from loqa.envs.base import EnvSpec
from loqa.envs.buffers import borrow
from loqa.envs.native import VectorEnv

OBS_TYPES = {torch.int8: 0, torch.int64: 1, torch.float32: 2}
"""Codes of the C++ enum ObsType."""
# By the code of the C++ enum FieldType.
_FIELD_TYPES = (torch.int8, torch.int32, torch.float32)


class NativeGame(VectorEnv):
    """A game of `csrc/games` by its name there.

    A subclass says what its `__init__` takes, calls this one with the values of the C++ struct `Rules`, and
    writes `_check_state` and `render`. The state is what the C++ struct `State` names.
    """

    _bad_action_was = "taken for action 0"

    def __init__(
        self,
        game: str,
        rules: dict[str, float],
        spec: EnvSpec,
        num_envs: int,
        *,
        seed: int,
        device: str | torch.device,
        num_threads: int | None,
        first_env: int,
        autoreset: str | bool,
    ) -> None:
        self._game, self._rules = game, rules
        self._checks_actions = spec.action_box is None  # a box's are checked by `_read`
        super().__init__(spec, num_envs, seed, device, num_threads, first_env, autoreset)

    def _make_native(self) -> Any:
        layout = core.game_layout(self._game)
        states = self._memory.zeros((self.num_envs, layout["state_bytes"]), torch.uint8)
        self._fields: dict[str, Tensor] = {}
        for name, (kind, start, count) in layout["state"].items():
            numbers = states.tensor.view(_FIELD_TYPES[kind])
            each_player = numbers[:, start : start + self.num_players]
            self._fields[name] = each_player if count == 0 else numbers[:, start]
        batch = core.GameBatch(
            game=self._game,
            rules=self._rules,
            num_envs=self.num_envs,
            num_players=self.num_players,
            obs_type=OBS_TYPES[self.spec.obs_dtype],
            episode_length=self.episode_length,
            first_env=self.first_env,
            states=states.native,
            t=self._t_buffer.native,
            episode=self._episode_buffer.native,
        )
        if self._on_device:
            on_device = core.GameSimulatorDevice(
                batch=batch, bad_action=self._bad_buffer.native, **self._device_settings()
            )
            return devices.OnDevice(on_device, self.device)
        return core.GameSimulator(batch, **self._results_native(), num_threads=self.num_threads)

    def step(self, actions: Tensor | np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return super().step(self._read(actions, (self.num_envs, self.num_players, 1)))

    step.__doc__ = VectorEnv.step.__doc__

    def rollout(self, actions: Tensor | np.ndarray) -> Rollout:
        moves = self._read(actions, (None, self.num_envs, self.num_players, 1))
        if self.autoreset and not self._on_device and self.spec.action_box is not None:
            self._raise_range(moves)  # if it is: before the first step
        return super().rollout(moves)

    rollout.__doc__ = VectorEnv.rollout.__doc__

    def check(self) -> None:
        """As of every game; of a box an action out of range, or NaN, was taken for 0 on a device."""
        if self.spec.action_box is None:
            return super().check()
        if self._on_device and bool(self._bad_action.item()):
            self._bad_action.zero_()
            low, high = self.spec.action_box
            raise ValueError(
                f"actions must be in [{low:g}, {high:g}]: since the last check at least one was not, and "
                f"was {self._bad_action_was}"
            )

    def _read(self, actions: Any, shape: given.Shape) -> Any:
        """Floats of a box as the integers that have their bits: the core takes them so."""
        if self.spec.action_box is None:
            return actions
        floats = given.float_actions(actions, shape, self.device)
        if isinstance(floats, Tensor):
            return floats.view(torch.int32).squeeze(-1)
        return floats.view(np.int32)[..., 0]

    def _raise_range(self, actions: Any) -> None:
        box = self.spec.action_box
        if box is None:
            return super()._raise_range(actions)
        given.check_box(actions.view(np.float32), box)

    def _bars(self, heights: Sequence[int | None]) -> np.ndarray:
        """A bar for each player, 4 pixels and `heights` of 0..48; grey where None; RGB [64, 32 n, 3]."""
        image = np.full((64, 32 * self.num_players, 3), 255, np.uint8)
        for player, height in enumerate(heights):
            colour = (200, 200, 200) if height is None else (0, 114, 178)
            image[60 - (4 + (height or 0)) : 60, 32 * player + 4 : 32 * player + 28] = colour
        return image

    def _start(self, which: Tensor) -> None:
        self._native.start(borrow(which.contiguous()))

    def _state(self) -> dict[str, Tensor]:
        return self._fields
