"""Gymnasium vector environment: one learner against a given opponent policy.

Importing this registers `loqa/CoinGame-v0`, `loqa/IPD-v0` and their like, and the names of
`loqa.make` (`loqa/coin_game`), for `gymnasium.make_vec`; `import loqa` does so too where gymnasium is
there already. Without an import an id names this module:
`gymnasium.make_vec("loqa.envs.gymnasium:loqa/CoinGame-v0", num_envs=8)`.

Needs `gymnasium>=1.1` (`pip install loqa[gymnasium]`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

import loqa
from loqa import _checks
from loqa.agents.policy import Policy as LoqaPolicy
from loqa.agents.strategies import SHORT_NAMES
from loqa.envs.actions import array_of, described
from loqa.envs.adapters.gymnasium_ids import register_ids
from loqa.envs.adapters.seated import SeatedPlayer
from loqa.envs.device import require_cpu
from loqa.envs.registry import settings_of
from loqa.runtime.random import stream

Policy = Callable[[Tensor], "Tensor | np.ndarray"]
_MODES = {
    "next_step": gymnasium.vector.AutoresetMode.NEXT_STEP,
    "same_step": gymnasium.vector.AutoresetMode.SAME_STEP,
    False: gymnasium.vector.AutoresetMode.DISABLED,
}

register_ids()


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
        opponent: Any = "random",
        seat: int = 0,
        autoreset: str | bool = "next_step",
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        """
        Args:
            game, num_envs, settings: see `loqa.make`.
            opponent: "random"; a scripted player or a strategy by name ("tit-for-tat"); a trained
                agent, or the path of one; whatever else `loqa.evaluate` takes; or a function from
                the opponent's observations [B, *obs_shape]
                (a tensor it must not keep) to its actions [B], integers.
            seat: of the learner, 0 or 1.
            autoreset: "next_step", "same_step" or False.
            render_mode: None or "rgb_array".
        Raises:
            ValueError, TypeError: an unknown name, or a value out of range.
            FileNotFoundError: the opponent's file is missing.
        """
        own = list(inspect.signature(VectorEnv).parameters)
        _checks.known_settings("VectorEnv", settings, [*own, *settings_of(game)])
        if autoreset is not False:
            settings["autoreset"] = autoreset
        self.env: Any = loqa.make(game, num_envs, **settings)
        env = self.env
        require_cpu(env.device, "Gymnasium's")
        if env.num_players != 2:
            raise ValueError(f"the game must have 2 players, this one has {env.num_players}")
        if env.spec.action_box is not None:
            raise ValueError(
                f"no opponent plays a game of floats such as {game!r}: use loqa.make, or "
                "loqa.envs.pettingzoo.parallel_env"
            )
        self.seat = _checks.integer("seat", seat, 0, 1)
        self._generator = stream(int(settings.get("seed", 0)), "opponent's actions")
        self.opponent = opponent
        self._play = self._player(opponent)
        self.num_envs = env.num_envs
        if render_mode is not None:
            _checks.one_of("render_mode", render_mode, ["rgb_array"])
        self.render_mode = render_mode
        self.metadata = {
            "autoreset_mode": _MODES[env.autoreset],
            "render_modes": ["rgb_array"],
            "render_fps": 4,
        }
        self.single_observation_space = env.single_observation_space
        self.single_action_space = env.single_action_space
        self.observation_space = gymnasium.vector.utils.batch_space(
            self.single_observation_space, num_envs
        )
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self._actions = np.zeros((num_envs, 2), np.int64)
        self._obs: Tensor | None = None

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
            self._generator = stream(seed, "opponent's actions")
        if seed is not None and mask is not None:
            raise ValueError("reset takes a seed or a reset_mask, not both")
        self._obs = self.env.reset(seed=seed) if mask is None else self.env.reset(mask=mask)
        return self._mine(self._obs), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of the learner's actions [B], of an integer type, against the opponent's."""
        if self._obs is None:
            raise gymnasium.error.ResetNeeded("call reset before the first step")
        count = self.env.num_actions
        self._actions[:, self.seat] = _checked("actions", actions, self.num_envs, count)
        answer = self._play(self._obs)
        self._actions[:, 1 - self.seat] = _checked(
            "opponent's actions", answer, self.num_envs, count
        )
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

    def _player(self, opponent: Any) -> Policy:
        """The function from the observations [B, 2, ...] to the opponent's actions."""
        env, seat = self.env, 1 - self.seat
        name = SHORT_NAMES.get(opponent, opponent) if isinstance(opponent, str) else None
        if name in env.scripted_players:
            players: list[str | None] = [None, None]
            players[seat] = name
            return lambda _: env.scripted_actions(players)[:, seat]
        if opponent == "random":
            drawn = partial(torch.randint, env.num_actions, (env.num_envs,), device="cpu")
            return lambda _: drawn(generator=self._generator)
        if callable(opponent) and not isinstance(opponent, LoqaPolicy):
            return lambda obs: opponent(obs[:, seat])
        seated = SeatedPlayer(env, seat, opponent)
        return lambda obs: seated.choose(obs, self._generator)


def _checked(name: str, values: Any, count: int, num_actions: int) -> np.ndarray:
    """Actions [count] of an integer type in range."""
    wanted = f"{name} must be [{count}] of an integer type"
    array = array_of(values, wanted)
    is_integer = array.dtype.kind in "biu"
    if not is_integer or array.shape != (count,):
        message = f"{wanted}, got {described(values, array)}"
        raise (ValueError if is_integer else TypeError)(message)
    outside = (array < 0) | (array >= num_actions)
    if outside.any():
        env = int(outside.argmax())
        raise ValueError(
            f"{name} must be in 0..{num_actions - 1}, got {int(array[env])} for environment {env}"
        )
    return array
