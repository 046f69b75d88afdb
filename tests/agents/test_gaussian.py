"""Agents of a box: hats, the ridge critic, Gaussian log-densities, what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from loqa.agents.gaussian import GaussianAgent, build_gaussian_agent
from loqa.agents.hats import HatsHead, RidgeHead, hats
from loqa.runtime.distributed import ProcessGroup

UNIT = (0.0, 1.0)
numbers = st.floats(0, 1, width=32)


def build(actor: str = "hats", critic: str = "ridge", **fields: Any) -> GaussianAgent:
    plain: dict[str, Any] = {
        "sigma": 0.25, "episode_length": 4, "observes": "actions", "actor_hidden": 4,
        "critic_hidden": 4, "generator": torch.Generator().manual_seed(0),
    }  # fmt: skip
    return build_gaussian_agent(actor, critic, 3, 1, UNIT, **{**plain, **fields})


def seen(steps: int, batch: int, players: int = 2, seed: int = 0) -> Tensor:
    """Observations `[T+1, B, 1 + n]` of episodes; the first are of the start."""
    draw = torch.Generator().manual_seed(seed)
    obs = torch.rand(steps + 1, batch, 1 + players, generator=draw)
    obs[..., 0] = 1
    obs[0] = 0
    return obs


def test_hats_by_hand() -> None:
    """own .25 lies half way between the knots 0 and .5; the others' mean, 1, is a knot."""
    found = hats(torch.tensor([[0.0, 0, 0, 0], [1, 0.25, 1, 1]]), UNIT)
    assert found.tolist() == [[1, *[0] * 9], [0, 0, 0, 0.5, 0, 0, 0.5, 0, 0, 0]]


@given(numbers, numbers, st.floats(-10, 10), st.floats(0.5, 10))
def test_hats_sum_to_one_on_any_box(own: float, other: float, low: float, width: float) -> None:
    obs = torch.tensor([1.0, low + width * own, low + width * other], dtype=torch.float64)
    found = hats(obs, (low, low + width))
    assert found.shape == (10,)
    assert bool((found >= 0).all())
    assert float(found.sum()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("players", [2, 5])
def test_a_sum_of_hats_is_bilinear_between_knots(players: int) -> None:
    """Against interpolation of the nine values by hand."""
    head = HatsHead(1 + players, 1, UNIT)
    torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(1))
    obs = seen(3, 5, players)
    table = head.weight.detach()[1:, 0].reshape(3, 3).numpy()
    found = head(obs).squeeze(-1).detach()
    for t in range(1, 4):
        for b in range(5):
            own, others = float(obs[t, b, 1]), float(obs[t, b, 2:].mean())
            at = [np.interp(others, [0, 0.5, 1], row) for row in table]
            assert float(found[t, b]) == pytest.approx(np.interp(own, [0, 0.5, 1], at), abs=1e-5)
    assert found[0].tolist() == [head.weight[0, 0].item()] * 5


def test_ridge_is_the_regression() -> None:
    """Two batches, against least squares by rows in NumPy."""
    head, decay, weights = RidgeHead(3, 3, 0.5, None), 0.5, (1.0, 0.5)
    rows, targets = [], []
    for number, weight in enumerate(weights[::-1]):
        draw = torch.Generator().manual_seed(number)
        x = torch.randn(4, 50, 3, generator=draw)
        x[..., 2] = torch.arange(4.0)[:, None]
        returns = torch.randn(3, 50, generator=draw) + 2 * x[:3, :, 0] - x[:3, :, 1] + 7
        head.fit(x, returns, ProcessGroup())
        plain, wanted = x[:3, :, :2].double(), returns.double()
        centred = plain - plain.mean(1, keepdim=True)
        scale = math.sqrt(weight / 50)
        rows.append(scale * centred.reshape(-1, 2).numpy())
        targets.append(scale * (wanted - wanted.mean(1, keepdim=True)).reshape(-1).numpy())
    assert decay == weights[1]
    normal, right = np.concatenate(rows), np.concatenate(targets)
    beta = np.linalg.solve(normal.T @ normal + 1e-3 * np.eye(2), normal.T @ right)
    np.testing.assert_allclose(head.weight.detach().numpy(), beta, rtol=1e-4)
    said = head(x).squeeze(-1)
    torch.testing.assert_close(said[:3].mean(1), returns.mean(1))  # of the newest batch
    assert float(said[3].mean().detach()) == pytest.approx(0, abs=1e-4)


def test_log_density_values_and_divergence_by_hand() -> None:
    """m = .5, sigma .25: a = 1 is two deviations off, as is a = 0; what was drawn is not clipped."""
    agent = build()
    obs, actions = seen(2, 1), torch.tensor([[[1.0]], [[1.5]]])
    said = agent.evaluate(obs, actions)
    assert said.taken_log_probs.tolist() == [[-2.0], [-8.0]]
    assert said.values.shape == (3, 1)
    assert said.next_values.shape == said.taken_q_values.shape == (2, 1)
    assert said.other_q_logsumexp(1.0) is None
    each = 0.5 * math.log(2 * math.pi * math.e * 0.25**2)
    assert said.entropies.tolist() == [[pytest.approx(each)]] * 2
    with torch.no_grad():
        agent.actor.weight += 1
    other = agent.evaluate(obs, actions)
    moved = (other.means - said.means).square().sum(-1) / (2 * 0.25**2)
    torch.testing.assert_close(other.kl_of(said), moved)
    assert bool((moved > 0).all())


@pytest.mark.parametrize("actor", ["hats", "mlp", "gru"])
def test_steps_are_sequences(actor: str) -> None:
    agent, obs = build(actor), seen(4, 3)
    state = agent.initial_state(3)
    answers = []
    for one in obs:
        answer, state = agent.step(one, state)
        answers.append(answer)
    said = agent.evaluate(obs, torch.zeros(4, 3, 1))
    torch.testing.assert_close(torch.stack(answers[:-1]), said.means)
    acting = agent.acting(obs, torch.zeros(4, 3, 1))
    torch.testing.assert_close(acting.taken_log_probs, said.taken_log_probs)
    assert bool(((said.means >= 0.02) & (said.means <= 0.98)).all())


def test_other_boxes() -> None:
    agent = build_gaussian_agent(
        "mlp", "mlp", 3, 2, (-3.0, 1.0), sigma=1.0, episode_length=4, actor_hidden=4
    )
    assert agent.answer(torch.tensor([-100.0, 0, 100])).tolist() == pytest.approx([-2.92, -1, 0.92])
    said = agent.evaluate(seen(2, 3), torch.zeros(2, 3, 2))
    torch.testing.assert_close(said.taken_log_probs, -said.means.square().sum(-1) / 2)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_sigma_must_be_above_0(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma must be a number > 0"):
        build(sigma=sigma)


def test_what_is_refused() -> None:
    agent, obs = build(), seen(2, 3)
    with pytest.raises(ValueError, match=r"actions must be floats \[2, 3, 1\], got \[2, 3\]"):
        agent.evaluate(obs, torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"actions must be floats .* got \[2, 3, 1\] torch.int64"):
        agent.evaluate(obs, torch.zeros(2, 3, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="box must be two numbers, the lower first"):
        GaussianAgent(agent.actor, agent.critic, (1.0, 1.0), 0.1)
    with pytest.raises(ValueError, match="actor hats needs observes 'actions'"):
        build(observes="features")
    with pytest.raises(TypeError, match="no table of log-probabilities"):
        agent.log_probs(obs)
    with pytest.raises(ValueError, match="with 3 features each"):
        agent.step(torch.zeros(3, 4), agent.initial_state(3))
