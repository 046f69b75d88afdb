"""The Coin Game of the opponent-shaping literature, by any of its published rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from loqa import _checks
from loqa._native import core
from loqa.envs.base import PlayedEpisodes
from loqa.envs.buffers import Buffer, borrow
from loqa.envs.coin_game.presets import SCRIPTED_COIN_PLAYERS, CoinPreset
from loqa.envs.coin_game.render import draw_coin_board
from loqa.envs.native_game import Common, NativeGame

OBS_MODES = ("planes", "cells")
_MAX_SIDE = 255
_LANES = 64  # environments that the core works on at once
_DIRECTIONS = ("left", "right", "up", "down")
_PLANES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32)
_CELLS = (torch.uint8, torch.int16, torch.int32, torch.int64)
_NO_MOVE = 255  # code of a direction that no action has


class CoinGame(NativeGame):
    """B Coin Games of A players on a torus of H x W cells; a preset says by whose rules.

    Players move at once; who steps on a coin takes it. Reward of player i, for each coin taken:
    (+1 if i took it) - (2 if i owns its colour and anybody else took it).

    State: `players_pos` [B, A, 2] (row, column), `coin_pos` [B, 2], `coin_owner` [B], `t` [B]. With
    a coin of each colour (mfos22, pax23): `coin_pos` [B, 2, 2] and no owner; mfos22 also
    `last_rewards` [B, 2].

    Observations of one player, n players, one-hot planes: player k in plane k, the coin of colour
    k in plane n + k, where k counts from the player itself if the preset is relative. Shape
    [2n, H, W], flat [2n * H * W] (pola22, lola-dice18) or [H, W, 2n] (pax23). mfos22 has n + 1
    further planes, constant over the board: the last rewards, own first, and 1 at t >= T.

    `obs="cells"` gives, instead, the places of the ones in the flattened planes, in the order
    players, coins: [n + number of coins] (mfos22: then the n + 1 constants). A linear layer over
    the flattened planes is a sum of rows of its weight matrix:
    `torch.nn.functional.embedding_bag(cells.flatten(0, -2), weight.t(), mode="sum") + bias`.
    """

    scripted_players = SCRIPTED_COIN_PLAYERS
    _bad_action_was = "taken for staying put"

    def __init__(
        self,
        preset: CoinPreset,
        num_envs: int,
        *,
        height: int = 3,
        width: int = 3,
        num_players: int = 2,
        obs: str = "planes",
        obs_dtype: torch.dtype | None = None,
        egocentric: bool = False,
        zero_last_reward: bool = False,
        check_actions: bool = True,
        **common: Unpack[Common],
    ) -> None:
        self.preset = preset
        self.height = _checks.integer("height", height, 1, _MAX_SIDE)
        self.width = _checks.integer("width", width, 1, _MAX_SIDE)
        players = _checks.integer("num_players", num_players, 2, 8)
        if players > preset.max_players:
            raise ValueError(
                f"num_players must be {preset.max_players} for preset {preset.name!r}, got {players}"
            )
        if self.height * self.width <= players:
            raise ValueError(
                f"height * width must be more than the {players} players, so that there is room "
                f"for the coin, got {self.height} x {self.width}"
            )
        self.egocentric = _switch("egocentric", egocentric)
        self.zero_last_reward = _switch("zero_last_reward", zero_last_reward)
        if self.zero_last_reward and preset.name != "pax23":
            raise ValueError(
                f"zero_last_reward is a switch of preset 'pax23', this is {preset.name!r}"
            )
        self.num_coins = players if preset.coin_per_player else 1
        self._history = players + 1 if preset.history else 0
        obs = _checks.one_of("obs", obs, OBS_MODES)
        obs_dtype = self._checked_dtype(obs, obs_dtype, players)
        code = {name: preset.actions.index(name) for name in preset.actions}
        super().__init__(
            "coin-game",
            {
                "height": self.height,
                "width": self.width,
                "num_players": players,
                "num_coins": self.num_coins,
                "num_actions": len(preset.actions),
                **{name: code.get(name, _NO_MOVE) for name in _DIRECTIONS},
                "distinct_start": preset.distinct_start,
                "coin_anywhere": preset.coin_anywhere,
                "first_takes": preset.first_takes,
                "relative": preset.relative,
                "channels_last": preset.layout == "channels_last",
                "egocentric": self.egocentric,
                "history": preset.history,
                "zero_last_reward": self.zero_last_reward,
                "cells": obs == "cells",
            },
            "coin_game",
            preset,
            num_envs,
            common,
            check_actions=bool(check_actions),
            num_players=players,
            num_actions=len(preset.actions),
            obs=obs,
            obs_shape=self._shape(obs, players),
            obs_dtype=obs_dtype,
        )

    def _shape(self, obs: str, players: int) -> tuple[int, ...]:
        if obs == "cells":
            return (players + self.num_coins + self._history,)
        planes = 2 * players + self._history
        if self.preset.layout == "flat":
            return (planes * self.height * self.width,)
        if self.preset.layout == "channels_last":
            return (self.height, self.width, planes)
        return (planes, self.height, self.width)

    def _checked_dtype(self, obs: str, dtype: torch.dtype | None, players: int) -> torch.dtype:
        allowed = list(_PLANES if obs == "planes" else _CELLS)
        places = 2 * players * self.height * self.width
        if obs == "cells":
            if places > 2**8 or self.preset.history:
                allowed.remove(torch.uint8)
            if places > 2**15:
                allowed.remove(torch.int16)
        elif self.preset.history:  # rewards may be negative
            allowed.remove(torch.uint8)
        if dtype is None:
            return torch.float32 if obs == "planes" else torch.int32
        if dtype not in allowed:
            names = ", ".join(str(known) for known in allowed)
            raise ValueError(
                f"obs_dtype must be one of {names} for obs {obs!r} of preset {self.preset.name!r} "
                f"on {self.height} x {self.width}, got {dtype}"
            )
        return dtype

    @property
    def planes_shape(self) -> tuple[int, ...]:
        """`obs_shape` with obs "planes"."""
        return self._shape("planes", self.num_players)

    @property
    def obs_bounds(self) -> tuple[int, int]:
        high = 1
        if self.spec.obs == "cells":
            high = 2 * self.num_players * self.height * self.width - 1
        return (-2, max(high, 2)) if self.preset.history else (0, high)  # last rewards

    def _make_states(self) -> Buffer:
        players, coins, preset = self.num_players, self.num_coins, self.preset
        owner_row = 2 * players + 2 * coins
        rows = owner_row + (coins == 1) + (players if preset.history else 0)
        lanes = -(-self.num_envs // _LANES) * _LANES
        states = self._memory.zeros((rows, lanes), torch.uint8)
        live = states.tensor[:, : self.num_envs]
        self._players_pos = live[: 2 * players].view(players, 2, -1).permute(2, 0, 1)
        self._coin_pos = live[2 * players : owner_row].view(coins, 2, -1).permute(2, 0, 1)
        self._fields = {"players_pos": self._players_pos}
        if coins == 1:
            self._coin_pos = self._coin_pos[:, 0]
            self._fields["coin_owner"] = live[owner_row]
        self._fields["coin_pos"] = self._coin_pos
        if preset.history:
            self._fields["last_rewards"] = live[owner_row:].view(torch.int8).t()
        return states

    def rollout_policies(
        self, seats: Sequence[Any], draws: Callable[[], Tensor], seed: int, exploration: float = 0.0
    ) -> PlayedEpisodes | None:
        """A batch of whole episodes between networks and scripted players, in one native call.

        A thread plays a few episodes from their first step to their last before it begins the next
        ones: the parameter sets that they need are read from memory once, not once a step, and stay in
        the core's second-level cache. Past agents are read as they are stored, in half precision.
        Products are fused multiply-adds in float32; results do not depend on the number of threads.

        Args:
            seats: who plays; a name is a scripted player. Of G sets each plays B / G episodes.
            draws: gives the uniform numbers `[T, 2, B]` that actions are drawn with, by inversion.
            seed: of the episodes; this environment's own state is not touched.
            exploration: share of uniformly random play.

        Returns:
            The episodes; None where the core cannot play them: another device, another number of
            players, observations with history, exploration, or a policy that is no
            `loqa.agents.sets.AgentSets` of recurrent heads.

        Raises:
            ValueError: shapes or numbers of sets do not fit.
        """
        plays = self.num_players == 2 and not self.preset.history
        if self.device.type != "cpu" or exploration or not plays:
            return None
        heads: list[Any] = [
            (seat, None) if isinstance(seat, str) else getattr(seat, "native_heads", tuple)()
            for seat in seats
        ]
        if not all(heads) or (heads[0][1] is not None):  # the core records seat 1 alone
            return None
        steps, batch = self.episode_length, self.num_envs
        numbers = draws().contiguous()
        if numbers.shape != (steps, 2, batch) or numbers.dtype != torch.float32:
            raise ValueError(
                f"draws must be {[steps, 2, batch]} float32, "
                f"got {list(numbers.shape)} {numbers.dtype}"
            )
        new = partial(torch.empty, dtype=torch.float32, device="cpu")  # whatever the defaults are
        shape = (steps + 1, batch, 2, *self.obs_shape)
        obs = torch.empty(shape, dtype=self.spec.obs_dtype, device="cpu")
        rewards = new((steps, batch, 2))
        chosen = torch.empty((steps, batch, 2), dtype=torch.uint8, device="cpu")
        critic = heads[1][1]
        kept = steps + 1 if critic is not None else 0
        log_probs, q_values = (new((kept, batch, self.num_actions)) for _ in range(2))
        actors = [actor for actor, _ in heads]
        core.play_networks(
            batch=self._batch,
            num_threads=self.num_threads,
            actors=[None if isinstance(actor, str) else actor.native() for actor in actors],
            critic=None if critic is None else critic.native(),
            canonical=[getattr(seat, "canonical", False) for seat in seats],
            kinds=[
                SCRIPTED_COIN_PLAYERS.index(actor) if isinstance(actor, str) else -1
                for actor in actors
            ],
            steps=steps,
            seed=seed,
            draws=borrow(numbers),
            obs=borrow(obs),
            actions=borrow(chosen),
            rewards=borrow(rewards),
            log_probs=borrow(log_probs),
            q_values=borrow(q_values),
        )
        tables = (None, None if critic is None else (log_probs, q_values))
        return PlayedEpisodes(obs, chosen, rewards, tables)

    # --- hooks of VectorEnv

    def _check_state(self, state: dict[str, Tensor]) -> None:
        limit = torch.tensor([self.height, self.width], device="cpu")
        for name in ("players_pos", "coin_pos"):
            if not bool(((state[name] >= 0) & (state[name] < limit)).all()):
                raise ValueError(
                    f"{name} must be (row, column) on a board of {self.height} x {self.width}"
                )
        if "coin_owner" in state:
            owner = state["coin_owner"]
            if not bool(((owner >= 0) & (owner < self.num_players)).all()):
                raise ValueError(f"coin_owner must be in 0..{self.num_players - 1}")
        if "last_rewards" in state and not bool((state["last_rewards"].abs() <= 2).all()):
            raise ValueError("last_rewards must be in -2..2")

    def _rules(self) -> dict[str, Any]:
        names = (
            "height",
            "width",
            "num_players",
            "egocentric",
            "zero_last_reward",
            "episode_length",
        )
        return {name: getattr(self, name) for name in names}

    def render(self, index: int = 0, size: int = 48) -> np.ndarray:
        """The board of environment `index`: discs are players, squares are coins, both in the
        colour of their owner; RGB [H * size + 1, W * size + 1, 3] of uint8."""
        index = _checks.integer("index", index, 0, self.num_envs - 1)
        coins = self._coin_pos[index].reshape(-1, 2).tolist()
        owner = self._fields.get("coin_owner")
        colours = list(range(self.num_coins)) if owner is None else [int(owner[index])]
        return draw_coin_board(
            self.height, self.width, self._players_pos[index].tolist(), coins, colours, size
        )


def _switch(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


MAKES = {"coin-game": CoinGame}
"""For `loqa.envs.registry`."""
