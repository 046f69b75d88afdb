"""What the training loop asks of a game's trainer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from torch import Tensor

from loqa.algos.learner import UpdateMetrics
from loqa.config import TrainConfig


class Trainer(ABC):
    """One run's agent and everything around it.

    Randomness is counted: iteration n is a function of the configuration, of n and of the state, so
    that a run goes on bit for bit from `state_dict` and the files of `save_files`.

    Args:
        config: of the run.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.iteration = 0

    @abstractmethod
    def iterate(self) -> None:
        """One iteration: B episodes, then one update.

        Raises:
            FloatingPointError: the update was not finite; the agent is spoilt.
        """

    @abstractmethod
    def metrics(self) -> dict[str, Any]:
        """Numbers of the last iteration."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """What the run has come to."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that the next iteration depends on, less the files of `save_files`."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any], run: Path) -> None:
        """Goes on where `state_dict` was taken; `run` has the files."""

    def evaluate(self, seconds: float) -> None:  # noqa: B027 (not every game has one)
        """Called after each iteration, with the seconds of training so far."""

    def save_files(self, run: Path) -> None:  # noqa: B027
        """Writes what a checkpoint relies on and does not hold."""

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.iteration >= self.config.iterations

    @property
    def env_steps(self) -> int:
        """Environment steps played for training so far."""
        return self.iteration * self.config.batch_size * self.config.episode_length

    def check(self, update: UpdateMetrics) -> None:
        """Raises FloatingPointError, naming what and where, if an update was not finite."""
        numbers: dict[str, Tensor | None] = {
            "actor loss": update.agent_loss,
            "critic loss": update.critic_loss,
            "norm of the actor's gradient": update.grad_norm,
        }
        for name, number in numbers.items():
            if number is not None and not math.isfinite(number.item()):
                raise FloatingPointError(
                    f"the {name} is {number.item()} at iteration {self.iteration}"
                )
