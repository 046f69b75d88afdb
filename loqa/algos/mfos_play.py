"""M-FOS on the Coin Game: meta-episodes, and agents that learn from them (Lu et al., ICML 2022).

In a meta-episode an agent meets a new naive learner, which learns from each inner episode by PPO, or another
agent, with whom it shares nothing but the boards. Every board is played S steps; the published code plays
S - 1 and lets the last one pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from loqa import _checks
from loqa.algos.mfos import MetaEpisode, MFOSNetwork, meta_returns, normalised
from loqa.algos.ppo import ppo_loss
from loqa.envs.base import Env
from loqa.ops import discounted_returns
from loqa.runtime.random import stream, stream_seed


@dataclass(frozen=True)
class MFOSSettings:
    """Of the meta-game and of both players' PPO; the defaults are as published.

    Attributes:
        inner_episodes: E, of a meta-episode.
        lr: Adam's.
        meta_discount: of steps, over the whole meta-episode.
        epochs: steps on each meta-episode, on the whole of it.
        clip_ratio: of PPO, the agent's and the naive learner's.
        self_play_decay: an iteration is played against naive learners with probability 1 -
            `self_play_decay` times the iterations before it, else the two agents meet.
        inner_lr: the naive learner's Adam.
        inner_discount: of its steps, within an inner episode.
        inner_epochs: its steps on each inner episode.
        inner_entropy: its entropy bonus.
    """

    inner_episodes: int = 16
    lr: float = 2e-4
    meta_discount: float = 0.995
    epochs: int = 16
    clip_ratio: float = 0.2
    self_play_decay: float = 0.005
    inner_lr: float = 5e-3
    inner_discount: float = 0.96
    inner_epochs: int = 80
    inner_entropy: float = 0.01

    def __post_init__(self) -> None:
        for name in ("inner_episodes", "epochs", "inner_epochs"):
            _checks.integer(name, getattr(self, name), 1, 2**20)
        for name in ("meta_discount", "inner_discount"):
            _checks.real(name, getattr(self, name), 0, 1)
        for name in ("lr", "clip_ratio", "self_play_decay", "inner_lr", "inner_entropy"):
            _checks.real(name, getattr(self, name), 0)


@dataclass(frozen=True)
class Inner:
    """What one player saw, did and was paid in an inner episode: `[S, B, ...]`."""

    obs: Tensor
    actions: Tensor
    log_probs: Tensor
    rewards: Tensor


class Player(ABC):
    """Sits in a seat for a meta-episode."""

    @abstractmethod
    def begin(self) -> None:
        """Before each inner episode."""

    @abstractmethod
    def act(self, obs: Tensor) -> Tensor:
        """Log-probabilities `[B, K]`."""

    @abstractmethod
    def after(self, episode: Inner) -> None:
        """After each inner episode."""


class Steering(Player):
    """An agent of M-FOS: remembers, and does not learn before the meta-episode is over."""

    def __init__(self, network: MFOSNetwork) -> None:
        self._network = network
        self._memory = torch.ones_like(network.meta_end.bias)

    def begin(self) -> None:
        self._state: Tensor | None = None

    def act(self, obs: Tensor) -> Tensor:
        self._state = self._network.actor(obs[None], self._state)[0]
        return self._network.log_probs(self._state, self._memory)

    def after(self, episode: Inner) -> None:
        with torch.no_grad():
            self._memory = self._network.next_memory(episode.obs[:, None])[0]


class NaiveLearner(Player, nn.Module):
    """PPO without memory: two circular 3 x 3 convolutions of 2 channels, linear 8; actor and critic apart."""

    def __init__(self, shape: Sequence[int], num_actions: int, settings: MFOSSettings) -> None:
        nn.Module.__init__(self)
        planes, height, width = shape
        self._settings = settings

        def head(outputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(planes, 2, 3, padding=1, padding_mode="circular"), nn.ReLU(),
                nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), nn.ReLU(),
                nn.Flatten(), nn.Linear(2 * height * width, 8), nn.ReLU(), nn.Linear(8, outputs),
            )  # fmt: skip

        self.actor, self.critic = head(num_actions), head(1)
        self._optimizer = torch.optim.Adam(self.parameters(), settings.inner_lr)

    def begin(self) -> None:
        pass

    def act(self, obs: Tensor) -> Tensor:
        logits: Tensor = self.actor(obs)
        return logits.log_softmax(-1)

    def after(self, episode: Inner) -> None:
        """PPO on normalised returns G, with A = G - v."""
        settings = self._settings
        returns = normalised(discounted_returns(episode.rewards, settings.inner_discount))
        obs, returns = episode.obs.flatten(0, 1), returns.flatten()
        actions, before = episode.actions.flatten(), episode.log_probs.flatten()
        for _ in range(settings.inner_epochs):
            table, values = self.act(obs), self.critic(obs)[:, 0]
            taken = table.gather(-1, actions[:, None])[:, 0]
            loss = ppo_loss(taken, before, returns - values.detach(), settings.clip_ratio)
            entropy = -(table.exp() * table).sum(-1).mean()
            loss = loss + (values - returns).square().mean() / 2 - settings.inner_entropy * entropy
            _descend(self._optimizer, loss)


class MFOS:
    """Two agents, one for each seat.

    Args:
        env: the Coin Game by the rules mfos22 (or a game whose observations are boards), of an episode's
            S steps and B boards.
        settings: of the meta-game and of PPO.
        seed: of everything random.

    Raises:
        ValueError: a game of other than two players, or whose observations are no boards.
    """

    def __init__(self, env: Env, settings: MFOSSettings, seed: int = 0) -> None:
        spec = env.spec
        if spec.num_players != 2 or len(spec.obs_shape) != 3:
            raise ValueError(
                "M-FOS plays games of two players with observations [C, H, W], got "
                f"{spec.num_players} players and {list(spec.obs_shape)}"
            )
        self.env, self.settings, self._seed = env, settings, seed
        planes, height, width = spec.obs_shape
        with _drawn_by(seed, "M-FOS networks"):
            self.agents = [
                MFOSNetwork(height, width, int(spec.num_actions or 0), planes) for _ in range(2)
            ]
        self._optimizers = [torch.optim.Adam(one.parameters(), settings.lr) for one in self.agents]

    def iterate(self, iteration: int) -> dict[str, Tensor]:
        """A meta-episode of each agent, and its update.

        Args:
            iteration: from 1.

        Returns:
            For the agent of each seat "reward 0", "reward 1": per step, the mean over the meta-episode;
            "loss 0", "loss 1": of the last epoch.
        """
        naive = 1 - self.settings.self_play_decay * (iteration - 1)
        generator = stream(self._seed, "M-FOS against whom", iteration)
        if torch.rand((), generator=generator).item() >= naive:
            both = self.play([Steering(one) for one in self.agents], iteration, "each other")
        else:
            both = []
            for seat, agent in enumerate(self.agents):
                players: list[Player] = [Steering(agent)]
                players.insert(1 - seat, self._naive(iteration, seat))
                both.append(self.play(players, iteration, f"naive {seat}")[seat])
        numbers = {}
        for seat, episodes in enumerate(both):
            numbers[f"reward {seat}"] = torch.stack([one.rewards for one in episodes]).mean()
            numbers[f"loss {seat}"] = self._improve(seat, episodes)
        return numbers

    @torch.no_grad()
    def play(self, players: Sequence[Player], iteration: int, name: str) -> list[list[Inner]]:
        """A meta-episode; what each player saw, inner episode by inner episode."""
        generator = stream(self._seed, f"M-FOS actions, {name}", iteration)
        found: list[list[Inner]] = [[], []]
        for number in range(self.settings.inner_episodes):
            seed = stream_seed(self._seed, f"M-FOS episodes, {name}", iteration, number)
            for seat, episode in enumerate(self._inner(players, seed, generator)):
                with torch.enable_grad():
                    players[seat].after(episode)
                found[seat].append(episode)
        return found

    def _inner(self, players: Sequence[Player], seed: int, generator: Generator) -> list[Inner]:
        obs = self.env.reset(seed=seed)
        steps: list[list[tuple[Tensor, ...]]] = [[], []]
        for player in players:
            player.begin()
        for _ in range(self.env.spec.episode_length):
            seen = obs.float().clone()
            chosen = []
            for seat, player in enumerate(players):
                table = player.act(seen[:, seat])
                action = torch.multinomial(table.exp(), 1, generator=generator)
                chosen.append((action[:, 0], table.gather(-1, action)[:, 0]))
            obs, rewards, *_ = self.env.step(torch.stack([action for action, _ in chosen], 1))
            for seat, (action, log_prob) in enumerate(chosen):
                steps[seat].append((seen[:, seat], action, log_prob, rewards[:, seat].clone()))
        return [Inner(*(torch.stack(x) for x in zip(*one, strict=True))) for one in steps]

    def _naive(self, iteration: int, seat: int) -> NaiveLearner:
        spec = self.env.spec
        with _drawn_by(self._seed, "M-FOS naive learner", iteration, seat):
            return NaiveLearner(spec.obs_shape, int(spec.num_actions or 0), self.settings)

    def _improve(self, seat: int, episodes: Sequence[Inner]) -> Tensor:
        obs, actions, log_probs, rewards = (
            torch.stack([getattr(one, name) for one in episodes])
            for name in ("obs", "actions", "log_probs", "rewards")
        )
        returns = normalised(meta_returns(rewards, self.settings.meta_discount))
        meta = MetaEpisode(obs, actions, log_probs, returns)
        for _ in range(self.settings.epochs):
            loss = meta.loss(self.agents[seat], self.settings.clip_ratio)
            _descend(self._optimizers[seat], loss)
        return loss.detach()


@contextmanager
def _drawn_by(seed: int, purpose: str, *numbers: int) -> Iterator[None]:
    """Torch's initial weights, as a function of a stream; the global generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, purpose, *numbers))
        yield


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
