"""Gymnasium vector environment: one learner against a given opponent policy.

Needs `gymnasium>=1.1` (`pip install loqa[gymnasium]`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

import loqa
from loqa import _checks
from loqa.envs.coin_game import CoinGame
from loqa.envs.coin_presets import SCRIPTED_COIN_PLAYERS
from loqa.envs.device import require_cpu

Policy = Callable[[Tensor], "Tensor | np.ndarray"]
_MODES = {
    "next_step": gymnasium.vector.AutoresetMode.NEXT_STEP,
    "same_step": gymnasium.vector.AutoresetMode.SAME_STEP,
    False: gymnasium.vector.AutoresetMode.DISABLED,
}
# torch has no NumPy type for it, so that a Gymnasium space cannot hold it.
_NO_NUMPY = torch.bfloat16


class VectorEnv(gymnasium.vector.VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """B two-player games of `loqa.make` as a Gymnasium 1.x vector environment for one player.

    Observations and rewards are copies. With autoreset `same_step` the last observation of an
    episode is in `info["final_obs"]`, where `info["_final_obs"]` is True; with `False` reset
    environments by `reset(options={"reset_mask": mask})`.
    """

    def __init__(
        self,
        game: str,
        num_envs: int = 1,
        *,
        opponent: str | Policy = "random",
        seat: int = 0,
        autoreset: str | bool = "next_step",
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        """
        Args:
            game, num_envs, settings: see `loqa.make`.
            opponent: a scripted Coin Game player by name, "random", or a function from the opponent's
                observations [B, *obs_shape] (a tensor it must not keep) to its actions [B].
            seat: of the learner, 0 or 1.
            autoreset: "next_step", "same_step" or False.
            render_mode: None or "rgb_array".
        """
        if autoreset is not False:
            settings["autoreset"] = autoreset
        self.env = env = loqa.make(game, num_envs, **settings)
        require_cpu(env.device, "Gymnasium's")
        if env.num_players != 2:
            raise ValueError(f"the game must have 2 players, this one has {env.num_players}")
        if env.spec.obs_dtype == _NO_NUMPY:
            raise ValueError(f"obs_dtype must have a NumPy counterpart, got {_NO_NUMPY}")
        self.seat = _checks.integer("seat", seat, 0, 1)
        if isinstance(opponent, str):
            known = SCRIPTED_COIN_PLAYERS if isinstance(env, CoinGame) else ("random",)
            _checks.one_of("opponent", opponent, known)
        elif not callable(opponent):
            raise TypeError(f"opponent must be a name or a function, got {opponent!r}")
        self.opponent = opponent
        self.num_envs = env.num_envs
        self.render_mode = (
            None
            if render_mode is None
            else _checks.one_of("render_mode", render_mode, ["rgb_array"])
        )
        self.metadata = {
            "autoreset_mode": _MODES[env.autoreset],
            "render_modes": ["rgb_array"],
            "render_fps": 4,
        }
        self.single_observation_space = observation_space(env)
        self.single_action_space = gymnasium.spaces.Discrete(env.num_actions)
        self.observation_space = gymnasium.vector.utils.batch_space(
            self.single_observation_space, num_envs
        )
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self._actions = torch.zeros((num_envs, 2), dtype=torch.int64)
        self._obs = env._obs

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """New episodes; a seed (one for all environments) starts from episode 0 of it."""
        if isinstance(seed, list):
            raise ValueError(
                "seed must be one number: environments are numbered streams of one seed"
            )
        mask = (options or {}).get("reset_mask")
        if seed is not None:
            self._np_random, self._np_random_seed = gymnasium.utils.seeding.np_random(seed)
        if seed is not None and mask is not None:
            raise ValueError("reset takes a seed or a reset_mask, not both")
        self._obs = self.env.reset(seed=seed) if mask is None else self.env.reset(mask=mask)
        return self._mine(self._obs), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of the learner's actions [B] against the opponent's."""
        self._actions[:, self.seat] = torch.as_tensor(np.asarray(actions))
        self._actions[:, 1 - self.seat] = torch.as_tensor(self._opponent_actions())
        self._obs, rewards, terminated, truncated = self.env.step(self._actions)
        info: dict[str, Any] = {}
        final = self.env.final_obs
        ended = (terminated | truncated).numpy()
        if final is not None and ended.any():
            info = {"final_obs": self._mine(final), "_final_obs": ended}
        return (
            self._mine(self._obs),
            self._mine(rewards),
            terminated.numpy().copy(),
            truncated.numpy().copy(),
            info,
        )

    def render(self) -> Any:
        """The boards as RGB arrays, one for each environment."""
        if self.render_mode is None:
            return None
        return tuple(self.env.render(index) for index in range(self.num_envs))

    def _mine(self, values: Tensor) -> np.ndarray:
        return np.asarray(values[:, self.seat].numpy().copy())

    def _opponent_actions(self) -> Any:
        seat = 1 - self.seat
        if not isinstance(self.opponent, str):
            return self.opponent(self._obs[:, seat])
        if isinstance(self.env, CoinGame):
            players: list[str | None] = [None, None]
            players[seat] = self.opponent
            return self.env.scripted_actions(players)[:, seat]
        return self.np_random.integers(0, self.env.num_actions, self.num_envs)


def observation_space(env: Any) -> gymnasium.spaces.Box:
    """The space of one player's observation."""
    dtype = torch.empty(0, dtype=env.spec.obs_dtype).numpy().dtype
    low, high = 0, 1
    if isinstance(env, CoinGame):
        if env.spec.obs == "cells":
            high = 2 * env.num_players * env.height * env.width - 1
        if env.preset.history:  # last rewards
            low, high = -2, max(high, 2)
    elif env.spec.obs == "index":
        high = env.num_actions**2
    return gymnasium.spaces.Box(low, high, env.obs_shape, dtype.type)
