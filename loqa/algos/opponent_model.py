"""What a learner makes of players who show what they do, and maybe what they are paid, and nothing else.

LOQA reads the action values q^j and the policy pi^j of each opponent. In self-play these are the agent's own;
an independent player does not tell. Here they are learned, for each other seat, from that seat's
observations, actions and rewards:

    q^j(s, b)   by Huber regression on the sampled returns of j
    pi^j(b|s)   the share of action b in the batch, where j was in s: behavioural cloning by counting

With "mirrored" the rewards are not seen either: j is taken to be paid what I was paid in its place.

    r^j_t = R(s^j_{t+1}),   R(s) = mean of my rewards after which I saw s
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
from loqa.algos.loqa import LOQASettings, critic_losses
from loqa.algos.optimizers import adam, apply, restore, state_of
from loqa.algos.trajectory import Trajectory
from loqa.runtime.distributed import ProcessGroup


@dataclass
class _Model:
    """Of one seat: a critic, and its optimiser."""

    critic: Agent  # of which the actor is not used
    optimizer: torch.optim.Adam


class OpponentModel:
    """Models of all other seats.

    Args:
        agent: of states; each model begins with a critic as the agent's is now.
        settings: `opponent_model` "learned" or "mirrored", `critic_lr`, `gamma`.
        processes: that share the batch.

    Raises:
        ValueError: the agent reads no states, or its critic remembers.
    """

    def __init__(self, agent: Agent, settings: LOQASettings, processes: ProcessGroup) -> None:
        if agent.observes != "states" or agent.critic.recurrent:
            raise ValueError(
                f"opponent_model {settings.opponent_model} counts what was done in each state: it needs a "
                "game that shows an index, and critic mlp"
            )
        self._first = Agent(LogitsHead(agent.states), copy.deepcopy(agent.critic), "states")
        self._settings, self._processes = settings, processes
        self._models: dict[int, _Model] = {}
        device = next(agent.parameters()).device
        # Rewards after which a state was seen: their sum, and how many; "mirrored".
        self._paid = torch.zeros(2, agent.states.count, dtype=torch.float64, device=device)

    def view(
        self, trajectory: Trajectory, seat: int
    ) -> tuple[Trajectory, list[SeatOutputs | None]]:
        """The episodes as the agent in `seat` knows them, and what its models say of the other seats.

        Raises:
            ValueError: "mirrored", and episodes that end before their last step.
        """
        if self._settings.opponent_model == "mirrored":
            trajectory = replace(trajectory, rewards=self._mirrored(trajectory, seat))
        said: list[SeatOutputs | None] = []
        for other in range(trajectory.num_players):
            said.append(None if other == seat else self._evaluate(trajectory, other).detach())
        return trajectory, said

    def learn(self, trajectory: Trajectory, seat: int) -> None:
        """A step of each model's critic, on the episodes of `view`."""
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

    def _evaluate(self, trajectory: Trajectory, other: int) -> SeatOutputs:
        one, critic = trajectory.seat(other), self._model(other).critic
        counted = self._counted(one.obs, one.actions)
        steps = one.obs.shape[0]
        table = counted.expand(steps, -1, -1)
        return critic.evaluate(one.obs, one.actions, table)

    def _counted(self, obs: Tensor, actions: Tensor) -> Tensor:
        """log pi(b|s) of the batch, `[S, K]`; uniform where nobody was. Half an action more of each kind:
        what was never done is not impossible."""
        states = self._first.states
        at = obs[:-1].long() * states.actions + actions.long()
        count = torch.bincount(at.reshape(-1), minlength=states.count * states.actions)
        shares = count.reshape(states.count, states.actions).to(torch.float32)
        self._processes.mean_([shares])
        shares = shares + 0.5
        return (shares / shares.sum(-1, keepdim=True)).log()

    def _mirrored(self, trajectory: Trajectory, seat: int) -> Tensor:
        """Rewards `[T, B, A]`: mine, and those of the others as I would have been paid in their place."""
        if trajectory.terminated is not None or trajectory.truncated is not None:
            raise ValueError("opponent_model mirrored is of games whose episodes all have T steps")
        seen = trajectory.obs[1:].long()
        mine = trajectory.rewards[..., seat].double().reshape(-1)
        now = torch.zeros_like(self._paid)
        now[0].index_add_(0, seen[..., seat].reshape(-1), mine)
        now[1].index_add_(0, seen[..., seat].reshape(-1), torch.ones_like(mine))
        self._processes.mean_([now])
        self._paid += now
        known = (self._paid[0] / self._paid[1].clamp(min=1)).to(trajectory.rewards.dtype)
        rewards = known[seen]
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
        return {"paid": self._paid.clone(), "models": models}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict`."""
        self._paid.copy_(state["paid"])
        for seat, saved in state["models"].items():
            model = self._model(int(seat))
            model.critic.critic.load_state_dict(saved["critic"])
            restore(model.optimizer, saved["optimizer"])
