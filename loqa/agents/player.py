"""A player: a policy or a strategy with a name, and what is known of the game that it plays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from loqa.agents.digest import contents, digest, likely
from loqa.agents.policy import Policy
from loqa.agents.strategies import Machine


@dataclass(frozen=True)
class Player:
    """A player of one game, or of several.

    Attributes:
        name: what tables call it.
        group: its algorithm; players of one group are seeds of one another.
        games: that it can play.
        digest: hash of what it does, the same for the same behaviour.
        policy: a network, or None.
        machine: a strategy that cooperates or defects, or None.
        scripted: its name where simulators have it as a scripted player, or None.
        grid: the board that its network is for, None for any.
        rules: preset whose observations and action codes its network knows, None for any.
        made_for: settings of the game that it was made for, which matches take over: payoff,
            episode_length, discount; empty if it was made for none in particular.
        cooperate: the action code of cooperation in what its network learned; None if it takes codes
            as its game has them.
        config: of the run that it comes from, or None.
        iteration: of that run; None if not known.
        source: the file or run directory that it was read from, or "".
        unknown: why its digest says nothing of what it does (then nothing about it is stored), or "".
    """

    name: str
    group: str
    games: tuple[str, ...]
    digest: str
    policy: Policy | None = None
    machine: Machine | None = None
    scripted: str | None = None
    grid: tuple[int, int] | None = None
    rules: str | None = None
    made_for: Mapping[str, Any] = field(default_factory=dict)
    cooperate: int | None = None
    config: Any = None
    iteration: int | None = None
    source: str = ""
    unknown: str = ""


class MachinePolicy:
    """A finite-state machine as a policy: reads the observation `index`, actions 0 C and 1 D."""

    def __init__(self, machine: Machine) -> None:
        self._cooperate = torch.from_numpy(machine.cooperate).float()
        self._transition = torch.from_numpy(machine.transition.reshape(-1, 4).copy())

    def initial_state(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, 1, dtype=torch.int64, device="cpu")

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        moved = self._transition[state[:, 0], (obs.long() - 1).clamp(min=0)]
        now = torch.where(obs == 0, state[:, 0], moved)
        p = self._cooperate[now]
        return torch.stack([p, 1 - p], -1).log(), now[:, None]


def with_digest(player: Player) -> Player:
    """The player with the digest of what its policy is now."""
    policy = player.policy
    if policy is None:
        return player
    kind, made_of = type(policy).__qualname__, contents(policy)
    if made_of is not None:
        return replace(player, digest=digest(kind, *made_of), unknown="")
    # Its random numbers are a function of what it is called and seems to be made of.
    why = f"{kind} has no contents(), the data that decides what it does"
    return replace(player, digest=digest("unknown", kind, player.name, likely(policy)), unknown=why)
