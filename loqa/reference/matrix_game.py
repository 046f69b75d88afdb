"""Iterated two-player matrix games in plain Python: the specification of the native simulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from loqa.envs.matrix_game.presets import MatrixPreset, as_payoff
from loqa.reference.philox import bounded, philox, uniform
from loqa.reference.stepped import Stepped

# Fourth word of the Philox counter (environment, episode, step, draw).
DRAW_NOISE = 0  # words 0, 1: whether player 0, 1 trembles; words 2, 3: to which action
DRAW_END = 1  # word 0: whether this step is the last
DRAW_POLICY = 2  # words 0, 1: the actions of memory-1 players 0, 1


class MatrixGame(Stepped):
    """B games in which two players choose one of K actions at once, again and again.

    Player p earns payoff[p][own][other]. A player sees both last actions, its own first. With
    probability `noise`, independently for each player, the action played is not the chosen one but
    one of the K - 1 others, uniformly; both players see, and are paid for, what was played. Each
    step is the last with probability `end_probability` (terminated).

    Observation of one player, with s = 0 before the first step, else 1 + K own + other:

    - `index`: s.
    - `onehot`: 1 in place s of 1 + K^2.
    - `bits`: one-hot own action, one-hot other's action; zeros at the start.
    - `actions`: for self, then for the other: one-hot of K actions and, last, of the start.
    """

    def __init__(
        self,
        num_envs: int,
        preset: MatrixPreset,
        *,
        payoff: Any = None,
        contribution_factor: float | None = None,
        obs: str | None = None,
        episode_length: int | None = None,
        noise: float | None = None,
        end_probability: float = 0.0,
        seed: int = 0,
        first_env: int = 0,
    ) -> None:
        if contribution_factor is not None:
            payoff = preset.payoff_of_factor(contribution_factor)
        self.payoff = as_payoff(preset.payoff if payoff is None else payoff)
        self.num_actions = self.payoff.shape[-1]
        self.obs = preset.obs if obs is None else obs
        self.noise = np.float32(preset.noise if noise is None else noise)
        self.end_probability = np.float32(end_probability)
        self.last_actions = [[-1, -1] for _ in range(num_envs)]
        length = preset.episode_length if episode_length is None else episode_length
        super().__init__(num_envs, 2, length, seed, first_env)

    def start(self, env: int) -> None:
        self.last_actions[env] = [-1, -1]

    def observe(self) -> np.ndarray:
        """What each player sees now, [B, 2, *obs_shape]."""
        return np.stack(
            [
                np.stack([self._see(own, other), self._see(other, own)])
                for own, other in self.last_actions
            ]
        )

    def play(self, env: int, actions: Any) -> list[Any]:
        words = self._words(env, DRAW_NOISE)
        played = [self._tremble(int(actions[p]), words[p], words[2 + p]) for p in (0, 1)]
        ends = uniform(self._words(env, DRAW_END)[0]) < self.end_probability
        self.terminated[env], self.last_actions[env] = bool(ends), played
        return [self.payoff[0, played[0], played[1]], self.payoff[1, played[1], played[0]]]

    def rollout_memory1(
        self, probabilities: Any, steps: int, exploration: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """T steps of players that choose action 0 with probability (1 - e) P[p, s] + e / 2.

        s is the observation `index`; the arithmetic is float32. Returns observations, the chosen
        actions [T, B, 2] (before noise) and rewards.
        """
        table = np.broadcast_to(np.asarray(probabilities, np.float32), (self.num_envs, 2, 5))
        e = np.float32(exploration)
        obs, rewards = [self.observe()], [np.zeros((self.num_envs, 2), np.float32)]
        chosen = np.zeros((steps, self.num_envs, 2), np.int8)
        for step in range(steps):
            for env in range(self.num_envs):
                words = self._words(env, DRAW_POLICY)
                for p in (0, 1):
                    seen = self._index(self.last_actions[env][p], self.last_actions[env][1 - p])
                    first = table[env, p, seen] * (np.float32(1) - e) + np.float32(0.5) * e
                    chosen[step, env, p] = 0 if uniform(words[p]) < first else 1
            seen_all, paid, _, _ = self.step(chosen[step])
            obs.append(seen_all)
            rewards.append(paid)
        return np.stack(obs), chosen, np.stack(rewards)[1:]

    def get_state(self) -> dict[str, np.ndarray]:
        """last_actions [B, 2] (-1 before the first step) and t [B]."""
        return {"last_actions": np.array(self.last_actions), "t": np.array(self.t)}

    # --- the rule

    def _words(self, env: int, draw: int) -> tuple[int, int, int, int]:
        return philox(self.seed, self.first_env + env, self.episode[env], self.t[env], draw)

    def _tremble(self, chosen: int, word_if: int, word_which: int) -> int:
        if not uniform(word_if) < self.noise:
            return chosen
        others = [action for action in range(self.num_actions) if action != chosen]
        return others[bounded(word_which, len(others))]

    def _index(self, own: int, other: int) -> int:
        return 0 if own < 0 else 1 + own * self.num_actions + other

    def _see(self, own: int, other: int) -> np.ndarray:
        k = self.num_actions
        if self.obs == "index":
            return np.array(self._index(own, other), np.int8)
        if self.obs == "onehot":
            place, width = [self._index(own, other)], 1 + k * k
        elif self.obs == "bits":
            place, width = ([] if own < 0 else [own, k + other]), 2 * k
        else:
            place = [k, 2 * k + 1] if own < 0 else [own, k + 1 + other]
            width = 2 * (k + 1)
        seen = np.zeros(width, np.float32)
        seen[place] = 1
        return seen
