"""The networks of M-FOS in exact games, and PPO on them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Generator, Tensor

from loqa.ops import discounted_returns, meta_game
from loqa.ops.meta_game import TanhNetworks

if TYPE_CHECKING:
    from loqa.algos.exact.mfos import MFOSSettings

_EPSILON = 1e-5  # beside the standard deviation of returns


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

    @classmethod
    def of_steps(cls, steps: Iterable[tuple[Tensor, ...]], last: Tensor) -> Self:
        """Of state, action, log-probability and rewards `[2, R, B]` of each meta-step."""
        states, actions, log_probs, rewards = map(torch.stack, zip(*steps, strict=True))
        return cls(states, actions, log_probs, rewards.transpose(0, 1), last)


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
            for layer, inputs, units in ((0, 2 * num_states, hidden), (2, hidden, outputs)):
                for kind, rows in (("weight", inputs), ("bias", 1)):
                    uniform = torch.rand((runs, rows, units), generator=generator)
                    weights[f"{head}.{layer}.{kind}"] = (2 * uniform - 1) / math.sqrt(inputs)
        return cls(weights)

    def parameters(self) -> list[Tensor]:
        """Of both networks."""
        return list(self.weights.values())

    def act(self, states: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions and their log-probabilities, see `loqa.ops.meta_game.act`; without derivatives."""
        return meta_game.act(TanhNetworks(*self.parameters()[:4]), states, noise)

    def improve(
        self, rollout: Rollout, optimizer: torch.optim.Optimizer, settings: MFOSSettings
    ) -> list[Tensor]:
        """PPO: some epochs on the whole of a rollout; the loss of each, `[R]`.

        See `loqa.ops.meta_game.ppo`. G are normalised returns, and A is not normalised again.
        """
        returns = normalised_returns(rollout.rewards[0], settings.meta_discount)
        arrays = (rollout.states, rollout.actions, rollout.log_probs, returns)
        states, actions, log_probs, returns = (one.transpose(0, 1).flatten(1, 2) for one in arrays)
        batch = states, actions, log_probs, returns
        losses, parameters = [], self.parameters()
        actor, critic = TanhNetworks(*parameters[:4]), TanhNetworks(*parameters[4:])
        for _ in range(settings.epochs):
            loss, *gradients = meta_game.ppo(
                actor, critic, batch, settings.clip, settings.entropy_bonus
            )
            for one, gradient in zip(parameters, (*gradients[0], *gradients[1]), strict=True):
                one.grad = gradient
            optimizer.step()
            losses.append(loss)
        return losses
