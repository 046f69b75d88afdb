"""LOQA's losses by hand, their gradient flow, edge sizes, wrong input, and the update step."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from loqa import IPDConfig
from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.outputs import SeatOutputs
from loqa.agents.states import PRISONERS
from loqa.algos.learner import Learner
from loqa.algos.loqa import (
    LOQASettings,
    actor_losses,
    advantages,
    critic_losses,
    critic_targets,
    opponent_log_probs,
    opponent_q_values,
    shaping_advantages,
    shaping_loss,
)
from loqa.algos.optimizers import clip_global_norm_
from loqa.algos.trajectory import Trajectory

F64 = torch.float64


def _trajectory(steps: int = 7, batch: int = 5, seed: int = 0) -> Trajectory:
    """Consistent prisoner's-dilemma episodes with random actions, index observations."""
    generator = torch.Generator().manual_seed(seed)
    actions = torch.randint(0, 2, (steps, batch, 2), generator=generator)
    obs = torch.zeros(steps + 1, batch, 2, dtype=torch.int64)
    obs[1:, :, 0] = 1 + 2 * actions[..., 0] + actions[..., 1]
    obs[1:, :, 1] = 1 + 2 * actions[..., 1] + actions[..., 0]
    payoff = torch.tensor([-1.0, -3.0, 0.0, -2.0], dtype=F64)
    return Trajectory(obs, actions, payoff[obs[1:] - 1])


def _agent(seed: int = 0) -> Agent:
    generator = torch.Generator().manual_seed(seed)
    agent = build_agent("logits", "mlp", 4, 2, generator=generator).double()
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=F64)
    return agent


def _evaluate(agent: Agent, trajectory: Trajectory, seat: int = 0) -> SeatOutputs:
    return agent.evaluate(trajectory.obs[:, :, seat], trajectory.actions[:, :, seat])


def _rewards(trajectory: Trajectory) -> tuple[Tensor, Tensor]:
    return trajectory.rewards[:, :, 0], trajectory.rewards[:, :, 1]


def _column(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=F64)[:, None]


def test_two_steps_by_hand() -> None:
    """T = 2, B = 1, gamma 1/2, lambda 1/2; every number below is worked out on paper."""
    settings = LOQASettings(
        gamma=0.5, dice_discount=0.5, advantage_baseline="none", softmax_temperature=2.0
    )
    log_probs = _column(-0.5, -1.0).requires_grad_()
    values = _column(1.0, 2.0, 4.0)
    # A_0 = 3 + 2/2 - 1 = 3, A_1 = -1 + 4/2 - 2 = -1.
    advantage = advantages(_column(3.0, -1.0), values, settings)
    assert advantage.flatten().tolist() == [3.0, -1.0]
    # The opponent: r = (2, 4), R = (2 + 4/2, 4) = (4, 4), v = (1, 3).
    rewards, other_values = _column(2.0, 4.0), _column(1.0, 3.0, 9.0)
    every_cause = replace(settings, current_reward_differentiable=True)  # Qhat = Rhat
    returns = opponent_q_values(log_probs, rewards, other_values, every_cause)
    assert returns.flatten().tolist() == [4.0, 4.0]
    # d R_0 = (3 d l_0 + 1/4 (4 - 3) d l_1) and d R_1 = (4 - 3) d l_1.
    (first,) = torch.autograd.grad(returns[0], log_probs, retain_graph=True)
    (second,) = torch.autograd.grad(returns[1], log_probs, retain_graph=True)
    assert first.flatten().tolist() == [3.0, 0.25]
    assert second.flatten().tolist() == [0.0, 1.0]
    # Q_0 = 2 + R_1 / 2 = 4 and Q_1 = 4; the other action is worth 0 and 2; tau = 2.
    q_table = torch.tensor([[[0.0, 1.0]], [[1.0, 2.0]], [[9.0, 9.0]]], dtype=F64)
    opponent = SeatOutputs(
        torch.full_like(q_table, math.log(0.5)), q_table, torch.tensor([[1], [0]])
    )
    opponent.__dict__["values"] = other_values  # chosen by hand instead of from the policy
    loss = shaping_loss(log_probs, advantage, opponent, rewards, settings)
    expected = -(3 * math.log(1 / (1 + math.exp(-2))) - math.log(1 / (1 + math.exp(-1)))) / 2
    assert math.isclose(loss.item(), expected, rel_tol=1e-12)
    # Only Q_0 depends on the agent: slope = -1/2 A_0 (1 - pihat_0) (1/tau) gamma dR_1/dl_1.
    (gradient,) = torch.autograd.grad(loss, log_probs)
    slope = -0.5 * 3 * (1 - 1 / (1 + math.exp(-2))) * 0.5 * 0.5
    torch.testing.assert_close(gradient, _column(0.0, slope))


def test_centred_advantage_has_no_mean_at_any_step() -> None:
    trajectory, agent = _trajectory(), _agent()
    values = _evaluate(agent, trajectory).values
    rewards, _ = _rewards(trajectory)
    plain = advantages(rewards, values, LOQASettings(advantage_baseline="none"))
    centred = advantages(rewards, values, LOQASettings(advantage_baseline="batch"))
    torch.testing.assert_close(centred.mean(1), torch.zeros(7, dtype=F64))
    torch.testing.assert_close(centred, plain - plain.mean(1, keepdim=True))


def test_monte_carlo_advantage_is_the_return_less_the_value() -> None:
    settings = LOQASettings(gamma=0.5, advantage="mc", advantage_baseline="none")
    got = advantages(_column(4.0, 2.0), _column(1.0, 1.0, 7.0), settings)
    assert got.flatten().tolist() == [4.0, 1.0]


def test_generalised_advantage_adds_up_the_one_step_ones() -> None:
    settings = LOQASettings(
        gamma=0.5, advantage="gae", advantage_lambda=0.5, advantage_baseline="none"
    )
    rewards, values = _column(4.0, 2.0), _column(1.0, 1.0, 4.0).requires_grad_()
    got = advantages(rewards, values, settings)
    # 4 + .5 - 1 = 3.5 and 2 + 2 - 1 = 3; .5 * .5 of the second is added to the first
    assert got.flatten().tolist() == [4.25, 3.0]
    assert not got.requires_grad
    shaping = replace(settings, shaping="n-step", n_step=2)
    assert shaping_advantages(rewards, values, shaping).flatten().tolist() == [4.25]
    td0 = replace(settings, advantage="td0")
    torch.testing.assert_close(
        advantages(rewards, values, replace(settings, advantage_lambda=0.0)),
        advantages(rewards, values, td0),
    )


def test_stopped_normaliser_keeps_the_value_and_changes_the_slope() -> None:
    returns = _column(0.3, -2.0).requires_grad_()
    others = _column(0.1, 0.5)
    plain = LOQASettings(softmax_temperature=0.5)
    stopped = replace(plain, stop_normaliser_gradient=True)
    free, fixed = (opponent_log_probs(returns, others, s) for s in (plain, stopped))
    torch.testing.assert_close(free, fixed)
    (slope,) = torch.autograd.grad(fixed.sum(), returns)
    torch.testing.assert_close(slope, _column(2.0, 2.0))
    (slope,) = torch.autograd.grad(free.sum(), returns)
    torch.testing.assert_close(slope, 2 * (1 - free.exp()))


@pytest.mark.parametrize("shaping", ["loaded-dice", "n-step"])
def test_the_opponent_gets_no_gradient(shaping: str) -> None:
    trajectory, agent, other = _trajectory(), _agent(0), _agent(1)
    settings = LOQASettings(shaping=shaping, advantage_gradient=True)
    losses = actor_losses(
        _evaluate(agent, trajectory),
        [(_evaluate(other, trajectory, 1), _rewards(trajectory)[1])],
        _rewards(trajectory)[0],
        settings,
    )
    losses.total(settings.entropy_bonus, settings.shaping_weight).backward()
    assert all(p.grad is None or not p.grad.any() for p in other.parameters())
    assert agent.actor.logits.grad is not None


@pytest.mark.parametrize("advantage", ["td0", "gae", "mc"])
@pytest.mark.parametrize("advantage_gradient", [False, True])
def test_advantage_gradient_decides_whether_the_critic_is_reached(
    advantage: str, advantage_gradient: bool
) -> None:
    trajectory, agent, other = _trajectory(), _agent(0), _agent(1)
    settings = LOQASettings(advantage=advantage, advantage_gradient=advantage_gradient)
    losses = actor_losses(
        _evaluate(agent, trajectory),
        [(_evaluate(other, trajectory, 1), _rewards(trajectory)[1])],
        _rewards(trajectory)[0],
        settings,
    )
    losses.total(settings.entropy_bonus, settings.shaping_weight).backward()
    reached = [p.grad is not None and bool(p.grad.any()) for p in agent.critic.parameters()]
    assert any(reached) == (advantage == "td0" and advantage_gradient)


def test_the_critic_loss_reaches_the_critic_alone() -> None:
    trajectory, agent = _trajectory(), _agent()
    targets = critic_targets(_rewards(trajectory)[0], None, LOQASettings(critic_target="returns"))
    critic_losses(_evaluate(agent, trajectory), targets).mean().backward()
    assert agent.actor.logits.grad is None
    assert all(p.grad is not None for p in agent.critic.parameters())


def test_zero_shaping_weight_is_the_naive_learner() -> None:
    trajectory, agent, other = _trajectory(), _agent(0), _agent(1)
    settings = LOQASettings(shaping_weight=0.0)
    rewards, other_rewards = _rewards(trajectory)
    own, opponent = _evaluate(agent, trajectory), _evaluate(other, trajectory, 1)
    with_opponent = actor_losses(own, [(opponent, other_rewards)], rewards, settings)
    naive = actor_losses(own, [], rewards, settings)
    logits = agent.actor.logits
    (a,) = torch.autograd.grad(
        with_opponent.total(settings.entropy_bonus, settings.shaping_weight),
        logits,
        retain_graph=True,
    )
    (b,) = torch.autograd.grad(
        naive.total(settings.entropy_bonus, settings.shaping_weight), logits, retain_graph=True
    )
    torch.testing.assert_close(a, b)
    # The policy gradient, term by term: -mean A grad log pi.
    advantage = advantages(rewards, own.values, settings)
    (c,) = torch.autograd.grad(-(own.taken_log_probs * advantage).mean(), logits)
    torch.testing.assert_close(b, c)
    config = IPDConfig(algo="naive", shaping_weight=3.0)
    assert config.settings() == replace(config.learning, shaping_weight=0.0)


def test_naive_update_does_not_look_at_the_opponent() -> None:
    trajectory = _trajectory()
    rewards = trajectory.rewards.clone()
    rewards[:, :, 1] += 5
    learners = [Learner(_agent(), LOQASettings(actor_lr=0.1, shaping_weight=0.0)) for _ in range(2)]
    for learner, data in zip(
        learners, (trajectory, replace(trajectory, rewards=rewards)), strict=True
    ):
        assert learner.update(data).losses.opponent is None
    torch.testing.assert_close(*(x.agent.actor.logits for x in learners), rtol=0, atol=0)


def test_shared_rewards_are_the_mean_of_the_players() -> None:
    trajectory = _trajectory()
    shared = trajectory.shared().rewards
    torch.testing.assert_close(shared[..., 0], trajectory.rewards.mean(-1))
    torch.testing.assert_close(shared[..., 1], shared[..., 0])


@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (1, 4), (6, 1)])
@pytest.mark.parametrize("critic_target", ["sarsa", "argmax", "returns"])
def test_smallest_sizes(steps: int, batch: int, critic_target: str) -> None:
    settings = LOQASettings(critic_target=critic_target, advantage_baseline="none", clip_norm=1.0)
    learner = Learner(_agent(), settings)
    before = copy.deepcopy(learner.agent.state_dict())
    metrics = learner.update(_trajectory(steps, batch))
    assert metrics.grad_norm is not None
    after = learner.agent.state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
    for name in ("actor.logits", "critic.linear_end.bias"):
        assert not torch.equal(after[name], before[name])


@pytest.mark.parametrize("advantage_gradient", [False, True])
@pytest.mark.parametrize("player", [0, 1])
def test_indexed_update_equals_the_general_one(advantage_gradient: bool, player: int) -> None:
    indexed = _trajectory(9, 6)
    bits = replace(indexed, obs=PRISONERS.to_bits(indexed.obs, F64))
    settings = LOQASettings(
        advantage_gradient=advantage_gradient,
        entropy_bonus=0.1,
        clip_norm=0.05,
        shaping_weight=3.0,
        softmax_temperature=3.0,
    )
    learners = [Learner(_agent(), settings) for _ in range(2)]
    for _ in range(3):
        for learner, trajectory in zip(learners, (indexed, bits), strict=True):
            learner.update(trajectory, player=player)
    for module in ("agent", "target"):
        first, second = (dict(getattr(x, module).named_parameters()) for x in learners)
        for name in first:
            torch.testing.assert_close(first[name], second[name], msg=name)


def test_update_order_is_actor_critic_target() -> None:
    trajectory, settings = _trajectory(), LOQASettings(actor_lr=1e-2, critic_lr=1e-2)
    learner = Learner(_agent(), settings)
    other = _evaluate(_agent(1), trajectory, 1).detach()
    agent, target = copy.deepcopy(learner.agent), copy.deepcopy(learner.agent)
    learner.update(trajectory, [None, other])

    rewards, other_rewards = _rewards(trajectory)
    own = _evaluate(agent, trajectory)
    actor_losses(own, [(other, other_rewards)], rewards, settings).total(
        settings.entropy_bonus, settings.shaping_weight
    ).backward()
    torch.optim.Adam(agent.parameters(), lr=1e-2).step()
    agent.zero_grad()
    targets = critic_targets(rewards, _evaluate(target, trajectory), settings)
    critic_losses(_evaluate(agent, trajectory), targets).mean().backward()
    torch.optim.Adam(agent.critic.parameters(), lr=1e-2).step()
    for name, parameter in agent.named_parameters():
        torch.testing.assert_close(learner.agent.get_parameter(name), parameter)
        expected = 0.99 * target.get_parameter(name) + 0.01 * parameter
        torch.testing.assert_close(learner.target.get_parameter(name), expected)


def test_a_restored_learner_continues_bit_for_bit() -> None:
    trajectory, settings = _trajectory(), LOQASettings()
    learner = Learner(_agent(), settings)
    learner.update(trajectory)
    restored = Learner(_agent(5), settings)
    restored.load_state_dict(copy.deepcopy(learner.state_dict()))
    learner.update(trajectory)
    restored.update(trajectory)
    for (name, a), b in zip(
        learner.agent.named_parameters(), restored.agent.parameters(), strict=True
    ):
        assert torch.equal(a, b), name


def test_clipping_scales_all_gradients_by_one_number() -> None:
    gradients = (_column(3.0), _column(0.0, 4.0))
    assert clip_global_norm_(gradients, 10.0).item() == 5.0
    assert gradients[0].item() == 3.0
    clip_global_norm_(gradients, 1.0)
    torch.testing.assert_close(torch.cat(gradients), _column(0.6, 0.0, 0.8))
    zeros = (torch.zeros(3),)
    clip_global_norm_(zeros, 1.0)
    assert torch.equal(zeros[0], torch.zeros(3))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("shaping", "dice", r"shaping must be one of loaded-dice, n-step, got 'dice'"),
        ("advantage", "td1", r"advantage must be one of .*got 'td1'"),
        ("advantage_baseline", "time", r"advantage_baseline must be one of"),
        ("critic_target", "max", r"critic_target must be one of"),
        ("n_step", 1, r"n_step must be an integer in \[2, .*\], got 1"),
        (
            "softmax_temperature",
            0.0,
            r"softmax_temperature must be a finite number in \[1e-09, inf\], got 0\.0",
        ),
        ("clip_norm", 0.0, r"clip_norm must be a finite number in \[1e-09, inf\], got 0\.0"),
        ("gamma", 1.5, r"gamma must be a finite number in \[0, 1\], got 1\.5"),
    ],
)
def test_wrong_settings_are_named(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LOQASettings(**{field: value})


def test_wrong_shapes_are_named() -> None:
    trajectory = _trajectory()
    obs, actions, rewards = trajectory.obs, trajectory.actions, trajectory.rewards
    with pytest.raises(ValueError, match=r"obs must be \[8, 5, 2, '\.\.\.'\].*got \[7, 5, 2\]"):
        Trajectory(obs[1:], actions, rewards)
    with pytest.raises(ValueError, match=r"actions must be integers \[7, 5, 2\] like rewards"):
        Trajectory(obs, actions.double(), rewards)
    with pytest.raises(ValueError, match=r"rewards must be \[T, B, A\] with T >= 1, got \[7, 5\]"):
        Trajectory(obs, actions, rewards[..., 0])
    learner = Learner(_agent(), LOQASettings())
    with pytest.raises(ValueError, match=r"player must be in 0\.\.1, got 2"):
        learner.update(trajectory, player=2)
    learner = Learner(_agent(), LOQASettings(shaping="n-step", n_step=3))
    with pytest.raises(ValueError, match=r"at least 3 steps, got 2"):
        learner.update(_trajectory(2, 4))
    with pytest.raises(ValueError, match=r"critic_target 'sarsa' needs a target network"):
        critic_targets(rewards[..., 0], None, LOQASettings())


def test_advantages_scaled_over_the_batch_by_hand() -> None:
    rewards = torch.tensor([[3.0, 1.0], [1.0, -1.0]], dtype=F64)
    values = torch.zeros(3, 2, dtype=F64)
    settings = LOQASettings(advantage_baseline="batch", advantage_scale="batch")
    # Centred: (1, -1) at both steps, whose root mean square is 1.
    expected = torch.tensor([[1.0, -1.0], [1.0, -1.0]], dtype=F64)
    torch.testing.assert_close(advantages(rewards, values, settings), expected, rtol=2e-6, atol=0.0)
    scaled = advantages(rewards, values, replace(settings, advantage_baseline="none"))
    torch.testing.assert_close(scaled, rewards / 3**0.5, rtol=2e-6, atol=0.0)


@pytest.mark.parametrize("critic_lambda", [0.0, 0.6, 1.0])
def test_lambda_targets_are_their_recursion(critic_lambda: float) -> None:
    trajectory = _trajectory()
    agent = build_agent("mlp", "mlp", 4, 2, generator=torch.Generator().manual_seed(1)).double()
    target = agent.evaluate(
        PRISONERS.to_bits(trajectory.obs[:, :, 0], F64), trajectory.actions[:, :, 0]
    ).detach()
    rewards = trajectory.rewards[:, :, 0].double()
    settings = LOQASettings(critic_target="lambda", critic_lambda=critic_lambda)
    got = critic_targets(rewards, target, settings)
    following = target.values[-1]
    for t in reversed(range(len(rewards))):
        expected = rewards[t] + settings.gamma * following
        torch.testing.assert_close(got[t], expected)
        following = (1 - critic_lambda) * target.taken_q_values[t] + critic_lambda * expected
    if critic_lambda == 0:
        one_step = critic_targets(rewards, target, replace(settings, critic_target="sarsa"))
        torch.testing.assert_close(got, one_step)
