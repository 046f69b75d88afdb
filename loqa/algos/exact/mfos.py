"""M-FOS in exact games: PPO on a meta-game whose actions are policies (Lu et al., ICML 2022)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Generator, Tensor

from loqa._checks import Count, Rate, Share, check_fields
from loqa.algos.exact.games import ExactGame
from loqa.algos.exact.lola import LOLASettings
from loqa.algos.exact.play import NaiveSettings, Play
from loqa.algos.exact.policies import Table
from loqa.ops import discounted_returns, meta_game
from loqa.ops.meta_game import TanhNetworks
from loqa.runtime.random import stream


@dataclass(frozen=True)
class MFOSSettings:
    """Of M-FOS. A meta-step is one whole game between the logits that the agent chose and the
    opponent's, which then learns from it.

    Attributes:
        opponent: "naive" or "lola" (form "taylor-full"), new ones for each meta-episode; or "self", another
            M-FOS agent in the other seat.
        opponent_lr: rate of the opponent's update, and of the step that a "lola" one expects.
        batch_size: B, meta-games in an iteration (published: 4096).
        meta_steps: games in a meta-episode.
        lr: Adam's (published against "self": 0.0002).
        meta_discount: of the rewards of meta-steps.
        epochs: steps on each batch.
        clip: of PPO's ratios.
        entropy_bonus: weight of the entropy.
        meta_hidden: units of each network.
        self_play_decay: against "self" an iteration is played against naive learners with probability
            1 - `self_play_decay` times the iterations before it.
    """

    opponent: Literal["naive", "lola", "self"] = "naive"
    opponent_lr: Rate = 1.0
    batch_size: Count = 256
    meta_steps: Count = 100
    lr: Rate = 0.002
    meta_discount: Share = 0.99
    epochs: Count = 4
    clip: Rate = 0.2
    entropy_bonus: Rate = 0.01
    meta_hidden: Count = 256
    self_play_decay: Rate = 0.0015

    def __post_init__(self) -> None:
        check_fields(self)
        if self.batch_size * self.meta_steps < 2:
            raise ValueError("returns are normalised: batch_size * meta_steps must be at least 2")


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
    """Discounted returns of `rewards [T, R, B]`, normalised over meta-steps and games of each run.

    (G - mean G) / (sd G + 1e-5)
    """
    returns = discounted_returns(rewards, discount)
    mean = returns.mean((0, 2), keepdim=True)
    return (returns - mean) / (returns.std((0, 2), keepdim=True) + 1e-5)


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


@dataclass(frozen=True)
class MetaGame:
    """The meta-game of one seat against a learner.

    Attributes:
        game: that is played whole in each meta-step.
        learner: how the opponent updates its logits.
        seat: of the agent.
    """

    game: ExactGame
    learner: NaiveSettings | LOLASettings
    seat: int = 0

    def step(self, mine: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A game of `mine`, the logits that the agent chose, `[..., S]`, and `theirs`; what it teaches.

        Returns:
            The state that the agent sees then: both players' P(C) *in this game*, own first,
            `[..., 2 S]` (the opponent's update has to be guessed); rewards per step of both, `[2, ...]`,
            own first; the opponent's new logits.
        """
        state = torch.sigmoid(torch.cat([mine, theirs], -1))
        values, gradient = self.game.others_gradient(mine, theirs, self.seat)
        if isinstance(self.learner, NaiveSettings):
            learned = self.learner.climb(theirs, gradient)
        else:
            play = Play(self.game, Table(self.game.num_states), 1 - self.seat)
            both = (one.detach().requires_grad_() for one in (theirs, mine))
            learned = self.learner.step(play, *both).detach()
        return state, self.game.weight * values, learned


class MFOS:
    """Agents of R independent runs that learn in lockstep.

    Args:
        game: what is played. The agent has seat 0; against "self" a second one has seat 1.
        settings: of the meta-game and of PPO.
        runs: R.
        seed: of everything random.
    """

    def __init__(self, game: ExactGame, settings: MFOSSettings, runs: int, seed: int = 0) -> None:
        self.game, self.settings, self._runs, self._seed = game, settings, runs, seed
        count = 2 if settings.opponent == "self" else 1
        size = game.num_states, settings.meta_hidden, runs
        self.agents = [
            MetaPolicy.drawn(*size, stream(seed, "M-FOS", seat)) for seat in range(count)
        ]
        self._optimizers = [
            torch.optim.Adam(agent.parameters(), lr=settings.lr) for agent in self.agents
        ]

    def iterate(self, iteration: int) -> tuple[Tensor, Tensor]:
        """A meta-episode of every agent, and PPO's epochs on it; `iteration` counts from 1.

        Returns:
            P(C) of both players in the last game, the mean over the batch, `[2, R, S]`; rewards per step,
            the mean over the batch and meta-steps, `[2, R]`. Against "self" both are of the agents where
            they meet, and of each agent where each meets naive learners.
        """
        settings, generator = self.settings, stream(self._seed, "M-FOS iteration", iteration)
        naive = max(0.0, 1 - settings.self_play_decay * (iteration - 1))
        if settings.opponent == "self" and torch.rand((), generator=generator).item() >= naive:
            rollouts = self._against_each_other(generator)
        else:
            rollouts = [self._against_learners(seat, generator) for seat in range(len(self.agents))]
        for agent, optimizer, rollout in zip(self.agents, self._optimizers, rollouts, strict=True):
            agent.improve(rollout, optimizer, settings)
        last = rollouts[0].last
        means = rollouts[0].rewards.mean((1, 3))
        if len(rollouts) == 2:
            means = torch.stack([one.rewards[0].mean((0, 2)) for one in rollouts])
            last = torch.cat([one.last[..., : self.game.num_states] for one in rollouts], -1)
        return torch.stack(last.mean(1).chunk(2, -1)), means

    def parameters(self) -> dict[str, Tensor]:
        """Of all networks, "seat0.actor.0.weight" and so on, each `[R, ...]`."""
        return {
            f"seat{seat}.{name}": one.detach()
            for seat, agent in enumerate(self.agents)
            for name, one in agent.weights.items()
        }

    def _draw(self, generator: Generator) -> Tensor:
        shape = (self._runs, self.settings.batch_size, self.game.num_states)
        return torch.randn(shape, generator=generator)

    def _against_learners(self, seat: int, generator: Generator) -> Rollout:
        rate = self.settings.opponent_lr
        lola = LOLASettings(lr=rate, inner_lr=rate, form="taylor-full")
        meta = MetaGame(
            self.game, lola if self.settings.opponent == "lola" else NaiveSettings(rate), seat
        )
        state, _, theirs = meta.step(self._draw(generator), self._draw(generator))
        steps = []
        for _ in range(self.settings.meta_steps):
            seen, chosen = state, self.agents[seat].act(state, self._draw(generator))
            state, rewards, theirs = meta.step(chosen[0], theirs)
            steps.append((seen, *chosen, rewards))
        return Rollout.of_steps(steps, state)

    def _against_each_other(self, generator: Generator) -> list[Rollout]:
        now = [self._draw(generator), self._draw(generator)]
        states = [torch.sigmoid(torch.cat(each, -1)) for each in (now, now[::-1])]
        steps: list[list[tuple[Tensor, ...]]] = [[], []]
        for _ in range(self.settings.meta_steps):
            chosen = [self.agents[seat].act(states[seat], self._draw(generator)) for seat in (0, 1)]
            now = [action for action, _ in chosen]
            with torch.no_grad():
                rewards = self.game.weight * torch.stack(self.game.values(now[0], now[1], 0))
            for seat, each in enumerate((rewards, rewards.flip(0))):
                steps[seat].append((states[seat], *chosen[seat], each))
            states = [torch.sigmoid(torch.cat(each, -1)) for each in (now, now[::-1])]
        return [Rollout.of_steps(*each) for each in zip(steps, states, strict=True)]
