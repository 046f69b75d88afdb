"""LOQA and the naive learner as algorithms of a run: the same `Learner`, with and without shaping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from loqa.agents.actor_critic import Agent
from loqa.agents.outputs import SeatOutputs
from loqa.algos.base import Algorithm, Context, Number
from loqa.algos.learner import Learner, UpdateMetrics
from loqa.algos.loqa import ActorLosses, LOQASettings, actor_losses
from loqa.algos.opponent_model import OpponentModel
from loqa.algos.registry import register
from loqa.algos.settings import ActorCriticSettings
from loqa.algos.trajectory import Trajectory


class ActorCritic(Algorithm):
    """`Learner` as an algorithm.

    Attributes:
        losses: of the actor.
    """

    in_boxes = True
    rates = ("entropy_bonus", "shaping_weight", "actor_lr", "network_lr", "critic_lr")
    losses: ClassVar[staticmethod[..., ActorLosses]] = staticmethod(actor_losses)
    settings: ActorCriticSettings

    def __init__(self, agent: Agent, settings: ActorCriticSettings, context: Context) -> None:
        super().__init__(agent, settings, context)
        self.model: OpponentModel | None = None
        if getattr(settings, "opponent_model", "shared") != "shared" and settings.shaping_weight:
            assert isinstance(settings, LOQASettings)
            self.model = OpponentModel(agent, settings, context)
        self.reads_others = settings.shaping_weight != 0 and self.model is None
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
        if self.model is not None:
            trajectory, others = self.model.view(trajectory, seat)
        moves = iteration > self.settings.critic_warmup
        if moves:
            # A recording has no room for as many observations as episodes are cut.
            update = self._update if trajectory.truncated is None else self.learner.update
            said: UpdateMetrics = update(trajectory, tuple(others), seat)
        else:
            said = self.learner.update(trajectory, others, seat, actor_step=False)
        if self.model is None:
            return said.numbers()
        return {**said.numbers(), **self.model.learn(trajectory, seat, moves)}

    def set_rates(self, **rates: float) -> None:
        if not self.settings.shaping_weight:  # who is naive stays so, whatever others are told
            rates.pop("shaping_weight", None)
        self.learner.set_rates(**rates)

    def state_dict(self) -> dict[str, Any]:
        models = {} if self.model is None else {"opponent_model": self.model.state_dict()}
        return {**self.learner.state_dict(), **models}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state)
        if self.model is not None:
            self.model.load_state_dict(state["opponent_model"])


register("loqa", ActorCritic, LOQASettings, "LOQA")
register("naive", ActorCritic, LOQASettings, "naive learner", shaping_weight=0.0)
