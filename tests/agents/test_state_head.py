"""Networks of the prisoner's-dilemma states, with and without a table of logits beside them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.networks import GRUHead, MLPHead, StateHead
from loqa.agents.sets import AgentSets
from loqa.agents.states import PRISONERS

KINDS = ["mlp", "gru"]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _agent(kind: str, one_hot: bool = False, table: bool = True, stirred: bool = True) -> Agent:
    agent = build_agent(
        kind, "mlp", 4, 2, actor_hidden=6, generator=_generator(),
        actor_one_hot=one_hot, actor_table=table,
    ).double()  # fmt: skip
    if stirred:  # zero tables and biases would hide mistakes
        with torch.no_grad():
            for parameter in agent.parameters():
                parameter += 0.5 * torch.randn(
                    parameter.shape, generator=_generator(1), dtype=torch.float64
                )
    return agent


def _states() -> Tensor:
    index = torch.randint(1, 5, (8, 6), generator=_generator(2))
    index[0] = 0
    return index


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_the_networks_and_the_states_line_of_the_table(
    kind: str, one_hot: bool, table: bool
) -> None:
    agent, index = _agent(kind, one_hot, table), _states()
    x = (
        torch.eye(5, dtype=torch.float64)[index]
        if one_hot
        else PRISONERS.to_bits(index, torch.float64)
    )
    head = agent.actor
    if not one_hot and not table:
        assert isinstance(head, MLPHead | GRUHead)
        return
    assert isinstance(head, StateHead)
    assert (head.table is not None) == table
    expected = head.network(x)
    if head.table is not None:
        expected = expected + head.table[index]
    torch.testing.assert_close(head(index), expected)
    torch.testing.assert_close(head(PRISONERS.to_bits(index, torch.float64)), expected)
    torch.testing.assert_close(agent.log_probs(index), expected.log_softmax(-1))


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_sum(kind: str, table: bool) -> None:
    head, index = _agent(kind, True, table).actor, _states()
    assert isinstance(head, StateHead)
    weights = torch.randn(8, 6, 2, generator=_generator(3), dtype=torch.float64)
    found = torch.autograd.grad((head(index) * weights).sum(), list(head.parameters()))
    plain = head.network(torch.eye(5, dtype=torch.float64)[index])
    if head.table is not None:
        plain = plain + head.table[index]
    expected = torch.autograd.grad((plain * weights).sum(), list(head.parameters()))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_stepping_equals_the_whole_sequence(kind: str) -> None:
    agent, index = _agent(kind, one_hot=True), _states()
    for obs in (index, PRISONERS.to_bits(index, torch.float64)):
        whole = agent.log_probs(obs)
        state = prepared = agent.initial_state(6)
        stepper = agent.stepper()
        with torch.no_grad():
            for t in range(8):
                log_probs, state = agent.step(obs[t], state)
                torch.testing.assert_close(log_probs, whole[t])
                said, prepared = stepper(obs[t], prepared)
                assert torch.equal(said, log_probs)
                assert torch.equal(prepared, state)


@pytest.mark.parametrize("actor", ["logits", *KINDS])
def test_a_stepper_of_any_actor_says_what_its_steps_say(actor: str) -> None:
    agent = build_agent(actor, "mlp", 4, 2, actor_hidden=6, generator=_generator())
    index, stepper = _states(), agent.stepper()
    state = prepared = agent.initial_state(6)
    with torch.no_grad():
        for obs in index:
            log_probs, state = agent.step(obs, state)
            said, prepared = stepper(obs, prepared)
            assert torch.equal(said, log_probs)
            assert torch.equal(prepared, state)


@pytest.mark.parametrize("kind", KINDS)
def test_all_actions_are_equally_likely_at_first_and_every_part_learns(kind: str) -> None:
    agent, index = _agent(kind, stirred=False), _states()
    assert torch.equal(agent.log_probs(index).exp(), torch.full((8, 6, 2), 0.5).double())
    head = agent.actor
    assert isinstance(head, StateHead)
    first = agent.log_probs(index)[..., 0].sum()
    table, last = torch.autograd.grad(first, [head.table, head.network.linear_end.weight])  # type: ignore[list-item]
    assert table.abs().min() > 0
    assert last.abs().max() > 0


def test_without_a_table_the_last_layer_is_as_drawn() -> None:
    head = _agent("mlp", one_hot=True, table=False, stirred=False).actor
    assert isinstance(head, StateHead)
    assert head.network.linear_end.weight.abs().min() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_stacked_sets_play_as_each_alone(kind: str) -> None:
    agents = [_agent(kind), _agent(kind, stirred=False)]
    index = _states()
    stacked = {
        name: torch.stack([dict(agent.named_parameters())[name].detach() for agent in agents])
        for name, _ in agents[0].named_parameters()
    }
    sets, found = AgentSets(agents[0], stacked), []
    state = sets.initial_state(index.shape[1])
    for obs in index:
        log_probs, state = sets.step(obs, state)
        found.append(log_probs)
    expected = [agent.log_probs(index[:, 3 * n : 3 * n + 3]) for n, agent in enumerate(agents)]
    torch.testing.assert_close(torch.stack(found), torch.cat(expected, 1))


def test_what_is_not_of_states_is_refused() -> None:
    with pytest.raises(ValueError, match="network must have 4 or 5 inputs, got 6"):
        StateHead(MLPHead(6, 2), table=True)
    for switch in ("actor_one_hot", "actor_table"):
        choice: dict[str, Any] = {switch: True}
        with pytest.raises(
            ValueError,
            match="an actor of states needs observes 'states', or num_features 8, got 36",
        ):
            build_agent("gru", "mlp", 36, 4, **choice)
