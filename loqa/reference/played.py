"""What reference games of the core's generic driver have in common: episodes, and players of their own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loqa.reference.philox import bounded, philox, uniform
from loqa.reference.stepped import Stepped

DRAW_PLAYERS = 2**31
"""Fourth word of the Philox counter of the first four players, one word each; the next four have the next."""


class Played(Stepped):
    """B games whose step `episode_length` is the last (truncated). Nothing resets by itself.

    Args:
        num_actions: K; None where actions are floats in [0, 1].
    """

    def __init__(
        self,
        num_envs: int,
        num_players: int,
        num_actions: int | None,
        episode_length: int,
        seed: int,
        first_env: int,
    ) -> None:
        self.num_envs, self.num_players, self.num_actions = num_envs, num_players, num_actions
        self.episode_length, self.first_env = episode_length, first_env
        self.reset(seed)
        self._fresh = True  # the first reset() is the episode that is already there

    def reset(self, seed: int | None = None, mask: Any = None) -> np.ndarray:
        """New episodes, of all environments or of those in `mask`; a seed starts from episode 0."""
        goes_on = mask is not None or not getattr(self, "_fresh", True)
        if seed is not None:
            self.seed = seed
            self.t, self.episode = [0] * self.num_envs, [0] * self.num_envs
        for env in range(self.num_envs):
            if mask is None or mask[env]:
                self.t[env] = 0
                self.episode[env] += seed is None and goes_on
                self.start(env)
        self._fresh = False
        return self.observe()

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One step: observations, rewards [B, A], terminated [B], truncated [B]."""
        rewards = np.zeros((self.num_envs, self.num_players), np.float32)
        for env in range(self.num_envs):
            rewards[env] = self.play(env, actions[env])
            self.t[env] += 1
        self._fresh = False
        truncated = np.array([t >= self.episode_length for t in self.t])
        return self.observe(), rewards, np.zeros(self.num_envs, bool), truncated

    @abstractmethod
    def start(self, env: int) -> None:
        """Puts one environment at the start of an episode."""

    @abstractmethod
    def play(self, env: int, actions: Any) -> Sequence[Any]:
        """One step of one environment; what each player is paid."""

    @abstractmethod
    def script(self, name: str, env: int, player: int) -> Any:
        """What a scripted player does now."""

    # --- players

    def scripted_actions(self, players: Sequence[str | None]) -> np.ndarray:
        """What scripted players do now; 0 for those that are None."""

        def choose(env: int, p: int, word: int) -> Any:
            name = players[p]
            if name is None:
                return 0
            if name != "random":
                return self.script(name, env, p)
            return uniform(word) if self.num_actions is None else bounded(word, self.num_actions)

        return self._chosen(choose)

    def rollout_memory1(
        self, probabilities: Any, steps: int, exploration: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """T steps of players that take action k with probability (1 - e) P[p, s, k] + e / K.

        s is the observation `index`. By inversion, in float32: the action is the number of k < K - 1 up to
        which the probabilities sum to no more than the draw. Returns observations, actions [T, B, A] and
        rewards.
        """
        table = np.asarray(probabilities, np.float32)
        table = np.broadcast_to(table, (self.num_envs, *table.shape[-3:]))
        e, k = np.float32(exploration), np.float32(table.shape[-1])

        def choose(env: int, p: int, word: int) -> int:
            action, edge = 0, np.float32(0)
            for likely in table[env, p, self.index(env, p)][:-1]:
                edge += likely * (np.float32(1) - e) + e / k
                action += uniform(word) >= edge
            return int(action)

        shape = (steps, self.num_envs, self.num_players)
        obs, chosen, rewards = (
            [self.observe()],
            np.zeros(shape, np.uint8),
            np.zeros(shape, np.float32),
        )
        for t in range(steps):
            chosen[t] = self._chosen(choose)
            seen, rewards[t], _, _ = self.step(chosen[t])
            obs.append(seen)
        return np.stack(obs), chosen, rewards

    def index(self, env: int, player: int) -> int:
        """What a player tells apart who remembers one step: the observation `index`."""
        raise NotImplementedError

    def _chosen(self, choose: Callable[[int, int, int], Any]) -> np.ndarray:
        """Of each player, with its word of the random numbers."""
        is_box = self.num_actions is None
        chosen = np.zeros((self.num_envs, self.num_players), np.float32 if is_box else np.uint8)
        for env in range(self.num_envs):
            for p in range(self.num_players):
                block = DRAW_PLAYERS + p // 4
                at = (self.first_env + env, self.episode[env], self.t[env], block)
                chosen[env, p] = choose(env, p, philox(self.seed, *at)[p % 4])
        return chosen[..., None] if is_box else chosen
