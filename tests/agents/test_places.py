"""Observations of cells: networks read them as they read planes, and on large boards make no planes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.places import Places, as_rows, ones
from loqa.agents.sets import AgentSets
from loqa.training.config import CoinConfig
from loqa.training.trainer import Trainer


def _cells(side: int, *lead: int, seed: int = 0, dtype: torch.dtype = torch.int32) -> Tensor:
    """Two players and a coin, as one of them sees it."""
    generator = torch.Generator().manual_seed(seed)
    board = torch.randint(side**2, (*lead, 3), generator=generator)
    colour = torch.randint(2, lead, generator=generator)
    planes = torch.stack([torch.zeros_like(colour), torch.ones_like(colour), 2 + colour], -1)
    return (board + planes * side**2).to(dtype)


def _planes(cells: Tensor, side: int) -> Tensor:
    return ones(cells, 4 * side**2).reshape(*cells.shape[:-1], 4, side, side)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("more", [0, 2])
def test_a_sum_of_rows_is_the_product(dtype: torch.dtype, more: int) -> None:
    cells = _cells(7, 5, 6, dtype=dtype)
    others = torch.rand(5, 6, more, dtype=torch.float64)
    weight = torch.rand(9, 196 + more, dtype=torch.float64, requires_grad=True)
    bias = torch.rand(9, dtype=torch.float64, requires_grad=True)
    features = torch.cat([ones(cells, 196, torch.float64), others], -1)
    expected = features @ weight.t() + bias
    places = Places.of(cells, 196, torch.float64).with_others(others)
    assert places.shape == features.shape
    found = places.linear(weight, bias)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(places[2].linear(weight, bias), expected[2])
    up = torch.rand_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, (weight, bias), up),
        torch.autograd.grad(expected, (weight, bias), up),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_places_out_of_range() -> None:
    cells = _cells(7, 5, 6)
    for make in (ones, lambda *given: Places.of(*given, torch.float32)):
        with pytest.raises(ValueError, match=r"places must be in 0..99, got \d+ to 1\d\d"):
            make(cells, 100)


KINDS = [("gru", 2), ("gru", 1), ("gru", 0), ("mlp", 2), ("cnn", 2)]


def _agent(kind: str, layers: int, side: int) -> Agent:
    return build_agent(
        kind, kind, 4 * side**2, 4, layers_before_gru=layers,
        generator=torch.Generator().manual_seed(1), obs_shape=(4, side, side),
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "layers"), KINDS)
@pytest.mark.parametrize("side", [3, 7])
def test_networks_read_cells_as_planes(kind: str, layers: int, side: int) -> None:
    """Values and gradients of whole episodes; steps; parameter sets in a seat. On a small board bit
    for bit."""
    agent, cells = _agent(kind, layers, side), _cells(side, 6, 8, dtype=torch.uint8)
    planes, actions = _planes(cells, side), torch.zeros(5, 8, dtype=torch.uint8)
    near: dict[str, Any] = {} if as_rows(4 * side**2) else {"rtol": 0, "atol": 0}
    said = [agent.evaluate(obs, actions) for obs in (cells, planes)]
    torch.testing.assert_close(said[0].log_prob_table, said[1].log_prob_table, **near)
    torch.testing.assert_close(said[0].q_table, said[1].q_table, **near)
    gradients = [
        torch.autograd.grad(
            (one.values.sin() + one.entropies.sum()).sum(), list(agent.parameters())
        )
        for one in said
    ]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, **near)
    sets = AgentSets.of(agent, records=True)
    stacked = {name: torch.stack([value.detach()] * 2) for name, value in agent.named_parameters()}
    for policy in (agent, sets, AgentSets(agent, stacked, records=True)):
        state = policy.initial_state(8)
        for ours, theirs in zip(
            policy.step(cells[0], state), policy.step(planes[0], state), strict=True
        ):
            torch.testing.assert_close(ours, theirs, **near)
    critic = sets.critic_state(8)
    torch.testing.assert_close(
        sets.critic_step(cells[3], critic, 3)[0], sets.critic_step(planes[3], critic, 3)[0], **near
    )


@pytest.mark.parametrize("kind", ["gru", "mlp"])
def test_a_second_derivative_exists_on_a_large_board(kind: str) -> None:
    agent, cells = _agent(kind, 2, 7), _cells(7, 4, 3)
    said = agent.acting(cells, torch.zeros(3, 3, dtype=torch.uint8))
    parameters = list(agent.actor.parameters())
    first = torch.autograd.grad(said.taken_log_probs.sum(), parameters, create_graph=True)
    second = torch.autograd.grad(sum(one.square().sum() for one in first), parameters)
    assert all(one.isfinite().all() for one in second)
    assert second[0].abs().sum() > 0


class _Largest(TorchDispatchMode):
    """Elements of the largest tensor that an operator makes."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            if isinstance(one, Tensor):
                self.elements = max(self.elements, one.numel())
        return made


@pytest.mark.parametrize("meets", ["past", "self"])
@pytest.mark.parametrize("kind", ["gru", "mlp"])
def test_a_large_board_needs_no_planes(kind: str, meets: str) -> None:
    """An iteration on 31 x 31 with its evaluation: no tensor has a tenth of one seat's planes."""
    config = CoinConfig.of_preset(
        "default", height=31, width=31, batch_size=256, episode_length=20, opponents=2, meets=meets,
        actor=kind, critic=kind, actor_hidden=8, critic_hidden=8, evaluate_every=1,
        evaluation_episodes=256, replay_capacity=2,
    )  # fmt: skip
    trainer = Trainer(config)
    with _Largest() as largest:
        trainer.iterate()
        trainer.evaluate(0.0)
    trajectory = trainer._last[0]  # type: ignore[index]
    assert trajectory.obs.shape == (21, 256, 2, 3)
    assert trajectory.obs.dtype == torch.int16
    planes_of_a_seat = 21 * 256 * 4 * 31**2
    assert 0 < largest.elements < planes_of_a_seat / 10
    assert trainer.monitor.evaluation["statistics"]["own_pickups"] is not None


def test_a_small_board_is_kept_as_cells() -> None:
    config = CoinConfig.of_preset("default", batch_size=4, opponents=2)
    trainer = Trainer(config)
    trainer.iterate()
    trajectory = trainer._last[0]  # type: ignore[index]
    assert (trajectory.obs.shape, trajectory.obs.dtype) == ((51, 4, 2, 3), torch.uint8)
