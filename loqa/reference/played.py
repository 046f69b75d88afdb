"""What reference games of the core's generic driver have in common: players of their own."""

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
    """B games with scripted players."""

    num_actions: int | None
    """K; None where actions are floats in [0, 1]."""

    @abstractmethod
    def script(self, name: str, env: int, player: int) -> Any:
        """What a scripted player does now."""

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
        """What a player tells apart who remembers one step: the observation `index`.

        Raises:
            ValueError: the game shows none.
        """
        raise ValueError(
            "this game shows no index: players who remember one step have no table of it"
        )

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
