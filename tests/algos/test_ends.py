"""Losses where episodes end inside a batch, against plain sums over each episode by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from own_envs import TorchEnv
from torch import Tensor

import loqa
from loqa.agents.ends import Ends, FinalTables
from loqa.agents.outputs import SeatOutputs
from loqa.algos.loqa import LOQASettings, advantages, critic_targets, opponent_q_values
from loqa.algos.trajectory import Trajectory

# One environment, five steps: an episode terminates with step 1, the next is cut with step 3, the last
# goes on when the batch ends.
G, L = 0.5, 0.8  # gamma; lambda, of traces and of loaded DiCE
R = [1.0, 2.0, 3.0, 5.0, 7.0]
V = [0.5, 1.0, 1.5, 2.0, 3.0, 11.0]  # V[2], V[4]: first steps of episodes
FINAL = 13.0  # what was left of the one that was cut
EPISODES = [([0, 1], 0.0), ([2, 3], FINAL), ([4], V[5])]  # steps, and the value of what comes after

TERMINATED = torch.tensor([False, True, False, False, False])[:, None]
TRUNCATED = torch.tensor([False, False, False, True, True])[:, None]
ENDS = Ends(TERMINATED, TRUNCATED)
NEXT = torch.tensor([V[1], V[2], V[3], FINAL, V[5]])[:, None].double()


def _column(numbers: list[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)[:, None]


def _settings(**fields: Any) -> LOQASettings:
    return LOQASettings(
        gamma=G,
        dice_discount=L,
        advantage_lambda=L,
        critic_lambda=L,
        advantage_baseline="none",
        **fields,
    )


def _returns() -> list[float]:
    found = []
    for steps, after in EPISODES:
        for first in steps:
            rest = [t for t in steps if t >= first]
            total = sum(G ** (t - first) * R[t] for t in rest)
            found.append(total + G ** len(rest) * after)
    return found


def _errors() -> list[float]:
    """r + gamma v' - v."""
    found = []
    for steps, after in EPISODES:
        for t in steps:
            following = after if t == steps[-1] else V[t + 1]
            found.append(R[t] + G * following - V[t])
    return found


def _traces(values: list[float]) -> list[float]:
    """sum_k (gamma lambda)^k values_{t+k}, to the end of the episode."""
    found = []
    for steps, _ in EPISODES:
        for first in steps:
            found.append(sum((G * L) ** (t - first) * values[t] for t in steps if t >= first))
    return found


def test_by_hand() -> None:
    assert _returns() == [2.0, 2.0, 3 + 0.5 * (5 + 6.5), 5 + 6.5, 7 + 5.5]
    assert _errors() == [1 + 0.5 - 0.5, 2 - 1, 3 + 1 - 1.5, 5 + 6.5 - 2, 7 + 5.5 - 3]


@pytest.mark.parametrize("kind", ["td0", "gae", "mc"])
def test_advantages(kind: str) -> None:
    expected = {
        "td0": _errors(),
        "gae": _traces(_errors()),
        "mc": [g - v for g, v in zip(_returns(), V[:-1], strict=True)],
    }
    found = advantages(_column(R), _column(V), _settings(advantage=kind), None, ENDS, NEXT)
    torch.testing.assert_close(found, _column(expected[kind]))


def _said(log_probs: Tensor | None = None) -> SeatOutputs:
    """An agent of one action, whose values are V and FINAL."""
    table = torch.zeros(6, 1, 1, dtype=torch.float64)
    final = FinalTables(
        torch.zeros(1, 1, dtype=torch.float64), torch.tensor([[FINAL]]).double(), torch.tensor([3])
    )
    return SeatOutputs(
        table, _column(V).unsqueeze(-1), torch.zeros(5, 1, dtype=torch.int64), final=final
    )


@pytest.mark.parametrize("kind", ["sarsa", "argmax", "lambda", "returns"])
def test_critic_targets(kind: str) -> None:
    one_step = [error + v for error, v in zip(_errors(), V[:-1], strict=True)]
    expected = {
        "sarsa": one_step,
        "argmax": one_step,
        "lambda": [a + v for a, v in zip(_traces(_errors()), V[:-1], strict=True)],
        "returns": _returns(),
    }
    found = critic_targets(_column(R), _said(), _settings(critic_target=kind), ENDS)
    torch.testing.assert_close(found, _column(expected[kind]))


@pytest.mark.parametrize("current", [False, True])
def test_loaded_dice(current: bool) -> None:
    """Values, and d Qhat_s / d l_k = (gamma lambda)^(k-s) (R_k - v_k) inside an episode; one step less of
    lambda without the current reward."""
    log_probs = torch.full((5, 1), -0.3, dtype=torch.float64, requires_grad=True)
    settings = _settings(current_reward_differentiable=current)
    found = opponent_q_values(log_probs, _column(R), _column(V), settings, ENDS, NEXT)
    returns = _returns()
    torch.testing.assert_close(found, _column(returns))
    for s in range(5):
        (gradient,) = torch.autograd.grad(found[s, 0], log_probs, retain_graph=True)
        expected = [0.0] * 5
        for steps, _ in EPISODES:
            for k in steps:
                if s in steps and k >= s + (not current):
                    weight = (G * L) ** (k - s) if current else G * (G * L) ** (k - s - 1)
                    expected[k] = weight * (returns[k] - V[k])
        torch.testing.assert_close(gradient, _column(expected))


def test_n_step() -> None:
    """Two rewards and the value after them; fewer where the episode ends."""
    log_probs = torch.full((5, 1), -0.3, dtype=torch.float64, requires_grad=True)
    settings = _settings(shaping="n-step", n_step=2)
    found = opponent_q_values(log_probs, _column(R), _column(V), settings, ENDS, NEXT)
    expected = [
        R[0] + G * R[1],
        R[1],
        R[2] + G * R[3] + G**2 * FINAL,
        R[3] + G * FINAL,
    ]
    torch.testing.assert_close(found, _column(expected))
    baseline = sum(R) / 5
    (gradient,) = torch.autograd.grad(found.sum(), log_probs)
    expected = [0, G * (R[1] - baseline), 0, G * (R[3] - baseline), 0]
    torch.testing.assert_close(gradient, _column(expected))


def test_a_trajectory_counts_its_final_observations() -> None:
    obs, flags = torch.zeros(6, 1, 2, 3), TRUNCATED
    given = (obs, torch.zeros(5, 1, 2, dtype=torch.uint8), torch.zeros(5, 1, 2), None, flags)
    seat = Trajectory(*given, torch.ones(1, 2, 3)).seat(1)
    assert seat.ends is not None
    assert seat.ends.final_obs is not None
    assert seat.ends.final_obs.tolist() == [[1, 1, 1]]
    for wrong in (None, torch.ones(2, 2, 3), torch.ones(1, 3)):
        with pytest.raises(ValueError, match=r"final_obs must be \[1, 2, 3\], one for each"):
            Trajectory(*given, wrong)
    with pytest.raises(ValueError, match=r"truncated must be bool \[5, 1\]"):
        Trajectory(*given[:4], flags.float())


class Salary(TorchEnv):
    """Pays 1 a step; in copy i an episode of 2 + i steps is cut, or over for good."""

    length = 8
    for_good = False

    def reset(self, seed: int | None = None) -> Tensor:
        self.age = torch.zeros(self.num_envs, dtype=torch.int64)
        return torch.ones(self.num_envs, 2, 2)

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        self.age += 1
        over = self.age == 2 + torch.arange(self.num_envs)
        self.age[over] = 0
        self.final_obs = torch.ones(self.num_envs, 2, 2)
        none = torch.zeros_like(over)
        flags = (over, none) if self.for_good else (none, over)
        return torch.ones(self.num_envs, 2, 2), torch.ones(self.num_envs, 2), *flags


class Severance(Salary):
    for_good = True


@pytest.mark.parametrize("target", ["sarsa", "lambda", "returns"])
def test_a_critic_learns_that_a_cut_episode_would_have_gone_on(target: str, tmp_path: Any) -> None:
    """With gamma 1/2 a salary of 1 for ever is worth 2; what may be over in the next step is worth less."""
    worth = {}
    for make in (Salary, Severance):
        summary = loqa.train(
            env=make, algo="naive", actor="mlp", critic="mlp", iterations=400, batch_size=4, gamma=0.5,
            critic_target=target, target_ema=0.9, evaluate_every=0, seed=0, out=tmp_path / make.__name__,
        )  # fmt: skip
        agent = loqa.load_agent(summary["out"])
        q_values = agent.q_values(torch.ones(3, 1, 2))  # steps that most copies come to
        worth[make] = q_values.mean(-1).flatten()
    torch.testing.assert_close(worth[Salary], torch.full((3,), 2.0), rtol=0, atol=0.1)
    assert (worth[Severance][1:] < 1.75).all()
