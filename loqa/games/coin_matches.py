"""Matches of the Coin Game."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from loqa.agents.actor_critic import Agent
from loqa.agents.digest import contents
from loqa.agents.places import ones
from loqa.agents.player import Player
from loqa.agents.policy import Policy
from loqa.envs.coin_game.env import CoinGame
from loqa.envs.coin_game.presets import SCRIPTED_COIN_PLAYERS
from loqa.envs.coin_game.statistics import coin_statistics
from loqa.envs.registry import make
from loqa.games.matches import NativeMatches, Numbers

_RULES = "loqa24"  # of published networks and of searches


class CoinMatches(NativeMatches[CoinGame]):
    """Networks know the board, the planes and the action codes that they were made for."""

    rules = ("height", "width", "num_players", "egocentric", "zero_last_reward")
    settings = ("preset", *rules[:3], "episode_length", *rules[3:])
    scripted = SCRIPTED_COIN_PLAYERS
    published = _RULES

    def __init__(self) -> None:
        super().__init__("coin-game")
        self.search = CoinSearch()

    def agree(self, players: Sequence[Player], settings: dict[str, Any]) -> dict[str, Any]:
        agreed = {**settings, "preset": check_rules(players, settings.get("preset"))}
        wanted = self.num_players(agreed)
        for one in players:  # a network reads the planes it was made for
            if one.grid is None:
                continue
            knows = bool(one.made_for.get("egocentric"))
            if knows != bool(agreed.get("egocentric")):
                raise ValueError(f"{one.name} was made for egocentric={knows} observations")
            count = one.made_for.get("num_players", 2)
            if count != wanted:
                raise ValueError(f"{one.name} is for {count} players, got {wanted}")
        height, width = common_grid(players, agreed.get("height"), agreed.get("width"))
        return {**agreed, "height": height, "width": width}

    def made_for(self, config: Any) -> dict[str, Any]:
        count = config.num_players
        return super().made_for(config) | ({} if count == 2 else {"num_players": count})

    def traits(self, config: Any) -> dict[str, Any]:
        return {"grid": (config.height, config.width), "rules": config.rules}

    def policy_of(self, agent: Agent, config: Any) -> Policy:
        """Of a run's agent: matches show the board as it is, whoever looks."""
        if not config.egocentric:
            return agent
        return Centred(Agent(agent.actor, agent.critic, agent.observes))  # the run left out

    def traits_in(self, env: CoinGame) -> dict[str, Any]:
        return {"grid": (env.height, env.width), "rules": env.spec.preset}

    def check_seat(self, env: CoinGame, player: Player) -> None:
        check_rules([player], env.preset.name)
        common_grid([player], env.height, env.width)
        if player.policy is not None and env.spec.obs != "planes" and env.preset.history:
            raise ValueError(
                f"{player.name} reads planes: obs must be 'planes' by the rules of "
                f"{env.preset.name}, got {env.spec.obs!r}"
            )

    def seen(self, env: CoinGame, obs: Tensor) -> Tensor:
        if env.spec.obs == "planes" or env.preset.history:
            return obs
        shape = env.planes_shape
        return ones(obs, math.prod(shape)).reshape(*obs.shape[:-1], *shape)

    def statistics(self, env: CoinGame, obs: Tensor, actions: Tensor, rewards: Tensor) -> Numbers:
        planes = _relative_planes(obs, env)
        moves = env.preset.moves if env.egocentric else None
        measured = coin_statistics(planes, actions, rewards, env.preset.first_takes, moves=moves)
        return {name: value.tolist() for name, value in vars(measured).items()}


class Centred:
    """A policy that reads planes `[B, P, H, W]` with itself in the middle, where the board is shown."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def contents(self) -> tuple[Any, ...] | None:
        return contents(self.policy)

    def initial_state(self, batch_size: int) -> Tensor:
        return self.policy.initial_state(batch_size)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """To the planes `[B, P, H, W]`, shifted so that the first player stands in the middle."""
        height, width = obs.shape[-2:]
        own = obs[:, 0].flatten(1).argmax(-1)[:, None]
        rows = (torch.arange(height, device=obs.device) + own // width - height // 2) % height
        columns = (torch.arange(width, device=obs.device) + own % width - width // 2) % width
        cells = rows[:, :, None] * width + columns[:, None, :]
        planes = obs.flatten(2)
        shifted = planes.gather(2, cells.flatten(1)[:, None].expand_as(planes)).reshape(obs.shape)
        return self.policy.step(shifted, state)


def common_grid(
    players: Sequence[Player], height: int | None = None, width: int | None = None
) -> tuple[int, int]:
    """The board asked for, else that of the networks among them, else 3 x 3; ValueError if one differs."""
    grids = {one.grid: one.name for one in players if one.grid is not None}
    if len(grids) > 1:
        said = ", ".join(f"{name} is for {h} x {w}" for (h, w), name in grids.items())
        raise ValueError(f"the players are for different boards: {said}")
    (rows, columns), name = next(iter(grids.items()), ((3, 3), ""))
    height, width = rows if height is None else height, columns if width is None else width
    if grids and (height, width) != (rows, columns):
        raise ValueError(f"{name} is for a board of {rows} x {columns}, got {height} x {width}")
    return height, width


def check_rules(players: Sequence[Player], preset: str | None) -> str:
    """The preset asked for, else the one that the networks among them know, else loqa24; ValueError if one
    knows another."""
    known = [one.rules for one in players if one.rules is not None]
    wanted = next(iter(known), _RULES) if preset is None else preset.replace("_", "-")
    for one in players:
        if one.rules not in (None, wanted):
            raise ValueError(f"{one.name} plays by the rules of {one.rules}, not {wanted}")
    return wanted


def _relative_planes(obs: Tensor, env: CoinGame) -> Tensor:
    """Observations by any preset as loqa24 shows them (history left out): `[T+1, B, A, ...]` -> planes of the
    players, self first, then of the coins, own first, `[T+1, B, A, 2A, H, W]`."""
    if env.preset.layout == "channels_last":
        planes = obs.movedim(-1, -3)
    else:
        planes = obs.reshape(*obs.shape[:3], -1, env.height, env.width)
    count = env.num_players
    planes = planes[:, :, :, : 2 * count]
    if env.preset.relative:
        return planes
    # Player i's planes are those of all, from its own on.
    both = planes.reshape(*planes.shape[:3], 2, count, *planes.shape[4:])
    return torch.stack([both[:, :, i].roll(-i, 3).flatten(2, 3) for i in range(count)], 2)


class CoinSearch:
    """What a search for moves (`loqa.evaluation.mcts`) knows of the Coin Game: it reads the planes of loqa24,
    from which the state can be told."""

    guides = ("always-cooperate", "always-defect")  # whose choices may end a line of play
    said = f"the Coin Game by the rules of {_RULES}"

    def knows(self, settings: Mapping[str, Any]) -> bool:
        """Whether these are rules that it knows."""
        return bool(settings["preset"] == _RULES) and settings.get("num_players", 2) == 2

    def make(self, num_envs: int, settings: Mapping[str, Any]) -> Any:
        """The environment of the simulations."""
        return make("coin-game", num_envs, num_threads=1, **settings)

    def state(self, obs: Tensor, t: int, settings: Mapping[str, Any]) -> dict[str, Tensor]:
        """The state, as `set_state` takes it, of games whose player 0 sees `obs` at step t."""
        board, shown = [4, settings["height"], settings["width"]], list(obs.shape[1:])
        if shown != board:
            raise ValueError(f"the search knows the planes {board} of {_RULES}, got {shown}")
        width = obs.shape[-1]
        places = torch.stack([obs[:, 0], obs[:, 1], obs[:, 2] + obs[:, 3]], 1).flatten(2)
        cells = places.argmax(-1)
        where = torch.stack([cells // width, cells % width], -1)
        return {
            "players_pos": where[:, :2],
            "coin_pos": where[:, 2],
            "coin_owner": (obs[:, 3].flatten(1).sum(-1) > 0).long(),
            "t": torch.full((len(obs),), t, dtype=torch.int64, device="cpu"),
        }

    def of_other(self, obs: Tensor) -> Tensor:
        """What the other player sees."""
        return obs[:, [1, 0, 3, 2]]

    def outcome(self, env: CoinGame) -> tuple[NDArray[np.int64], int]:
        """A number for where both players and the coin are, and whose it is; and how many such there are."""
        state = env.get_state()
        cells = env.height * env.width
        places = torch.cat([state["players_pos"], state["coin_pos"][:, None]], 1)
        first, second, coin = (places[..., 0] * env.width + places[..., 1]).unbind(1)
        code = ((first * cells + second) * cells + coin) * 2 + state["coin_owner"]
        return np.asarray(code.numpy()), 2 * cells**3
