"""LOQA's losses, gradients and updates against the recorded numbers of the published code."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from loqa_golden import FULL, SMALL, Golden, load, relative_error
from rollouts import evaluate_sets
from torch import Tensor

from loqa.agents.actor_critic import Agent
from loqa.agents.outputs import SeatOutputs
from loqa.algos.learner import Learner
from loqa.algos.loqa import (
    LOQASettings,
    actor_losses,
    advantages,
    critic_losses,
    critic_targets,
    opponent_q_values,
    shaping_advantages,
    shaping_loss,
)
from loqa.algos.optimizers import clip_global_norm_

# The recorded numbers are float32; the same mathematics in float64 meets them to their rounding.
TOLERANCE = 1e-5
# In float32 the rounding of both sides adds up.
TOLERANCE_FLOAT32 = 1e-5
# Adam divides by the gradient's own magnitude, which magnifies rounding where it is near zero.
TOLERANCE_UPDATE = 5e-5

SMALL_FILES = ["ipd_logits", "ipd_gru"]
FULL_FILES = ["ipd_gru", "coin_gru_h16", "coin_gru_h16_L1", "coin_gru_h128"]


def _cases(with_config: bool) -> list:
    files = [(name, False) for name in SMALL_FILES if (SMALL / f"{name}.npz").exists()]
    cases = []
    if FULL:
        files += [(name, True) for name in FULL_FILES]
    else:
        reason = "LOQA_GOLDEN_DIR is not set: full golden files"
        filler = ("full files", "-", "-")[: 3 if with_config else 2]
        cases.append(pytest.param(*filler, marks=pytest.mark.skip(reason=reason), id="full"))
    for name, full in files:
        golden = load(name, full)
        configs = golden.meta["configs"] if with_config else [None]
        for prefix, config in itertools.product(golden.prefixes(), configs):
            if config and f"{prefix}/{config}/loss_agent" not in golden:
                continue
            values = ((name, full), prefix, config) if with_config else ((name, full), prefix)
            label = "-".join(str(x) for x in (name, "full" if full else "", prefix, config) if x)
            cases.append(pytest.param(*values, id=label))
    return cases


def _flat_gradient(golden: Golden, agent: Agent, loss: Tensor) -> np.ndarray:
    names, parameters = zip(*agent.named_parameters(), strict=True)
    gradients = torch.autograd.grad(
        loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return golden.flatten(dict(zip(names, gradients, strict=True)))


def _check_vector(
    golden: Golden, key: str, flat: np.ndarray, tolerance: float, order: str = "param_order"
) -> None:
    """Against the full vector or its digest, whichever exists (a cut copy: perhaps neither)."""
    if key in golden:
        assert relative_error(flat, golden[key]) < tolerance, key
    elif f"{key}_digest" in golden:
        expected = golden[f"{key}_digest"]
        sizes = np.array([np.prod(shape) for _, shape in golden.meta[order]])
        # A sum over a tensor cancels; its rounding scales with norm * sqrt(size).
        scale = np.maximum(expected[:, :1], 1e-3 * expected[:, 0].max())
        scale = scale * np.stack([np.ones_like(sizes), sizes**0.5, sizes**0.5], 1)
        error = np.abs(golden.digest(flat, order) - expected) / scale
        assert error.max() < tolerance, key


def _seats(golden: Golden, prefix: str, dtype: torch.dtype):
    trajectory = golden.trajectory(prefix, dtype)
    seat = int(prefix[-1])
    agent = golden.agent("agent", dtype)
    own = agent.evaluate(trajectory.obs[:, :, seat], trajectory.actions[:, :, seat])
    opponent = golden.opponent(prefix, trajectory)
    rewards, other_rewards = trajectory.rewards[:, :, seat], trajectory.rewards[:, :, 1 - seat]
    return agent, own, opponent, rewards, other_rewards


@pytest.mark.parametrize(("file", "prefix"), _cases(False))
def test_sequence_forwards(file: tuple[str, bool], prefix: str) -> None:
    golden = load(*file)
    trajectory = golden.trajectory(prefix, torch.float64)
    seat = int(prefix[-1])
    agent = golden.agent("agent", torch.float64)
    evaluations = {
        "agent": agent.evaluate(trajectory.obs[:, :, seat], trajectory.actions[:, :, seat])
    }
    if any(key.startswith("opponents/") for key in golden.arrays):
        evaluations["opponent"] = evaluate_sets(
            agent,
            golden.parameters("opponents", torch.float64),
            trajectory.obs[:, :, 1 - seat],
            trajectory.actions[:, :, 1 - seat],
        )
    for who, evaluation in evaluations.items():
        for kind, got in (
            ("logp", evaluation.log_prob_table),
            ("qvalue", evaluation.q_table),
            ("value", evaluation.values),
        ):
            expected = golden[f"{prefix}/seq/{who}_{kind}_seq"]
            assert relative_error(got.transpose(0, 1), expected) < TOLERANCE, (who, kind)


def _check_losses(
    golden: Golden, prefix: str, config: str, dtype: torch.dtype, tolerance: float
) -> None:
    settings = golden.settings(config)
    agent, own, opponent, rewards, other_rewards = _seats(golden, prefix, dtype)
    losses = actor_losses(own, [(opponent, other_rewards)], rewards, settings)
    key = f"{prefix}/{config}"
    assert losses.opponent is not None
    for name, got in (
        ("loss_agent", losses.agent),
        ("loss_opponent", losses.opponent),
        ("loss_agent_entropy", -own.entropies.mean(0)),
    ):
        assert relative_error(got, golden[f"{key}/{name}"]) < tolerance, name

    every_cause = replace(settings, current_reward_differentiable=True)
    returns = opponent_q_values(own.taken_log_probs, other_rewards, opponent.values, every_cause)
    assert relative_error(returns.t(), golden[f"{key}/op_returns"]) < tolerance

    log_probs = own.taken_log_probs.detach().requires_grad_()
    advantage = _shaping_advantage(rewards, own, settings).detach()
    through_returns = shaping_loss(log_probs, advantage, opponent, other_rewards, settings)
    (gradient,) = torch.autograd.grad(through_returns.sum(), log_probs)
    assert relative_error(gradient.t(), golden[f"{key}/dloss_opponent_dlogps"]) < tolerance

    without_opponent = actor_losses(own, [], rewards, settings)
    grad_agent = _flat_gradient(
        golden, agent, without_opponent.total(settings.entropy_bonus, settings.shaping_weight)
    )
    grad_opponent = _flat_gradient(golden, agent, losses.opponent.mean())
    total = _flat_gradient(
        golden, agent, losses.total(settings.entropy_bonus, settings.shaping_weight)
    )
    clipped = torch.from_numpy(total.copy())
    if settings.clip_norm is not None:
        clip_global_norm_((clipped,), settings.clip_norm)
    _check_vector(golden, f"{key}/grad_agent", grad_agent, tolerance)
    _check_vector(golden, f"{key}/grad_opponent", grad_opponent, tolerance)
    _check_vector(golden, f"{key}/grad_total_clipped", clipped.numpy(), tolerance)
    for name, flat in (
        ("grad_agent_norm", grad_agent),
        ("grad_opponent_norm", grad_opponent),
        ("grad_total_norm_unclipped", total),
    ):
        assert relative_error(np.linalg.norm(flat), golden[f"{key}/{name}"]) < tolerance, name


def _shaping_advantage(rewards: Tensor, own: SeatOutputs, settings: LOQASettings) -> Tensor:
    if settings.shaping == "n-step":
        return shaping_advantages(rewards, own.values, settings)
    return advantages(rewards, own.values, settings)


@pytest.mark.parametrize(("file", "prefix", "config"), _cases(True))
def test_actor_losses_and_gradients(file: tuple[str, bool], prefix: str, config: str) -> None:
    _check_losses(load(*file), prefix, config, torch.float64, TOLERANCE)


@pytest.mark.parametrize("name", SMALL_FILES)
def test_actor_losses_and_gradients_in_float32(name: str) -> None:
    golden = load(name, False)
    for config in golden.meta["configs"]:
        _check_losses(golden, "T10/p0", config, torch.float32, TOLERANCE_FLOAT32)


@pytest.mark.parametrize(("file", "prefix"), _cases(False))
def test_critic_losses_and_gradients(file: tuple[str, bool], prefix: str) -> None:
    golden = load(*file)
    agent, own, _, rewards, _ = _seats(golden, prefix, torch.float64)
    trajectory = golden.trajectory(prefix, torch.float64)
    seat = int(prefix[-1])
    target = golden.agent("ema", torch.float64).evaluate(
        trajectory.obs[:, :, seat], trajectory.actions[:, :, seat]
    )
    recorded = 0
    for kind, critic_target in (("mean", "sarsa"), ("argmax", "argmax")):
        key = f"{prefix}/q_{kind}"
        if f"{key}/qvalue_loss" not in golden:
            continue
        recorded += 1
        settings = LOQASettings(gamma=golden.meta["reward_discount"], critic_target=critic_target)
        loss = critic_losses(own, critic_targets(rewards, target, settings))
        assert relative_error(loss, golden[f"{key}/qvalue_loss"]) < TOLERANCE
        names, parameters = zip(*agent.named_parameters(), strict=True)
        gradients = torch.autograd.grad(
            loss.mean(), parameters, retain_graph=True, allow_unused=True
        )
        named = dict(zip(names, gradients, strict=True))
        assert all(named[name] is None for name in names if name.startswith("actor."))
        critic = {name: g for name, g in named.items() if g is not None}
        flat = golden.flatten(critic, "qvalue_param_order")
        _check_vector(golden, f"{key}/grad", flat, TOLERANCE, "qvalue_param_order")
        assert golden[f"{key}/actor_grad_absmax"] == 0
    assert recorded


@pytest.mark.parametrize(("file", "prefix"), _cases(False))
def test_update_steps(file: tuple[str, bool], prefix: str) -> None:
    golden = load(*file)
    trajectory = golden.trajectory(prefix, torch.float64)
    learner = Learner(golden.agent("agent", torch.float64), golden.settings(golden.meta["default"]))
    learner.target.load_state_dict(golden.parameters("ema", torch.float64))
    opponent = golden.opponent(prefix, trajectory)
    for step in range(1, golden.meta["train_steps"] + 1):
        player = int(prefix[-1])
        metrics = learner.update(trajectory, [opponent, opponent], player)
        key = f"{prefix}/train/step{step}"
        assert relative_error(metrics.critic_loss, golden[f"{key}/qvalue_loss"]) < TOLERANCE_UPDATE
        for name, module in (("agent", learner.agent), ("ema", learner.target)):
            flat = golden.flatten(dict(module.named_parameters()))
            _check_vector(golden, f"{key}/{name}", flat, TOLERANCE_UPDATE)
