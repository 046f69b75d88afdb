"""Iterated two-player matrix games: the prisoner's dilemma and its relatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from loqa import _checks
from loqa.envs.actions import probabilities_of
from loqa.envs.autoreset import Rollout
from loqa.envs.base import PlayedEpisodes
from loqa.envs.matrix_game.presets import MATRIX_PRESETS, MatrixPreset, as_payoff
from loqa.envs.native_game import Common, NativeGame

OBS_MODES = ("bits", "index", "onehot", "actions")


def observation_table(obs: str, num_actions: int) -> np.ndarray:
    """Float observation for each index 0 (start), 1 + own * K + other: [1 + K*K, width] float32.

    - `bits`: one-hot own action, one-hot other's action, zeros at the start; width 2K.
    - `onehot`: one-hot of the index; width 1 + K*K.
    - `actions`: for self and for the other, one-hot of the last action or, in the last place, of the
      start; width 2 (K + 1).
    """
    joint = num_actions * num_actions
    if obs == "onehot":
        return np.eye(1 + joint, dtype=np.float32)
    block = num_actions if obs == "bits" else num_actions + 1
    table = np.zeros((1 + joint, 2 * block), np.float32)
    if obs == "actions":
        table[0, [num_actions, block + num_actions]] = 1
    for index in range(joint):
        own, other = divmod(index, num_actions)
        table[1 + index, [own, block + other]] = 1
    return table


class MatrixGame(NativeGame):
    """B repeated games of two players that choose one of K actions at once.

    State: `last_actions` [B, 2] (-1 before the first step) and `t` [B]. `cooperate` is the action code
    of cooperation; None where the game has none or more than two actions.
    """

    def __init__(
        self,
        game: str,
        preset: MatrixPreset,
        num_envs: int,
        *,
        payoff: Any = None,
        contribution_factor: float | None = None,
        obs: str | None = None,
        obs_dtype: torch.dtype | None = None,
        noise: float | None = None,
        end_probability: float = 0.0,
        **common: Unpack[Common],
    ) -> None:
        if payoff is not None and contribution_factor is not None:
            raise ValueError("give payoff or contribution_factor, not both")
        if contribution_factor is not None:
            payoff = preset.payoff_of_factor(
                _checks.real("contribution_factor", contribution_factor)
            )
        self.payoff = as_payoff(preset.payoff if payoff is None else payoff)
        obs = _checks.one_of("obs", preset.obs if obs is None else obs, OBS_MODES)
        num_actions = self.payoff.shape[-1]
        # With more actions nobody said which of them cooperate.
        self.cooperate = preset.cooperate if num_actions == 2 else None
        self.num_states = 1 + num_actions**2
        dtypes = (torch.int8, torch.int64) if obs == "index" else (torch.float32,)
        if obs_dtype not in (None, *dtypes):
            names = " or ".join(map(str, dtypes))
            raise ValueError(f"obs_dtype must be {names} for obs {obs!r}, got {obs_dtype}")
        self.noise = _checks.real("noise", preset.noise if noise is None else noise, 0, 1)
        self.end_probability = _checks.real("end_probability", end_probability, 0, 1)
        rows = np.zeros((self.num_states, 0), np.float32)
        if obs != "index":
            rows = observation_table(obs, num_actions)
        table = np.concatenate((self.payoff.ravel(), rows.ravel()))
        super().__init__(
            "matrix-game",
            {
                "num_actions": num_actions,
                "obs_width": rows.shape[1],
                "noise": self.noise,
                "end_probability": self.end_probability,
            },
            game,
            preset,
            num_envs,
            common,
            num_players=2,
            num_actions=num_actions,
            obs=obs,
            obs_shape=() if obs == "index" else (rows.shape[1],),
            obs_dtype=obs_dtype or dtypes[0],
            table=torch.from_numpy(table),
        )

    @property
    def obs_bounds(self) -> tuple[int, int]:
        return 0, self.num_actions**2 if self.spec.obs == "index" else 1

    def _check_state(self, state: dict[str, Tensor]) -> None:
        last = state["last_actions"]
        started = (last >= 0).all(-1)
        if not bool(((started & (last < self.num_actions).all(-1)) | (last == -1).all(-1)).all()):
            raise ValueError(
                f"last_actions must be in 0..{self.num_actions - 1}, or -1 for both players at the start"
            )

    def joint_index(self) -> Tensor:
        """What each player sees as observation `index`, [B, 2] int64, whatever `obs` is."""
        last = self._fields["last_actions"].to(torch.int64)
        return torch.where(last < 0, 0, 1 + last * self.num_actions + last.flip(-1))

    def rollout(self, actions: Tensor | np.ndarray) -> Rollout:
        if not self.autoreset:
            self._check_no_random_end("rollout")
        return super().rollout(actions)

    def rollout_memory1(
        self,
        probabilities: Tensor | np.ndarray | Sequence[Any],
        steps: int,
        exploration: float = 0.0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """T steps of two memory-1 players, sampled in one native call.

        Player p plays action 0 in observation s with probability (1 - e) P[p, s] + e / 2, where s
        is its own view: 0 start, then 1 + 2 own + other. The draws are a function of (seed,
        environment, episode, t): the same call again after the same reset gives the same actions.

        Args:
            probabilities: P, [2, 5] for all environments or [B, 2, 5], each in [0, 1] (a CUDA tensor is
                not looked at: less than 0 counts as 0, more than 1 as 1).
            steps: T.
            exploration: e in [0, 1], share of uniformly random play.
        Returns:
            observations [T+1, B, 2, *obs_shape], chosen actions [T, B, 2] int8 and rewards [T, B, 2].
        Raises:
            ValueError: the game has not two actions, or shapes or ranges are wrong.
        """
        if self.num_actions != 2:
            raise ValueError(
                f"rollout_memory1 needs a game of 2 actions, this one has {self.num_actions}"
            )
        self._check_no_autoreset("rollout_memory1")
        self._check_no_random_end("rollout_memory1")
        table = probabilities_of(probabilities, (2, 5), self.num_envs, self.device)
        return self._sample(table, steps, exploration, torch.int8)

    def rollout_policies(
        self, seats: Sequence[Any], draws: Callable[[], Tensor], seed: int, exploration: float = 0.0
    ) -> PlayedEpisodes | None:
        two = self.num_actions == 2
        return super().rollout_policies(seats, draws, seed, exploration) if two else None

    def _by_tables(
        self, tables: Tensor, steps: int, exploration: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self.rollout_memory1(tables[..., 0], steps, exploration)

    def _check_no_random_end(self, name: str) -> None:
        if self.end_probability > 0:
            raise ValueError(
                f"{name} needs end_probability=0: episodes that end at random are for step"
            )

    def render(self, index: int = 0) -> np.ndarray:
        """The last joint action: a square for each player, blue for action 0, orange for 1, grey at
        the start (further actions in further colours); RGB [64, 136, 3]."""
        index = _checks.integer("index", index, 0, self.num_envs - 1)
        colours = np.array(
            [
                (200, 200, 200),
                (0, 114, 178),
                (230, 159, 0),
                (0, 158, 115),
                (204, 121, 167),
                (86, 180, 233),
            ],
            np.uint8,
        )
        image = np.full((64, 136, 3), 255, np.uint8)
        for player, action in enumerate(self._fields["last_actions"][index].tolist()):
            left = 8 + player * 64
            image[8:56, left : left + 56] = colours[0 if action < 0 else 1 + action % 5]
        return image


MAKES = {game: partial(MatrixGame, game) for game in MATRIX_PRESETS}
"""For `loqa.envs.registry`."""
