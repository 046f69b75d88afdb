"""Learning rates of the parts of an agent."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.networks import StateHead
from loqa.algos.learner import Learner
from loqa.algos.loqa import LOQASettings
from loqa.algos.trajectory import Trajectory


def _trajectory(seed: int = 0) -> Trajectory:
    generator = torch.Generator().manual_seed(seed)
    obs = torch.randint(1, 5, (6, 16, 2), generator=generator)
    actions = torch.randint(0, 2, (5, 16, 2), generator=generator)
    return Trajectory(obs, actions, torch.randn(5, 16, 2, generator=generator))


def _learner(kind: str = "mlp", **fields: Any) -> Learner:
    generator = torch.Generator().manual_seed(1)
    agent = build_agent(kind, "mlp", 4, 2, actor_hidden=6, generator=generator, actor_table=True)
    with torch.no_grad():  # else the layers before get no gradient
        agent.actor.network.linear_end.weight += 0.3  # type: ignore[union-attr]
    return Learner(agent, LOQASettings(actor_lr=2e-2, critic_lr=5e-2, **fields))


def _largest_step(learner: Learner, update: int = 0) -> tuple[float, float, float]:
    """Of the table, of the network and of the critic in one update: Adam's first is its rate."""

    def parts(agent: Agent) -> list[list[Tensor]]:
        head = agent.actor
        assert isinstance(head, StateHead)
        assert head.table is not None
        return [[head.table], list(head.network.parameters()), list(agent.critic.parameters())]

    before = parts(copy.deepcopy(learner.agent))
    learner.update(_trajectory(update))
    table, network, critic = (
        max(float((x - y).detach().abs().max()) for x, y in zip(old, new, strict=True))
        for old, new in zip(before, parts(learner.agent), strict=True)
    )
    return table, network, critic


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_the_table_and_the_network_have_a_rate_each(kind: str) -> None:
    assert _largest_step(_learner(kind)) == pytest.approx((2e-2, 1e-3, 5e-2), rel=1e-3)


def test_rates_are_changed_one_by_one() -> None:
    learner = _learner()
    learner.set_rates(network_lr=4e-3)
    learner.set_rates(entropy_bonus=0.0, shaping_weight=1.0, actor_lr=3e-2, critic_lr=6e-2)
    assert _largest_step(learner) == pytest.approx((3e-2, 4e-3, 6e-2), rel=1e-3)
    learner.set_rates(network_lr=0.0)
    table, network, _ = _largest_step(learner, 1)
    assert table > 0
    assert network == 0


def test_one_rate_moves_all_where_there_is_no_table() -> None:
    agent = build_agent("mlp", "mlp", 4, 2, generator=torch.Generator().manual_seed(1))
    learner = Learner(agent, LOQASettings(actor_lr=2e-2))
    learner.set_rates(network_lr=0.0)
    before = agent.actor.linear1.weight.detach().clone()  # type: ignore[union-attr]
    learner.update(_trajectory())
    moved = (agent.actor.linear1.weight - before).detach().abs().max()  # type: ignore[union-attr,operator]
    assert moved.item() == pytest.approx(2e-2, rel=1e-3)


def test_a_restored_learner_goes_on_bit_for_bit_with_its_rates() -> None:
    first, second = _learner("gru"), _learner("gru")
    first.update(_trajectory())
    first.set_rates(network_lr=5e-4)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for update in (1, 2):
        first.update(_trajectory(update))
        second.update(_trajectory(update))
    for mine, other in zip(first.agent.parameters(), second.agent.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("fields", [{"advantage_gradient": True}, {"clip_norm": 0.5}])
def test_every_parameter_learns_by_other_settings_too(fields: dict[str, Any]) -> None:
    assert min(_largest_step(_learner("gru", **fields))) > 0
