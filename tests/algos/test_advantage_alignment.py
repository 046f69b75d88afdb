"""Advantage Alignment: recorded numbers of published codes, its relation to LOQA, and runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import loqa
from loqa import ops
from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.ends import Ends
from loqa.agents.outputs import SeatOutputs
from loqa.algos.advantage_alignment import (
    AdvantageAlignmentSettings,
    AlignedPPO,
    AlignedPPOSettings,
    alignment_losses,
    alignment_terms,
    past_sums,
)
from loqa.algos.base import Context
from loqa.algos.learner import Learner
from loqa.algos.loqa import LOQASettings, actor_losses
from loqa.algos.ppo import normalised, ppo_loss, ppo_targets
from loqa.algos.trajectory import Trajectory

Arrays = dict[str, np.ndarray]
CLOSE: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-10}
F64 = torch.float64


@pytest.fixture
def recorded(golden: Callable[[str], Arrays]) -> Arrays:
    return golden("rivals_advantage_alignment.npz")


def sequences(array: np.ndarray) -> Tensor:
    """`[B, T]` as it is recorded -> `[T, B]`."""
    return torch.from_numpy(array).T.contiguous()


@pytest.mark.parametrize("gamma", [0.96, 0.9])
def test_the_papers_formula(recorded: Arrays, gamma: float) -> None:
    own, other = sequences(recorded["paper/A1"]), sequences(recorded["paper/A2"])
    terms = alignment_terms(own, other, AdvantageAlignmentSettings(gamma=gamma))
    expected = sequences(recorded[f"paper/gamma{gamma}_beta1"])
    np.testing.assert_allclose(own + terms, expected, **CLOSE)


def test_generalized_advantages_as_recorded(recorded: Arrays) -> None:
    rewards, values = sequences(recorded["gae/rewards"])[:-1], sequences(recorded["gae/values"])
    found = ops.generalized_advantage(rewards, values, 0.99, 0.95)
    np.testing.assert_allclose(found, sequences(recorded["gae/advantages"]), **CLOSE)


@pytest.mark.parametrize(
    ("advantages", "terms", "players"),
    [("integrated/advantages_normalised", "integrated/terms", 2),
     ("three/advantages", "three/terms", 3)],
)  # fmt: skip
def test_the_form_of_the_published_code(
    recorded: Arrays, advantages: str, terms: str, players: int
) -> None:
    """Agents of one episode lie side by side: the others are the episode's sum less one's own."""
    own = sequences(recorded[advantages])
    of_episode = own.unflatten(1, (-1, players)).sum(-1, keepdim=True).expand(-1, -1, players)
    settings = AdvantageAlignmentSettings(alignment="mean")
    found = alignment_terms(own, of_episode.flatten(1) - own, settings)
    np.testing.assert_allclose(found[1:], sequences(recorded[terms]), **CLOSE)
    assert not found[0].any()


def test_the_surrogate_with_its_advantages(recorded: Arrays) -> None:
    """PPO's, clip .1, by agent: two lie side by side."""
    own = sequences(recorded["integrated/advantages_normalised"])
    other = own.unflatten(1, (-1, 2)).flip(-1).flatten(1)
    weights = own + alignment_terms(own, other, AdvantageAlignmentSettings(alignment="mean"))
    np.testing.assert_allclose(
        weights, sequences(recorded["integrated/modified_advantages"]), **CLOSE
    )
    now, before = (sequences(recorded[f"integrated/{name}"])[:-1] for name in ("logp", "old_logp"))
    now.requires_grad_()
    losses = [
        ppo_loss(now[:, agent::2], before[:, agent::2], weights[:, agent::2], 0.1)
        for agent in (0, 1)
    ]
    np.testing.assert_allclose(torch.stack(losses).detach(), recorded["integrated/losses"], **CLOSE)
    (gradient,) = torch.autograd.grad(losses[0] + losses[1], now)
    expected = sequences(recorded["integrated/dlosses_dlogp"])[:-1]
    np.testing.assert_allclose(gradient, expected, **CLOSE)


@pytest.mark.parametrize("form", ["plain", "proximal"])
def test_the_term_that_is_clipped_apart(recorded: Arrays, form: str) -> None:
    """An ascent, by agent, over the steps from the second on; "plain" has log-probabilities, no ratio."""
    own = sequences(recorded["gae/advantages"])
    other = own.unflatten(1, (-1, 2)).flip(-1).flatten(1)
    settings = AlignedPPOSettings(gamma=0.99, alignment="separated")
    terms = alignment_terms(own, other, settings)
    assert not terms[0].any()
    now, before = (sequences(recorded[f"integrated/{name}"])[:-1] for name in ("logp", "old_logp"))
    now.requires_grad_()
    found = torch.stack([
        (now * terms)[1:, agent::2].mean() if form == "plain"
        else -ppo_loss(now[1:, agent::2], before[1:, agent::2], terms[1:, agent::2], 0.1)
        for agent in (0, 1)
    ])  # fmt: skip
    np.testing.assert_allclose(found.detach(), recorded[f"separated_{form}/aa_loss"], **CLOSE)
    (gradient,) = torch.autograd.grad(found.sum(), now)
    expected = sequences(recorded[f"separated_{form}/daa_loss_dlogp"])
    np.testing.assert_allclose(gradient, expected[:-1], **CLOSE)
    assert not expected[-1].any()


def test_gradient_of_agents_that_count_gains_of_the_other_alone(recorded: Arrays) -> None:
    own, other = sequences(recorded["coin/A1"]), sequences(recorded["coin/A2"])
    settings = AdvantageAlignmentSettings(gamma=0.96, alignment_lambda=0.9, alignment="gated")
    gradient = torch.from_numpy(recorded["coin/loaded_ios/dlogp"])
    taken = torch.from_numpy(recorded["coin/actions"][:, :, :1].astype(np.int64))
    expected = gradient[:, :-1].gather(-1, taken).squeeze(-1).T
    assert expected.abs().max() > 0.1
    found = -alignment_terms(own, other, settings) / len(own)
    np.testing.assert_allclose(found, expected, **CLOSE)
    ends = Ends(torch.tensor([False, True, False])[:, None])
    terms = alignment_terms(torch.ones(3, 1), torch.ones(3, 1), replace(settings, gamma=1.0), ends)
    np.testing.assert_allclose(terms.flatten(), [1.0, 1.9, 1.0], rtol=1e-6)


@pytest.mark.parametrize("form", ["loaded_aa", "dice_stopped_normaliser"])
def test_gradient_of_the_published_coin_game_agents(recorded: Arrays, form: str) -> None:
    """What their loss adds to the gradient in each log-probability, -term_t / T."""
    own, other = sequences(recorded["coin/A1"]), sequences(recorded["coin/A2"])
    settings = AdvantageAlignmentSettings(gamma=0.96, alignment_lambda=0.9)
    # Their sum begins at the step before with weight 1, ours with gamma lambda.
    terms = alignment_terms(own, other, settings) / (0.96 * 0.9)
    gradient = torch.from_numpy(recorded[f"coin/{form}/dlogp"])  # [B, T + 1, K]
    taken = torch.from_numpy(recorded["coin/actions"][:, :, :1].astype(np.int64))
    expected = gradient[:, :-1].gather(-1, taken).squeeze(-1).T
    assert expected.abs().max() > 0.1
    np.testing.assert_allclose(-terms / len(own), expected, **CLOSE)


# --- beside LOQA


def batch(steps: int = 7, episodes: int = 5, players: int = 2) -> Trajectory:
    generator = torch.Generator().manual_seed(0)
    obs = torch.randn(steps + 1, episodes, players, 3, generator=generator, dtype=F64)
    actions = torch.randint(0, 4, (steps, episodes, players), generator=generator)
    rewards = torch.randn(steps, episodes, players, generator=generator, dtype=F64)
    return Trajectory(obs, actions, rewards)


def agent() -> Agent:
    found = build_agent("mlp", "mlp", 3, 4, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        for parameter in found.parameters():
            parameter += 0.2 * torch.ones_like(parameter)
    return found


def said(of: Agent, trajectory: Trajectory, seat: int) -> SeatOutputs:
    own = trajectory.seat(seat)
    return of.evaluate(own.obs, own.actions, ends=own.ends)


@pytest.mark.parametrize("players", [2, 3])
@pytest.mark.parametrize("ended", [False, True])
def test_the_policy_gradient_is_that_of_loqa_without_its_normaliser(
    players: int, ended: bool
) -> None:
    trajectory = batch(players=players)
    if ended:
        ends = torch.zeros(7, 5, dtype=torch.bool)
        ends[2, 1] = ends[4, 1] = ends[6, 3] = True
        trajectory = replace(trajectory, terminated=ends)
    me, gamma, decay, weight = agent(), 0.9, 0.8, 1.5
    common: dict[str, Any] = {"gamma": gamma, "advantage": "mc", "entropy_bonus": 0.1}
    aligned = AdvantageAlignmentSettings(alignment_lambda=decay, **common)
    shaped = LOQASettings(
        dice_discount=decay, stop_normaliser_gradient=True, opponent_baseline="batch", **common
    )
    others = [(said(me, trajectory, i).detach(), trajectory.seat(i).rewards)
              for i in range(1, players)]  # fmt: skip
    gradients = []
    for losses, settings, factor in (
        (alignment_losses, aligned, weight),
        (actor_losses, shaped, weight * gamma * decay),
    ):
        own = said(me, trajectory, 0)
        rewards, ends_of = trajectory.seat(0).rewards, trajectory.ends
        total = losses(own, others, rewards, settings, ends_of).total(0.1, factor)  # type: ignore[operator]
        gradients.append(torch.autograd.grad(total, list(me.actor.parameters()), retain_graph=True))
        alone = losses(own, [], rewards, settings, ends_of).total(0.1, factor)  # type: ignore[operator]
        plain = torch.autograd.grad(alone, list(me.actor.parameters()))
    moved = max((a - b).abs().max() for a, b in zip(gradients[0], plain, strict=True))
    assert moved > 1e-2  # there is something to compare
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_sums_over_the_past_end_where_episodes_do() -> None:
    x = torch.tensor([1.0, 2.0, 4.0, 8.0])[:, None]
    assert past_sums(x, 0.5).flatten().tolist() == [0.0, 0.5, 1.25, 2.625]
    ends = Ends(torch.tensor([False, True, False, False])[:, None])
    assert past_sums(x, 0.5, ends).flatten().tolist() == [0.0, 0.5, 0.0, 2.0]
    settings = AdvantageAlignmentSettings(alignment="mean")
    terms = alignment_terms(x, torch.ones_like(x), settings, ends)
    assert terms.flatten().tolist() == [0.0, 1.0, 0.0, 4.0]
    assert past_sums(x[:0], 0.5).shape == (0, 1)
    assert past_sums(x[:1], 0.5).tolist() == [[0.0]]


def test_the_past_can_be_of_one_step_advantages() -> None:
    """Advantages of one step before t have none of the rewards that come after."""
    me, trajectory = agent(), batch()
    others = [(said(me, trajectory, 1).detach(), trajectory.seat(1).rewards)]
    own, rewards = said(me, trajectory, 0).detach(), trajectory.seat(0).rewards.clone()
    settings = AdvantageAlignmentSettings(
        advantage="gae", shaping_advantage="td0", advantage_baseline="none"
    )

    def shaping(paid: Tensor, settings: AdvantageAlignmentSettings) -> Tensor:
        found = alignment_losses(own, others, paid, settings).opponent
        assert found is not None
        return found

    changed = rewards.clone()
    changed[-1] += 1.0  # the last step is nobody's past
    assert torch.equal(shaping(rewards, settings), shaping(changed, settings))
    same = replace(settings, shaping_advantage="same")
    assert not torch.equal(shaping(rewards, same), shaping(changed, same))


def test_a_learner_with_its_losses_updates_and_shapes() -> None:
    settings = AdvantageAlignmentSettings(advantage="gae")
    trajectory, me = batch(), agent()
    told = Learner(me, settings, losses=alignment_losses).update(trajectory)
    expected = alignment_losses(
        said(agent(), trajectory, 0),
        [(said(agent(), trajectory, 1).detach(), trajectory.seat(1).rewards)],
        trajectory.seat(0).rewards,
        settings,
    ).opponent
    assert told.losses.opponent is not None
    assert expected is not None
    torch.testing.assert_close(told.losses.opponent, expected.detach())


@pytest.mark.parametrize("players", [2, 3])
def test_ppo_takes_the_aligned_advantages(players: int) -> None:
    settings = AlignedPPOSettings(gamma=0.9, shaping_weight=2.0, alignment_lambda=0.8)
    me, trajectory = agent(), batch(players=players)
    learner = AlignedPPO(me, settings, Context())
    each = [
        normalised(ppo_targets(one.rewards, said(me, trajectory, i).values.detach(), settings)[0])
        for i, one in ((i, trajectory.seat(i)) for i in range(players))
    ]
    with torch.no_grad():
        (found,) = learner._weights(trajectory, each[1], (), 1)
    others = sum(each) - each[1]
    for t in range(7):
        past = sum((0.9 * 0.8) ** (t - k) * each[1][k] for k in range(t))
        expected = each[1][t] + 2.0 * 0.9 * past * others[t]
        torch.testing.assert_close(found[t], expected)
    apart = AlignedPPO(me, replace(settings, alignment="separated"), Context())
    with torch.no_grad():
        plain, term = apart._weights(trajectory, each[1], (), 1)
    assert torch.equal(plain, each[1])
    torch.testing.assert_close(term[2], 2.0 * 0.9 * (each[1][0] + each[1][1]) * others[2])
    before = [one.clone() for one in me.actor.parameters()]
    learner.update(trajectory)
    apart.update(trajectory)
    assert not all(map(torch.equal, before, me.actor.parameters()))


@pytest.mark.parametrize("algo", ["aa", "aa-ppo"])
def test_a_run_and_its_settings(algo: str, tmp_path: Path) -> None:
    config = loqa.IPDConfig.of_preset("default", algo=algo, iterations=3, batch_size=8, seed=1)
    summary = loqa.train(config, tmp_path / "run")
    assert (summary["status"], summary["algo"]) == ("finished", algo)
    with pytest.raises(
        ValueError, match="alignment must be one of discounted, mean, gated, got 'sum'"
    ):
        AdvantageAlignmentSettings(alignment="sum")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"alignment_lambda must be .*, got 1.5"):
        AdvantageAlignmentSettings(alignment_lambda=1.5)
    with pytest.raises(ValueError, match="no field 'n_step'"):
        loqa.IPDConfig(algo="aa", n_step=3)
