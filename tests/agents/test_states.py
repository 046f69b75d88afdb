"""States of players who remember one step, of two players and of more."""

from __future__ import annotations

import pytest
import torch

import loqa
from loqa.agents.actor_critic import build_agent
from loqa.agents.states import PRISONERS, States
from loqa.envs.native_game import tables_of


@pytest.mark.parametrize(("players", "levels"), [(2, 2), (3, 2), (5, 2), (3, 4)])
def test_they_are_what_public_goods_shows(players: int, levels: int) -> None:
    """Index and bits are the observations "index" and "count"."""
    rules = {"num_players": players, "num_levels": levels}
    states = States(levels, (players - 1) * (levels - 1) + 1)
    seen = [loqa.make("public-goods", 200, obs=obs, **rules) for obs in ("index", "count")]
    assert states.count == seen[0].num_states
    assert states.num_bits == seen[1].obs_shape[0]
    draw = torch.Generator().manual_seed(0)
    actions = torch.randint(0, levels, (200, players), generator=draw)
    for index, bits in (
        (seen[0].reset(), seen[1].reset()),
        (seen[0].step(actions)[0], seen[1].step(actions)[0]),
    ):
        assert torch.equal(states.to_bits(index), bits)
        assert torch.equal(states.from_bits(bits), index)
        assert torch.equal(states.index(index), states.index(bits))


def test_prisoners_dilemma_by_hand() -> None:
    assert PRISONERS.count == 5
    assert PRISONERS.to_bits(torch.tensor(3)).tolist() == [0, 1, 1, 0]  # DC


@pytest.mark.parametrize("actor", ["logits", "mlp", "table"])
def test_heads_read_index_and_bits_alike(actor: str) -> None:
    """Three players: 2 own actions, 0 to 2 others who gave."""
    states = States(2, 3)
    agent = build_agent(
        "mlp" if actor == "table" else actor, "mlp", states.num_bits, 2,
        actor_table=actor == "table", observes="states", generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in agent.actor.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    index = torch.randint(0, 7, (4, 9), generator=torch.Generator().manual_seed(3))
    assert agent.states == states
    torch.testing.assert_close(agent.log_probs(index), agent.log_probs(states.to_bits(index)))
    actions = torch.zeros(3, 9, dtype=torch.int64)
    by_state, whole = (agent.evaluate(obs, actions) for obs in (index, states.to_bits(index)))
    torch.testing.assert_close(by_state.taken_log_probs, whole.taken_log_probs)
    torch.testing.assert_close(by_state.values, whole.values)
    table = agent.memory1()
    assert table is not None
    torch.testing.assert_close(table[index], agent.log_probs(index).exp())


def test_native_rollout_of_agents_of_each_seat() -> None:
    """Three players, three agents: each seat plays its own table."""
    env = loqa.make("n-ipd", 4000, num_players=3, obs="index", episode_length=3)
    agents = [build_agent("logits", "mlp", 5, 2, observes="states") for _ in range(3)]
    for agent, first in zip(agents, (0.9, 0.5, 0.1), strict=True):
        with torch.no_grad():
            agent.actor.logits.copy_(torch.tensor([first, 1 - first]).log().expand(7, 2))
    played = env.rollout_policies(agents, lambda: torch.empty(0), 0)
    came = (played.actions == 0).float().mean((0, 1))
    torch.testing.assert_close(came, torch.tensor([0.9, 0.5, 0.1]), atol=0.02, rtol=0)
    assert played.obs.shape == (4, 4000, 3)
    assert not played.obs[0].any()
    assert env.rollout_policies([*agents[:2], "always-defect"], lambda: torch.empty(0), 0) is None


def test_tables_of_sets_are_for_their_own_episodes() -> None:
    class Sets:
        def memory1(self) -> torch.Tensor:
            return torch.stack([torch.full((7, 2), 0.25), torch.full((7, 2), 0.5)])

    class One:
        def memory1(self) -> torch.Tensor:
            return torch.tensor([[float("nan"), 1 + 1e-7]]).expand(7, 2)

    found = tables_of([One(), Sets(), Sets()], 4)
    assert found is not None
    assert found.shape == (4, 3, 7, 2)
    assert found[:, 1, 0, 0].tolist() == [0.25, 0.25, 0.5, 0.5]
    assert found[0, 0, 0].tolist() == [0.5, 1.0]  # NaN is told elsewhere; rounding is no error
    assert tables_of([One(), object()], 4) is None
