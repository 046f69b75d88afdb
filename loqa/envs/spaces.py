"""The spaces of a native environment, for those who use Gymnasium."""

from __future__ import annotations

from typing import Any


class Spaces:
    """Gymnasium, which must be installed, is imported when a space is asked for."""

    @property
    def obs_bounds(self) -> tuple[int, int]:
        """The lowest and the highest number that an observation can hold."""
        return 0, 1

    @property
    def single_action_space(self: Any) -> Any:
        """Actions of one player, as a space of Gymnasium (which must be installed)."""
        from loqa.envs.adapters import spaces

        return spaces.action_space(self)

    @property
    def single_observation_space(self: Any) -> Any:
        """Observations of one player, as a space of Gymnasium (which must be installed)."""
        from loqa.envs.adapters import spaces

        return spaces.observation_space(self)

    @property
    def action_space(self: Any) -> Any:
        """What `step` takes, [B, A], as a space of Gymnasium (which must be installed)."""
        from loqa.envs.adapters import spaces

        return spaces.joint_action_space(self)

    @property
    def observation_space(self: Any) -> Any:
        """What `reset` returns, [B, A, *obs_shape], as a space of Gymnasium (which must be
        installed)."""
        from loqa.envs.adapters import spaces

        return spaces.joint_observation_space(self)
