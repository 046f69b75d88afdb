"""Matches between players: batches of whole episodes, reproducible by (seed, players, seat)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from loqa.agents.player import Player
from loqa.evaluation.match_settings import Settings, make_env
from loqa.evaluation.sitter import Sitter
from loqa.games.matches import Numbers
from loqa.runtime.random import stream, stream_seed


@dataclass(frozen=True)
class Episodes:
    """What B episodes came to, in seat order.

    Attributes:
        rewards: mean reward per step, `[B, A]` float64.
        returns: discounted return, `[B, A]` float64.
        statistics: of the whole batch, name -> a number for each seat; empty if not asked for.
    """

    rewards: Tensor
    returns: Tensor
    statistics: Numbers


class Actors:
    """All players' choices, step by step, from the start of an episode.

    Every answer of a policy is checked (`loqa.evaluation.sitter.Sitter`). That costs a comparison of B
    sums, which choosing needs anyway: 15 us a seat and step of 256 games. A policy gets a copy of its
    observations, which it may keep or change.

    Args:
        env: the environment, which knows the scripted players.
        players: in seat order.

    Attributes:
        sitters: in seat order.
        states: of their policies, `[B, S]` each; None where there is no policy.

    Raises:
        PolicyError: a policy has no first state for B games.
        ValueError: a strategy of two actions in a game of more.
    """

    def __init__(self, env: Any, players: Sequence[Player]) -> None:
        self.env = env
        self.sitters = [Sitter(env, player) for player in players]
        self._scripts = [one.script for one in self.sitters]
        self._scripted = any(one.policy is None for one in self.sitters)
        self.states: list[Tensor | None] = [
            None if one.policy is None else one.initial_state(env.num_envs) for one in self.sitters
        ]

    def choose(self, obs: Tensor, draw: Tensor) -> Tensor:
        """Actions `[B, A]` for observations `[B, A, ...]`, by inversion of uniform numbers `[B, A]`; of a box
        `[B, A, D]`, as the policies say.

        Raises:
            PolicyError: a policy fails, or its answer is none.
        """
        actions: Tensor
        actions = self.env.scripted_actions(self._scripts) if self._scripted else self._nothing()
        for seat, one in enumerate(self.sitters):
            state = self.states[seat]
            if state is None:
                continue
            answer, self.states[seat] = one.answer(obs[:, seat], state)
            if self.env.spec.action_box is not None:
                actions[:, seat] = answer
                continue
            edges = answer.exp().cumsum(-1)
            one.check_sums(edges[:, -1])
            chosen = (draw[:, seat, None] * edges[:, -1:] >= edges[:, :-1]).sum(-1)
            actions[:, seat] = 1 - chosen if one.swapped else chosen
        return actions

    def _nothing(self) -> Tensor:
        """Memory for actions."""
        spec, size = self.env.spec, (self.env.num_envs, len(self.sitters))
        if spec.action_box is None:
            return torch.empty(size, dtype=torch.uint8, device="cpu")
        return torch.empty((*size, spec.action_size), dtype=torch.float32, device="cpu")


class Match:
    """Players in fixed seats, played in blocks of episodes.

    Block n is the same whenever it is played: its draws are a function of (seed, what the players
    do, seats, stream, n).

    Args:
        players: of each seat.
        settings: of the game.
        block: B, episodes that are played side by side.
        num_threads: of the simulator.
        statistics: whether to compute what the literature measures.
        stream: tells matches of a player against itself apart.

    Attributes:
        env: the environment.
        discount: of the discounted return.
    """

    def __init__(
        self,
        players: Sequence[Player],
        settings: Settings,
        block: int,
        num_threads: int | None = None,
        statistics: bool = True,
        stream: int = 0,
    ) -> None:
        self.players, self.block, self.statistics = players, block, statistics
        parts = [settings.seed, stream, *(player.digest for player in players)]
        key = "/".join(map(str, parts)).encode()
        self._key = int.from_bytes(hashlib.sha256(key).digest()[:8], "little")
        self.rules = settings.matches
        self.env = make_env(settings, block, self._key, num_threads)
        natural = self.env.spec.discount
        self.discount = natural if settings.discount is None else settings.discount
        steps = torch.arange(self.env.spec.episode_length, dtype=torch.float64, device="cpu")
        self._discounts = self.discount**steps

    def play(self, number: int) -> Episodes:
        """Block `number` of episodes."""
        generator = stream(self._key, "match actions", number)
        first_obs = self.env.reset(seed=stream_seed(self._key, "match episodes", number))
        with torch.inference_mode():
            natively = self.rules.play_natively(
                self.env, self.players, self.env.spec.episode_length
            )
            obs, actions, rewards = natively or self._stepwise(first_obs, generator)
            paid = rewards.double()
            statistics = {}
            if self.statistics:
                assert obs is not None
                statistics = self.rules.statistics(self.env, obs, actions, rewards)
            returns = torch.tensordot(self._discounts, paid, 1)
            return Episodes(paid.mean(0), returns, statistics)

    def _stepwise(
        self, obs: Tensor, generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """observations [T+1, B, A, ...] (None unless statistics need them), actions and rewards
        [T, B, A]."""
        env, steps = self.env, self.env.spec.episode_length
        actors = Actors(env, self.players)
        draws = uniform((steps, self.block, len(self.players)), generator)
        all_obs = [obs.clone()] if self.statistics else []
        all_actions, all_rewards = [], []
        for draw in draws:
            actions = actors.choose(obs, draw)
            obs, rewards, _, _ = env.step(actions)
            if self.statistics:
                all_obs.append(obs.clone())
            all_actions.append(actions)
            all_rewards.append(rewards.clone())
        seen = torch.stack(all_obs) if self.statistics else None
        return seen, torch.stack(all_actions), torch.stack(all_rewards)


def uniform(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Uniform numbers in [0, 1), float32 whatever torch's default is."""
    return torch.rand(tuple(shape), generator=generator, dtype=torch.float32, device="cpu")


def actor(env: Any, players: Sequence[Player], seed: int) -> Callable[[Tensor], Tensor]:
    """Choices of players in one episode: observations `[B, A, ...]` to actions `[B, A]`."""
    actors = Actors(env, players)
    generator = stream(seed, "watched actions")

    def act(obs: Tensor) -> Tensor:
        with torch.inference_mode():
            return actors.choose(obs, uniform(obs.shape[:2], generator))

    return act
