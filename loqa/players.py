"""Who plays: a player from a name, five probabilities, a file, or a policy.

Names are the strategies of `loqa.strategies.NAMED` (for short: ac, ad, tft, wsls), of which
always-cooperate, always-defect and random play the Coin Game too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loqa import _checks
from loqa.agents import Agent
from loqa.checkpoint import load_checkpoint
from loqa.envs.coin_presets import SCRIPTED_COIN_PLAYERS
from loqa.policies import Policy
from loqa.published import is_safetensors, load_published
from loqa.strategies import NAMED, Machine, memory1_machine
from loqa.train import TRAINED, RunDirectory, load_agent

IPD, COIN = "ipd", "coin_game"
SHORT_NAMES = {
    "ac": "always-cooperate",
    "ad": "always-defect",
    "tft": "tit-for-tat",
    "wsls": "win-stay-lose-shift",
}
_GAMES = {"ipd": IPD, "coin": COIN}
_SUFFIXES = (".npz", ".safetensors")


@dataclass(frozen=True)
class Player:
    """A player of one game, or of both.

    Attributes:
        name: what tables call it.
        group: its algorithm; players of one group are seeds of one another.
        games: that it can play.
        digest: hash of what it does, the same for the same behaviour.
        policy: a network, or None.
        machine: a strategy of the prisoner's dilemma, or None.
        scripted: a scripted player's name in the Coin Game, or None.
        grid: the board that its network is for, None for any.
        rules: preset of the Coin Game whose planes and action codes its network knows, None for any.
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


class MachinePolicy:
    """A finite-state machine as a policy: reads the observation `index`, actions 0 C and 1 D."""

    def __init__(self, machine: Machine) -> None:
        self._cooperate = torch.from_numpy(machine.cooperate).float()
        self._transition = torch.from_numpy(machine.transition.reshape(-1, 4).copy())

    def initial_state(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, 1, dtype=torch.int64)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        moved = self._transition[state[:, 0], (obs.long() - 1).clamp(min=0)]
        now = torch.where(obs == 0, state[:, 0], moved)
        p = self._cooperate[now]
        return torch.stack([p, 1 - p], -1).log(), now[:, None]


def as_player(given: Any, name: str | None = None) -> Player:
    """The player that `given` means.

    Args:
        given: a `Player`, a name, "0.9,1,0,1,0" or five numbers (P(C) at the start and after CC, CD,
            DC, DD), a `Machine`, the path of a checkpoint, run directory or published agent, or a
            policy (an `Agent`, or whatever has `initial_state` and `step`).
        name: to use instead of its own.

    Raises:
        FileNotFoundError, ValueError: no such name or file, or the file is damaged.
        TypeError: none of these.
    """
    if isinstance(given, Player):
        return given
    if isinstance(given, Machine):
        return _of_machine(given, name)
    if isinstance(given, Path):
        return _of_path(given, name)
    if isinstance(given, str):
        return _of_text(given, name)
    if isinstance(given, Sequence):
        return _of_machine(memory1_machine(",".join(f"{p:g}" for p in given), list(given)), name)
    if isinstance(given, Policy):
        return _of_policy(given, name)
    raise TypeError(
        f"a player must be a name, five probabilities, a path or a policy, got {given!r}"
    )


def common_game(players: Sequence[Player], game: str | None) -> str:
    """The game that all of them play: the one asked for, else the only one, else the Coin Game.

    Raises:
        ValueError: they have none in common, or cannot play the one asked for.
    """
    if game is not None:
        game = _checks.one_of("game", game.replace("coin-game", COIN), (IPD, COIN, "coin"))
        game = _GAMES.get(game, game)
    for one in players:
        if game is not None and game not in one.games:
            raise ValueError(f"{one.name} plays {' or '.join(one.games)}, not {game}")
    shared = [each for each in (COIN, IPD) if all(each in one.games for one in players)]
    if not shared:
        said = ", ".join(f"{one.name} plays {' or '.join(one.games)}" for one in players)
        raise ValueError(f"the players have no game in common: {said}")
    return game or shared[0]


def common_grid(
    players: Sequence[Player], height: int | None = None, width: int | None = None
) -> tuple[int, int]:
    """The board asked for, else that of the networks among them, else 3 x 3.

    Raises:
        ValueError: two networks are for different boards, or one for another than is asked for.
    """
    grids = {one.grid: one.name for one in players if one.grid is not None}
    if len(grids) > 1:
        said = ", ".join(f"{name} is for {h} x {w}" for (h, w), name in grids.items())
        raise ValueError(f"the players are for different boards: {said}")
    natural, name = next(iter(grids.items()), ((3, 3), ""))
    wanted = (natural[0] if height is None else height, natural[1] if width is None else width)
    if grids and wanted != natural:
        raise ValueError(
            f"{name} is for a board of {natural[0]} x {natural[1]}, got {wanted[0]} x {wanted[1]}"
        )
    return wanted


def check_rules(players: Sequence[Player], preset: str | None) -> None:
    """Raises ValueError if a network of the Coin Game knows other rules than those of the preset."""
    wanted = "loqa24" if preset is None else preset.replace("_", "-")
    for one in players:
        if one.rules not in (None, wanted):
            raise ValueError(f"{one.name} plays by the rules of {one.rules}, not {wanted}")


def expand(paths: Sequence[str | Path]) -> list[str | Path]:
    """Replaces directories that are no run by the agents in them: npz and safetensors files, and run
    directories.

    Raises:
        ValueError: a directory holds neither.
    """
    found: list[str | Path] = []
    for path in paths:
        directory = Path(path)
        if not directory.is_dir() or RunDirectory(directory).config_file.exists():
            found.append(path)
            continue
        inside = [
            one
            for one in sorted(directory.iterdir())
            if (one.suffix in _SUFFIXES and not one.name.startswith("check_observations"))
            or RunDirectory(one).config_file.exists()
        ]
        if not inside:
            raise ValueError(
                f"{directory} holds no run directories and no {' or '.join(_SUFFIXES)}"
            )
        found.extend(inside)
    return found


def _of_text(text: str, name: str | None) -> Player:
    known = SHORT_NAMES.get(text, text)
    if known in NAMED:
        return _of_machine(NAMED[known], name or known)
    numbers = text.split(",")
    if len(numbers) > 1:
        try:
            vector = [float(number) for number in numbers]
        except ValueError:
            vector = []
        if vector:
            return _of_machine(memory1_machine(text, vector), name)
    if text in TRAINED:
        return _of_checkpoint(TRAINED[text], name or text)
    path = Path(text)
    if path.exists():
        return _of_path(path, name)
    hint = _checks.nearest(text, [*NAMED, *SHORT_NAMES, *TRAINED])
    raise ValueError(
        f"{text!r} is no strategy, no trained agent, no list of five probabilities and no file{hint}"
    )


def _of_machine(machine: Machine, name: str | None) -> Player:
    name = name or machine.name
    scripted = machine.name if machine.name in SCRIPTED_COIN_PLAYERS else None
    digest = _digest(machine.cooperate.tobytes(), machine.transition.tobytes(), bool(scripted))
    games = (COIN, IPD) if scripted else (IPD,)
    return Player(name, machine.name, games, digest, machine=machine, scripted=scripted)


def _of_policy(policy: Policy, name: str | None, group: str = "given", game: str | None = None,
               grid: tuple[int, int] | None = None) -> Player:  # fmt: skip
    tensors = policy.state_dict() if isinstance(policy, torch.nn.Module) else vars(policy)
    parts = [part for key, value in sorted(tensors.items()) for part in (key, _bytes(value))]
    kind = type(policy).__name__
    games = (IPD, COIN) if game is None else (game,)
    if game is None and isinstance(policy, Agent):
        features = _features_of(policy)
        games = (IPD,) if features == 4 else (COIN,)
    return Player(name or kind, group, games, _digest(kind, *parts), policy=policy, grid=grid)


def _features_of(agent: Agent) -> int:
    """Size of the observation that an agent's actor reads."""
    weights = [p for p in agent.actor.parameters() if p.ndim == 2]
    return 4 if weights[0].shape[0] == 5 else int(_first_layer(agent).shape[1])


def _first_layer(agent: Agent) -> Tensor:
    named = dict(agent.actor.named_parameters())
    return named.get("linear1.weight", named.get("weight_ih", next(iter(named.values()))))


def _of_path(path: Path, name: str | None) -> Player:
    if path.is_dir():
        latest = RunDirectory(path).latest_checkpoint()
        if latest is None:
            raise FileNotFoundError(f"{path} holds no checkpoint")
        return _of_checkpoint(latest, name or path.name)
    if path.suffix == ".safetensors" and is_safetensors(path):
        try:
            return _of_checkpoint(path, name or path.stem)
        except ValueError as error:
            if "expected format" not in str(error):
                raise
    published = load_published(path)
    player = _of_policy(published.policy, name or path.stem, published.algorithm, COIN,
                        published.grid)  # fmt: skip
    return replace(player, rules="loqa24")


def _of_checkpoint(path: Path, name: str) -> Player:
    config = load_checkpoint(path).get("config")
    agent = load_agent(path)
    assert isinstance(config, dict)
    game = _GAMES[config["game"]]
    grid = (int(config["height"]), int(config["width"])) if game == COIN else None
    return _of_policy(agent, name, f"{config['algo']} (loqa)", game, grid)


def _bytes(value: Any) -> bytes:
    if isinstance(value, Tensor):
        return str(value.dtype).encode() + value.detach().cpu().contiguous().numpy().tobytes()
    return repr(value).encode()


def _digest(*parts: object) -> str:
    total = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()
