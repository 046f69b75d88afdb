"""Matches between players: batches of whole episodes, reproducible by (seed, players, seat)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from loqa.agents.player import Player
from loqa.agents.policy import Policy, PolicyError
from loqa.evaluation.match_settings import Settings, make_env
from loqa.games import registry
from loqa.games.matches import Numbers
from loqa.runtime.random import stream, stream_seed

_SUMS_TO_1 = (
    1e-2  # log-probabilities in bfloat16 are that far off, logits and probabilities farther
)


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

    Every answer of a policy is checked: shapes and types, and that the probabilities of each row sum
    to 1 (NaN does not). That costs a comparison of B sums, which choosing needs anyway: 15 us a seat
    and step of 256 games. A policy gets a copy of its observations, which it may keep or change.

    Args:
        env: the environment, which knows the scripted players.
        players: in seat order.

    Attributes:
        policies: of each seat; None for a scripted player.
        states: of the policies, `[B, S]` each; None where there is no policy.

    Raises:
        PolicyError: a policy has no first state for B games.
        ValueError: a strategy of two actions in a game of more.
    """

    def __init__(self, env: Any, players: Sequence[Player]) -> None:
        self.env, self.rules = env, registry.matches_of(env.spec.name)
        self.policies = [self.rules.policy_in(env, player) for player in players]
        self._names = [player.name for player in players]
        self._swapped = [self.rules.swaps_codes(env, player) for player in players]
        self._scripts = [
            player.scripted if policy is None else None
            for player, policy in zip(players, self.policies, strict=True)
        ]
        self.states: list[Tensor | None] = [None] * len(players)
        for seat, policy in enumerate(self.policies):
            if policy is not None:
                try:
                    state = policy.initial_state(env.num_envs)
                except Exception as error:
                    raise PolicyError(
                        f"{self._names[seat]} failed in initial_state({env.num_envs}): "
                        f"{type(error).__name__}: {error}"
                    ) from error
                self.states[seat] = self._checked_state(seat, "initial_state", state)

    def choose(self, obs: Tensor, draw: Tensor) -> Tensor:
        """Actions `[B, A]` for observations `[B, A, ...]`, by inversion of uniform numbers `[B, A]`.

        Raises:
            PolicyError: a policy fails, or its answer is none.
        """
        actions: Tensor
        if None in self.policies:
            actions = self.env.scripted_actions(self._scripts)
        else:
            size = (self.env.num_envs, len(self.policies))
            actions = torch.empty(size, dtype=torch.uint8, device="cpu")
        for seat, policy in enumerate(self.policies):
            if policy is not None:
                # A copy: what a policy keeps of it must not change with the next step.
                seen = obs[:, seat].clone()
                if self._swapped[seat]:
                    seen = self.rules.swapped(seen)
                edges = self._probabilities(seat, policy, seen).cumsum(-1)
                self._check_sums(seat, edges[:, -1])
                chosen = (draw[:, seat, None] * edges[:, -1:] >= edges[:, :-1]).sum(-1)
                actions[:, seat] = 1 - chosen if self._swapped[seat] else chosen
        return actions

    def _probabilities(self, seat: int, policy: Policy, obs: Tensor) -> Tensor:
        """A policy's `[B, K]`; its state goes on."""
        name, state = self._names[seat], self.states[seat]
        assert state is not None
        size = (self.env.num_envs, self.env.spec.num_actions)
        try:
            answer = policy.step(obs, state)
        except Exception as error:
            raise PolicyError(
                f"{name} failed in step(obs {list(obs.shape)} {obs.dtype}, state "
                f"{list(state.shape)} {state.dtype}): {type(error).__name__}: {error}"
            ) from error
        wanted = f"{name}: step must return log-probabilities {list(size)} and the next state"
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise PolicyError(f"{wanted}, got {_told(answer)}")
        log_probs = answer[0]
        if not isinstance(log_probs, Tensor) or not (
            log_probs.shape == size and log_probs.is_floating_point() and log_probs.is_cpu
        ):
            raise PolicyError(f"{wanted} (floating, on the CPU), got {_told(log_probs)}")
        self.states[seat] = self._checked_state(seat, "step", answer[1])
        return (log_probs.float() if log_probs.dtype.itemsize < 4 else log_probs).exp()

    def _checked_state(self, seat: int, method: str, state: Any) -> Tensor:
        count = self.env.num_envs
        fits = isinstance(state, Tensor) and state.ndim > 0 and len(state) == count and state.is_cpu
        if not fits:
            raise PolicyError(
                f"{self._names[seat]}: {method} must return the state as a tensor "
                f"[{count}, S] on the CPU, got {_told(state)}"
            )
        checked: Tensor = state
        return checked

    def _check_sums(self, seat: int, sums: Tensor) -> None:
        if not bool(((sums - 1).abs() <= _SUMS_TO_1).all()):  # NaN is no such sum
            first = next(float(one) for one in sums if not abs(float(one) - 1) <= _SUMS_TO_1)
            raise PolicyError(
                f"{self._names[seat]}: step must return log-probabilities, the sum of exp over actions "
                f"must be 1, got {first:.6g}"
            )


def _told(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{list(value.shape)} {value.dtype} on {value.device}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {value!r:.60}"


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
