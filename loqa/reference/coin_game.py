"""The Coin Game in plain Python, by any preset: the specification of the native simulator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loqa.envs.coin_game.presets import MOVES, CoinPreset
from loqa.reference.philox import bounded, philox
from loqa.reference.stepped import Stepped

# Fourth word of the Philox counter.
DRAW_RESPAWN = 0  # (environment, episode, t // 4, 0 + coin): word t % 4 places that coin
DRAW_START = 8  # (environment, episode, 0, 8 + j): words of players, coins, first colour, in a row
DRAW_POLICY = 16  # (environment, episode, t, 16 + 2 player + j): ties of, or choice by, a player
TIE_EPISODE = 0xFFFFFFFF  # instead of t, for ties that are drawn once an episode


class CoinGame(Stepped):
    """B Coin Games on a torus of H x W cells; cell = row * W + column.

    State of one environment: `players` and `coins`, lists of (row, column); `owner`, the colour of
    the one coin (presets with a coin per player: coin c has colour c); `last_rewards`; `t`.

    Observation `cells` of a player: the places of the ones in its flattened planes, in this order:
    players (self first if the preset is relative), then coins (own colour first if relative); with
    `history` also the last rewards, own first, and 1 at t >= episode_length, as numbers. `planes`:
    the planes themselves.
    """

    def __init__(
        self,
        num_envs: int,
        preset: CoinPreset,
        *,
        height: int = 3,
        width: int = 3,
        num_players: int = 2,
        episode_length: int | None = None,
        obs: str = "planes",
        egocentric: bool = False,
        zero_last_reward: bool = False,
        seed: int = 0,
        first_env: int = 0,
    ) -> None:
        self.preset, self.height, self.width = preset, height, width
        self.num_coins = num_players if preset.coin_per_player else 1
        self.num_actions = len(preset.actions)
        self.obs, self.egocentric, self.zero_last_reward = obs, egocentric, zero_last_reward
        self.players = [[(0, 0)] * num_players for _ in range(num_envs)]
        self.coins = [[(0, 0)] * self.num_coins for _ in range(num_envs)]
        self.owner = [0] * num_envs
        self.last_rewards = [[0] * num_players for _ in range(num_envs)]
        length = preset.episode_length if episode_length is None else episode_length
        super().__init__(num_envs, num_players, length, seed, first_env)

    # --- the rule

    def start(self, env: int) -> None:
        cells = self.height * self.width
        blocks = [self._words(env, 0, DRAW_START + j) for j in range(3)]
        words = iter([word for block in blocks for word in block])
        taken: list[int] = []
        for _ in range(self.num_players):
            occupied = taken if self.preset.distinct_start else []
            taken.append(self._free_cell(next(words), occupied))
        occupied = [] if self.preset.coin_anywhere else taken
        coins = [self._free_cell(next(words), occupied) for _ in range(self.num_coins)]
        assert max(taken + coins) < cells
        self.players[env] = [divmod(cell, self.width) for cell in taken]
        self.coins[env] = [divmod(cell, self.width) for cell in coins]
        one_coin = not self.preset.coin_per_player
        self.owner[env] = bounded(next(words), self.num_players) if one_coin else 0
        self.last_rewards[env] = [0] * self.num_players

    def _free_cell(self, word: int, occupied: Sequence[int]) -> int:
        """Uniform over the cells that are not occupied."""
        free = [c for c in range(self.height * self.width) if c not in occupied]
        return free[bounded(word, len(free))]

    def _move(self, place: tuple[int, int], action: int) -> tuple[int, int]:
        d_row, d_col = MOVES[self.preset.actions[action]]
        return (place[0] + d_row) % self.height, (place[1] + d_col) % self.width

    def play(self, env: int, actions: Any) -> list[int]:
        n = self.num_players
        players = [self._move(self.players[env][p], int(actions[p])) for p in range(n)]
        self.players[env] = players
        rewards = [0] * n
        for c in range(self.num_coins):
            owner = c if self.preset.coin_per_player else self.owner[env]
            takers = [p for p in range(n) if players[p] == self.coins[env][c]]
            if self.preset.first_takes:
                takers = takers[:1]
            if not takers:
                continue
            for p in takers:
                rewards[p] += 1
            if any(p != owner for p in takers):
                rewards[owner] -= 2
            word = self._words(env, self.t[env] // 4, DRAW_RESPAWN + c)[self.t[env] % 4]
            standing = [row * self.width + col for row, col in players]
            cell = self._free_cell(word, [] if self.preset.coin_anywhere else standing)
            self.coins[env][c] = divmod(cell, self.width)
            if not self.preset.coin_per_player:
                self.owner[env] = (owner + 1) % n
        if self.zero_last_reward and self.t[env] + 1 >= self.episode_length:
            rewards = [0] * n
        self.last_rewards[env] = rewards
        return rewards

    def _cells(self, env: int, player: int) -> list[int]:
        """Places of the ones in the flattened planes of one player."""
        n = self.num_players
        first = player if self.preset.relative else 0
        own_row, own_col = self.players[env][player]
        ones = []
        for k in range(n):
            ones.append((k, self.players[env][(first + k) % n]))
        for k in range(self.num_coins):
            c = (first + k) % n if self.preset.coin_per_player else 0
            colour = c if self.preset.coin_per_player else self.owner[env]
            ones.append((n + (colour - first) % n, self.coins[env][c]))
        places = []
        for plane, (row, col) in ones:
            if self.egocentric:
                row = (row - own_row + self.height // 2) % self.height
                col = (col - own_col + self.width // 2) % self.width
            cell = row * self.width + col
            if self.preset.layout == "channels_last":
                places.append(cell * 2 * n + plane)
            else:
                places.append(plane * self.height * self.width + cell)
        return places

    def _history(self, env: int, player: int) -> list[int]:
        n = self.num_players
        rewards = [self.last_rewards[env][(player + k) % n] for k in range(n)]
        return [*rewards, int(self.t[env] >= self.episode_length)]

    # --- what a scripted player does

    def _distance(self, a: tuple[int, int], b: tuple[int, int]) -> int:
        rows, cols = abs(a[0] - b[0]), abs(a[1] - b[1])
        return min(rows, self.height - rows) + min(cols, self.width - cols)

    def scripted_choices(self, env: int, player: int, name: str) -> list[int]:
        """The equally good actions of `always-cooperate`, `always-defect` or `random`.

        `always-defect` goes the shortest way to a coin, the nearest if there are several.
        `always-cooperate` goes the shortest way to the coin of its colour; with one coin of another
        colour, as far from it as it can; with several it keeps off the others' if it has a choice.
        """
        actions = range(self.num_actions)
        if name == "random":
            return list(actions)
        places = [self._move(self.players[env][player], action) for action in actions]
        coins = self.coins[env]
        if name == "always-defect":
            scores = [min(self._distance(place, coin) for coin in coins) for place in places]
        elif not self.preset.coin_per_player:
            sign = 1 if self.owner[env] == player else -1
            scores = [sign * self._distance(place, coins[0]) for place in places]
        else:
            far = self.height + self.width
            others = [coin for c, coin in enumerate(coins) if c != player]
            scores = [
                self._distance(place, coins[player]) + far * others.count(place) for place in places
            ]
        return [action for action in actions if scores[action] == min(scores)]

    def scripted_action(self, env: int, player: int, name: str, tie_order: str = "step") -> int:
        """One of the choices: the first in a random order, drawn every step or once an episode."""
        t = TIE_EPISODE if tie_order == "episode" else self.t[env]
        words = [
            word for j in range(2) for word in self._words(env, t, DRAW_POLICY + 2 * player + j)
        ]
        if name == "random":
            return bounded(
                self._words(env, self.t[env], DRAW_POLICY + 2 * player)[0], self.num_actions
            )
        choices = self.scripted_choices(env, player, name)
        return min(choices, key=lambda action: (words[action], action))

    # --- batches

    def _words(self, env: int, step: int, draw: int) -> tuple[int, int, int, int]:
        return philox(self.seed, self.first_env + env, self.episode[env], step, draw)

    def observe(self) -> np.ndarray:
        """What each player sees, [B, A, *obs_shape]: float32 planes or int64 cells."""
        n, size = self.num_players, self.height * self.width
        history = n + 1 if self.preset.history else 0
        batch = []
        for env in range(self.num_envs):
            for player in range(n):
                places = self._cells(env, player)
                constants = self._history(env, player) if history else []
                if self.obs == "cells":
                    batch.append(np.array(places + constants))
                    continue
                planes = np.zeros(2 * n * size, np.float32)
                planes[places] = 1
                further = np.repeat(np.array(constants, np.float32), size)
                batch.append(np.concatenate([planes, further]))
        seen = np.stack(batch).reshape(self.num_envs, n, -1)
        if self.obs == "cells" or self.preset.layout == "flat":
            return seen
        board = (self.height, self.width)
        last = self.preset.layout == "channels_last"
        shape = (*board, -1) if last else (2 * n + history, *board)
        return seen.reshape(self.num_envs, n, *shape)

    def get_state(self) -> dict[str, np.ndarray]:
        """players_pos [B, A, 2], coin_pos [B, 2] and coin_owner [B], t [B]; with a coin per player
        coin_pos [B, A, 2] and no owner; with `history` also last_rewards [B, A]."""
        state = {"players_pos": np.array(self.players), "t": np.array(self.t)}
        coins = np.array(self.coins)
        if self.preset.coin_per_player:
            state["coin_pos"] = coins
        else:
            state |= {"coin_pos": coins[:, 0], "coin_owner": np.array(self.owner)}
        if self.preset.history:
            state["last_rewards"] = np.array(self.last_rewards)
        return state

    def set_state(self, **state: Any) -> None:
        """Puts the environments into a state as `get_state` gives it."""
        coins = np.asarray(state["coin_pos"]).reshape(self.num_envs, self.num_coins, 2)
        for env in range(self.num_envs):
            self.players[env] = [(int(r), int(c)) for r, c in state["players_pos"][env]]
            self.coins[env] = [(int(r), int(c)) for r, c in coins[env]]
            self.t[env] = int(state["t"][env])
            if "coin_owner" in state:
                self.owner[env] = int(state["coin_owner"][env])
            if "last_rewards" in state:
                self.last_rewards[env] = [int(r) for r in state["last_rewards"][env]]
        self._fresh = False
