"""Matches between two players: batches of whole episodes, reproducible by (seed, players, seat)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from loqa import _random
from loqa.envs.coin_game import CoinGame, make_coin_game
from loqa.envs.matrix_game import MatrixGame, make_matrix_game
from loqa.envs.statistics import CoinStatistics, coin_statistics
from loqa.players import COIN, MachinePolicy, Player
from loqa.policies import Policy


@dataclass(frozen=True)
class Settings:
    """How matches are played.

    Attributes:
        game: "coin_game" or "ipd".
        make: further settings of the environment (preset, height, width, episode_length, payoff...).
        discount: of the discounted return; the preset's by default.
        seed: of everything random.
    """

    game: str
    make: Mapping[str, Any] = field(default_factory=dict)
    discount: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Episodes:
    """What B episodes came to, in seat order.

    Attributes:
        rewards: mean reward per step, `[B, 2]` float64.
        returns: discounted return, `[B, 2]` float64.
        statistics: of the whole batch, name -> (seat 0, seat 1); empty if not asked for.
    """

    rewards: Tensor
    returns: Tensor
    statistics: dict[str, tuple[float, float]]


class Actors:
    """Both players' choices, step by step, from the start of an episode.

    Args:
        env: the environment, which knows the scripted players of the Coin Game.
        players: in seat order.

    Attributes:
        policies: of each seat; None for a scripted player of the Coin Game.
        states: of the policies, `[B, S]` each; None where there is no policy.
    """

    def __init__(self, env: CoinGame | MatrixGame, players: Sequence[Player]) -> None:
        self.env = env
        self.policies = [_policy_in(env, player) for player in players]
        self.states = [
            None if policy is None else policy.initial_state(env.num_envs)
            for policy in self.policies
        ]
        self._scripts = [
            player.scripted if policy is None else None
            for player, policy in zip(players, self.policies, strict=True)
        ]

    def choose(self, obs: Tensor, draw: Tensor) -> Tensor:
        """Actions `[B, 2]` for observations `[B, 2, ...]`, by inversion of uniform numbers `[B, 2]`."""
        if isinstance(self.env, CoinGame) and None in self.policies:
            actions = self.env.scripted_actions(self._scripts)
        else:
            actions = torch.empty((self.env.num_envs, 2), dtype=torch.uint8)
        for seat, policy in enumerate(self.policies):
            state = self.states[seat]
            if policy is not None and state is not None:
                log_probs, self.states[seat] = policy.step(obs[:, seat], state)
                edges = log_probs.exp().cumsum(-1)[:, :-1]
                actions[:, seat] = (draw[:, seat, None] >= edges).sum(-1)
        return actions


class Match:
    """Two players in fixed seats, played in blocks of episodes.

    Block n is the same whenever it is played: its draws are a function of (seed, what the players
    do, seats, stream, n).

    Args:
        players: of seat 0 and seat 1.
        settings: of the game.
        block: B, episodes that are played side by side.
        num_threads: of the simulator.
        statistics: whether to compute what the literature measures.
        stream: tells matches of a player against itself apart.
    """

    def __init__(
        self,
        players: tuple[Player, Player],
        settings: Settings,
        block: int,
        num_threads: int | None = None,
        statistics: bool = True,
        stream: int = 0,
    ) -> None:
        self.players, self.block, self.statistics = players, block, statistics
        key = f"{settings.seed}/{stream}/{players[0].digest}/{players[1].digest}".encode()
        self._key = int.from_bytes(hashlib.sha256(key).digest()[:8], "little")
        self.env = make_env(settings, block, self._key, num_threads)
        discount = self.env.spec.discount if settings.discount is None else settings.discount
        steps = torch.arange(self.env.episode_length, dtype=torch.float64)
        self._discounts = discount**steps

    def play(self, number: int) -> Episodes:
        """Block `number` of episodes."""
        generator = _random.stream(self._key, "match actions", number)
        first_obs = self.env.reset(seed=_random.stream_seed(self._key, "match episodes", number))
        with torch.inference_mode():
            obs, actions, rewards = self._rollout(first_obs, generator)
            paid = rewards.double()
            statistics = self._statistics(obs, actions, rewards) if self.statistics else {}
            returns = torch.tensordot(self._discounts, paid, 1)
            return Episodes(paid.mean(0), returns, statistics)

    def _rollout(
        self, first_obs: Tensor, generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """observations [T+1, ...] (None unless statistics need them), actions and rewards [T, B, 2]."""
        env, steps = self.env, self.env.episode_length
        if isinstance(env, CoinGame) and all(one.policy is None for one in self.players):
            return env.rollout_scripted([player.scripted for player in self.players], steps)
        if isinstance(env, MatrixGame):
            machines = [player.machine for player in self.players]
            vectors = [_memory1_of(machine) for machine in machines]
            if vectors[0] is not None and vectors[1] is not None:
                return env.rollout_memory1(torch.tensor(vectors), steps)
        return self._stepwise(first_obs, generator)

    def _stepwise(
        self, obs: Tensor, generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        env, steps = self.env, self.env.episode_length
        actors = Actors(env, self.players)
        draws = torch.rand((steps, self.block, 2), generator=generator)
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

    def _statistics(
        self, obs: Tensor | None, actions: Tensor, rewards: Tensor
    ) -> dict[str, tuple[float, float]]:
        if isinstance(self.env, MatrixGame):
            shares = (actions == 0).double().mean((0, 1)).tolist()
            return {"cooperation": (shares[0], shares[1])}
        assert obs is not None
        if self.env.egocentric:  # places of two steps cannot be compared
            return {}
        planes = relative_planes(obs, self.env)
        first_takes = self.env.preset.first_takes
        measured: CoinStatistics = coin_statistics(planes, actions, rewards, first_takes)
        pairs = {name: value.tolist() for name, value in vars(measured).items()}
        return {name: (pair[0], pair[1]) for name, pair in pairs.items()}


def relative_planes(obs: Tensor, env: CoinGame) -> Tensor:
    """Observations of two players by any preset as loqa24 shows them (history left out):
    `[T+1, B, 2, ...]` -> planes self, other, own coin, other's coin, `[T+1, B, 2, 4, H, W]`."""
    if env.preset.layout == "channels_last":
        planes = obs.movedim(-1, -3)
    else:
        planes = obs.reshape(*obs.shape[:3], -1, env.height, env.width)
    planes = planes[:, :, :, :4]
    if env.preset.relative:
        return planes
    return torch.stack([planes[:, :, 0], planes[:, :, 1][:, :, [1, 0, 3, 2]]], 2)


def make_env(
    settings: Settings, num_envs: int, seed: int, num_threads: int | None = None
) -> CoinGame | MatrixGame:
    """The environment of matches; the prisoner's dilemma shows the state index."""
    common = {**settings.make, "seed": seed, "num_threads": num_threads}
    preset = common.pop("preset", None)
    if settings.game == COIN:
        return make_coin_game(preset, num_envs, **common)
    return make_matrix_game(
        "ipd", preset, num_envs, **{**common, "obs": "index", "obs_dtype": torch.int64}
    )


def _policy_in(env: CoinGame | MatrixGame, player: Player) -> Policy | None:
    """What plays for a player in `env`; None where the simulator itself does."""
    if player.policy is not None or isinstance(env, CoinGame):
        return player.policy
    assert player.machine is not None
    return MachinePolicy(player.machine)


def _memory1_of(machine: Any) -> list[float] | None:
    """P(C) at the start and after CC, CD, DC, DD if a machine is a memory-1 strategy as it stands."""
    if machine is None or machine.cooperate.shape != (5,):
        return None
    table = machine.transition.reshape(5, 4)
    return machine.cooperate.tolist() if bool((table == [1, 2, 3, 4]).all()) else None


def coin_actor(env: CoinGame, players: Sequence[Player], seed: int) -> Callable[[Tensor], Tensor]:
    """Choices of players of the Coin Game in one episode: observations `[B, A, ...]` to actions
    `[B, A]`."""
    actors = Actors(env, players)
    generator = _random.stream(seed, "watched actions")

    def act(obs: Tensor) -> Tensor:
        with torch.inference_mode():
            return actors.choose(obs, torch.rand(obs.shape[:2], generator=generator))

    return act
