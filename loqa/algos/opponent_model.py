"""What a learner makes of players who show what they do, and maybe what they are paid, and nothing else.

LOQA reads the action values q^j and the policy pi^j of each opponent. In self-play these are the agent's own;
an independent player does not tell. Here they are learned, for each other seat, from that seat's
observations, actions and rewards:

    q^j(s, b)   by Huber regression on the sampled returns of j
    pi^j(b|s)   the share of action b in the batch, where j was in s: behavioural cloning by counting

With "mirrored" and "inferred" the rewards are not seen either. Then

    r^j_t = R^j(s^j_{t+1})

where "mirrored" takes j to be paid what I was paid in its place: R^j = R, the mean of my rewards after
which I saw s. "inferred" concludes from how pi^j changes (`loqa.algos.reward_inference`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from loqa import ops
from loqa.agents.actor_critic import Agent
from loqa.agents.networks import LogitsHead
from loqa.agents.outputs import SeatOutputs
from loqa.agents.states import PRISONERS
from loqa.algos.base import Context, Number
from loqa.algos.loqa import LOQASettings, critic_losses
from loqa.algos.optimizers import adam, apply, restore, state_of
from loqa.algos.reward_inference import RewardInference
from loqa.algos.trajectory import Trajectory


@dataclass
class _Model:
    """Of one seat: a critic, and its optimiser."""

    critic: Agent  # of which the actor is not used
    optimizer: torch.optim.Adam


class OpponentModel:
    """Models of all other seats.

    Args:
        agent: of states; each model begins with a critic as the agent's is now.
        settings: `opponent_model` other than "shared", `critic_lr`, `gamma`, and for "inferred" all that
            shaping depends on.
        context: of the run.

    Raises:
        ValueError: the agent reads no states, or its critic remembers; "inferred", and more than two
            actions, or states that are not those of two players.
    """

    def __init__(self, agent: Agent, settings: LOQASettings, context: Context) -> None:
        if agent.observes != "states" or agent.critic.recurrent:
            raise ValueError(
                f"opponent_model {settings.opponent_model} counts what was done in each state: it needs a "
                "game that shows an index, and critic mlp"
            )
        self._first = Agent(LogitsHead(agent.states), copy.deepcopy(agent.critic), "states")
        self._settings, self._processes = settings, context.processes
        self._models: dict[int, _Model] = {}
        device = next(agent.parameters()).device
        # My rewards after which I saw a state: their sum, and how many.
        self._paid = torch.zeros(2, agent.states.count, dtype=torch.float64, device=device)
        self._inference: RewardInference | None = None
        if settings.opponent_model == "inferred":
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
        said: list[SeatOutputs | None] = []
        for other in range(trajectory.num_players):
            said.append(None if other == seat else self._evaluate(trajectory, other).detach())
        return trajectory, said

    def learn(self, trajectory: Trajectory, seat: int, moved: bool = True) -> None:
        """A step of each model's critic, on the episodes of `view`.

        Args:
            moved: whether policies change by now; what does not tells nothing of rewards.
        """
        if self._inference is not None and moved:
            counts = [self._count(trajectory, one) for one in (seat, 1 - seat)]
            self._inference.observe(counts[0], counts[1], self._known()[1:])
        for other in range(trajectory.num_players):
            if other == seat:
                continue
            model, one = self._model(other), trajectory.seat(other)
            done = None if one.ends is None else one.ends.done
            targets = ops.discounted_returns(one.rewards, self._settings.gamma, terminated=done)
            loss = critic_losses(self._evaluate(trajectory, other), targets).mean()
            parameters = list(model.critic.critic.parameters())
            gradients = torch.autograd.grad(loss, parameters)
            self._processes.mean_(gradients)
            apply(model.optimizer, parameters, gradients)

    def numbers(self) -> dict[str, Number]:
        """For the log: what the other is taken to be paid for its action and mine, if that is inferred."""
        if self._inference is None:
            return {}
        pairs = ("00", "01", "10", "11")
        return {
            f"inferred_reward/{pair}": reward
            for pair, reward in zip(pairs, self._inference.rewards, strict=True)
        }

    def _evaluate(self, trajectory: Trajectory, other: int) -> SeatOutputs:
        """Where nobody was, pi is uniform. Half an action more of each kind: what was never done is not
        impossible."""
        one, critic = trajectory.seat(other), self._model(other).critic
        shares = self._count(trajectory, other) + 0.5
        log_probs = (shares / shares.sum(-1, keepdim=True)).log()
        table = log_probs.expand(one.obs.shape[0], -1, -1)
        return critic.evaluate(one.obs, one.actions, table)

    def _count(self, trajectory: Trajectory, seat: int) -> Tensor:
        """How often each action was done in each state, `[S, K]`: the mean of all processes."""
        states, one = self._first.states, trajectory.seat(seat)
        at = one.obs[:-1].long() * states.actions + one.actions.long()
        count = torch.bincount(at.reshape(-1), minlength=states.count * states.actions)
        shares = count.reshape(states.count, states.actions).to(torch.float32)
        self._processes.mean_([shares])
        return shares

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

    def _model(self, other: int) -> _Model:
        if other not in self._models:
            critic = copy.deepcopy(self._first)
            parameters = list(critic.critic.parameters())
            made = adam([parameters], [self._settings.critic_lr], None)
            self._models[other] = _Model(critic, made)
        return self._models[other]

    def state_dict(self) -> dict[str, Any]:
        """Everything the next update depends on."""
        models = {
            str(seat): {
                "critic": one.critic.critic.state_dict(),
                "optimizer": state_of(one.optimizer),
            }
            for seat, one in self._models.items()
        }
        inference = None if self._inference is None else self._inference.state_dict()
        return {"paid": self._paid.clone(), "models": models, "inference": inference}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict`."""
        self._paid.copy_(state["paid"])
        if self._inference is not None:
            self._inference.load_state_dict(state["inference"])
        for seat, saved in state["models"].items():
            model = self._model(int(seat))
            model.critic.critic.load_state_dict(saved["critic"])
            restore(model.optimizer, saved["optimizer"])
