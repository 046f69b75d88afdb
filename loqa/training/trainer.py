"""What the training loop asks of a game's trainer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loqa._device import fetch, training_device
from loqa.algos.learner import UpdateMetrics
from loqa.training.config import TrainConfig


class FiniteWatch:
    """Notes on the device in which iteration a number first was NaN or infinite.

    Args:
        names: of the numbers.
        device: where they are.
    """

    def __init__(self, names: tuple[str, ...], device: torch.device) -> None:
        self._names = names
        self._where = torch.zeros(len(names), dtype=torch.float64, device=device)  # 0: never
        self._value = torch.zeros(len(names), device=device)

    def note(self, iteration: int, numbers: list[Tensor]) -> None:
        """Looks at the numbers of an iteration (from 1) without waiting for them."""
        values = torch.stack(numbers).float()
        fine = values.isfinite() | (self._where != 0)
        self._where = torch.where(fine, self._where, float(iteration))
        self._value = torch.where(fine, self._value, values)

    def check(self) -> None:
        """Waits for the device.

        Raises:
            FloatingPointError: names the number that was not finite first, and its iteration.
        """
        where, values = fetch([self._where, self._value])
        bad = [found for found in zip(where, values, self._names, strict=True) if found[0]]
        if bad:
            iteration, value, name = min(bad, key=lambda found: found[0])
            raise FloatingPointError(f"the {name} is {value} at iteration {int(iteration)}")


def defers(device: torch.device) -> bool:
    """Whether to wait for a device is dear, so that a run looks at its numbers now and then only."""
    return device.type != "cpu"


class Trainer(ABC):
    """One run's agent and everything around it.

    Randomness is counted: iteration n is a function of the configuration, of n and of the state, so
    that a run goes on bit for bit from `state_dict` and the files of `save_files`.

    Args:
        config: of the run.

    Raises:
        ValueError: the device cannot be used.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.device = training_device(config.device)
        self._defers = defers(self.device)
        self.iteration = 0
        names = ["actor loss", "critic loss"]
        if config.clip_norm is not None:
            names.append("norm of the actor's gradient")
        self._finite = FiniteWatch(tuple(names), self.device)

    @abstractmethod
    def iterate(self) -> None:
        """One iteration: B episodes, then one update. On a GPU it may return before they are done.

        Raises:
            FloatingPointError: the update was not finite; the agent is spoilt. A GPU says so at the
                next `settle`.
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
        """Goes on where `state_dict` was taken, before the first iteration; `run` has the files."""

    def evaluate(self, seconds: float) -> None:  # noqa: B027 (not every game has one)
        """Called after each iteration, with the seconds of training so far."""

    def save_files(self, run: Path) -> None:  # noqa: B027
        """Writes what a checkpoint relies on and does not hold; before the checkpoint."""

    def drop_files(self, run: Path) -> None:  # noqa: B027
        """Deletes files that neither the newest checkpoint nor the one before it relies on; after
        the checkpoint."""

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.iteration >= self.config.iterations

    @property
    def evaluates_now(self) -> bool:
        """Whether `evaluate` does something after this iteration."""
        return False

    @property
    def env_steps(self) -> int:
        """Environment steps played for training so far."""
        return self.iteration * self.config.batch_size * self.config.episode_length

    def settle(self) -> None:
        """Waits until the device has done all that it was asked.

        Raises:
            FloatingPointError: an update was not finite; names what and where.
        """
        if self._defers:
            self._finite.check()

    def check(self, update: UpdateMetrics) -> None:
        """Looks whether an update was finite: on the CPU at once, on a GPU at the next `settle`.

        Raises:
            FloatingPointError: it was not; names what and where.
        """
        numbers = [update.agent_loss, update.critic_loss]
        if update.grad_norm is not None:
            numbers.append(update.grad_norm)
        if not self._defers and all(math.isfinite(number) for number in numbers):
            return
        self._finite.note(self.iteration, numbers)
        if not self._defers:
            self._finite.check()
