"""The naive learner: each climbs its own return as if the other stayed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from loqa import _checks
from loqa.algos.exact.play import Play, gradient


@dataclass(frozen=True)
class NaiveSettings:
    """Of the naive learner.

    Attributes:
        lr: learning rate, alpha.
    """

    lr: _checks.Rate = 1.0

    def __post_init__(self) -> None:
        _checks.check_fields(self)

    def step(self, play: Play, mine: Tensor, theirs: Tensor) -> Tensor:
        """My parameters after an update: theta_i + alpha dV_i / dtheta_i, `[..., P]`."""
        return self.climb(mine, gradient(play.values(mine, theirs)[0], mine))

    def climb(self, mine: Tensor, gradient: Tensor) -> Tensor:
        """The step, where the gradient of my value is known."""
        return mine + self.lr * gradient
