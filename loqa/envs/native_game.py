"""Environments of the core's generic driver: what is common to every game that is one C++ header."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from loqa import _checks
from loqa._native import core
from loqa.envs import actions as given
from loqa.envs import device as devices
from loqa.envs import memory1
from loqa.envs.autoreset import Rollout
from loqa.envs.base import PlayedEpisodes, Preset
from loqa.envs.buffers import Buffer, Lent, borrow
from loqa.envs.scripted import Scripted

_OBS_TYPES = (
    torch.int8, torch.int64, torch.float32, torch.uint8, torch.int16, torch.int32, torch.float16,
    torch.bfloat16,
)  # fmt: skip
"""By the code of the C++ enum ObsType."""
# By the code of the C++ enum FieldType.
_FIELD_TYPES = (torch.int8, torch.int32, torch.float32)
_MEMORY1 = -2  # code of the C++ enum GamePlayer
_MAX_STEPS = 2**31 - 1


class Common(TypedDict, total=False):
    """Settings of every game, see `loqa.make`."""

    episode_length: int | None
    seed: int
    device: str | torch.device
    num_threads: int | None
    autoreset: str | bool
    first_env: int


class NativeGame(Scripted):
    """A game of `csrc/games` by its name there.

    A subclass says what its `__init__` takes, calls this one with the values of the C++ struct `Rules` (those
    of its `table`, if it has one, as a float32 tensor), and writes `_check_state` and `render`. The state
    is what the C++ struct `State` names.
    """

    num_states: int = 0
    """S, what a player tells apart who remembers one step; 0 where the game does not count that."""

    _bad_action_was = "taken for action 0"
    _fields: dict[str, Tensor]  # the state, [B, ...] each

    def __init__(
        self,
        kind: str,
        rules: dict[str, float],
        game: str,
        preset: Preset,
        num_envs: int,
        *,
        num_players: int,
        num_actions: int,
        obs: str,
        obs_shape: tuple[int, ...],
        obs_dtype: torch.dtype = torch.float32,
        action_box: tuple[float, float] | None = None,
        table: Tensor | None = None,
        check_actions: bool = True,
        episode_length: int | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        num_threads: int | None = None,
        autoreset: str | bool = False,
        first_env: int = 0,
    ) -> None:
        self._kind, self._rule_values, self._table = kind, rules, table
        self._checks_actions = check_actions and action_box is None  # a box's: by `_read`
        spec = preset.spec(
            game,
            episode_length,
            num_players=num_players,
            num_actions=num_actions,
            obs=obs,
            obs_shape=obs_shape,
            obs_dtype=obs_dtype,
            action_box=action_box,
        )
        super().__init__(spec, num_envs, seed, device, num_threads, first_env, autoreset)

    def _make_states(self) -> Buffer:
        """Memory of all states; `_fields` shows what is in it."""
        layout = core.game_layout(self._kind)
        states = self._memory.zeros((self.num_envs, layout["state_bytes"]), torch.uint8)
        self._fields = {}
        for name, (kind, start, count) in layout["state"].items():
            numbers = states.tensor.view(_FIELD_TYPES[kind])
            each_player = numbers[:, start : start + self.num_players]
            self._fields[name] = each_player if count == 0 else numbers[:, start]
        return states

    def _make_native(self) -> Any:
        scripts = core.game_layout(self._kind)["scripts"]
        if scripts:
            self.scripted_players = (*scripts, "random")
        self._batch = core.GameBatch(
            game=self._kind,
            rules=self._rule_values,
            num_envs=self.num_envs,
            num_players=self.num_players,
            obs_type=_OBS_TYPES.index(self.spec.obs_dtype),
            episode_length=self.episode_length,
            first_env=self.first_env,
            checked=self._checks_actions or self.spec.action_box is not None,
            table=None if self._table is None else self._memory.copy_of(self._table).native,
            states=self._make_states().native,
            t=self._t_buffer.native,
            episode=self._episode_buffer.native,
        )
        if self._on_device:
            on_device = core.GameSimulatorDevice(
                batch=self._batch, bad_action=self._bad_buffer.native, **self._device_settings()
            )
            return devices.OnDevice(on_device, self.device)
        results = self._results_native()
        return core.GameSimulator(self._batch, **results, num_threads=self.num_threads)

    # --- players whom the core plays

    def scripted_actions(self, players: Sequence[str | None]) -> Tensor:
        """What scripted players do now, as `step` takes it; 0 for players that are None.

        Args:
            players: of each a name of `scripted_players` (what they do is on the game's page), or None.
        """
        return self._scripted_actions(players)

    def _scripted_actions(self, players: Sequence[str | None], tie_episode: bool = False) -> Tensor:
        chosen = self._no_actions()
        self._native.choose(_scripted(tuple(self._kinds(players)), tie_episode), chosen.native)
        return self._shaped(chosen.tensor)

    def rollout_scripted(
        self,
        players: Sequence[str | None],
        steps: int,
        actions: Tensor | np.ndarray | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """T steps of scripted players in one native call.

        The draws are a function of (seed, environment, episode, t, player): the same numbers as T times
        `scripted_actions` and `step`.

        Args:
            players: of each its name, as `scripted_actions` takes it, or None: its actions are given.
            steps: T.
            actions: as `rollout` takes them; columns of scripted players are not looked at.

        Returns:
            observations [T+1, B, A, *obs_shape], actions as `rollout` takes them, rewards [T, B, A].

        Raises:
            ValueError, TypeError: no such player; actions that are missing, out of range or not needed.
        """
        return self._rollout_scripted(players, steps, actions)

    def _rollout_scripted(
        self, players: Sequence[str | None], steps: int, actions: Any, tie_episode: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        self._check_no_autoreset("rollout_scripted")
        kinds = self._kinds(players)
        played = self._given_actions(kinds, steps, actions)
        return self._play(_scripted(tuple(kinds), tie_episode), steps, played)

    def rollout_memory1(
        self,
        probabilities: Tensor | np.ndarray | Sequence[Any],
        steps: int,
        exploration: float = 0.0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """T steps of players who remember one step, sampled in one native call.

        Player p takes action k after observation s (`index` on the game's page) with probability

            (1 - e) P[p, s, k] + e / K

        The draws are a function of (seed, environment, episode, t, player): the same call again after
        the same reset gives the same actions.

        Args:
            probabilities: P, [A, S, K] for all environments or [B, A, S, K]; the K sum to 1 (a CUDA
                tensor is not looked at).
            steps: T.
            exploration: e in [0, 1], share of uniformly random play.

        Returns:
            observations [T+1, B, A, *obs_shape], actions [T, B, A] uint8, rewards [T, B, A].

        Raises:
            ValueError, TypeError: the game has no such states, or its actions are a box; shapes, sums or
                ranges are wrong.
        """
        if self.spec.action_box is not None:
            raise ValueError(
                f"rollout_memory1 needs finitely many actions, {self.spec.name} has a box"
            )
        if self.num_states == 0:
            raise ValueError(
                f"rollout_memory1 needs a game that numbers what happened in a step, {self.spec.name} "
                "does not"
            )
        self._check_no_autoreset("rollout_memory1")
        shape = (self.num_players, self.num_states, self.num_actions)
        table = given.probabilities_of(probabilities, shape, self.num_envs, self.device)
        # Half precision rounds each by up to 2^-12.
        if table.is_cpu and not bool(((table.double().sum(-1) - 1).abs() < 1e-3).all()):
            raise ValueError("probabilities must sum to 1 over actions")
        players = self._memory1_players(table, exploration)
        steps = _checks.integer("steps", steps, 0, _MAX_STEPS)
        chosen = self._memory.empty((steps, *self._action_shape), self._action_dtype)
        return self._play(players, steps, chosen)

    def rollout_policies(
        self, seats: Sequence[Any], draws: Callable[[], Tensor], seed: int, exploration: float = 0.0
    ) -> PlayedEpisodes | None:
        """The next episode of each environment between policies of memory 1, in one native call.

        Args:
            seats: who plays.
            draws, seed: not read: episode n of the environment's own seed has its own numbers.
            exploration: share of uniformly random play.

        Returns:
            The episodes; None unless the game shows the index and every policy has `memory1()`.
        """
        if self.spec.obs != "index":
            return None
        steps = self.episode_length
        return memory1.play(self, seats, lambda p: self.rollout_memory1(p, steps, exploration))

    def _memory1_players(self, table: Tensor, exploration: float) -> core.GamePlayers:
        """Who plays by probabilities [A, S, K] or [B, A, S, K], or those of two actions without the last."""
        last_too = table.shape[-1] == self.num_actions
        return core.GamePlayers(
            kinds=[_MEMORY1] * self.num_players,
            probabilities=borrow(table),
            each_env=table.ndim == (4 if last_too else 3),
            last_too=last_too,
            exploration=_checks.real("exploration", exploration, 0, 1),
        )

    def _play(
        self, players: core.GamePlayers, steps: int, chosen: Lent
    ) -> tuple[Tensor, Tensor, Tensor]:
        obs, rewards = self._rollout_buffers(steps)
        outcome = self._native.play(players, steps, chosen.native, obs.native, rewards.native)
        self._after_rollout(outcome, steps)
        return obs.tensor, self._shaped(chosen.tensor), rewards.tensor

    def _shaped(self, actions: Tensor) -> Tensor:
        return actions if self.spec.action_box is None else actions.unsqueeze(-1)

    def _bars(self, heights: Sequence[int | None]) -> np.ndarray:
        """A bar for each player, 4 pixels and `heights` of 0..48; grey where None; RGB [64, 32 n, 3]."""
        image = np.full((64, 32 * self.num_players, 3), 255, np.uint8)
        for player, height in enumerate(heights):
            colour = (200, 200, 200) if height is None else (0, 114, 178)
            image[60 - (4 + (height or 0)) : 60, 32 * player + 4 : 32 * player + 28] = colour
        return image

    def _start(self, which: Tensor) -> None:
        self._native.start(borrow(which.contiguous()))

    def _state(self) -> dict[str, Tensor]:
        return self._fields


@cache
def _scripted(kinds: tuple[int, ...], tie_episode: bool) -> core.GamePlayers:
    return core.GamePlayers(kinds=list(kinds), tie_episode=tie_episode)


class BoxGame(NativeGame):
    """A game whose actions are floats in a box, [B, A, 1]."""

    def step(self, actions: Tensor | np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return super().step(self._read(actions, (self.num_envs, self.num_players, 1)))

    def rollout(self, actions: Tensor | np.ndarray) -> Rollout:
        moves = self._read(actions, (None, self.num_envs, self.num_players, 1))
        if self.autoreset and not self._on_device:
            self._raise_range(moves)  # if it is: before the first step
        return super().rollout(moves)

    def check(self) -> None:
        """As of every game; on a device an action out of range, or NaN, was taken for 0."""
        if self._on_device and bool(self._bad_action.item()):
            self._bad_action.zero_()
            raise ValueError(
                f"{self._range()}: since the last check at least one was not, and was {self._bad_action_was}"
            )

    def _read(self, actions: Any, shape: given.Shape) -> Any:
        """Floats as the integers that have their bits: the core takes them so."""
        floats = given.float_actions(actions, shape, self.device)
        if isinstance(floats, Tensor):
            return floats.view(torch.int32).squeeze(-1)
        return floats.view(np.int32)[..., 0]

    def _raise_range(self, actions: Any) -> None:
        box = self.spec.action_box
        assert box is not None
        given.check_box(actions.view(np.float32), box)
