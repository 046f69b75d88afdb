"""Others who learn between the episodes of an iteration: what an algorithm of meta-episodes meets (M-FOS)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from loqa.agents.policy import Policy
from loqa.algos.base import Algorithm, Number
from loqa.algos.trajectory import Trajectory
from loqa.runtime.random import stream
from loqa.training.opponents import Learning, Opponents, Outputs

if TYPE_CHECKING:
    from loqa.training.config import TrainConfig


class Naive(Opponents):
    """A naive learner in the other seat, a new one in every iteration.

    Args:
        algorithm: of the agent that learns; it makes them.

    Raises:
        ValueError: it cannot.
    """

    def __init__(self, algorithm: Algorithm) -> None:
        self._algorithm = algorithm
        algorithm.naive_learner(1, 1)

    def seats(self, iteration: int) -> Sequence[Policy | str]:
        return [self._algorithm.naive_learner(iteration, 1)]


class MetaLearners(Learning):
    """Two agents of meta-episodes. In an iteration each meets a naive learner, on boards of its own, or they
    meet: with probability min(1, `self_play_decay` (iteration - 1)).

    Args:
        first: the algorithm of seat 0.
        algorithms: that of seat 1.
        config: of the run; its algorithm has a `self_play_decay`.
        play: the episodes that an update learns from, by who sits there and a name.
    """

    def __init__(
        self,
        first: Algorithm,
        algorithms: Sequence[Algorithm],
        config: TrainConfig,
        play: Callable[[Sequence[Policy | str], str], tuple[Trajectory, Any]],
    ) -> None:
        super().__init__(algorithms)
        self._first, self._play = first, play
        self._seed, self._decay = config.loop.seed, float(config.learning.self_play_decay)
        self._share = config.loop.shared_reward
        self.meet = cache(self._meet)

    def _meet(self, iteration: int) -> bool:
        """Whether the two meet in an iteration."""
        generator = stream(self._seed, "M-FOS against whom", iteration)
        drawn = torch.rand((), generator=generator, device="cpu").item()
        return drawn < self._decay * (iteration - 1)

    def seats(self, iteration: int) -> Sequence[Policy | str]:
        if self.meet(iteration):
            return super().seats(iteration)
        return [self._first.naive_learner(iteration, 1)]

    def outputs(self, trajectory: Trajectory, recorded: Outputs) -> Outputs:
        return recorded  # nobody reads what the other's critic says

    def after(
        self, iteration: int, trajectory: Trajectory, outputs: Outputs
    ) -> Mapping[str, Number]:
        if not self.meet(iteration):
            (second,) = self.algorithms
            seats = [second.naive_learner(iteration, 0), second.policy()]
            trajectory, outputs = self._play(seats, "training of player 1")
            trajectory = trajectory.shared() if self._share else trajectory
        return super().after(iteration, trajectory, outputs)

    def batches_beside(self, iterations: int) -> int:
        alone = sum(not self.meet(one) for one in range(1, iterations + 1))
        return alone * self._first.episodes
