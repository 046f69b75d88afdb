"""M-FOS in exact games: the meta-game and PPO, held to recorded numbers of the published code."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from loqa.algos.exact import ExactGame, game, train
from loqa.algos.exact.lola import LOLASettings
from loqa.algos.exact.mfos import (
    MFOS,
    MetaGame,
    MetaPolicy,
    MFOSSettings,
    Rollout,
    normalised_returns,
)
from loqa.algos.exact.play import NaiveSettings

SMALL = Path(__file__).parents[1] / "golden" / "rivals_mfos_exact.npz"
FULL = os.environ.get("LOQA_GOLDEN_DIR")
GAMES = {
    "ipd": game("ipd"),
    "imp": game("matching-pennies", discount=0.96),
    "chicken": game("chicken", steps=1),
}
LEARNERS = {"nl": NaiveSettings(), "lola": LOLASettings(form="taylor-full")}
TINY = {"batch_size": 3, "meta_steps": 4, "meta_hidden": 5}
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=["part", "whole"])
def recorded(request):
    path = SMALL
    if request.param == "whole":
        if FULL is None:
            pytest.skip("LOQA_GOLDEN_DIR is not set: full golden files")
        path = Path(FULL) / "rivals" / "mfos_exact.npz"
    with np.load(path, allow_pickle=False) as data:
        return {name: torch.tensor(data[name]) for name in data.files}


@pytest.mark.parametrize("name", GAMES)
def test_recorded_values(recorded, name):
    """Their player 1, who matches pennies, has our seat 0."""
    theta = recorded[f"{name}_value/theta"].flip(0)
    mine, theirs = theta.clone().requires_grad_(), theta.flip(0).clone().requires_grad_()
    values = GAMES[name].values(mine, theirs)
    expected = recorded[f"{name}_value/value"].flip(0)
    torch.testing.assert_close(values[0], expected, rtol=0, atol=1e-10)
    gradients = recorded[f"{name}_value/grad"].flip(0, 1)
    for value, whose in zip(values, (0, 1), strict=True):
        found = torch.autograd.grad(value.sum(), (mine, theirs), retain_graph=True)
        for seat in (0, 1):
            player = seat if whose == 0 else 1 - seat
            torch.testing.assert_close(found[0][seat], gradients[player, seat], rtol=0, atol=1e-8)
            torch.testing.assert_close(
                found[1][seat], gradients[player, 1 - seat], rtol=0, atol=1e-8
            )


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("opponent", LEARNERS)
def test_recorded_meta_steps(recorded, name, opponent):
    key = f"{name}_{opponent}"
    if f"{key}/actions" not in recorded:
        pytest.skip("not in this part of the recorded numbers")
    meta = MetaGame(GAMES[name], LEARNERS[opponent], seat=0)
    inner = recorded[f"{key}/inner"]
    state, rewards, learned = meta.step(recorded[f"{key}/actions"], inner[:-1])
    torch.testing.assert_close(state, recorded[f"{key}/state"], rtol=0, atol=1e-10)
    torch.testing.assert_close(rewards[0], recorded[f"{key}/reward"], rtol=0, atol=1e-10)
    torch.testing.assert_close(rewards[1], recorded[f"{key}/opponent_reward"], rtol=0, atol=1e-10)
    torch.testing.assert_close(learned, inner[1:], rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("pair", ["nl_nl", "lola_nl", "lola_lola"])
def test_recorded_pairs_of_learners(recorded, name, pair):
    key = f"{name}_{pair}"
    if f"{key}/path" not in recorded:
        pytest.skip("not in this part of the recorded numbers")
    first, second = (LEARNERS[one] for one in pair.split("_"))
    path = recorded[f"{key}/path"]
    for learner, seat in ((first, 0), (second, 1)):
        meta = MetaGame(GAMES[name], learner, seat=1 - seat)
        _, rewards, learned = meta.step(path[:-1, 1 - seat], path[:-1, seat])
        torch.testing.assert_close(learned, path[1:, seat], rtol=0, atol=1e-8)
        torch.testing.assert_close(
            rewards[1], recorded[f"{key}/reward"][:, seat], rtol=0, atol=1e-10
        )


def as_ours(name, array):
    """A published parameter, in our layout: a run first, [inputs, units]."""
    return array.mT[None] if name.endswith("weight") else array[None, None]


def test_recorded_ppo(recorded):
    start = {
        name.removeprefix("ppo/start/"): as_ours(name, one)
        for name, one in recorded.items()
        if name.startswith("ppo/start/")
    }
    policy = MetaPolicy(start)
    states, actions, log_probs, rewards = (
        recorded[f"ppo/{name}"][:, None] for name in ("states", "actions", "logprobs", "rewards")
    )
    returns = normalised_returns(rewards, 0.99)[:, 0]
    torch.testing.assert_close(returns, recorded["ppo/returns_normalised"], rtol=0, atol=1e-10)
    settings = MFOSSettings()
    rollout = Rollout(states, actions, log_probs, torch.stack([rewards, rewards]), states[-1])
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.0)
    policy.improve(rollout, optimizer, MFOSSettings(epochs=1))
    for name, one in policy.weights.items():
        if f"ppo/grad0/{name}" in recorded:
            expected = as_ours(name, recorded[f"ppo/grad0/{name}"])
            torch.testing.assert_close(one.grad, expected, rtol=0, atol=1e-10)
    optimizer = torch.optim.Adam(policy.parameters(), lr=settings.lr)
    losses = policy.improve(rollout, optimizer, settings)
    torch.testing.assert_close(torch.cat(losses), recorded["ppo/losses"], rtol=0, atol=1e-10)
    compared = 0
    for name, one in policy.weights.items():
        if f"ppo/final/{name}" in recorded:
            expected = as_ours(name, recorded[f"ppo/final/{name}"])
            torch.testing.assert_close(one.detach(), expected, rtol=0, atol=1e-10)
            compared += 1
    assert compared >= 5


def test_the_agent_sees_the_opponent_before_its_update():
    meta = MetaGame(game("ipd"), NaiveSettings(), seat=0)
    mine, theirs = torch.zeros(1, 5), torch.ones(1, 5)
    state, _, learned = meta.step(mine, theirs)
    torch.testing.assert_close(state, torch.sigmoid(torch.cat([mine, theirs], -1)))
    assert (learned != theirs).all()


def test_an_iteration_and_its_runs():
    """Runs of one batch are independent: each has its own networks, returns and steps."""
    learner = MFOS(game("ipd"), MFOSSettings(**TINY), runs=2, seed=3)
    before = {name: one.clone() for name, one in learner.parameters().items()}
    p_cooperate, rewards = learner.iterate(1)
    assert p_cooperate.shape == (2, 2, 5)
    assert rewards.shape == (2, 2)
    assert ((rewards < 0) & (rewards > -3)).all()
    after = learner.parameters()
    assert after.keys() == before.keys()
    for name, one in after.items():
        assert len(one) == 2
        assert (one - before[name]).abs().amax(tuple(range(1, one.dim()))).min() > 0
    assert not torch.equal(before["seat0.actor.0.weight"][0], before["seat0.actor.0.weight"][1])


@pytest.mark.parametrize(("decay", "meets"), [(0.0, False), (1.0, True)])
def test_self_play_starts_against_naive_learners(decay, meets, monkeypatch):
    """Always in the first iteration; in the second with probability 1 - decay."""
    settings = MFOSSettings(opponent="self", self_play_decay=decay, **TINY)
    learner = MFOS(game("matching-pennies"), settings, runs=1)
    assert len(learner.agents) == 2
    seen = []
    play = learner._against_each_other
    monkeypatch.setattr(learner, "_against_each_other", lambda g: seen.append(1) or play(g))
    for iteration in (1, 2):
        p_cooperate, rewards = learner.iterate(iteration)
    assert bool(seen) == meets
    assert p_cooperate.shape == (2, 1, 5)
    if meets:  # what one wins the other loses
        assert rewards.sum().item() == pytest.approx(0, abs=1e-5)


def test_training_repeats_and_is_of_every_game():
    one, again = (train("ipd", "mfos", 2, 2, seed=1, **TINY) for _ in range(2))
    assert torch.equal(one.rewards, again.rewards)
    assert one.rewards.shape == (2, 2, 2)
    for name in ("matching-pennies", "chicken", "stag-hunt"):
        for opponent in ("naive", "lola", "self"):
            found = train(name, "mfos", 1, 1, opponent=opponent, **TINY)
            assert torch.isfinite(found.rewards).all()
    once = train(game("chicken", steps=1), "mfos", 1, 1, **TINY)
    assert once.p_cooperate.shape == (2, 1, 1)


def test_it_learns_to_exploit_a_naive_learner():
    """In a game that is decided by the other's next step: whoever sees how the naive learner moves wins."""
    found = train(
        ExactGame("pennies", [[[1, -1], [-1, 1]], [[-1, 1], [1, -1]]], 0.96), "mfos", 1, 15, seed=1,
        batch_size=64, meta_steps=50, lr=0.005,
    )  # fmt: skip
    assert found.rewards[-1, 0, 0] > found.rewards[0, 0, 0] + 0.05
    torch.testing.assert_close(found.rewards[:, 0], -found.rewards[:, 1], rtol=0, atol=1e-5)


def test_it_extorts_a_naive_learner_of_the_prisoners_dilemma():
    """Published, after 1,024 updates of 4,096 meta-games: -0.51 a step, the other -2.14 (Lu et al. 2022)."""
    found = train("ipd", "mfos", 1, 400, seed=1, batch_size=64)
    agent, learner = found.rewards[-10:, :, 0].mean(0).tolist()
    assert agent > -0.7
    assert learner < -1.9


@pytest.mark.parametrize(("fields", "said"), [
    ({"opponent": "mamaml"}, "opponent must be one of naive, lola, self"),
    ({"batch_size": 0}, "batch_size must be an integer in"),
    ({"batch_size": 1, "meta_steps": 1}, "must be at least 2"),
    ({"lr": -1.0}, "lr must be a finite number in"),
    ({"clip": math.nan}, "clip must be a finite number in"),
    ({"meta_discount": 1.5}, "meta_discount must be a finite number in"),
    ({"policy": "network"}, "mfos has no setting 'policy'"),
])  # fmt: skip
def test_bad_settings(fields, said):
    with pytest.raises((ValueError, TypeError), match=said):
        train("ipd", "mfos", 1, 1, **fields)
