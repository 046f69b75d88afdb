"""The networks of M-FOS in exact games, and PPO on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from loqa.ops import discounted_returns

if TYPE_CHECKING:
    from loqa.algos.exact.mfos import MFOSSettings

_EPSILON = 1e-5  # beside the standard deviation of returns
_VALUE_WEIGHT = 0.5
_PART = 2048  # games of all runs, of which gradients are computed at once


@dataclass
class Rollout:
    """A meta-episode of R runs, B games side by side.

    Attributes:
        states: P(C) of both players in the game before, own first, `[T, R, B, 2 S]`.
        actions: logits that the agent chose, `[T, R, B, S]`.
        log_probs: of them, `[T, R, B]`.
        rewards: per step, own and the other's, `[2, T, R, B]`.
        last: the state after it, `[R, B, 2 S]`.
    """

    states: Tensor
    actions: Tensor
    log_probs: Tensor
    rewards: Tensor
    last: Tensor


class Recording:
    """A rollout that is being played."""

    def __init__(self) -> None:
        self._steps: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def add(self, state: Tensor, action: Tensor, log_prob: Tensor, rewards: Tensor) -> None:
        """A meta-step; `rewards` are `[2, R, B]`."""
        self._steps.append((state, action, log_prob, rewards))

    def whole(self, last: Tensor) -> Rollout:
        """All of it, `last` being the state that came after."""
        states, actions, log_probs, rewards = (
            torch.stack(each) for each in zip(*self._steps, strict=True)
        )
        return Rollout(states, actions, log_probs, rewards.transpose(0, 1), last)


def gaussian_log_prob(action: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """log N(a; m, diag v) = -1/2 sum_k [ (a_k - m_k)^2 / v_k + log(2 pi v_k) ], `[..., S]` -> `[...]`."""
    each = (action - mean).square() / variance + torch.log(2 * math.pi * variance)
    return -0.5 * each.sum(-1)


def normalised_returns(rewards: Tensor, discount: float) -> Tensor:
    """Discounted returns without bootstrap, normalised over meta-steps and games of each run.

        (G - mean G) / (sd G + 1e-5)

    Args:
        rewards: the agent's, `[T, R, B]`.
        discount: of meta-steps.
    """
    returns = discounted_returns(rewards, discount)
    mean = returns.mean((0, 2), keepdim=True)
    return (returns - mean) / (returns.std((0, 2), keepdim=True) + _EPSILON)


class MetaPolicy:
    """Actor and critic of R independent runs: 2 S - tanh H - (2 S | 1).

    The first S outputs of the actor are a mean, the softplus of the rest a variance.

    Args:
        weights: by name: "actor.0.weight" `[R, 2 S, H]`, "actor.0.bias" `[R, 1, H]`, "actor.2.weight"
            `[R, H, 2 S]`, "actor.2.bias"; the same of "critic", whose last layer has one output.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = {name: one.detach().requires_grad_() for name, one in weights.items()}

    @classmethod
    def drawn(cls, num_states: int, hidden: int, runs: int, generator: Generator) -> Self:
        """Weights and biases from U(-k, k), k = 1 / sqrt(inputs of the layer)."""
        weights = {}
        for head, outputs in (("actor", 2 * num_states), ("critic", 1)):
            sizes = ((0, 2 * num_states, hidden), (2, hidden, outputs))
            for layer, inputs, units in sizes:
                for kind, rows in (("weight", inputs), ("bias", 1)):
                    uniform = torch.rand((runs, rows, units), generator=generator)
                    weights[f"{head}.{layer}.{kind}"] = (2 * uniform - 1) / math.sqrt(inputs)
        return cls(weights)

    def parameters(self) -> list[Tensor]:
        """Of both networks."""
        return list(self.weights.values())

    def gaussian(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the action, `[R, M, 2 S]` -> `[R, M, S]` each."""
        mean, spread = self._network("actor", states).chunk(2, -1)
        return mean, softplus(spread)

    def values(self, states: Tensor) -> Tensor:
        """The critic's, `[R, M, 2 S]` -> `[R, M]`."""
        return self._network("critic", states)[..., 0]

    def _network(self, head: str, states: Tensor) -> Tensor:
        """Games are columns of every product: as rows, of ten numbers each, they take three times as long.

        tanh x is 2 sigmoid(2 x) - 1, whose 2 and 1 the layers take in: torch's sigmoid is six times as
        fast on the CPU, and its derivative needs as little.
        """
        (weight, bias), (last, last_bias) = (
            [self.weights[f"{head}.{layer}.{kind}"].mT for kind in ("weight", "bias")]
            for layer in (0, 2)
        )
        columns = states.mT.contiguous()
        hidden = torch.sigmoid(torch.baddbmm(2 * bias, 2 * weight, columns))
        return torch.baddbmm(last_bias - last.sum(-1, keepdim=True), 2 * last, hidden).mT

    def improve(
        self, rollout: Rollout, optimizer: torch.optim.Optimizer, settings: MFOSSettings
    ) -> list[Tensor]:
        """PPO: some epochs on the whole of a rollout; the loss of each, `[R]`.

            L = -mean min( x A, clip(x) A ) + 1/2 mean (v - G)^2 - c mean H,   x = pi(a) / pi_old(a)

        G are normalised returns, A = G - v, not normalised again.
        """
        returns = normalised_returns(rollout.rewards[0], settings.meta_discount)
        states, actions, old, returns = (
            _by_run(one) for one in (rollout.states, rollout.actions, rollout.log_probs, returns)
        )
        # The mean over all games, in parts whose hidden units stay in the cache.
        count = old.shape[-1]
        size = max(_PART // len(old), 1 + count // 64)
        losses = []
        for _ in range(settings.epochs):
            optimizer.zero_grad()
            loss = torch.zeros_like(old[:, 0])
            for first in range(0, count, size):
                part = slice(first, first + size)
                whole = (states[:, part], actions[:, part], old[:, part], returns[:, part])
                found = self._loss(*whole, settings) * (whole[-1].shape[-1] / count)
                torch.autograd.backward(found.sum())
                loss += found.detach()
            optimizer.step()
            losses.append(loss)
        return losses

    def _loss(
        self, states: Tensor, actions: Tensor, old: Tensor, returns: Tensor, settings: MFOSSettings
    ) -> Tensor:
        mean, variance = self.gaussian(states)
        values = self.values(states)
        ratios = torch.exp(gaussian_log_prob(actions, mean, variance) - old)
        advantages = returns - values.detach()
        clipped = ratios.clamp(1 - settings.clip, 1 + settings.clip)
        surrogate = torch.minimum(ratios * advantages, clipped * advantages)
        entropy = 0.5 * torch.log(2 * math.pi * math.e * variance).sum(-1)
        each = _VALUE_WEIGHT * (values - returns).square() - surrogate
        return (each - settings.entropy_bonus * entropy).mean(-1)


def _by_run(one: Tensor) -> Tensor:
    """`[T, R, B, ...]` as `[R, T B, ...]`."""
    return one.transpose(0, 1).flatten(1, 2)
