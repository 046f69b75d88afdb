"""The prisoner's dilemma's corrections by hand: the policy that is played, centred returns of the
opponent, and the advantage that weighs the shaping."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from loqa import CoinConfig, IPDConfig
from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.networks import LogitsHead, StateHead
from loqa.agents.outputs import SeatOutputs
from loqa.algos import learner as learner_module
from loqa.algos.loqa import LOQASettings, actor_losses, advantages, opponent_q_values
from loqa.algos.trajectory import Trajectory
from loqa.training.trainer import Trainer

F64 = torch.float64
ACTORS = ["logits", "mlp", "gru"]


def column(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=F64)[:, None]


def make_constant(agent: Agent) -> Agent:
    """pi = (.9, .1) and q = (2, -1) whatever it sees."""
    with torch.no_grad():
        for head, outputs in ((agent.actor, (math.log(9), 0.0)), (agent.critic, (2.0, -1.0))):
            if isinstance(head, LogitsHead):
                head.logits.copy_(torch.tensor(outputs, dtype=F64).expand(5, 2))
            else:
                head = head.network if isinstance(head, StateHead) else head
                head.linear_end.weight.zero_()
                head.linear_end.bias.copy_(torch.tensor(outputs, dtype=F64))
    return agent


def constant_agent(actor: str) -> Agent:
    return make_constant(build_agent(actor, critic_of(actor), 4, 2, actor_hidden=4).double())


def critic_of(actor: str) -> str:
    return "gru" if actor == "gru" else "mlp"


def two_steps() -> Trajectory:
    """One episode: (C, D), then (D, D)."""
    obs = torch.tensor([[[0, 0]], [[2, 3]], [[4, 4]]])
    actions = torch.tensor([[[0, 1]], [[1, 1]]])
    return Trajectory(obs, actions, torch.tensor([[[-3.0, 0.0]], [[-2.0, -2.0]]], dtype=F64))


@pytest.mark.parametrize("actor", ACTORS)
def test_the_mixture_by_hand(actor: str) -> None:
    """pi = (.9, .1), e = .2: mu = .8 pi + .1 = (.82, .18); V = .82 * 2 - .18 = 1.46."""
    trajectory, agent = two_steps(), constant_agent(actor)
    plain = agent.evaluate(trajectory.obs[:, :, 0], trajectory.actions[:, :, 0])
    played = plain.played(0.2)
    torch.testing.assert_close(plain.values, column(1.7, 1.7, 1.7))
    torch.testing.assert_close(played.values, column(1.46, 1.46, 1.46))
    torch.testing.assert_close(played.taken_log_probs, column(math.log(0.82), math.log(0.18)))
    entropy = -(0.82 * math.log(0.82) + 0.18 * math.log(0.18))
    torch.testing.assert_close(played.entropies, column(entropy, entropy))
    torch.testing.assert_close(played.taken_q_values, plain.taken_q_values)


def test_the_gradient_vanishes_as_the_policy_comes_to_be_sure() -> None:
    """d log mu(a) / d x_a = (1 - e) pi (1 - pi) / mu: of the rarely tried action 1 it is
    .8 * .1 * .9 / .18 = .4, where log pi has .9; at pi(1) = 1e-6 it is 8e-6, where log pi has 1."""
    for p, expected in ((0.1, 0.4), (1e-6, 0.8e-6 * (1 - 1e-6) / (0.8e-6 + 0.1))):
        logits = torch.tensor([math.log(1 - p), math.log(p)], dtype=F64, requires_grad=True)
        table = logits.log_softmax(-1).expand(2, 1, 2)
        played = SeatOutputs(table, torch.zeros_like(table), torch.tensor([[1]])).played(0.2)
        (slope,) = torch.autograd.grad(played.taken_log_probs.sum(), logits)
        torch.testing.assert_close(slope, torch.tensor([-expected, expected], dtype=F64))


@pytest.mark.parametrize("actor", ACTORS)
def test_the_losses_and_their_gradient_by_hand(actor: str) -> None:
    """Both seats are the agent of above: l = log (.82, .18), V = v = 1.46 at every step.

    gamma 1/2, one step: A = (-3 + .73 - 1.46, -2 + .73 - 1.46) = (-3.73, -2.73). The opponent has
    R_1 = -2, R_1 - v_1 = -3.46, and Qhat_0 = 0 + R_1 / 2: d Qhat_0 / d l_1 = -1.73.
    """
    settings = LOQASettings(
        gamma=0.5, advantage_baseline="none", stop_normaliser_gradient=True, softmax_temperature=2.0
    )
    trajectory, agent = two_steps(), constant_agent(actor)
    own, other = (
        agent.evaluate(trajectory.obs[:, :, seat], trajectory.actions[:, :, seat]).played(0.2)
        for seat in (0, 1)
    )
    rewards, other_rewards = trajectory.rewards.unbind(-1)
    losses = actor_losses(own, [(other.detach(), other_rewards)], rewards, settings)
    agent_loss = (3.73 * math.log(0.82) + 2.73 * math.log(0.18)) / 2
    assert losses.agent.item() == pytest.approx(agent_loss, rel=1e-12)
    assert losses.opponent is not None
    # -(1/2) A_0 (1/tau) dQhat_0/dl_1, for the one action that the shaping depends on.
    (slope,) = torch.autograd.grad(losses.opponent.sum(), own.taken_log_probs, retain_graph=True)
    torch.testing.assert_close(slope, column(0.0, 0.5 * 3.73 * 0.5 * -1.73))


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("played_policy", [False, True])
def test_a_run_evaluates_both_seats_and_the_target_so(
    monkeypatch: pytest.MonkeyPatch, actor: str, played_policy: bool
) -> None:
    config = IPDConfig(
        actor=actor, critic=critic_of(actor), batch_size=4, episode_length=3, actor_hidden=4,
        critic_target="sarsa", played_policy=played_policy, exploration=0.2,
    )  # fmt: skip
    trainer = Trainer(config)
    make_constant(trainer.agent)
    make_constant(trainer.algorithm.learner.target)
    seen: list[SeatOutputs] = []
    learner = trainer.algorithm.learner
    losses, targets = learner._losses, learner_module.critic_targets

    def noted_losses(own, opponents, *rest):  # type: ignore[no-untyped-def]
        seen.extend((own, opponents[0][0]))
        return losses(own, opponents, *rest)

    def noted_targets(rewards, target, *rest):  # type: ignore[no-untyped-def]
        seen.append(target)
        return targets(rewards, target, *rest)

    monkeypatch.setattr(learner, "_losses", noted_losses)
    monkeypatch.setattr(learner_module, "critic_targets", noted_targets)
    trainer.iterate()
    value = 1.46 if played_policy else 1.7
    assert len(seen) == 3
    for evaluation in seen:
        torch.testing.assert_close(evaluation.values, torch.full((4, 4), value))


def test_centred_returns_of_the_opponent_by_hand() -> None:
    """T = 2, B = 2, gamma 1/2, lambda 1/2: R_0 = (3, 2.5), R_1 = (4, 1), v_0 = (1, 1), v_1 = (1, 0).

    R - v = (2, 1.5) and (3, 1); less their means (.25, -.25) and (1, -1).
    """
    plain = LOQASettings(gamma=0.5, dice_discount=0.5, current_reward_differentiable=True)
    centred = replace(plain, opponent_baseline="batch")
    rewards = torch.tensor([[1.0, 2.0], [4.0, 1.0]], dtype=F64)
    values = torch.tensor([[1.0, 1.0], [1.0, 0.0], [9.0, 9.0]], dtype=F64)
    log_probs = torch.full((2, 2), -0.5, dtype=F64, requires_grad=True)
    first, second = (opponent_q_values(log_probs, rewards, values, s) for s in (plain, centred))
    assert torch.equal(first, second)
    assert first.tolist() == [[3.0, 2.5], [4.0, 1.0]]
    for returns, expected in (
        (first, [[2.0, 1.5], [0.25 * 3, 0.25 * 1]]),
        (second, [[0.25, -0.25], [0.25 * 1, 0.25 * -1]]),
    ):
        (slope,) = torch.autograd.grad(returns[0].sum(), log_probs)
        torch.testing.assert_close(slope, torch.tensor(expected, dtype=F64))
    one_step = replace(centred, current_reward_differentiable=False)
    returns = opponent_q_values(log_probs, rewards, values, one_step)
    (slope,) = torch.autograd.grad(returns[0].sum(), log_probs)
    torch.testing.assert_close(slope, torch.tensor([[0.0, 0.0], [0.5, -0.5]], dtype=F64))


def test_the_shaping_has_an_advantage_of_its_own() -> None:
    """gamma 1/2, "mc" for the agent: A = (-3 - 1, -2) - 1.7 = (-5.7, -3.7), "td0" for the
    shaping: A_0 = -3 + .85 - 1.7 = -3.85; d Qhat_0 / d l_1 = (R_1 - v_1) / 2 = -1.85, tau 1."""
    settings = LOQASettings(
        gamma=0.5, advantage="mc", shaping_advantage="td0", advantage_baseline="none",
        stop_normaliser_gradient=True, advantage_gradient=True,
    )  # fmt: skip
    trajectory, agent = two_steps(), constant_agent("mlp")
    own, other = (
        agent.evaluate(trajectory.obs[:, :, seat], trajectory.actions[:, :, seat])
        for seat in (0, 1)
    )
    rewards, other_rewards = trajectory.rewards.unbind(-1)
    for how, first_advantage in (("td0", -3.85), ("same", -5.7)):
        losses = actor_losses(
            own,
            [(other.detach(), other_rewards)],
            rewards,
            replace(settings, shaping_advantage=how),
        )
        agent_loss = (5.7 * math.log(0.9) + 3.7 * math.log(0.1)) / 2
        assert losses.agent.item() == pytest.approx(agent_loss, rel=1e-12)
        assert losses.opponent is not None
        (slope,) = torch.autograd.grad(
            losses.opponent.sum(), own.taken_log_probs, retain_graph=True
        )
        torch.testing.assert_close(slope, column(0.0, -0.5 * first_advantage * -1.85))
        # Nothing reaches the critic: only `advantage` "td0" may.
        parameters = list(agent.critic.parameters())
        gradients = torch.autograd.grad(
            losses.total(0.0, 1.0), parameters, retain_graph=True, allow_unused=True
        )
        assert all(gradient is None for gradient in gradients)
    n_step = replace(settings, shaping="n-step", n_step=2)
    losses = actor_losses(own, [(other.detach(), other_rewards)], rewards, n_step)
    # Seat 1 took D. Qhat_0 = 0 - 2 / 2 + v_2 / 4, q(C) = 2, and A_0 = -3 - v_0.
    returns = -1 + 1.7 / 4
    expected = -(-3 - 1.7) * math.log(1 / (1 + math.exp(2 - returns)))
    assert losses.opponent is not None
    assert losses.opponent.item() == pytest.approx(expected, rel=1e-12)


def test_the_one_step_advantage_is_that_of_td0() -> None:
    rewards, values = column(3.0, -1.0, 2.0), column(1.0, 2.0, 4.0, 3.0)
    td0 = LOQASettings(gamma=0.5)
    for kind in ("td0", "gae", "mc"):
        other = replace(td0, advantage="gae" if kind == "mc" else "mc")
        torch.testing.assert_close(
            advantages(rewards, values, other, kind),
            advantages(rewards, values, replace(td0, advantage=kind)),
        )


def test_published_settings_have_none_of_it() -> None:
    for kind in (IPDConfig, CoinConfig):
        paper = kind.of_preset("paper")
        assert not paper.stop_normaliser_gradient
        assert paper.opponent_baseline == "none"
        assert (paper.advantage, paper.shaping_advantage) == ("td0", "same")
    assert not IPDConfig.of_preset("paper").played_policy
