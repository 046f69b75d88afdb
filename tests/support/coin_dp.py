"""Exact best responses in the Coin Game (loqa24) by dynamic programming, for players without memory.

A second, plain statement of the rules: what tree search and training are held against.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from loqa.envs import make

MOVES = ((0, -1), (0, 1), (-1, 0), (1, 0))  # left, right, up, down


class CoinModel:
    """All states of a board: both players' cells (row-major), the coin's cell, its owner.

    Attributes:
        states: `[S, 4]`, those in which nobody stands on the coin.
        index: `[C, C, C, 2]`, number of a state, -1 for none.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        cells = range(height * width)
        self.states = np.array([(p, q, c, o) for p in cells for q in cells for c in cells
                                for o in (0, 1) if c not in (p, q)])  # fmt: skip
        self.index = np.full((len(cells),) * 3 + (2,), -1)
        self.index[tuple(self.states.T)] = np.arange(len(self.states))

    def moved(self, cell: np.ndarray, action: int) -> np.ndarray:
        row, column = np.divmod(cell, self.width)
        down, right = MOVES[action]
        return (row + down) % self.height * self.width + (column + right) % self.width

    def start(self) -> np.ndarray:
        """Probability of each state at the start."""
        places = self.height * self.width
        free = np.array([places - len({p, q}) for p, q, _, _ in self.states])
        return 1 / (places**2 * free * 2)

    def game_state(self) -> dict[str, torch.Tensor]:
        """All states for `set_state`."""
        p, q, c, o = torch.from_numpy(self.states).T
        where = torch.stack([torch.stack([x // self.width, x % self.width], -1)
                             for x in (p, q, c)], 1)  # fmt: skip
        return {"players_pos": where[:, :2], "coin_pos": where[:, 2], "coin_owner": o,
                "t": torch.zeros_like(o)}  # fmt: skip

    def env(self, seed: int = 0):
        """One environment in each state, and its observations."""
        env = make("coin_game", len(self.states), height=self.height, width=self.width)
        obs = env.reset(seed=seed)
        env.set_state(**self.game_state())
        return env, obs

    def scripted(self, name: str, seat: int = 1, draws: int = 200) -> np.ndarray:
        """Action probabilities of a scripted player, `[S, 4]`: even over all that it ever does."""
        seen = np.zeros((len(self.states), 4), bool)
        for seed in range(draws):
            env, _ = self.env(seed)
            players = [name if one == seat else "random" for one in (0, 1)]
            seen[np.arange(len(seen)), env.scripted_actions(players)[:, seat].numpy()] = True
        return seen / seen.sum(1, keepdims=True)

    def backup(self, values: np.ndarray, opponent: np.ndarray, discount: float = 1) -> np.ndarray:
        """Q [S, 4] of player 0 from next values [S] and player 1's action probabilities [S, 4]."""
        p, q, c, o = self.states.T
        cells = self.height * self.width
        table = np.where(self.index >= 0, values[self.index], 0)
        # After a pick-up: mean over the cells where nobody stands.
        placed = np.array([
            [table[x, y, [z for z in range(cells) if z not in (x, y)]].mean(0) for y in range(cells)]
            for x in range(cells)
        ])  # fmt: skip
        q_values = np.zeros((len(self.states), 4))
        for mine in range(4):
            for other in range(4):
                x, y = self.moved(p, mine), self.moved(q, other)
                took, lost = x == c, y == c
                reward = took * 1.0 - 2.0 * ((o == 0) & lost)
                after = np.where(took | lost, placed[x, y, 1 - o], table[x, y, c, o])
                q_values[:, mine] += opponent[:, other] * (reward + discount * after)
        return q_values

    def best_values(self, opponent: Callable[[int], np.ndarray], steps: int) -> list[np.ndarray]:
        """Q [S, 4] at t = 0..T-1 of the best response; `opponent(t)` gives its probabilities."""
        values, found = np.zeros(len(self.states)), []
        for t in reversed(range(steps)):
            q_values = self.backup(values, opponent(t))
            values = q_values.max(1)
            found.insert(0, q_values)
        return found
