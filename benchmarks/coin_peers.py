"""Other people's ways to simulate the Coin Game on 3 x 3 cells, to be measured beside ours.

A peer has `step(actions [B, 2])`, which returns observations and rewards, some also
`rollout(actions [T, B, 2])`; `state()` gives what `loqa.reference` calls its state, and `preset` names
the rules. Each draws its own random numbers, so results are compared through its state.

Of published simulators JaxMARL's alone installs from the registry: the sdist of PAX (pax-rl 0.1.0b0) does
not build (its setup.py reads a file that is not in it), and the others are no packages.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pytest

SIDE = 3
CELLS = SIDE * SIDE
MOVES = np.array([[0, -1], [0, 1], [-1, 0], [1, 0]])
WRAP = np.array(
    [
        [(c // SIDE + r) % SIDE * SIDE + (c % SIDE + k) % SIDE for r, k in MOVES]
        for c in range(CELLS)
    ]
)
"""Cell after each action from each cell."""


def cells_state(players: Any, coin: Any, owner: Any) -> dict[str, np.ndarray]:
    """The state in rows and columns, of cells [B, 2], [B] and colours [B]."""
    players, coin = np.asarray(players), np.asarray(coin)
    return {
        "players_pos": np.stack(np.divmod(players, SIDE), -1),
        "coin_pos": np.stack(np.divmod(coin, SIDE), -1),
        "coin_owner": np.asarray(owner),
    }


class NumpyCoinGame:
    """One array operation for all environments at a time, by lookup tables."""

    preset = "loqa24"

    def __init__(self, num_envs: int) -> None:
        self.rng, self.envs = np.random.default_rng(0), np.arange(num_envs)
        self.obs = np.zeros((num_envs, 2, 4, CELLS), np.float32)
        free = [
            [[c for c in range(CELLS) if c not in (p, q)] for q in range(CELLS)]
            for p in range(CELLS)
        ]
        self.count = np.array([[len(cells) for cells in row] for row in free])
        self.free = np.array([[(cells * 2)[:CELLS] for cells in row] for row in free])
        self.players = self.rng.integers(0, CELLS, (num_envs, 2))
        self.coin = self._place(self.envs)
        self.owner = self.rng.integers(0, 2, num_envs)

    def _place(self, which: np.ndarray) -> np.ndarray:
        p, q = self.players[which].T
        index = (self.rng.random(len(which)) * self.count[p, q]).astype(int)
        return np.asarray(self.free[p, q, index])

    def state(self) -> dict[str, np.ndarray]:
        return cells_state(self.players, self.coin, self.owner)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.players = WRAP[self.players, actions]
        took = self.players == self.coin[:, None]
        own = self.owner[:, None] == np.arange(2)
        rewards = took.astype(np.float32) - 2 * (own & took[:, ::-1])
        taken = np.flatnonzero(took.any(1))
        self.owner[taken] ^= 1
        self.coin[taken] = self._place(taken)
        self.obs[:] = 0
        for me in range(2):
            self.obs[self.envs, me, 0, self.players[:, me]] = 1
            self.obs[self.envs, me, 1, self.players[:, 1 - me]] = 1
            self.obs[self.envs, me, 2 + (self.owner ^ me), self.coin] = 1
        return self.obs, rewards


class NumbaCoinGame:
    """A compiled loop over environments, on one or two threads."""

    preset = "loqa24"

    def __init__(self, num_envs: int, threads: int) -> None:
        numba = pytest.importorskip("numba", reason="numba is not installed")
        numba.set_num_threads(threads)
        random = np.random.default_rng(0)
        self.cells = random.integers(0, SIDE, (num_envs, 6)).astype(np.int8)
        self.cells[:, 4] = random.integers(0, CELLS, num_envs)
        self.cells[:, 5] %= 2
        self.seeds = random.integers(1, 2**32, num_envs, np.uint32)
        self.obs = np.zeros((num_envs, 72), np.float32)
        self.rewards = np.zeros((num_envs, 2), np.float32)

        @numba.njit(parallel=threads > 1, fastmath=True)
        def step(state: Any, actions: Any, seeds: Any, obs: Any, rewards: Any) -> None:
            for e in numba.prange(state.shape[0]):
                for p in range(2):
                    row, column = state[e, 2 * p], state[e, 2 * p + 1]
                    action = actions[e, p]
                    if action == 0:
                        column = column - 1 if column > 0 else 2
                    elif action == 1:
                        column = column + 1 if column < 2 else 0
                    elif action == 2:
                        row = row - 1 if row > 0 else 2
                    else:
                        row = row + 1 if row < 2 else 0
                    state[e, 2 * p], state[e, 2 * p + 1] = row, column
                first = state[e, 0] * 3 + state[e, 1]
                second = state[e, 2] * 3 + state[e, 3]
                coin, owner = state[e, 4], state[e, 5]
                one, two = first == coin, second == coin
                rewards[e, 0] = one - 2 * (owner == 0 and two)
                rewards[e, 1] = two - 2 * (owner == 1 and one)
                if one or two:
                    owner = 1 - owner
                    while True:
                        seeds[e] ^= seeds[e] << np.uint32(13)
                        seeds[e] ^= seeds[e] >> np.uint32(17)
                        seeds[e] ^= seeds[e] << np.uint32(5)
                        coin = np.int8(seeds[e] % np.uint32(9))
                        if coin not in (first, second):
                            break
                    state[e, 4], state[e, 5] = coin, owner
                for i in range(72):
                    obs[e, i] = 0
                obs[e, first] = 1
                obs[e, 9 + second] = 1
                obs[e, 18 + 9 * owner + coin] = 1
                obs[e, 36 + second] = 1
                obs[e, 45 + first] = 1
                obs[e, 54 + 9 * (1 - owner) + coin] = 1

        self._step = step

    def state(self) -> dict[str, np.ndarray]:
        cells = self.cells.astype(int)
        players = cells[:, [0, 2]] * SIDE + cells[:, [1, 3]]
        return cells_state(players, cells[:, 4], cells[:, 5])

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._step(self.cells, actions, self.seeds, self.obs, self.rewards)
        return self.obs, self.rewards


class JaxPeer(ABC):
    """What the two JAX simulators share: one jitted step, and a jitted scan over time."""

    def __init__(self, num_envs: int) -> None:
        self.jax = jax = pytest.importorskip("jax", reason="jax is not installed")
        self.carry = self.start(num_envs)
        self._step = jax.jit(self.advance)
        self._rollout = jax.jit(lambda carry, actions: jax.lax.scan(self.advance, carry, actions))

    @abstractmethod
    def start(self, num_envs: int) -> Any:
        """The state of all environments at the start."""

    @abstractmethod
    def advance(self, carry: Any, actions: Any) -> Any:
        """State and results after one step."""

    def step(self, actions: Any) -> Any:
        self.carry, result = self.jax.block_until_ready(self._step(self.carry, actions))
        return result

    def rollout(self, actions: Any) -> Any:
        self.carry, result = self.jax.block_until_ready(self._rollout(self.carry, actions))
        return result


class JaxCoinGame(JaxPeer):
    """The rules of loqa24 written for JAX: whole-batch operations, one-hot planes."""

    preset = "loqa24"

    def start(self, num_envs: int) -> Any:
        random = np.random.default_rng(0)
        players = random.integers(0, CELLS, (num_envs, 2))
        arrays = players, random.integers(0, CELLS, num_envs), random.integers(0, 2, num_envs)
        key = self.jax.random.key(0, impl="rbg")
        return key, *(self.jax.numpy.asarray(array, "int32") for array in arrays)

    def advance(self, carry: Any, actions: Any) -> Any:
        jax, jnp = self.jax, self.jax.numpy
        key, players, coin, owner = carry
        players = jnp.asarray(WRAP.astype(np.int32))[players, actions]
        took = players == coin[:, None]
        own = owner[:, None] == jnp.arange(2)
        rewards = took.astype(jnp.float32) - 2.0 * (own & took[:, ::-1])
        key, draw = jax.random.split(key)
        low, high = players.min(1), players.max(1)
        index = jax.random.randint(draw, coin.shape, 0, CELLS - 1 - (low != high))
        index += index >= low
        index += (index >= high) & (low != high)
        taken = took.any(1)
        coin, owner = jnp.where(taken, index, coin), jnp.where(taken, 1 - owner, owner)
        board = jnp.arange(CELLS)
        first, second = players[:, :1] == board, players[:, 1:] == board
        coins = coin[:, None] == board
        red, blue = coins & (owner == 0)[:, None], coins & (owner == 1)[:, None]
        planes = jnp.stack([first, second, red, blue, second, first, blue, red], 1)
        obs = planes.reshape(-1, 2, 4, CELLS).astype(jnp.float32)
        return (key, players, coin, owner), (obs, rewards)

    def state(self) -> dict[str, np.ndarray]:
        return cells_state(*self.carry[1:])


class JaxMarlCoinGame(JaxPeer):
    """JaxMARL's coin game as installed (the rules of pax23, int8 planes), mapped over environments."""

    preset = "pax23"

    def start(self, num_envs: int) -> Any:
        name = "jaxmarl.environments.coin_game.coin_game"
        module = pytest.importorskip(name, reason="jaxmarl is not installed")
        # Long inner episodes, so that none ends within what is checked or timed against another.
        self.env = module.CoinGame(num_inner_steps=50, cnn=True)
        keys = self.jax.random.split(self.jax.random.key(0), num_envs)
        return keys, self.jax.vmap(self.env.reset)(keys)[1]

    def advance(self, carry: Any, actions: Any) -> Any:
        jnp = self.jax.numpy

        def one(key: Any, state: Any, action: Any) -> Any:
            key, draw = self.jax.random.split(key)
            moves = dict(zip(self.env.agents, action, strict=True))
            obs, state, rewards, _, _ = self.env.step(draw, state, moves)
            return (key, state), (
                jnp.stack([obs[agent] for agent in self.env.agents]),
                jnp.stack([rewards[agent] for agent in self.env.agents]),
            )

        return self.jax.vmap(one)(*carry, actions)

    def state(self) -> dict[str, np.ndarray]:
        state = self.carry[1]
        return {
            "players_pos": np.stack([state.red_pos, state.blue_pos], 1).reshape(-1, 2, 2),
            "coin_pos": np.stack([state.red_coin_pos, state.blue_coin_pos], 1).reshape(-1, 2, 2),
        }
