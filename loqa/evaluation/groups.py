"""Which players are seeds of one another: runs of one configuration, less the seed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from loqa.agents.player import Player, with_digest
from loqa.agents.strategies import NAMED
from loqa.training.run_names import alike, differences


def group_names(players: Sequence[Player]) -> list[str]:
    """The group of each player: its algorithm, and of runs what is not the same in all of them.

    Runs are in one group if they differ in the seed, the device and what does not change learning only,
    and have learned for as many iterations (if nothing else was to end them). Two agents of one seed are
    never in one group: they are not independent.
    """
    names = [one.group for one in players]
    runs = [number for number, one in enumerate(players) if one.config is not None]
    configs = [alike(one.config) for one in players if one.config is not None]
    for number, said in zip(runs, differences(configs, ignore=("algo",)), strict=True):
        if said:
            names[number] = f"{players[number].group}, {said}"
    for group in dict.fromkeys(names[number] for number in runs):
        members = [number for number in runs if names[number] == group]
        if _tell_by_iteration([players[number] for number in members]):
            for number in members:
                names[number] = f"{group}, iteration {players[number].iteration}"
    taken: dict[tuple[str, int, str], str] = {}
    for number in runs:
        config = players[number].config
        assert config is not None
        key = (names[number], config.seed, config.device)
        if taken.setdefault(key, players[number].digest) != players[number].digest:
            names[number] = f"{names[number]}, {players[number].name}"
    return names


def distinct(players: Sequence[Player]) -> list[Player]:
    """The players less runs that are there already: the same agent twice is one."""
    found: list[Player] = []
    seen = set()
    for one in players:
        what = None if one.config is None else (one.digest, alike(one.config))
        if what is None or what not in seen:
            found.append(one)
        seen.add(what)
    return found


def grouped(players: Sequence[Player]) -> list[list[Player]]:
    """Players that are seeds of one another, together, in order of appearance.

    Runs and published agents by `group_names`; each named strategy is by itself. Of others (five
    probabilities, policies) nothing is known: who lists them says that they belong together.
    """
    players = distinct(players)
    groups: dict[str | None, list[Player]] = {}
    for one, name in zip(players, group_names(players), strict=True):
        vector = one.machine is not None and NAMED.get(one.machine.name) is not one.machine
        given = one.policy is not None and one.config is None and one.group == "given"
        groups.setdefault(None if vector or given else name, []).append(one)
    return list(groups.values())


def named_apart(players: Sequence[Player]) -> list[Player]:
    """The players with names that differ: by folders where they are files, else by a number."""
    names = [one.name for one in players]
    folders = [Path(one.source).absolute().parts[:-1] if one.source else () for one in players]
    for depth in range(1, max((len(parts) for parts in folders), default=0) + 1):
        often = Counter(names)
        for number, parts in enumerate(folders):
            if often[names[number]] > 1 and len(parts) >= depth:
                names[number] = f"{parts[-depth].rstrip('/')}/{names[number]}"
        if max(Counter(names).values(), default=1) == 1:
            break
    seen: Counter[str] = Counter()
    found = []
    for one, name in zip(players, names, strict=True):
        plain = one.name if names.count(name) > 1 else name
        seen[plain] += 1
        new = plain if seen[plain] == 1 else f"{plain} ({seen[plain]})"
        renamed = dataclasses.replace(one, name=new)
        # The digest of one of which nothing is known is made from its name.
        found.append(with_digest(renamed) if one.unknown else renamed)
    return found


def _tell_by_iteration(members: Sequence[Player]) -> bool:
    """Whether members of a group learned for different times that nothing but an interruption, or the
    choice of an earlier checkpoint, explains."""
    if len({one.iteration for one in members}) == 1:
        return False
    configs = [one.config for one in members if one.config is not None]
    seeds = Counter((config.seed, config.device) for config in configs)
    if max(seeds.values()) > 1:
        return True
    return not any(
        config.time_limit is not None or getattr(config, "stop_at", "never") != "never"
        for config in configs
    )
