"""Memory-1 players sampled in the native call: the reference, and the exact value of their play."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import loqa
import loqa.reference

TIT_FOR_TAT = [1.0, 1.0, 0.0, 1.0, 0.0]
ALWAYS_DEFECT = [0.0] * 5
NOISY = [[0.8, 0.9, 0.2, 0.7, 0.1], [0.5, 0.6, 0.3, 0.9, 0.4]]
PAYOFF = np.array([-1.0, -3.0, 0.0, -2.0])  # CC, CD, DC, DD


def joint_chain(policies: list[list[float]], exploration: float) -> tuple[np.ndarray, np.ndarray]:
    """First distribution [4] and transition matrix [4, 4] over player 0's view CC, CD, DC, DD."""
    p0, p1 = (np.array(p) * (1 - exploration) + exploration / 2 for p in policies)
    swap = [0, 1, 3, 2, 4]  # what player 1 sees

    def outcome(seen: int) -> np.ndarray:
        c0, c1 = p0[seen], p1[swap[seen]]
        return np.array([c0 * c1, c0 * (1 - c1), (1 - c0) * c1, (1 - c0) * (1 - c1)])

    return outcome(0), np.stack([outcome(seen) for seen in range(1, 5)])


def test_deterministic_players(isa: str) -> None:
    """Tit-for-tat meets always-defect: it is exploited once."""
    env = loqa.make("ipd", num_envs=3, obs="index")
    obs, actions, rewards = env.rollout_memory1([TIT_FOR_TAT, ALWAYS_DEFECT], 3)
    assert actions[:, 1].tolist() == [[0, 1], [1, 1], [1, 1]]
    assert rewards[:, 1].tolist() == [[-3, 0], [-2, -2], [-2, -2]]
    assert obs[:, 1].tolist() == [[0, 0], [2, 3], [4, 4], [4, 4]]


@given(
    num_envs=st.integers(1, 300),
    steps=st.integers(0, 8),
    exploration=st.sampled_from([0.0, 0.2, 1.0]) | st.floats(0, 1),
    noise=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**64 - 1),
    shared=st.booleans(),
    obs=st.sampled_from(["bits", "index", "onehot", "actions"]),
)
def test_equals_reference(
    num_envs: int,
    steps: int,
    exploration: float,
    noise: float,
    seed: int,
    shared: bool,
    obs: str,
) -> None:
    shape = (2, 5) if shared else (num_envs, 2, 5)
    policy = np.random.default_rng(seed % 2**32).random(shape).astype(np.float32)
    settings = {"noise": noise, "seed": seed, "obs": obs}
    env = loqa.make("ipd", num_envs, **settings)
    reference = loqa.reference.make("ipd", num_envs, **settings)
    for _ in range(2):  # the second goes on where the first ended
        ours = env.rollout_memory1(policy, steps, exploration)
        theirs = reference.rollout_memory1(policy, steps, exploration)
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine, other)
    for name, value in env.get_state().items():
        np.testing.assert_array_equal(value, reference.get_state()[name])


def test_actions_replay(isa: str) -> None:
    """The chosen actions, given to rollout, give the same observations and rewards."""
    env = loqa.make("ipd", 1000, noise=0.1)
    obs, actions, rewards = env.rollout_memory1(NOISY, 20, 0.2)
    replayed = loqa.make("ipd", 1000, noise=0.1).rollout(actions)
    assert torch.equal(obs, replayed[0])
    assert torch.equal(rewards, replayed[1])


def test_same_reset_same_actions() -> None:
    env = loqa.make("ipd", 50)
    first = env.rollout_memory1(NOISY, 10)
    env.reset(seed=0)
    again = env.rollout_memory1(NOISY, 10)
    env.reset()
    other = env.rollout_memory1(NOISY, 10)
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


@pytest.mark.parametrize("exploration", [0.0, 0.2])
def test_exact_discounted_value(exploration: float) -> None:
    """Mean discounted return against the exact v = d0 (I - g M)^-1 r of the first T steps."""
    num_envs, steps, discount = 100_000, 50, 0.96
    start, matrix = joint_chain(NOISY, exploration)
    expected, state = 0.0, start
    for step in range(steps):
        expected += discount**step * state @ PAYOFF
        state = state @ matrix
    solved = start @ np.linalg.solve(np.eye(4) - discount * matrix, PAYOFF)
    tail = discount**steps * state @ np.linalg.solve(np.eye(4) - discount * matrix, PAYOFF)
    assert expected == pytest.approx(solved - tail, rel=1e-12)

    env = loqa.make("ipd", num_envs, seed=3)
    _, _, rewards = env.rollout_memory1(NOISY, steps, exploration)
    weights = discount ** torch.arange(steps, dtype=torch.float64)
    returns = (weights[:, None] * rewards[..., 0].double()).sum(0)
    error = returns.std().item() / num_envs**0.5
    assert returns.mean().item() == pytest.approx(expected, abs=4 * error)


def test_stationary_distribution() -> None:
    num_envs, steps = 50_000, 40
    _, matrix = joint_chain(NOISY, 0.1)
    values, vectors = np.linalg.eig(matrix.T)
    stationary = np.real(vectors[:, np.argmax(np.real(values))])
    stationary /= stationary.sum()
    env = loqa.make("ipd", num_envs, obs="index", seed=4)
    obs, _, _ = env.rollout_memory1(NOISY, steps, 0.1)
    counts = torch.bincount(obs[-1, :, 0].long(), minlength=5)[1:].double() / num_envs
    error = (stationary * (1 - stationary) / num_envs) ** 0.5
    assert (np.abs(counts.numpy() - stationary) < 4 * error).all()
