"""Who sits in the other seats of an iteration, and what happens to them afterwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from loqa.agents.actor_critic import Agent
from loqa.agents.outputs import SeatOutputs
from loqa.agents.policy import Policy
from loqa.agents.sets import AgentSets
from loqa.algos.base import Algorithm, Number
from loqa.algos.trajectory import Trajectory
from loqa.runtime.distributed import ProcessGroup
from loqa.runtime.random import stream
from loqa.training.replay import ReplayPool

if TYPE_CHECKING:
    from loqa.training.config import TrainConfig

Outputs = tuple[SeatOutputs | None, ...]


class Opponents(ABC):
    """The seats of an iteration: where the agent that learns sits, and who sits in the others.

    Attributes:
        algorithms: of the other seats, where they learn too.
        began: the iteration after which rates are annealed, None before that; set by the trainer.
    """

    algorithms: Sequence[Algorithm] = ()
    began: int | None = None

    def seat(self, iteration: int) -> int:
        """Of the agent that learns in this iteration."""
        return 0

    @abstractmethod
    def seats(self, iteration: int) -> Sequence[Policy | str]:
        """Who sits in the other seats of this iteration, in order."""

    def outputs(self, trajectory: Trajectory, recorded: Outputs) -> Outputs:
        """What each seat's critic says of the episodes, for the agent's losses; None where it says
        nothing. `recorded` was said on the way."""
        return recorded

    def after(
        self, iteration: int, trajectory: Trajectory, outputs: Outputs
    ) -> Mapping[str, Number]:
        """Called when the agent has learned from the episodes; numbers that must stay finite, if any."""
        return {}

    def batches_beside(self, iterations: int) -> int:
        """Batches of episodes that others than the agent have played for their own learning."""
        return 0

    def metrics(self) -> dict[str, Any]:
        """For a line of metrics."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What the next iteration depends on, less the files of `save_files`."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any], run: Path) -> None:
        """Goes on where `state_dict` was taken; `run` has the files."""

    def save_files(self, run: Path) -> None:
        """Writes what a checkpoint relies on and does not hold; before the checkpoint."""

    def drop_files(self, run: Path) -> None:
        """Deletes files that neither of the two newest checkpoints relies on; after the newest."""


class Fixed(Opponents):
    """The same players in every iteration; the agent sits in seat 0, or in each in turn."""

    def __init__(self, seats: Sequence[Policy | str], take_turns: bool = False) -> None:
        self._seats, self._take_turns = list(seats), take_turns

    def seat(self, iteration: int) -> int:
        return (iteration - 1) % (len(self._seats) + 1) if self._take_turns else 0

    def seats(self, iteration: int) -> Sequence[Policy | str]:
        return self._seats


class Past(Opponents):
    """Agents from a `ReplayPool` of the learner's own past: K of them a batch, B / K episodes each.

    `records` says whether what their critics say is wanted.
    """

    def __init__(
        self,
        agent: Agent,
        config: TrainConfig,
        players: int,
        records: bool,
        processes: ProcessGroup,
    ) -> None:
        self._agent, self._config, self._players, self._records = agent, config, players, records
        self.pool = ReplayPool(agent, config.others.replay_capacity)
        self.pool.push(agent)
        self._mine = processes.share(config.others.opponents)
        self._device = next(agent.parameters()).device

    def seats(self, iteration: int) -> Sequence[Policy | str]:
        return [self._drawn(iteration, seat) for seat in range(1, self._players)]

    def _drawn(self, iteration: int, seat: int) -> AgentSets:
        others, pool = self._config.others, self.pool
        # The second player's stream is that of a game of two.
        name = (iteration,) if seat == 1 else (iteration, seat)
        # Those kept before annealing began; the first is untrained.
        early = 0 if self.began is None else 1 + self.began // others.replay_every
        index = pool.draw(
            others.opponents,
            stream(self._config.loop.seed, "opponents", *name, device=pool.device),
            early=early,
            share=others.early_opponents,
        )[self._mine]
        beside = pool.device == self._device
        parameters = pool.stored() if beside else pool.gather(index)
        return AgentSets(self._agent, parameters, self._records, index if beside else None)

    def after(
        self, iteration: int, trajectory: Trajectory, outputs: Outputs
    ) -> Mapping[str, Number]:
        if iteration % self._config.others.replay_every == 0:
            self.pool.push(self._agent)
        return {}

    def metrics(self) -> dict[str, Any]:
        return {"replay": len(self.pool)}

    def state_dict(self) -> dict[str, Any]:
        return {"pool": self.pool.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], run: Path) -> None:
        self.pool.load_state_dict(state["pool"], run / "replay")

    def save_files(self, run: Path) -> None:
        directory = run / "replay"
        directory.mkdir(exist_ok=True)
        self.pool.save_blocks(directory)

    def drop_files(self, run: Path) -> None:
        self.pool.drop_blocks(run / "replay")


class Learning(Opponents):
    """Independent learners: each other seat has an algorithm and parameters of its own.

    All learn from the same episodes, each from its own seat. The losses of one take what the others'
    critics say.
    """

    def __init__(self, algorithms: Sequence[Algorithm]) -> None:
        self.algorithms = list(algorithms)

    def seats(self, iteration: int) -> Sequence[Policy | str]:
        return [algorithm.policy() for algorithm in self.algorithms]

    @torch.no_grad()
    def outputs(self, trajectory: Trajectory, recorded: Outputs) -> Outputs:
        said = (one.evaluate(trajectory, seat) for seat, one in enumerate(self.algorithms, 1))
        return (None, *said)

    def after(
        self, iteration: int, trajectory: Trajectory, outputs: Outputs
    ) -> Mapping[str, Number]:
        found: dict[str, Number] = {}
        for seat, algorithm in enumerate(self.algorithms, 1):
            numbers = algorithm.update(trajectory, outputs, seat, iteration)
            found |= {f"{name} of player {seat}": number for name, number in numbers.items()}
        return found

    def state_dict(self) -> dict[str, Any]:
        return {"others": {str(i): one.state_dict() for i, one in enumerate(self.algorithms, 1)}}

    def load_state_dict(self, state: Mapping[str, Any], run: Path) -> None:
        for i, algorithm in enumerate(self.algorithms, 1):
            algorithm.load_state_dict(state["others"][str(i)])


class Naive(Opponents):
    """A naive learner in the other seat, made by the agent's algorithm, a new one in every iteration."""

    def __init__(self, algorithm: Algorithm) -> None:
        self._algorithm = algorithm
        algorithm.naive_learner(1, 1)  # raises where it makes none

    def seats(self, iteration: int) -> Sequence[Policy | str]:
        return [self._algorithm.naive_learner(iteration, 1)]


class MetaLearners(Learning):
    """Two agents of meta-episodes. In an iteration each meets a naive learner, on boards of its own, or they
    meet: with probability min(1, `self_play_decay` (iteration - 1)).

    `play` gives the episodes that an update learns from, by who sits there and a name.
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
