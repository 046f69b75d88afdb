"""What a learner makes of players who show what they do, and maybe what they are paid, and nothing else.

LOQA reads the action values q^j and the policy pi^j of each opponent. In self-play these are the agent's own;
an independent player does not tell. Here they are learned, for each other seat, from that seat's
observations, actions and rewards (`loqa.algos.seat_model`): in a game that shows an index of states the
policy is counted, in any other a network clones it.

With "mirrored" and "inferred" the rewards are not seen either; these need states. Then

    r^j_t = R^j(s^j_{t+1})

where "mirrored" takes j to be paid what I was paid in its place: R^j = R, the mean of my rewards after
which I saw s. "inferred" concludes from how pi^j changes (`loqa.algos.reward_inference`).
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from loqa.agents.actor_critic import Agent
from loqa.agents.gaussian import GaussianAgent
from loqa.agents.outputs import SeatOutputs
from loqa.agents.states import PRISONERS
from loqa.algos.base import Context, Number
from loqa.algos.loqa import LOQASettings
from loqa.algos.reward_inference import RewardInference
from loqa.algos.seat_model import Cloned, Counted, SeatModel, count
from loqa.algos.trajectory import Trajectory


class OpponentModel:
    """Models of all other seats.

    Args:
        agent: each model begins as it is now (a `Counted` one with its critic alone).
        settings: `opponent_model` other than "shared", what a `SeatModel` reads, and for "inferred" all
            that shaping depends on.
        context: of the run.

    Raises:
        ValueError: actions are numbers of a box; "mirrored" or "inferred", and the agent reads no states, or
            its critic remembers; "inferred", and more than two actions, or states that are not those of
            two players.
    """

    def __init__(self, agent: Agent, settings: LOQASettings, context: Context) -> None:
        kind = settings.opponent_model
        if isinstance(agent, GaussianAgent):
            raise ValueError(
                f"opponent_model {kind} is of finitely many actions, got numbers of a box"
            )
        self._counts = agent.observes == "states" and not agent.critic.recurrent
        if kind != "learned" and not self._counts:
            raise ValueError(
                f"opponent_model {kind} finds rewards in a table of states: it needs a game that shows "
                "an index, and critic mlp; learned works without"
            )
        self._first = copy.deepcopy(agent)
        self._settings, self._processes = settings, context.processes
        self._models: dict[int, SeatModel] = {}
        self._said: dict[int, SeatOutputs] = {}
        # My rewards after which I saw a state: their sum, and how many.
        states = agent.states.count if self._counts else 0
        device = next(agent.parameters()).device
        self._paid = torch.zeros(2, states, dtype=torch.float64, device=device)
        self._inference: RewardInference | None = None
        if kind == "inferred":
            if agent.states != PRISONERS:
                raise ValueError(
                    "opponent_model inferred is of two players and two actions, got "
                    f"{agent.states.actions} own actions and {agent.states.others} of the others"
                )
            self._inference = RewardInference(settings, context.exploration)

    def view(
        self, trajectory: Trajectory, seat: int
    ) -> tuple[Trajectory, list[SeatOutputs | None]]:
        """The episodes as the agent in `seat` knows them, and what its models say of the other seats.

        Raises:
            ValueError: rewards are not seen, and episodes end before their last step.
        """
        if self._settings.opponent_model != "learned":
            trajectory = replace(trajectory, rewards=self._guessed(trajectory, seat))
        others = [other for other in range(trajectory.num_players) if other != seat]
        self._said = {
            other: self._model(other).evaluate(trajectory.seat(other)) for other in others
        }
        said: list[SeatOutputs | None] = [None] * trajectory.num_players
        for other, one in self._said.items():
            said[other] = one.detach()
        return trajectory, said

    def learn(self, trajectory: Trajectory, seat: int, moved: bool = True) -> dict[str, Number]:
        """A step of each model, on the episodes of the last `view`.

        Args:
            moved: whether policies change by now; what does not tells nothing of rewards.

        Returns:
            For the log: the losses of networks that clone, means over the other seats; what the other is
            taken to be paid for its action and mine, if that is inferred.
        """
        numbers: dict[str, Number] = {}
        if self._inference is not None:
            if moved:
                states = self._first.states
                counts = [
                    count(trajectory.seat(one), states, self._processes) for one in (seat, 1 - seat)
                ]
                self._inference.observe(counts[0], counts[1], self._known()[1:])
            pairs = ("00", "01", "10", "11")
            for pair, reward in zip(pairs, self._inference.rewards, strict=True):
                numbers[f"inferred_reward/{pair}"] = reward
        losses = [
            self._model(other).learn(trajectory.seat(other), said)
            for other, said in self._said.items()
        ]
        self._said = {}
        if not losses:  # who plays alone has nobody to learn of
            return numbers
        means = {name: torch.stack([one[name] for one in losses]).mean() for name in losses[0]}
        return {**numbers, **means}

    def _known(self) -> Tensor:
        """R, what I was paid on average when I saw each state, `[S]`."""
        return self._paid[0] / self._paid[1].clamp(min=1)

    def _guessed(self, trajectory: Trajectory, seat: int) -> Tensor:
        """Rewards `[T, B, A]`: mine, and what the others are taken to be paid."""
        if trajectory.terminated is not None or trajectory.truncated is not None:
            raise ValueError(
                f"opponent_model {self._settings.opponent_model} is of games whose episodes all have T steps"
            )
        seen = trajectory.obs[1:].long()
        mine = trajectory.rewards[..., seat].double().reshape(-1)
        now = torch.zeros_like(self._paid)
        now[0].index_add_(0, seen[..., seat].reshape(-1), mine)
        now[1].index_add_(0, seen[..., seat].reshape(-1), torch.ones_like(mine))
        self._processes.mean_([now])
        self._paid += now
        table = self._known()
        if self._inference is not None:
            table = torch.nn.functional.pad(self._inference.rewards, (1, 0)).to(table)
        rewards = table.to(trajectory.rewards.dtype)[seen]
        rewards[..., seat] = trajectory.rewards[..., seat]
        return rewards

    def _model(self, other: int) -> SeatModel:
        if other not in self._models:
            kind = Counted if self._counts else Cloned
            self._models[other] = kind(self._first, self._settings, self._processes)
        return self._models[other]

    def state_dict(self) -> dict[str, Any]:
        """Everything the next update depends on."""
        models = {str(seat): one.state_dict() for seat, one in self._models.items()}
        inference = None if self._inference is None else self._inference.state_dict()
        return {"paid": self._paid.clone(), "models": models, "inference": inference}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict`."""
        self._paid.copy_(state["paid"])
        if self._inference is not None:
            self._inference.load_state_dict(state["inference"])
        for seat, saved in state["models"].items():
            self._model(int(seat)).load_state_dict(saved)
