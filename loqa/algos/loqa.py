"""LOQA: learning with opponent Q-learning awareness (Aghajohari et al., ICLR 2024).

The opponent is taken to play a softmax over its action values, and its value of the action it took
is replaced by a Monte-Carlo return that is differentiable in the agent's own policy (loaded DiCE).
The agent then follows the policy gradient through its own policy and through that softmax:

    grad V = E[ sum_t A_t ( grad log pi(a_t|s_t) + w grad log pihat(b_t|s_t) ) ]
    pihat(b|s) = exp(Qhat / tau) / ( exp(Qhat / tau) + sum_{b' != b} exp(q(s, b') / tau) )

Notation: T steps, B episodes, r rewards and l_t log-probability of the agent's own action, V its
values; for the opponent r^j, q, v. Sequences are time-major, losses are one number an episode.
All functions are pure; `loqa.algos.learner` takes the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from loqa import ops
from loqa._checks import Range, Share
from loqa.agents.ends import Ends
from loqa.agents.outputs import SeatOutputs
from loqa.algos.settings import ActorCriticSettings


@dataclass(frozen=True)
class LOQASettings(ActorCriticSettings):
    """What LOQA's losses and updates depend on.

    Attributes:
        shaping: estimator of the opponent's differentiable return, "loaded-dice" or "n-step".
        dice_discount: lambda, the discount on the influence of an action on later rewards ("loaded-dice").
        n_step: rewards in the return ("n-step"), at least 2.
        softmax_temperature: tau of the opponent's softmax.
        current_reward_differentiable: whether Qhat_s includes the influence of a_s itself; off, the
            current reward stays constant because both players move at once.
        stop_normaliser_gradient: whether no gradient passes through the log-normaliser of pihat. If true,
            d log pihat / d Qhat is 1/tau; if false, (1 - pihat)/tau, which vanishes for an opponent whose
            policy is almost deterministic. For continuous actions it is 1/tau in either case.
        opponent_baseline: baseline of the opponent's return in "loaded-dice". "none": its value v_k. "batch":
            v_k + mean(R_k - v_k), the mean over the batch at each step, which removes the error that the
            critic makes in all episodes alike.
        opponent_model: where the opponent's values and policy come from. "shared": its own critic and actor
            (in self-play the agent's). "learned": a model that the agent fits to its actions and rewards;
            where the game shows no states, networks like the agent's own. "mirrored", of states only: the
            same from its actions alone, with the rewards that the agent got in its place. "inferred", of
            states only: the same from its actions alone, with rewards inferred from how its policy changes
            (`loqa.algos.opponent_model`).
    """

    shaping: Literal["loaded-dice", "n-step"] = "loaded-dice"
    dice_discount: Share = 0.9
    n_step: Annotated[int, Range(2, 2**31 - 1)] = 2
    softmax_temperature: Annotated[float, Range(1e-9)] = 1.0
    current_reward_differentiable: bool = False
    stop_normaliser_gradient: bool = False
    opponent_baseline: Literal["none", "batch"] = "none"
    opponent_model: Literal["shared", "learned", "mirrored", "inferred"] = "shared"


@dataclass(frozen=True)
class ActorLosses:
    """The parts of the actor's loss, one number an episode.

    Attributes:
        agent: `[B]`, -mean_t(l_t A_t).
        entropy: `[B]`, -mean_t H(pi_t); None if its weight is 0.
        opponent: `[B]`, -mean_t(log pihat_t A_t); None without an opponent.
    """

    agent: Tensor
    entropy: Tensor | None
    opponent: Tensor | None

    def total(self, entropy_bonus: float | Tensor, shaping_weight: float | Tensor) -> Tensor:
        """The scalar to minimise, mean(agent) + beta mean(entropy) + w mean(opponent)."""
        total = self.agent.mean()
        if self.entropy is not None:
            total = total + entropy_bonus * self.entropy.mean()
        if self.opponent is not None:
            total = total + shaping_weight * self.opponent.mean()
        return total

    def detach(self) -> ActorLosses:
        entropy, opponent = (
            None if one is None else one.detach() for one in (self.entropy, self.opponent)
        )
        return ActorLosses(self.agent.detach(), entropy, opponent)


def advantages(
    rewards: Tensor,
    values: Tensor,
    settings: ActorCriticSettings,
    kind: str | None = None,
    ends: Ends | None = None,
    next_values: Tensor | None = None,
) -> Tensor:
    """Advantage of the agent's actions.

    "td0": A_t = r_t + gamma V_{t+1} - V_t for t < T, V_T bootstraps (an episode is truncated, it
    does not end). "gae": sum_k (gamma lambda)^k A^td0_{t+k}. "mc": A_t = G_t - V_t,
    G the discounted return without bootstrap.

    Args:
        rewards: `[T, B]`.
        values: `[T+1, B]`.
        kind: "td0", "gae" or "mc"; `settings.advantage` by default.
        ends: where episodes end: sums end there. After a termination V_{t+1} is 0; after a truncation
            gamma V_{t+1} is added to what was paid, in "mc" too.
        next_values: `[T, B]`, what stands for V_{t+1}; by default values[1:], see
            `SeatOutputs.next_values`.

    Returns:
        `[T, B]`, differentiable in values only if `settings.advantage` is "td0", with
        `advantage_gradient`.
    """
    kind = settings.advantage if kind is None else kind
    if settings.advantage != "td0" or not settings.advantage_gradient:
        values = values.detach()
        next_values = None if next_values is None else next_values.detach()
    following = values[1:] if next_values is None else next_values
    return _centre(_uncentred(rewards, values, settings, kind, ends, following), settings)


def _uncentred(
    rewards: Tensor,
    values: Tensor,
    settings: ActorCriticSettings,
    kind: str,
    ends: Ends | None,
    following: Tensor,
) -> Tensor:
    gamma = settings.gamma
    if kind == "gae":
        return generalized(rewards, values, gamma, settings.advantage_lambda, ends, following)
    if kind == "mc":
        return _returns(rewards, gamma, ends, following) - values[:-1]
    return torch.add(rewards - values[:-1], _unless(ends, following), alpha=gamma)


def shaping_advantages(
    rewards: Tensor,
    values: Tensor,
    settings: LOQASettings,
    kind: str | None = None,
    ends: Ends | None = None,
    next_values: Tensor | None = None,
) -> Tensor:
    """Advantage that weighs the opponent's policy in the "n-step" shaping loss, `[T+1-n, B]`.

    `advantages` over the T+1-n steps that have n rewards, always constant, and as published: "td0" takes the
    value after the last of these steps as 0.
    """
    kind = settings.advantage if kind is None else kind
    steps = rewards.shape[0] + 1 - settings.n_step
    values = values.detach()
    following = values[1:] if next_values is None else next_values.detach()
    if kind == "td0":
        result = rewards[:steps] - values[:steps]
        result[:-1] += settings.gamma * _unless(ends, following)[: steps - 1]
    else:
        result = _uncentred(rewards, values, settings, kind, ends, following)[:steps]
    return _centre(result, settings)


def _unless(ends: Ends | None, following: Tensor) -> Tensor:
    """The values of what comes next, 0 where nothing does."""
    return following if ends is None else following.masked_fill(ends.terminated, 0)


def _paid_until_done(
    rewards: Tensor, gamma: float, ends: Ends | None, following: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Rewards with gamma V added where an episode is cut, and where sums end: V of what would have come
    stands for its rewards, and no value of the next episode enters."""
    if ends is None:
        return rewards, None
    if ends.cut is not None:
        rewards = rewards + gamma * following.detach().masked_fill(~ends.cut, 0)
    return rewards, ends.done


def _returns(rewards: Tensor, gamma: float, ends: Ends | None, following: Tensor) -> Tensor:
    paid, done = _paid_until_done(rewards, gamma, ends, following)
    return ops.discounted_returns(paid, gamma, terminated=done)


def generalized(
    rewards: Tensor,
    values: Tensor,
    gamma: float,
    decay: float,
    ends: Ends | None,
    following: Tensor,
) -> Tensor:
    """Generalized advantages (Schulman et al. 2016) with lambda `decay`, constants; `following` is V of what
    comes after each step."""
    paid, done = _paid_until_done(rewards, gamma, ends, following)
    return ops.generalized_advantage(paid, values.detach(), gamma, decay, done)


def _centre(advantage: Tensor, settings: ActorCriticSettings) -> Tensor:
    if settings.advantage_baseline == "batch":
        advantage = advantage - advantage.mean(1, keepdim=True)
    if settings.advantage_scale == "batch":
        advantage = advantage / (advantage.detach().square().mean().sqrt() + 1e-6)
    return advantage


def opponent_q_values(
    log_probs: Tensor,
    rewards: Tensor,
    values: Tensor,
    settings: LOQASettings,
    ends: Ends | None = None,
    next_values: Tensor | None = None,
) -> Tensor:
    """Qhat of the opponent's actions: sampled returns, differentiable in the agent's policy.

    "loaded-dice": Qhat_s = r^j_s + gamma Rhat_{s+1} (last step: r^j), or Rhat_s with
    `current_reward_differentiable`; forward the discounted return R, and
    d Rhat_s / d l_k = (gamma lambda)^(k-s) (R_k - v_k) for k >= s; with `opponent_baseline`
    "batch", (R_k - v_k) less its mean over the batch.
    "n-step": the next n rewards less their mean over batch and time, then the value.

    Args:
        log_probs: `[T, B]` of the agent's own actions, l.
        rewards: `[T, B]` of the opponent.
        values: `[T+1, B]` of the opponent, taken as constants.
        ends, next_values: as in `advantages`; no action is a cause of anything in another episode.

    Returns:
        `[T, B]` ("loaded-dice") or `[T+1-n, B]` ("n-step").
    """
    values = values.detach()
    following = (values[1:] if next_values is None else next_values).detach()
    if settings.shaping == "loaded-dice":
        paid, done = _paid_until_done(rewards, settings.gamma, ends, following)
        if settings.opponent_baseline == "batch":
            errors = _returns(rewards, settings.gamma, ends, following) - values[:-1]
            values = torch.cat([values[:-1] + errors.mean(1, keepdim=True), values[-1:]])
        return ops.loaded_dice_q_values(
            paid, values, log_probs, settings.gamma, settings.dice_discount,
            settings.current_reward_differentiable, done,
        )  # fmt: skip
    flags = (None, None) if ends is None else (ends.terminated, ends.truncated)
    if next_values is not None:  # values are read after a window, nowhere else
        values = torch.cat([values[:1], following])
    return ops.n_step_dice_returns(
        rewards, values, log_probs, settings.gamma, settings.n_step, rewards.mean(), *flags
    )


def opponent_log_probs(
    q_values: Tensor, other_q_logsumexp: Tensor | None, settings: LOQASettings
) -> Tensor:
    """log pihat(b_t|s_t), the softmax in which the taken action's value is Qhat.

    With x = Qhat / tau and y = log sum_{b' != b} exp(q(b') / tau): log pihat = x - log(e^x + e^y).

    Where actions are numbers, pihat(b) = e^{q(b)/tau} / Int e^{q(b')/tau} db', and log pihat = x less the
    logarithm of an integral in which the one point b has no mass: d log pihat / dx = 1.

    Args:
        q_values: `[S, B]`, Qhat.
        other_q_logsumexp: `[S, B]`, y, a constant; None where actions are numbers: log pihat is then x.

    Returns:
        `[S, B]`; with `stop_normaliser_gradient` its derivative in x is 1.
    """
    scaled = q_values / settings.softmax_temperature
    if other_q_logsumexp is None:
        return scaled
    log_probs = F.logsigmoid(scaled - other_q_logsumexp.detach())
    if settings.stop_normaliser_gradient:
        return log_probs.detach() + (scaled - scaled.detach())
    return log_probs


def shaping_loss(
    log_probs: Tensor,
    advantage: Tensor,
    opponent: SeatOutputs,
    opponent_rewards: Tensor,
    settings: LOQASettings,
    ends: Ends | None = None,
) -> Tensor:
    """-mean_s(log pihat_s A_s), the loss through the opponent's policy.

    Args:
        log_probs: `[T, B]` of the agent's own actions.
        advantage: of the agent, `[T, B]` ("loaded-dice") or `[T+1-n, B]` ("n-step").
        opponent: evaluation of the opponent's seat; constants.
        opponent_rewards: `[T, B]`.
        ends: as in `advantages`.

    Returns:
        `[B]`, differentiable in log_probs and in advantage; the opponent gets no gradient.
    """
    q_values = opponent_q_values(
        log_probs, opponent_rewards, opponent.values, settings, ends, opponent.next_values
    )
    others = opponent.other_q_logsumexp(settings.softmax_temperature)
    others = None if others is None else others[: q_values.shape[0]]
    return -(opponent_log_probs(q_values, others, settings) * advantage).mean(0)


def actor_losses(
    agent: SeatOutputs,
    opponents: Sequence[tuple[SeatOutputs, Tensor]],
    rewards: Tensor,
    settings: ActorCriticSettings,
    ends: Ends | None = None,
) -> ActorLosses:
    """All parts of the actor's loss.

    Args:
        agent: what is said of the agent's seat, differentiable.
        opponents: what is said of each other seat, and its rewards `[T, B]`; the shaping losses are
            summed. None at all leaves the shaping loss out, and needs no more than the common settings.
        rewards: `[T, B]` of the agent's seat.
        ends: as in `advantages`.

    Raises:
        ValueError: fewer than n steps with "n-step".
    """
    log_probs = agent.taken_log_probs
    known = (ends, agent.next_values)
    advantage = advantages(rewards, agent.values, settings, None, *known)
    agent_loss = -(log_probs * advantage).mean(0)
    entropy_loss = -agent.entropies.mean(0) if settings.entropy_bonus else None
    if not opponents:
        return ActorLosses(agent_loss, entropy_loss, None)
    assert isinstance(settings, LOQASettings)
    kind = settings.advantage if settings.shaping_advantage == "same" else "td0"
    if settings.shaping == "n-step":
        if rewards.shape[0] < settings.n_step:
            raise ValueError(
                f"n-step shaping needs at least {settings.n_step} steps, got {rewards.shape[0]}"
            )
        advantage = shaping_advantages(rewards, agent.values, settings, kind, *known)
    elif kind != settings.advantage:
        advantage = advantages(rewards, agent.values, settings, kind, *known)
    losses = [
        shaping_loss(log_probs, advantage, opponent, paid, settings, ends)
        for opponent, paid in opponents
    ]
    return ActorLosses(agent_loss, entropy_loss, sum(losses[1:], losses[0]))


def critic_targets(
    rewards: Tensor,
    target: SeatOutputs | None,
    settings: ActorCriticSettings,
    ends: Ends | None = None,
) -> Tensor:
    """Regression targets of q_t(a_t), `[T, B]`; constants.

    "sarsa": r_t + gamma qbar_{t+1}(a_{t+1}), at the last step r + gamma Vbar_T;
    "argmax": r_t + gamma max_a qbar_{t+1}(a); "returns": sum_{k>=t} gamma^(k-t) r_k;
    "lambda": y_t = r_t + gamma ((1 - lambda) qbar_{t+1}(a_{t+1}) + lambda y_{t+1}), ending in the
    same Vbar_T as "sarsa" (Sutton and Barto 2018, section 12.1).
    What follows a termination is worth 0. Where an episode is cut, Vbar (in "argmax" max qbar) of the
    observation that followed stands for the rest, in "returns" too.

    Args:
        rewards: `[T, B]`.
        target: evaluation by the target network (bars); for "returns" used only where episodes are cut.
        ends: as in `advantages`.

    Raises:
        ValueError: target is None and `critic_target` needs it.
    """
    cuts = ends is not None and ends.truncated is not None
    if settings.critic_target == "returns" and not cuts:
        done = None if ends is None else ends.terminated
        return ops.discounted_returns(rewards, settings.gamma, terminated=done)
    if target is None:
        raise ValueError(f"critic_target {settings.critic_target!r} needs a target network")
    following = target.next_values.detach()
    if settings.critic_target == "returns":
        return _returns(rewards, settings.gamma, ends, following)
    if settings.critic_target == "lambda":
        values = torch.cat([target.taken_q_values, target.values[-1:]]).detach()
        decay = settings.critic_lambda
        corrections = generalized(rewards, values, settings.gamma, decay, ends, following)
        return corrections + values[:-1]
    if settings.critic_target == "argmax":
        following = target.next_max_q_values
    else:
        taken = torch.cat([target.taken_q_values[1:], target.values[-1:]])
        cut = None if ends is None else ends.cut
        following = taken if cut is None else torch.where(cut, following, taken)
    return torch.add(rewards, _unless(ends, following.detach()), alpha=settings.gamma)


def critic_losses(agent: SeatOutputs, targets: Tensor) -> Tensor:
    """Huber loss (delta 1) of q_t(a_t) against constants `targets [T, B]`, mean over time, `[B]`."""
    return F.huber_loss(agent.taken_q_values, targets, reduction="none").mean(0)
