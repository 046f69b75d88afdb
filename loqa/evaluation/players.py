"""Who plays: a player from a name, five probabilities, a file, or a policy.

Names are the strategies of `loqa.agents.strategies.NAMED` (for short: ac, ad, tft, wsls). Which games a
strategy plays is said by the games' records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from loqa import _checks
from loqa.agents.actor_critic import Agent
from loqa.agents.digest import digest
from loqa.agents.player import Player, with_digest
from loqa.agents.policy import Policy
from loqa.agents.published.arrays import is_published, load_published
from loqa.agents.strategies import NAMED, SHORT_NAMES, Machine, memory1_machine
from loqa.games import registry
from loqa.games.matches import MatchRules
from loqa.training.config import TrainConfig
from loqa.training.run_directory import RunDirectory
from loqa.training.train import TRAINED, load_agent

_SUFFIXES = (".npz", ".safetensors")


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
    if isinstance(given, (np.ndarray, Tensor)) and given.ndim == 1:
        given = given.tolist()
    if isinstance(given, Sequence):
        return _of_machine(memory1_machine(",".join(f"{p:g}" for p in given), list(given)), name)
    if isinstance(given, Policy):
        return _of_policy(given, name)
    raise TypeError(
        f"a player must be a name, five probabilities, a path or a policy, got {given!r}"
    )


def common_game(players: Sequence[Player], game: str | None) -> str:
    """The game that all of them play: the one asked for, else the first that there is.

    Raises:
        ValueError: they have none in common, or cannot play the one asked for.
    """
    if game is not None:
        game = registry.game(game).env_name
    for one in players:
        if game is not None and game not in one.games:
            raise ValueError(f"{one.name} plays {' or '.join(one.games)}, not {game}")
    shared = [name for name in _env_names() if all(name in one.games for one in players)]
    if not shared:
        said = ", ".join(f"{one.name} plays {' or '.join(one.games)}" for one in players)
        raise ValueError(f"the players have no game in common: {said}")
    return game or shared[0]


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
    scripted = any(machine.name in rules.scripted for _, rules in registry.played())
    return Player(
        name,
        machine.name,
        _env_names(lambda rules: rules.plays(machine)),
        digest(machine.cooperate, machine.transition, scripted),
        machine=machine,
        scripted=machine.name if scripted else None,
        cooperate=0,
    )


def _of_policy(policy: Policy, name: str | None) -> Player:
    """A policy that nothing more is known of than it says itself."""
    kind = type(policy).__name__
    games = _env_names()
    if isinstance(policy, Agent):
        if policy.config is not None:
            return _of_run(policy, policy.config, name or kind)
        games = _env_names(lambda rules: rules.observes == policy.observes)
    return with_digest(Player(name or kind, "given", games, "", policy=policy))


def _of_run(agent: Agent, config: TrainConfig, name: str) -> Player:
    """The agent of a run, with the game that it learned."""
    record = registry.game(config.game)
    game, rules = record.env_name, record.matches
    if rules is None:
        raise ValueError(
            f"{name} learned {config.game!r}, of which no matches are played yet: step the agent of "
            f"loqa.load_agent in its environment"
        )
    return with_digest(
        Player(name, f"{config.algo} (loqa)", (game,), "", policy=rules.policy_of(agent, config),
               config=config, iteration=agent.iteration, made_for=rules.made_for(config),
               **rules.traits(config))
    )  # fmt: skip


def _env_names(fits: Callable[[MatchRules[Any]], bool] = lambda _: True) -> tuple[str, ...]:
    """Of the games whose rules of matches are as asked for."""
    found = [one.env_name for one, rules in registry.played() if fits(rules)]
    return tuple(dict.fromkeys(found))  # records may share an environment


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
    game, preset = next(
        (one.env_name, rules.published) for one, rules in registry.played() if rules.published
    )
    return with_digest(
        Player(name or path.stem, published.algorithm, (game,), "", policy=published.policy,
               grid=published.grid, rules=preset)
    )  # fmt: skip


def _of_checkpoint(path: Path, name: str | None) -> Player:
    agent = load_agent(path)
    assert agent.config is not None
    if name is None:
        in_run = RunDirectory(path.parent.parent)
        mine = in_run.checkpoints == path.parent and in_run.config_file.exists()
        name = f"{in_run.path.resolve().name}, iteration {agent.iteration}" if mine else path.stem
    return _of_run(agent, agent.config, name)
