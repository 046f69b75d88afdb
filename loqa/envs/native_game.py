"""Environments of the core's generic driver: what is common to every game that is one C++ header."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from loqa._native import core
from loqa.envs import device as devices
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

    def _start(self, which: Tensor) -> None:
        self._native.start(borrow(which.contiguous()))

    def _state(self) -> dict[str, Tensor]:
        return self._fields
