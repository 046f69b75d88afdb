"""Heads and agents: shapes, the published GRU, stepping, initialisation, the indexed layout."""

from __future__ import annotations

import math

import pytest
import torch

from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.networks import (
    GRUHead,
    LogitsHead,
    MLPHead,
    lecun_normal_,
)
from loqa.agents.states import PRISONERS


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _agent(actor: str = "logits", critic: str = "mlp", seed: int = 0, **sizes: int) -> Agent:
    agent = build_agent(actor, critic, 4, 2, generator=_generator(seed), **sizes).double()
    with torch.no_grad():  # zero logits and biases would hide mistakes
        for parameter in agent.parameters():
            parameter += 0.3 * torch.randn(
                parameter.shape, generator=_generator(seed + 1), dtype=torch.float64
            )
    return agent


def _ipd_batch(steps: int, batch: int, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    obs = torch.randint(1, 5, (steps + 1, batch), generator=_generator(seed))
    obs[0] = 0
    return obs, torch.randint(0, 2, (steps, batch), generator=_generator(seed + 1))


def test_bits_and_index_are_inverse() -> None:
    bits = torch.tensor(
        [[0, 0, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]], dtype=torch.float32
    )
    assert PRISONERS.from_bits(bits).tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(PRISONERS.to_bits(torch.arange(5)), bits)
    with pytest.raises(ValueError, match=r"bits must be \[\.\.\., 4\], got \[2, 3\]"):
        PRISONERS.from_bits(torch.zeros(2, 3))


def test_logits_head_reads_the_row_of_the_state() -> None:
    head = LogitsHead()
    assert torch.equal(head.logits, torch.zeros(5, 2))
    with torch.no_grad():
        head.logits.copy_(torch.arange(10.0).reshape(5, 2))
    index = torch.tensor([[0, 4], [3, 1]])
    expected = torch.tensor([[[0.0, 1], [8, 9]], [[6, 7], [2, 3]]])
    assert torch.equal(head(index), expected)
    assert torch.equal(head(index.to(torch.int32)), expected)
    assert torch.equal(head(PRISONERS.to_bits(index)), expected)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_gru_head_is_torch_gru_with_two_zero_biases(layers: int) -> None:
    head = GRUHead(4, 3, 8, layers, _generator()).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    x = torch.randn(7, 5, 4, dtype=torch.float64)
    gru = torch.nn.GRU(8 if layers else 4, 8, dtype=torch.float64)
    gru.load_state_dict(
        {
            "weight_ih_l0": head.weight_ih,
            "weight_hh_l0": head.weight_hh,
            "bias_ih_l0": head.bias_ih,
            "bias_hh_l0": torch.cat([torch.zeros(16, dtype=torch.float64), head.bias_hn]),
        }
    )
    hidden = x
    if head.linear1 is not None:
        hidden = torch.relu(head.linear1(hidden))
    if head.linear2 is not None:
        hidden = head.linear2(hidden)
    torch.testing.assert_close(head(x), head.linear_end(gru(hidden)[0]))
    # ir, iz, in, hn have biases; hr and hz have none.
    gru_size = 3 * 8 * (8 if layers else 4) + 3 * 8 * 8 + 4 * 8
    linear_size = (4 * 8 + 8) * (layers >= 1) + (8 * 8 + 8) * (layers >= 2) + 8 * 3 + 3
    assert sum(p.numel() for p in head.parameters()) == gru_size + linear_size


@pytest.mark.parametrize("actor", ["logits", "mlp", "gru"])
def test_stepping_equals_the_whole_sequence(actor: str) -> None:
    agent = build_agent(actor, "mlp", 4, 2, actor_hidden=16, generator=_generator())
    index, _ = _ipd_batch(20, 6)
    for obs in (index, PRISONERS.to_bits(index)):
        whole = agent.log_probs(obs)
        state = agent.initial_state(6)
        for t in range(21):
            log_probs, state = agent.step(obs[t], state)
            torch.testing.assert_close(log_probs, whole[t], rtol=1e-6, atol=1e-6)


def test_planes_are_flattened_in_c_order_and_time_comes_last() -> None:
    agent = build_agent("mlp", "mlp", 36, 4, generator=_generator())
    planes = torch.randint(0, 2, (6, 3, 4, 3, 3), generator=_generator(), dtype=torch.uint8)
    flat = planes.reshape(6, 3, 36).float()
    torch.testing.assert_close(agent.log_probs(planes), agent.actor(flat).log_softmax(-1))
    time = torch.arange(6.0)[:, None, None].expand(6, 3, 1)
    expected = agent.critic(torch.cat([flat, time], -1))
    torch.testing.assert_close(agent.q_values(planes), expected)
    log_probs, _ = agent.step(planes[2], agent.initial_state(3))
    torch.testing.assert_close(log_probs, agent.log_probs(planes)[2])


def test_initialisation_follows_the_published_distributions() -> None:
    weight = lecun_normal_(torch.empty(400, 100), _generator())
    assert math.isclose(weight.std().item(), 0.1, rel_tol=0.01)
    assert weight.abs().max() <= 2 * 0.1 / 0.8796 + 1e-6
    head = GRUHead(4, 2, 32, 2, _generator())
    for gate in head.weight_hh.chunk(3):
        torch.testing.assert_close(gate @ gate.T, torch.eye(32), atol=1e-5, rtol=0)
    for name, parameter in head.named_parameters():
        if "bias" in name:
            assert torch.equal(parameter, torch.zeros_like(parameter)), name


def test_initialisation_depends_on_the_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = build_agent("gru", "gru", 4, 2, generator=_generator(5)).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    again = build_agent("gru", "gru", 4, 2, generator=_generator(5)).state_dict()
    other = build_agent("gru", "gru", 4, 2, generator=_generator(6)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["critic.weight_hh"], other["critic.weight_hh"])


def test_actor_and_critic_share_nothing() -> None:
    agent = build_agent("gru", "gru", 4, 2, generator=_generator())
    actor = {id(p) for p in agent.actor.parameters()}
    assert not actor & {id(p) for p in agent.critic.parameters()}


@pytest.mark.parametrize("actor", ["logits", "mlp"])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (1, 7), (13, 1), (13, 7)])
def test_indexed_layout_equals_the_full_one(actor: str, steps: int, batch: int) -> None:
    agent = _agent(actor)
    obs, actions = _ipd_batch(steps, batch)
    indexed = agent.evaluate(obs, actions)
    full = agent.evaluate(PRISONERS.to_bits(obs, torch.float64), actions)
    assert indexed.rows is not None
    assert full.rows is None
    parameters = list(agent.parameters())
    cotangents = torch.randn(steps + 1, batch, dtype=torch.float64, generator=_generator())
    for name in ("values", "entropies", "taken_log_probs", "taken_q_values", "max_q_values"):
        a, b = getattr(indexed, name), getattr(full, name)
        torch.testing.assert_close(a, b, msg=name)
        weights = cotangents[: a.shape[0]]
        for x, y in zip(
            torch.autograd.grad((a * weights).sum(), parameters, materialize_grads=True,
                                allow_unused=True, retain_graph=True),
            torch.autograd.grad((b * weights).sum(), parameters, materialize_grads=True,
                                allow_unused=True, retain_graph=True),
            strict=True,
        ):  # fmt: skip
            torch.testing.assert_close(x, y, msg=name)
    torch.testing.assert_close(indexed.other_q_logsumexp(1.7), full.other_q_logsumexp(1.7))
    other_obs, other_actions = _ipd_batch(steps, batch, seed=9)
    seat = indexed.of_seat(other_obs, other_actions)
    torch.testing.assert_close(seat.values, agent.evaluate(other_obs, other_actions).values)
    with pytest.raises(ValueError, match="indexed layout"):
        full.of_seat(other_obs, other_actions)


def test_recurrent_heads_take_the_index_too() -> None:
    agent = _agent("gru", "gru", actor_hidden=8, critic_hidden=8)
    obs, actions = _ipd_batch(9, 4)
    a, b = (agent.evaluate(o, actions) for o in (obs, PRISONERS.to_bits(obs, torch.float64)))
    torch.testing.assert_close(a.values, b.values)
    torch.testing.assert_close(a.taken_log_probs, b.taken_log_probs)


def test_other_q_logsumexp_leaves_the_taken_action_out() -> None:
    agent = build_agent("mlp", "mlp", 5, 4, generator=_generator()).double()
    obs = torch.randn(4, 3, 5, dtype=torch.float64)
    actions = torch.randint(0, 4, (3, 3))
    got = agent.evaluate(obs, actions).other_q_logsumexp(2.0)
    q_values = agent.q_values(obs)
    for t in range(3):
        for b in range(3):
            others = [q_values[t, b, k] / 2 for k in range(4) if k != actions[t, b]]
            torch.testing.assert_close(got[t, b], torch.stack(others).logsumexp(0))


def test_wrong_settings_and_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"actor must be .*got 'lstm'"):
        build_agent("lstm", "mlp", 4, 2)
    with pytest.raises(ValueError, match="critic must be 'mlp', 'gru' or 'cnn', got 'logits'"):
        build_agent("mlp", "logits", 4, 2)
    with pytest.raises(ValueError, match="or num_features 8, got 36"):
        build_agent("logits", "mlp", 36, 4)
    with pytest.raises(ValueError, match="layers_before_gru must be 0, 1 or 2, got 3"):
        GRUHead(4, 2, 8, 3)
    agent = build_agent("logits", "mlp", 4, 2)
    obs, actions = _ipd_batch(5, 2)
    with pytest.raises(ValueError, match=r"actions must be \[T, B\].*got \[4, 2\] and \[6, 2\]"):
        agent.evaluate(obs, actions[1:])


def test_mlp_head_by_hand() -> None:
    head = MLPHead(1, 1, 1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.fill_(2.0)
    # x = 1: relu(2*1+2) = 4, relu(2*4+2) = 10, 2*10+2 = 22; x = -3: relu(-4) = 0, 2, 6.
    assert head(torch.tensor([[1.0], [-3.0]])).tolist() == [[22.0], [6.0]]
