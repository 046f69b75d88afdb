"""Matches of matrix games: networks and strategies read the index of the last joint action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from loqa.agents.networks import NUM_IPD_STATES
from loqa.agents.player import MachinePolicy, Player
from loqa.agents.policy import Policy
from loqa.agents.strategies import Machine
from loqa.envs.matrix_game.env import MatrixGame
from loqa.envs.matrix_game.scripted import by_codes
from loqa.games.matches import NativeMatches, Numbers


class MatrixMatches(NativeMatches[MatrixGame]):
    """Players that cooperate or defect play games of two actions, by whichever code cooperates."""

    settings = ("preset", "payoff", "contribution_factor", "episode_length", "noise")
    replaced: ClassVar = {"payoff": "contribution_factor"}
    observes = "states"
    shown: ClassVar = {"obs": "index", "obs_dtype": torch.int64}

    def rules_of(self, env: MatrixGame) -> dict[str, Any]:
        return {**super().rules_of(env), "payoff": env.payoff.tolist(), "noise": env.noise}

    def plays(self, machine: Machine) -> bool:
        return True

    def made_for(self, config: Any) -> dict[str, Any]:
        table, given = config.env.table(), config.payoff
        if given is None or len(given) != table[0].size:  # a stage game's, or one table a player
            given = table[0].reshape(-1).tolist() if config.env.symmetric else table.tolist()
        return {**super().made_for(config), "preset": "loqa24", "payoff": given}

    def traits(self, config: Any) -> dict[str, Any]:
        return {"cooperate": 0} if len(config.env.table()[0]) == 2 else {}

    def check_seat(self, env: MatrixGame, player: Player) -> None:
        states = getattr(player.policy, "states", None)  # of an agent
        known = states.actions if states is not None else 2 if player.policy is None else None
        if known not in (None, env.num_actions):
            raise ValueError(
                f"{player.name} plays in a game of {known} actions, this one has {env.num_actions}"
            )

    def num_inputs(self, env: MatrixGame) -> int:
        return 2 * env.num_actions  # the index is read as bits

    def policy_in(self, env: MatrixGame, player: Player) -> Policy | None:
        if player.policy is not None:
            return player.policy
        assert player.machine is not None
        return MachinePolicy(player.machine)

    def seen(self, env: MatrixGame, obs: Tensor) -> Tensor:
        return env.joint_index()

    def swaps_codes(self, env: MatrixGame, player: Player) -> bool:
        if player.cooperate is None:
            return False
        if env.cooperate is None:
            raise ValueError(
                f"{player.name} cooperates or defects, in a game of 2 actions; this one has "
                f"{env.num_actions}"
            )
        return player.cooperate != env.cooperate

    def swapped(self, obs: Tensor) -> Tensor:
        return torch.where(obs == 0, obs, NUM_IPD_STATES - obs)

    def play_natively(
        self, env: MatrixGame, players: Sequence[Player], steps: int
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        table = []
        for player in players:
            vector = _memory1_of(player.machine)
            if vector is None:
                return None
            table.append(by_codes(vector, int(self.swaps_codes(env, player))))
        return env.rollout_memory1(np.array(table, np.float32), steps)

    def statistics(self, env: MatrixGame, obs: Tensor, actions: Tensor, rewards: Tensor) -> Numbers:
        if env.cooperate is None:
            return {}
        return {"cooperation": (actions == env.cooperate).double().mean((0, 1)).tolist()}


def _memory1_of(machine: Machine | None) -> list[float] | None:
    """P(C) at the start and after CC, CD, DC, DD if a machine is a memory-1 strategy as it stands."""
    if machine is None or machine.cooperate.shape != (5,):
        return None
    table = machine.transition.reshape(5, 4)
    vector: list[float] = machine.cooperate.tolist()
    return vector if bool((table == [1, 2, 3, 4]).all()) else None
