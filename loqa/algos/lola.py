"""LOLA-DiCE: the policy gradient through the other players' next steps of learning.

Learning with opponent-learning awareness (Foerster et al., AAMAS 2018), with objectives that have
derivatives of every order (`loqa.algos.lookahead`). Player i looks k steps ahead:

    u_0 = theta_j,   u_{m+1} = u_m + eta grad_u J_j(theta_i, u_m),   m < k
    theta_i <- theta_i + alpha grad_i J_i(theta_i, u_k)                     (through every u_m)

Each J is estimated from fresh episodes of the policies that it names (`dice_objective`); its mixed second
derivative is what LOLA is about.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from loqa.agents.actor_critic import Agent
from loqa.agents.outputs import SeatOutputs
from loqa.agents.policy import Policy
from loqa.agents.sets import AgentSets, Called
from loqa.algos.base import Algorithm, Context, Number, Others
from loqa.algos.lookahead import LOLASettings, POLASettings, dice_objective, value_loss
from loqa.algos.optimizers import apply, global_norm, set_rates
from loqa.algos.registry import register
from loqa.algos.trajectory import Trajectory

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Other:
    """Another player as the algorithm knows it.

    Attributes:
        agent: its architecture, and its parameters before anybody's update.
        parameters: of its actor, on the way ahead; functions of one's own.
        critic: of its critic, constants.
    """

    agent: Agent
    parameters: Parameters
    critic: Parameters

    @classmethod
    def of(cls, agent: Agent) -> Other:
        """As it is."""
        found = {name: one.detach() for name, one in agent.named_parameters()}
        actor = {name: found.pop(name) for name in list(found) if name.startswith("actor.")}
        actor = {name: one.clone().requires_grad_() for name, one in actor.items()}
        return cls(agent, actor, found)

    def policy(self) -> AgentSets:
        """For playing."""
        actor = {name: one.detach() for name, one in self.parameters.items()}
        return AgentSets(self.agent, {**actor, **self.critic})

    def acting(self, trajectory: Trajectory, seat: int) -> SeatOutputs:
        """Log-probabilities as functions of `parameters`."""
        own = trajectory.seat(seat)
        return self._call("acting", self.parameters, own.obs, own.actions, own.ends)

    def evaluated(self, trajectory: Trajectory, seat: int, critic: Parameters) -> SeatOutputs:
        """Values as functions of `critic`; the policy is constant."""
        constants = {name: one.detach() for name, one in self.parameters.items()}
        own = trajectory.seat(seat)
        return self._call("evaluate", constants | critic, own.obs, own.actions, None, own.ends)

    def _call(self, method: str, parameters: Parameters, *args: Any) -> SeatOutputs:
        given = {f"module.{name}": one for name, one in parameters.items()}
        said: SeatOutputs = torch.func.functional_call(Called(self.agent), given, (method, *args))
        return said


class LOLA(Algorithm):
    """LOLA-DiCE, and with the penalties of `loqa.algos.pola` POLA-DiCE.

    All players' steps are taken from the parameters that they had before anybody's.
    """

    rates = ("actor_lr", "critic_lr")
    keeps_seat = True
    in_boxes = True
    settings: LOLASettings | POLASettings

    def __init__(
        self, agent: Agent, settings: LOLASettings | POLASettings, context: Context
    ) -> None:
        super().__init__(agent, settings, context)
        if context.processes.size > 1:
            raise ValueError("an algorithm that looks ahead runs in one process")
        if context.play is None:
            raise ValueError("an algorithm that looks ahead needs a context that plays episodes")
        self._play_fresh = context.play
        self._actor = list(agent.actor.parameters())
        self._critic = list(agent.critic.parameters())
        self._models: dict[int, Agent] = {}
        self._others: dict[int, Other] = {}
        self._fitting: dict[int, torch.optim.Adam] = {}
        self._start_optimizers()

    @property
    def batches_beside(self) -> int:
        return self.settings.outer_steps * (self.settings.inner_steps + 1)

    # --- whom it meets

    def before(self, seats: Sequence[Policy | str], seat: int) -> None:
        for other, policy in enumerate(seats):
            if other == seat:
                continue
            if self.settings.opponent_model:
                self._models.setdefault(other, copy.deepcopy(self.agent))
            else:
                self._others[other] = Other.of(_agent_of(policy))

    def _fit(self, trajectory: Trajectory) -> None:
        """Models of the others, by what they did."""
        for seat, model in self._models.items():
            parameters, own = list(model.actor.parameters()), trajectory.seat(seat)
            if seat not in self._fitting:
                self._fitting[seat] = torch.optim.Adam(parameters, self.settings.model_lr)
            for _ in range(self.settings.model_steps):
                said = model.evaluate(own.obs, own.actions, ends=own.ends)
                gradients = torch.autograd.grad(-said.taken_log_probs.mean(), parameters)
                apply(self._fitting[seat], parameters, gradients)
            # Of its critic nothing is known but what one's own says.
            model.critic.load_state_dict(self.agent.critic.state_dict())
            self._others[seat] = Other.of(model)

    # --- learning

    def update(
        self, trajectory: Trajectory, others: Others = (), seat: int = 0, iteration: int = 1
    ) -> Mapping[str, Number]:
        settings = self.settings
        if settings.opponent_model:
            self._fit(trajectory)
        if settings.fresh_optimizer:
            self._start_optimizers()
        reference = Other.of(self.agent)
        numbers: dict[str, Number] = {}
        for outer in range(settings.outer_steps):
            numbers = self._outer_step(seat, outer, reference)
        return numbers

    def _outer_step(self, seat: int, outer: int, reference: Other) -> dict[str, Number]:
        settings = self.settings
        ahead, numbers = self._look_ahead(seat, outer)
        played = self._play(seat, ahead, f"ahead {outer}")
        own = self._acting(played, seat)
        values = self._values(played, seat)
        log_probs = own.taken_log_probs
        for other, one in ahead.items():
            log_probs = log_probs + one.acting(played, other).taken_log_probs
        rewards, terminated = played.seat(seat).rewards, played.terminated
        objective = dice_objective(rewards, log_probs, values, settings, terminated)
        loss = -objective
        if settings.outer_kl:
            kl = own.kl_of(reference.acting(played, seat).detach()).mean()
            numbers["kl"] = kl.detach()
            loss = loss + settings.outer_kl * kl
        gradients = torch.autograd.grad(loss, self._actor)
        self._actor_optimizer_step(gradients)
        numbers["loss/agent"] = loss.detach()
        numbers["grad_norm"] = global_norm(gradients)
        if values is not None:
            error = value_loss(rewards, values, settings.gamma, terminated)
            apply(self.critic_optimizer, self._critic, torch.autograd.grad(error, self._critic))
            numbers["loss/critic"] = error.detach()
        return numbers

    def _look_ahead(self, seat: int, outer: int) -> tuple[dict[int, Other], dict[str, Number]]:
        """The others after k steps of theirs, as functions of one's own parameters."""
        settings = self.settings
        ahead, numbers = dict(self._others), dict[str, Number]()
        for inner in range(settings.inner_steps):
            played = self._play(seat, ahead, f"lookahead {outer} {inner}")
            acting = {other: one.acting(played, other) for other, one in ahead.items()}
            own = self._acting(played, seat).taken_log_probs
            log_probs = own + sum(one.taken_log_probs for one in acting.values())
            stepped = {}
            for other, one in ahead.items():
                rewards, terminated = played.seat(other).rewards, played.terminated
                values, critic = None, one.critic
                if settings.has_critic:
                    critic = {name: w.detach().requires_grad_() for name, w in critic.items()}
                    values = one.evaluated(played, other, critic).values
                loss = -dice_objective(rewards, log_probs, values, settings, terminated)
                if settings.inner_kl:
                    first = self._others[other].acting(played, other).detach()
                    loss = loss + settings.inner_kl * acting[other].kl_of(first).mean()
                numbers["inner_loss"] = loss.detach()
                gradients = torch.autograd.grad(
                    loss, list(one.parameters.values()), create_graph=True
                )
                parameters = _stepped(one.parameters, gradients, settings.inner_lr)
                if values is not None:
                    error = value_loss(rewards, values, settings.gamma, terminated)
                    gradients = torch.autograd.grad(error, list(critic.values()))
                    critic = _stepped(one.critic, gradients, settings.inner_critic_lr)
                stepped[other] = Other(one.agent, parameters, critic)
            ahead = stepped
        return ahead, numbers

    def _play(self, seat: int, others: Mapping[int, Other], purpose: str) -> Trajectory:
        seats: list[Policy] = [self.agent] * (len(others) + 1)
        for other, one in others.items():
            seats[other] = one.policy()
        played = self._play_fresh(seats, f"{purpose} of player {seat}")
        if played.truncated is not None:  # nothing here says what the rest is worth
            raise ValueError(
                "LOLA needs episodes that terminate or fill the batch, got truncated ones"
            )
        return played

    def _acting(self, played: Trajectory, seat: int) -> SeatOutputs:
        own = played.seat(seat)
        return self.agent.acting(own.obs, own.actions, own.ends)

    def _values(self, played: Trajectory, seat: int) -> Tensor | None:
        """`[T+1, B]`, differentiable in the critic alone."""
        if not self.settings.has_critic:
            return None
        own = played.seat(seat)
        with torch.no_grad():
            table = self.agent.acting(own.obs, own.actions, own.ends).log_prob_table
        return self.agent.evaluate(own.obs, own.actions, table, own.ends).values

    # --- steps

    def _start_optimizers(self) -> None:
        kind = torch.optim.Adam if self.settings.optimizer == "adam" else torch.optim.SGD
        self.actor_optimizer: torch.optim.Optimizer = kind(self._actor, self.settings.actor_lr)
        self.critic_optimizer = torch.optim.Adam(self._critic, self.settings.critic_lr)

    def _actor_optimizer_step(self, gradients: Sequence[Tensor]) -> None:
        apply(self.actor_optimizer, self._actor, gradients)

    def set_rates(self, **rates: Any) -> None:
        self.settings = replace(self.settings, **rates)
        set_rates(self.actor_optimizer, [self.settings.actor_lr])
        set_rates(self.critic_optimizer, [self.settings.critic_lr])

    def state_dict(self) -> dict[str, Any]:
        return {
            "agent": self.agent.state_dict(),
            "actor_optimizer": self.actor_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "models": {
                str(seat): {
                    "agent": self._models[seat].state_dict(),
                    "optimizer": fitting.state_dict(),
                }
                for seat, fitting in self._fitting.items()
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        self.actor_optimizer.load_state_dict(state["actor_optimizer"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])
        for seat, saved in state["models"].items():
            model = self._models.setdefault(int(seat), copy.deepcopy(self.agent))
            model.load_state_dict(saved["agent"])
            fitting = torch.optim.Adam(model.actor.parameters(), self.settings.model_lr)
            fitting.load_state_dict(saved["optimizer"])
            self._fitting[int(seat)] = fitting


def _stepped(parameters: Parameters, gradients: Sequence[Tensor], rate: float) -> Parameters:
    pairs = zip(parameters.items(), gradients, strict=True)
    return {name: before - rate * gradient for (name, before), gradient in pairs}


def _agent_of(policy: Policy | str) -> Agent:
    """A copy of the agent in a seat.

    Raises:
        ValueError: what sits there has no parameters to look ahead in.
    """
    if isinstance(policy, Agent):
        return copy.deepcopy(policy)
    if isinstance(policy, AgentSets) and policy.index is None and not policy.stacked:
        agent = copy.deepcopy(policy.agent)
        with torch.no_grad():  # buffers, which no set has, are the agent's
            for name, parameter in agent.named_parameters():
                parameter.copy_(policy.parameters[name])
        return agent
    who = repr(policy) if isinstance(policy, str) else type(policy).__name__
    raise ValueError(
        "an algorithm that looks ahead needs the other player's parameters: an agent as it is now "
        "(meets self, learners, or fixed with a checkpoint) or, without parameters, --opponent-model; "
        f"got {who}"
    )


# Of the run: no exploration, nothing annealed, and each seat an agent of its own.
ALONE: dict[str, Any] = {
    "meets": "learners",
    "gamma": 0.96,
    "exploration": 0.0,
    "iterations": 200,
    "anneal": 0,
    "anneal_after": 0,
    "self_play_target": None,
    "early_opponents": 0.0,
    "actor_table": False,
}
# A Gaussian has no other noise than exploration.
NOISE: dict[str, Any] = {"continuous-ipd": {"exploration": 0.4}, "cournot": {"exploration": 0.2}}
register("lola", LOLA, LOLASettings, "LOLA-DiCE", {"": {**ALONE, "actor_lr": 0.02}, **NOISE})
