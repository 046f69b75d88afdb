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
from loqa.envs.autoreset import AUTORESET_MODES, Rollout
from loqa.envs.base import PlayedEpisodes, Preset
from loqa.envs.buffers import Buffer, Lent, borrow
from loqa.envs.device import OnDevice
from loqa.envs.native import VectorEnv

_OBS_TYPES = (
    torch.int8, torch.int64, torch.float32, torch.uint8, torch.int16, torch.int32, torch.float16,
    torch.bfloat16,
)  # fmt: skip
"""By the code of the C++ enum ObsType."""
# By the code of the C++ enum FieldType.
_FIELD_TYPES = (torch.int8, torch.int32, torch.float32)
# Codes of the C++ enum GamePlayer; scripted players have their place in `scripted_players`.
_GIVEN, _MEMORY1 = -1, -2
_NO_ACTION = 255
_MAX_STEPS = 2**31 - 1


class Common(TypedDict, total=False):
    """Settings of every game, see `loqa.make`."""

    episode_length: int | None
    seed: int
    device: str | torch.device
    num_threads: int | None
    autoreset: str | bool
    first_env: int


class NativeGame(VectorEnv):
    """A game of `csrc/games` by its name there.

    A subclass says what its `__init__` takes, calls this one, and writes `_check_state` and `render`. The
    state is what the C++ struct `State` names.

    Args:
        kind: the game's `kName`.
        rules: the values of the C++ struct `Rules`.
        game, preset, num_envs: as of `loqa.make`.
        common: settings of every game.
        table: float32 values of the rules' `table`, if they have one.
        check_actions: whether an action out of range raises.
        shown: further fields of the spec.
    """

    num_states: int = 0
    """S, what a player tells apart who remembers one step; 0 where the game does not count that."""

    def __init__(
        self,
        kind: str,
        rules: dict[str, float],
        game: str,
        preset: Preset,
        num_envs: int,
        common: Common,
        *,
        table: Tensor | None = None,
        check_actions: bool = True,
        **shown: Any,
    ) -> None:
        self._kind, self._rule_values, self._table = kind, rules, table
        where: dict[str, Any] = {**common}
        spec = preset.spec(game, where.pop("episode_length", None), **shown)
        self._checks_actions = check_actions and spec.action_box is None  # a box's: by `_read`
        super().__init__(spec, num_envs, **where)

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
        results = {name: buffer.native for name, buffer in self._buffers.items()}
        if not self.on_device:
            return core.GameSimulator(self._batch, **results, num_threads=self.num_threads)
        mode = 1 + AUTORESET_MODES.index(str(self.autoreset)) if self.autoreset else 0
        on_device = core.GameSimulatorDevice(
            batch=self._batch,
            **results,
            seed=self._seed_buffer.native,
            bad_action=self._bad_buffer.native,
            autoreset=mode,
            final_obs=None if self._final is None else self._final.native,
            on_host=self.device.type == "cpu",
        )
        return OnDevice(on_device, self.device)

    def _rules(self) -> dict[str, Any]:
        rules = {**self._rule_values, "episode_length": self.episode_length}
        return rules if self._table is None else {**rules, "table": self._table.tolist()}

    # --- players whom the core plays

    def scripted_actions(self, players: Sequence[str | None], tie_order: str = "step") -> Tensor:
        """What scripted players do now, as `step` takes it; 0 for players that are None.

        Args:
            players: of each a name of `scripted_players` (what they do is on the game's page), or None.
            tie_order: whether the order of equally good actions is drawn every "step" or once an "episode"
                (the Coin Game; other games have no ties).
        """
        chosen = self._memory.empty(tuple(self._action_shape), self._action_dtype)
        chosen.tensor.zero_()
        self._native.choose(_scripted(self._kinds(players), tie_order), chosen.native)
        return self._shaped(chosen.tensor)

    def rollout_scripted(
        self,
        players: Sequence[str | None],
        steps: int,
        actions: Tensor | np.ndarray | None = None,
        tie_order: str = "step",
    ) -> tuple[Tensor, Tensor, Tensor]:
        """T steps of scripted players in one native call.

        The draws are a function of (seed, environment, episode, t, player): the same numbers as T times
        `scripted_actions` and `step`.

        Args:
            players: of each its name, as `scripted_actions` takes it, or None: its actions are given.
            steps: T.
            actions: as `rollout` takes them; columns of scripted players are not looked at.
            tie_order: see `scripted_actions`.

        Returns:
            observations [T+1, B, A, *obs_shape], actions as `rollout` takes them, rewards [T, B, A].

        Raises:
            ValueError, TypeError: no such player; actions that are missing, out of range or not needed.
        """
        self._check_no_autoreset("rollout_scripted")
        kinds = self._kinds(players)
        shape = (_checks.integer("steps", steps, 0, _MAX_STEPS), *self._action_shape)
        played = self._memory.empty(shape, self._action_dtype)
        mine = [player for player, kind in enumerate(kinds) if kind == _GIVEN]
        if mine and actions is None:
            raise ValueError(f"actions must be given for the players {mine} that are None")
        if not mine and actions is not None:
            raise ValueError("actions must be None: every player is scripted")
        if mine:
            moves = self._numbers(actions, shape)
            for player in mine:
                played.tensor[..., player] = self._legal(moves[..., player], player)
        return self._play(_scripted(kinds, tie_order), steps, played)

    def _kinds(self, players: Sequence[str | None]) -> tuple[int, ...]:
        """A code for each player."""
        if isinstance(players, str) or len(players) != self.num_players:
            raise ValueError(f"players must be {self.num_players} names (or None), got {players!r}")
        known = self.scripted_players
        return tuple(
            _GIVEN if name is None else known.index(_checks.one_of("player", name, known))
            for name in players
        )

    def _numbers(self, actions: Any, shape: tuple[int, ...]) -> Tensor:
        """Actions [T, B, A] of any type, on this device."""
        if self.spec.action_box is not None:
            floats = given.float_actions(actions, (*shape, 1), self.device)
            return torch.as_tensor(floats, device=self.device)[..., 0]
        if self.device.type == "cpu":
            return torch.from_numpy(given.copied_actions(actions, shape, self.device))
        return given.device_actions(actions, shape, self.device)

    def _legal(self, moves: Tensor, player: int) -> Tensor:
        """These actions, if they are legal; on a device what is not becomes no action, of which the core
        tells, as in `step`."""
        if self.spec.action_box is None:
            moves = moves.long()  # torch 2.6 compares no unsigned integers of 16 bits or more
            outside = (moves < 0) | (moves >= self.num_actions)
        else:
            low, high = self.spec.action_box
            outside = ~((moves >= low) & (moves <= high))  # NaN is
        if self.on_device:
            return moves.masked_fill(outside, _NO_ACTION)
        if bool(outside.any()):
            raise ValueError(f"actions must be in {self._range()} for player {player}")
        return moves

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
        return self._sample(table, steps, exploration, torch.uint8)

    def _sample(
        self, table: Tensor, steps: int, exploration: float, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor]:
        """T steps by probabilities [A, S, K] or [B, A, S, K], or those of two actions without the last."""
        last_too = table.shape[-1] == self.num_actions
        players = core.GamePlayers(
            kinds=[_MEMORY1] * self.num_players,
            probabilities=borrow(table),
            each_env=table.ndim == (4 if last_too else 3),
            last_too=last_too,
            exploration=_checks.real("exploration", exploration, 0, 1),
        )
        steps = _checks.integer("steps", steps, 0, _MAX_STEPS)
        return self._play(players, steps, self._memory.empty((steps, *self._action_shape), dtype))

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
        tables = tables_of(seats, self.num_envs) if self.spec.obs == "index" else None
        if tables is None:
            return None
        self.reset()
        obs, actions, rewards = self._by_tables(tables, self.episode_length, exploration)
        return PlayedEpisodes(obs, actions, rewards, (None,) * self.num_players)

    def _by_tables(
        self, tables: Tensor, steps: int, exploration: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self.rollout_memory1(tables, steps, exploration)

    def _play(
        self, players: core.GamePlayers, steps: int, chosen: Lent
    ) -> tuple[Tensor, Tensor, Tensor]:
        obs, rewards = self._rollout_buffers(steps)
        outcome = self._native.play(players, steps, chosen.native, obs.native, rewards.native)
        self._after_rollout(outcome, steps)
        return obs.tensor, self._shaped(chosen.tensor), rewards.tensor

    @property
    def _action_dtype(self) -> torch.dtype:
        """Of actions as the core writes them."""
        return torch.uint8 if self.spec.action_box is None else torch.float32

    def _shaped(self, actions: Tensor) -> Tensor:
        return actions if self.spec.action_box is None else actions.unsqueeze(-1)

    def _bars(self, heights: Sequence[int | None]) -> np.ndarray:
        """A bar for each player, 4 pixels and `heights` of 0..48; grey where None; RGB [64, 32 n, 3]."""
        image = np.full((64, 32 * self.num_players, 3), 255, np.uint8)
        for player, height in enumerate(heights):
            colour = (200, 200, 200) if height is None else (0, 114, 178)
            image[60 - (4 + (height or 0)) : 60, 32 * player + 4 : 32 * player + 28] = colour
        return image


@cache
def _scripted(kinds: tuple[int, ...], tie_order: str) -> core.GamePlayers:
    by_episode = _checks.one_of("tie_order", tie_order, ("step", "episode")) == "episode"
    return core.GamePlayers(kinds=list(kinds), tie_episode=by_episode)


def tables_of(seats: Sequence[Any], num_envs: int) -> Tensor | None:
    """What the policies in all seats do, `[A, S, K]` or `[B, A, S, K]`.

    None unless each has `memory1()`, which gives its probabilities of the actions in each state, `[S, K]`,
    or `[G, S, K]` of G sets.
    """
    tables: dict[int, Tensor | None] = {}
    for seat in seats:
        if id(seat) not in tables:
            tables[id(seat)] = getattr(seat, "memory1", lambda: None)()
    # Rounding can lift a certain action's probability just above 1. NaN, which a run on a GPU notices
    # some iterations late, must not stop it here.
    found = []
    for seat in seats:
        table = tables[id(seat)]
        if table is None:
            return None
        found.append(table.nan_to_num(1 / table.shape[-1]).clamp(max=1))
    if any(table.ndim == 3 for table in found):
        found = [_for_each(table, num_envs) for table in found]
    return torch.stack(found, -3)


def _for_each(table: Tensor, num_envs: int) -> Tensor:
    """`[S, K]` or `[G, S, K]` -> `[B, S, K]`."""
    if table.ndim == 2:
        return table.expand(num_envs, -1, -1)
    return table.repeat_interleave(num_envs // len(table), 0)


class BoxGame(NativeGame):
    """A game whose actions are floats in a box, [B, A, 1]."""

    def step(self, actions: Tensor | np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return super().step(self._read(actions, (self.num_envs, self.num_players, 1)))

    def rollout(self, actions: Tensor | np.ndarray) -> Rollout:
        moves = self._read(actions, (None, self.num_envs, self.num_players, 1))
        if self.autoreset and not self.on_device:
            self._raise_range(moves)  # if it is: before the first step
        return super().rollout(moves)

    def _read(self, actions: Any, shape: given.Shape) -> Any:
        """Floats as the integers that have their bits: the core takes them so."""
        floats = given.float_actions(actions, shape, self.device)
        if isinstance(floats, Tensor):
            return floats.view(torch.int32).squeeze(-1)
        return floats.view(np.int32)[..., 0]

    def _raise_range(self, actions: Any) -> None:
        super()._raise_range(actions.view(np.float32))
