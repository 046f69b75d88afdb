"""Episodes that follow one another by themselves: when, and what rollouts tell of their ends."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from loqa import _checks

AUTORESET_MODES = ("next_step", "same_step")


def checked_autoreset(autoreset: Any) -> str | bool:
    """The mode, or ValueError that says which there are."""
    if autoreset is False or (isinstance(autoreset, str) and autoreset in AUTORESET_MODES):
        return autoreset
    raise ValueError(
        "autoreset must be False, 'next_step' (the step after an episode's last one starts the next "
        "episode, as Gymnasium's vector environments do by default) or 'same_step' (the last step "
        f"does), got {autoreset!r}{_checks.nearest(autoreset, AUTORESET_MODES)}"
    )


class Rollout(tuple[Tensor, Tensor]):
    """(observations, rewards) of `rollout`, and where episodes ended.

    Attributes:
        terminated, truncated: [T, B] bool, as `step` returns them; None without autoreset.
        final_obs: [T, B, A, *obs_shape] with autoreset `same_step`: the last observation of an
            episode where it ended, zeros elsewhere; else None.
    """

    terminated: Tensor | None = None
    truncated: Tensor | None = None
    final_obs: Tensor | None = None
