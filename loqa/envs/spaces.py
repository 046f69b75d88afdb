"""The spaces of a native environment, for those who use Gymnasium."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from loqa.envs.buffers import numpy_type


class Spaces:
    """Gymnasium (`gymnasium>=1.1`, `pip install loqa[gymnasium]`) is imported when a space is asked for."""

    @property
    def obs_bounds(self) -> tuple[int, int]:
        """The lowest and the highest number that an observation can hold."""
        return 0, 1

    @property
    def single_action_space(self: Any) -> Any:
        """Actions of one player, as a space of Gymnasium (which must be installed)."""
        from gymnasium import spaces

        box = self.spec.action_box
        return spaces.Discrete(self.num_actions) if box is None else _box(box, (1,), np.float32)

    @property
    def single_observation_space(self: Any) -> Any:
        """Observations of one player; likewise."""
        return self._observations(self.obs_shape)

    @property
    def action_space(self: Any) -> Any:
        """What `step` takes, [B, A], or [B, A, 1] of a box; likewise."""
        from gymnasium import spaces

        shape, box = (self.num_envs, self.num_players), self.spec.action_box
        if box is None:
            return spaces.MultiDiscrete(np.full(shape, self.num_actions))
        return _box(box, (*shape, 1), np.float32)

    @property
    def observation_space(self: Any) -> Any:
        """What `reset` returns, [B, A, *obs_shape]; likewise."""
        return self._observations((self.num_envs, self.num_players, *self.obs_shape))

    def _observations(self: Any, shape: tuple[int, ...]) -> Any:
        dtype = self.spec.obs_dtype
        if dtype == torch.bfloat16:
            raise ValueError("obs_dtype must have a NumPy counterpart, got torch.bfloat16")
        return _box(self.obs_bounds, shape, numpy_type(dtype).type)


def _box(bounds: tuple[float, float], shape: tuple[int, ...], dtype: Any) -> Any:
    from gymnasium import spaces

    return spaces.Box(*bounds, shape, dtype)
