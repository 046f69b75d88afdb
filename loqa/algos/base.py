"""What an algorithm is: it updates an agent from episodes. `loqa.algos.register` makes it known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from loqa.agents.actor_critic import Agent
from loqa.agents.outputs import SeatOutputs
from loqa.agents.policy import Policy
from loqa.algos.trajectory import Seat, Trajectory
from loqa.runtime.distributed import ProcessGroup
from loqa.runtime.graphs import Recorder, Replayed

Number = Tensor | Callable[[], Tensor]
"""A number for the log, or what computes it if a line is written."""
Others = Sequence[SeatOutputs | None]
"""What each seat's own critic says of episodes, constants; None, or nothing at all, where it says nothing."""


@dataclass(frozen=True)
class Context:
    """What a run lends its algorithm.

    Attributes:
        processes: that hold the same agent and have each a part of the batch.
        exploration: e, share of uniformly random play in the episodes.
        record: makes a recording of a function that is called in every iteration, as a CUDA graph
            (`loqa.runtime.graphs`); None where nothing is recorded.
        seed: of the run.
        play: plays a batch of fresh episodes beside those of the iteration, with who sits in each seat
            and a name that no other batch of the iteration has; None where there are none to be had.
    """

    processes: ProcessGroup = field(default_factory=ProcessGroup)
    exploration: float = 0.0
    record: Recorder | None = None
    seed: int = 0
    play: Callable[[Sequence[Policy | str], str], Trajectory] | None = None

    @property
    def capturable(self) -> bool:
        """Whether what an update depends on must stay where it is in memory."""
        return self.record is not None

    def recorded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function; recorded if this run records, and no processes exchange gradients inside."""
        return Replayed(function, self.record if self.processes.size == 1 else None)


class Adapting(Policy):
    """A policy that is another one after each batch of episodes: it remembers, or it learns."""

    @abstractmethod
    def after(self, played: Seat) -> None:
        """Called after each of the batches of an iteration (`Algorithm.episodes`) with its own part of it."""


class Algorithm(ABC):
    """Learns: an agent, settings of its own, and an update.

    Args:
        agent: trained in place.
        settings: a frozen dataclass of the class that the algorithm was registered with.
        context: what the run lends.

    Attributes:
        rates: names of settings that may change from one update to the next.
        reads_others: whether `update` takes what the other seats' critics say.
        keeps_seat: whether it remembers who sits where, so that the agent must stay in its seat.
        in_boxes: whether it learns where actions are numbers of a box, which takes no more of a policy than
            differentiable log-densities.
    """

    rates: Sequence[str] = ()
    reads_others: bool = False
    keeps_seat: bool = False
    in_boxes: bool = False

    @property
    def batches_beside(self) -> int:
        """Fresh batches that an update plays."""
        return 0

    @property
    def episodes(self) -> int:
        """Batches of episodes in a row that an update learns from."""
        return 1

    def __init__(self, agent: Agent, settings: Any, context: Context) -> None:
        self.agent = agent
        self.settings = settings
        self.context = context

    def policy(self) -> Policy:
        """Who sits for the agent in the episodes of an iteration."""
        return self.agent

    def naive_learner(self, iteration: int, seat: int) -> Policy:
        """A new learner for a seat, who adapts between the episodes of the iteration.

        Raises:
            ValueError: an update learns from one batch of episodes, in which nobody adapts.
        """
        raise ValueError(
            "meets naive needs an algorithm that learns from several episodes in a row (mfos)"
        )

    def before(self, seats: Sequence[Policy | str], seat: int) -> None:
        """Called before anybody's update with who sits in each seat, the agent in `seat`; and once before
        the first iteration.

        Raises:
            ValueError: the algorithm cannot learn beside these.
        """

    @abstractmethod
    def update(
        self, trajectory: Trajectory, others: Others = (), seat: int = 0, iteration: int = 1
    ) -> Mapping[str, Number]:
        """Learns from on-policy episodes.

        Args:
            trajectory: the episodes.
            others: where one says nothing, the agent's own heads may speak for it.
            seat: the agent's.
            iteration: of the run, from 1.

        Returns:
            Numbers for the log, of which means are taken: "loss/..." and "grad_norm", which must stay
            finite, and any other.
        """

    def evaluate(self, trajectory: Trajectory, seat: int) -> SeatOutputs:
        """What the agent's heads say of a seat."""
        own = trajectory.seat(seat)
        return self.agent.evaluate(own.obs, own.actions, ends=own.ends)

    def set_rates(self, **rates: float) -> None:
        """Changes some of `rates`."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything the next update depends on; "agent" is the agent's."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict`; later updates are the same bit for bit."""
