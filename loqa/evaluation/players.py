"""Who plays: a player from a name, five probabilities, a file, or a policy.

Names are the strategies of `loqa.agents.strategies.NAMED` (for short: ac, ad, tft, wsls), of which
always-cooperate, always-defect and random play the Coin Game too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loqa import _checks
from loqa.agents.actor_critic import Agent
from loqa.agents.fingerprint import CannotFingerprintError, fingerprint
from loqa.agents.policy import Policy
from loqa.agents.published.arrays import is_published, load_published
from loqa.agents.strategies import NAMED, Machine, memory1_machine
from loqa.envs.coin_game.presets import SCRIPTED_COIN_PLAYERS
from loqa.training.config import CoinConfig, IPDConfig, TrainConfig
from loqa.training.run_directory import RunDirectory
from loqa.training.train import TRAINED, load_agent

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
    config: TrainConfig | None = None
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


def check_rules(players: Sequence[Player], preset: str | None) -> str:
    """The preset of the Coin Game asked for, else the one that the networks among them know, else
    loqa24.

    Raises:
        ValueError: a network knows other rules than those of the preset, or two know different ones.
    """
    known = [one.rules for one in players if one.rules is not None]
    natural = known[0] if known else "loqa24"
    wanted = natural if preset is None else preset.replace("_", "-")
    for one in players:
        if one.rules not in (None, wanted):
            raise ValueError(f"{one.name} plays by the rules of {one.rules}, not {wanted}")
    return wanted


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
    digest = fingerprint(machine.cooperate, machine.transition, bool(scripted))
    games = (COIN, IPD) if scripted else (IPD,)
    return Player(
        name, machine.name, games, digest, machine=machine, scripted=scripted, cooperate=0
    )


def _of_policy(policy: Policy, name: str | None) -> Player:
    """A policy that nothing more is known of than it says itself."""
    kind = type(policy).__name__
    if isinstance(policy, Agent):
        if policy.config is not None:
            return _of_run(policy, policy.config, name or kind)
        games: tuple[str, ...] = (IPD,) if policy.observes == "states" else (COIN,)
    else:
        games = (IPD, COIN)
    return with_digest(Player(name or kind, "given", games, "", policy=policy))


def _of_run(agent: Agent, config: TrainConfig, name: str) -> Player:
    """The agent of a run, with the game that it learned."""
    made_for: dict[str, Any] = {
        "episode_length": config.episode_length,
        "discount": config.gamma,
    }
    known = Player(
        name, f"{config.algo} (loqa)", (_GAMES[config.game],), "", policy=agent, config=config,
        iteration=agent.iteration, made_for=made_for,
    )  # fmt: skip
    if isinstance(config, IPDConfig):
        made_for |= {"preset": "loqa24", "payoff": config.payoff}
        known = replace(known, cooperate=0, made_for=made_for)
    elif isinstance(config, CoinConfig):
        known = replace(known, grid=(config.height, config.width), rules="loqa24")
    return with_digest(known)


def with_digest(player: Player) -> Player:
    """The player with the digest of what its policy is now."""
    policy = player.policy
    if policy is None:
        return player
    parts = (policy.actor, policy.critic, policy.observes) if type(policy) is Agent else (policy,)
    try:
        return replace(player, digest=fingerprint(*parts), unknown="")
    except CannotFingerprintError as error:
        # Its random numbers are a function of what it is called.
        kind = type(policy).__qualname__
        return replace(player, digest=fingerprint("unknown", kind, player.name), unknown=str(error))


def _of_path(path: Path, name: str | None) -> Player:
    return replace(_read(path, name), source=str(path))


def _read(path: Path, name: str | None) -> Player:
    if path.is_dir():
        latest = RunDirectory(path).latest_checkpoint()
        if latest is None:
            raise FileNotFoundError(f"{path} holds no checkpoint")
        return _of_checkpoint(latest, name or path.resolve().name)
    if path.suffix == ".safetensors" and not is_published(path):
        return _of_checkpoint(path, name)
    published = load_published(path)
    return with_digest(
        Player(name or path.stem, published.algorithm, (COIN,), "", policy=published.policy,
               grid=published.grid, rules="loqa24")
    )  # fmt: skip


def _of_checkpoint(path: Path, name: str | None) -> Player:
    agent = load_agent(path)
    assert agent.config is not None
    if name is None:
        in_run = RunDirectory(path.parent.parent)
        mine = in_run.checkpoints == path.parent and in_run.config_file.exists()
        name = f"{in_run.path.resolve().name}, iteration {agent.iteration}" if mine else path.stem
    return _of_run(agent, agent.config, name)
