"""LOQA and the naive learner as algorithms of a run: the same `Learner`, with and without shaping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from loqa.agents.actor_critic import Agent
from loqa.agents.outputs import SeatOutputs
from loqa.algos.base import Algorithm, Context, Number
from loqa.algos.learner import Learner, UpdateMetrics
from loqa.algos.loqa import ActorLosses, LOQASettings, actor_losses
from loqa.algos.registry import register
from loqa.algos.settings import ActorCriticSettings
from loqa.algos.trajectory import Trajectory


class ActorCritic(Algorithm):
    """`Learner` as an algorithm.

    Attributes:
        losses: of the actor.
    """

    rates = ("entropy_bonus", "shaping_weight", "actor_lr", "network_lr", "critic_lr")
    losses: ClassVar[staticmethod[..., ActorLosses]] = staticmethod(actor_losses)
    settings: ActorCriticSettings

    def __init__(self, agent: Agent, settings: ActorCriticSettings, context: Context) -> None:
        super().__init__(agent, settings, context)
        self.reads_others = settings.shaping_weight != 0
        self.learner = Learner(
            agent,
            settings,
            context.processes,
            capturable=context.capturable,
            exploration=context.exploration if settings.played_policy else 0.0,
            losses=self.losses,
        )
        # Processes exchange gradients inside: a graph cannot hold that.
        self._update = context.recorded(self.learner.update)

    def update(
        self,
        trajectory: Trajectory,
        others: Sequence[SeatOutputs | None] = (),
        seat: int = 0,
        iteration: int = 1,
    ) -> Mapping[str, Number]:
        if iteration > self.settings.critic_warmup:
            # A recording has no room for as many observations as episodes are cut.
            update = self._update if trajectory.truncated is None else self.learner.update
            said: UpdateMetrics = update(trajectory, tuple(others), seat)
        else:
            said = self.learner.update(trajectory, others, seat, actor_step=False)
        return said.numbers()

    def set_rates(self, **rates: float) -> None:
        self.learner.set_rates(**rates)

    def state_dict(self) -> dict[str, Any]:
        return self.learner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state)


register("loqa", ActorCritic, LOQASettings, "LOQA")
register("naive", ActorCritic, LOQASettings, "naive learner", shaping_weight=0.0)
