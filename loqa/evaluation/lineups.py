"""Leagues of games of more than two players: who sits where, and what each earns in all line-ups.

A seating says who sits in seat 0, 1, ...; an agent may sit in several seats. Of N agents and A seats there
are N^A. One X among Ys, in every seat, is always played; of all seatings either all, or a random sample.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loqa.agents.player import Player
from loqa.evaluation.evaluate import Estimate
from loqa.evaluation.league_store import Pair, changes
from loqa.evaluation.match_settings import Settings
from loqa.evaluation.matches import Match
from loqa.storage.files import append_line, write_text
from loqa.storage.reading import read_lines, wrong

_BLOCK = 500
Seating = tuple[int, ...]
"""The number of the agent in each seat."""


@dataclass(frozen=True)
class Standing:
    """What an agent earns in line-ups of all kinds.

    Attributes:
        name: of the agent.
        reward: mean reward per step over all seatings and seats that it sits in. Its error comes from
            the episodes where all seatings are played, else from the sample of seatings.
        seatings: of those that were played or drawn, how many it sits in.
    """

    name: str
    reward: Estimate
    seatings: int


class Lineups:
    """Which seatings a league plays.

    Args:
        players: N agents.
        seats: A.
        limit: the largest number of seatings of which all are played; of more, so many are drawn, each
            as likely as any other.
        seed: of that sample.

    Attributes:
        total: N^A.
        drawn: all seatings, or the sample.
        among: (X, Y) -> one X among Ys in each seat; of X among its like, one seating.
    """

    def __init__(self, players: Sequence[Player], seats: int, limit: int, seed: int) -> None:
        count = len(players)
        self.total: int = count**seats
        self.drawn: list[Seating] = []
        if self.total <= limit:
            self.drawn = list(itertools.product(range(count), repeat=seats))
        else:
            generator = np.random.default_rng(seed)
            found: dict[Seating, None] = {}
            while len(found) < limit:
                found[tuple(generator.integers(count, size=seats).tolist())] = None
            self.drawn = list(found)
        self.among: dict[tuple[int, int], list[Seating]] = {}
        for x, y in itertools.product(range(count), repeat=2):
            each = [tuple(x if seat == one else y for seat in range(seats)) for one in range(seats)]
            self.among[x, y] = each[:1] if x == y else each

    @property
    def all_played(self) -> bool:
        """Whether nothing was left out."""
        return len(self.drawn) == self.total

    @property
    def seatings(self) -> list[Seating]:
        """All that are to be played, once each."""
        beside = itertools.chain.from_iterable(self.among.values())
        return list(dict.fromkeys([*self.drawn, *beside]))


class SeatingStore:
    """Mean reward and its error of each seat, by seating; in seatings.jsonl if there is a directory."""

    def __init__(
        self, directory: Path | None, settings: Settings, rules: Mapping[str, Any], episodes: int
    ) -> None:
        self.directory, self.settings, self.episodes = directory, settings, episodes
        self.changed: dict[str, str] = {}
        self._how = json.dumps([1, settings.game, rules, settings.seed, episodes], sort_keys=True)
        self._lock = threading.Lock()
        self._lines: dict[str, dict[str, Any]] = {}
        if directory is not None:
            self._lines = _read(directory / "seatings.jsonl")

    def _key(self, players: Sequence[Player]) -> str:
        text = "/".join([self._how, *(one.digest for one in players)])
        return hashlib.sha256(text.encode()).hexdigest()

    def has(self, players: Sequence[Player]) -> bool:
        return self._key(players) in self._lines

    def rewards(self, players: Sequence[Player]) -> list[tuple[float, float]]:
        """(mean, standard error) of each seat."""
        return [(mean, error) for mean, error in self._lines[self._key(players)]["rewards"]]

    def play(self, players: Sequence[Player], stop: threading.Event) -> None:
        """Plays a seating and keeps what it came to; nothing if it is stopped on the way."""
        match = Match(players, self.settings, min(_BLOCK, self.episodes), 1, False)
        parts: list[torch.Tensor] = []
        while sum(len(part) for part in parts) < self.episodes:
            if stop.is_set():
                return
            parts.append(match.play(len(parts)).rewards)
        paid = torch.cat(parts)[: self.episodes]
        each = [Estimate.of_samples(paid[:, seat]) for seat in range(len(players))]
        rewards = [[one.mean, one.standard_error] for one in each]
        key, names = self._key(players), [one.name for one in players]
        line = {"key": key, "names": names, "rewards": rewards, "episodes": self.episodes}
        changed = [one for one in players if changes(one)]
        with self._lock:
            self._lines[key] = line
            self.changed |= {one.name: "it changes while it plays" for one in changed}
            stays = not changed and not any(one.unknown for one in players)
            if self.directory is not None and stays:
                append_line(self.directory / "seatings.jsonl", line)


def pairs_of(lineups: Lineups, players: Sequence[Player], store: SeatingStore) -> list[Pair]:
    """One X among Ys for every X and Y: what X earns, and what a Y does (the mean of all Ys).

    Rewards of one game are not independent: the error of a mean over seats is taken as the mean of their
    errors, which is never too small.
    """
    found = []
    for (x, y), seatings in lineups.among.items():
        seats = []
        for seating in seatings:
            rewards = np.array(store.rewards([players[one] for one in seating]))
            mine = [seat for seat, one in enumerate(seating) if one == x]
            others = [seat for seat in range(len(seating)) if seat not in mine] or mine
            sides = [rewards[of].mean(0).tolist() for of in (mine, others)]
            seats.append((Estimate.normal(*sides[0]), Estimate.normal(*sides[1])))
        total = []
        for who in (0, 1):
            error = math.sqrt(sum(one[who].standard_error ** 2 for one in seats)) / len(seats)
            total.append(Estimate.normal(sum(one[who].mean for one in seats) / len(seats), error))
        played = len(seats) * store.episodes
        found.append(
            Pair(players[x].name, players[y].name, (total[0], total[1]), tuple(seats), played)
        )
    return found


def standings_of(
    lineups: Lineups, players: Sequence[Player], store: SeatingStore
) -> list[Standing]:
    """What every agent earns in all line-ups, the most first. An agent that fewer than two of the drawn
    seatings hold is left out."""
    sums: dict[int, list[tuple[float, float, int]]] = {}
    for seating in lineups.drawn:
        rewards = store.rewards([players[one] for one in seating])
        for one in set(seating):
            mine = [paid for who, paid in zip(seating, rewards, strict=True) if who == one]
            mean, error = (sum(numbers) for numbers in zip(*mine, strict=True))
            sums.setdefault(one, []).append((mean, error, len(mine)))
    found = []
    for one, parts in sums.items():
        if len(parts) == 1 and not lineups.all_played:
            continue
        paid, errors, seats = np.array(parts).T
        mean = float(paid.sum() / seats.sum())
        # Of a ratio of sums: a seating in which the agent sits twice counts twice.
        deviations = errors if lineups.all_played else paid - mean * seats
        error = float(np.sqrt((deviations**2).sum()) / seats.sum())
        found.append(Standing(players[one].name, Estimate.normal(mean, error), len(parts)))
    return sorted(found, key=lambda one: -one.reward.mean)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    lines = read_lines(path, {"key": str, "names": list, "rewards": list, "episodes": int})
    for number, line in enumerate(lines, 1):
        if len(line["rewards"]) != len(line["names"]) or not all(map(_is_paid, line["rewards"])):
            problem = wrong(f"line {number}, rewards", "mean and error of each seat", line)
            raise problem.of(path, "is damaged")
    if path.exists() and not path.read_bytes().endswith(b"\n"):  # a line that a crash cut short
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    return {line["key"]: line for line in lines}


def _is_paid(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(one) in (int, float) and math.isfinite(one) for one in value)
    )
