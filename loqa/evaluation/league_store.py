"""What a league keeps: the results of its pairs, in memory and in pairs.jsonl."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loqa.agents.player import Player, with_digest
from loqa.evaluation.evaluate import Estimate
from loqa.evaluation.match_settings import Settings
from loqa.storage.files import append_line, write_text
from loqa.storage.reading import read_lines, wrong

_FORMAT = 2


@dataclass(frozen=True)
class Pair:
    """Two agents' mean rewards per step, over both seatings.

    Attributes:
        first, second: their names. In a pair of one agent with itself, seat 0 and seat 1.
        reward: of (first, second).
        seats: of (first, second) with first in seat 0, then with first in seat 1; one entry for an
            agent with itself.
        episodes: in all.
    """

    first: str
    second: str
    reward: tuple[Estimate, Estimate]
    seats: tuple[tuple[Estimate, Estimate], ...]
    episodes: int


def in_order(first: Player, second: Player) -> tuple[Player, Player]:
    """Both in an order that does not depend on who is named first."""
    return (first, second) if first.digest <= second.digest else (second, first)


class Store:
    """Results of pairs by key, in memory and, if there is a directory, in its pairs.jsonl."""

    def __init__(
        self, directory: Path | None, settings: Settings, rules: Mapping[str, Any], episodes: int
    ) -> None:
        self.directory = directory
        self.rules = rules
        self.episodes = episodes
        self.changed: dict[str, str] = {}
        self._how = json.dumps(
            [_FORMAT, settings.game, rules, settings.seed, episodes], sort_keys=True
        )
        self._lines: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        if directory is not None:
            self._lines = _read_lines(directory / "pairs.jsonl")

    def key(self, first: Player, second: Player) -> str:
        """The same for (first, second) and (second, first)."""
        first, second = in_order(first, second)
        text = f"{self._how}/{first.digest}/{second.digest}"
        return hashlib.sha256(text.encode()).hexdigest()

    def has(self, first: Player, second: Player) -> bool:
        return self.key(first, second) in self._lines

    def add(self, first: Player, second: Player, seats: list[list[list[float]]]) -> None:
        key = self.key(first, second)
        line = {"key": key, "first": first.name, "second": second.name, "seats": seats}
        changed = [one for one in (first, second) if changes(one)]
        stays = not (changed or first.unknown or second.unknown)
        with self._lock:
            self._lines[key] = line
            self.changed |= {one.name: "it changes while it plays" for one in changed}
            if self.directory is not None and stays:
                append_line(self.directory / "pairs.jsonl", line)

    def pair(self, first: Player, second: Player) -> Pair:
        seats = self._lines[self.key(first, second)]["seats"]
        if in_order(first, second)[0] is not first:
            seats = [[others, mine, count] for mine, others, count in reversed(seats)]
        each = tuple((Estimate.normal(*one), Estimate.normal(*other)) for one, other, _ in seats)
        total = []
        for who in (0, 1):
            error = math.sqrt(sum(seat[who].standard_error ** 2 for seat in each)) / len(each)
            total.append(Estimate.normal(sum(seat[who].mean for seat in each) / len(each), error))
        count = sum(int(counted[0]) for _, _, counted in seats)
        return Pair(first.name, second.name, (total[0], total[1]), each, count)


def _read_lines(path: Path) -> dict[str, dict[str, Any]]:
    """Lines of a pairs.jsonl by key; a line cut short by a crash is dropped from the file too."""
    lines = read_lines(path, {"key": str, "first": str, "second": str, "seats": list})
    for number, line in enumerate(lines, 1):
        if not 1 <= len(line["seats"]) <= 2 or not all(map(_is_seating, line["seats"])):
            problem = wrong(f"line {number}, seats", "mean and error of both, and episodes", line)
            raise problem.of(path, "is damaged")
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    return {line["key"]: line for line in lines}


def _is_seating(value: Any) -> bool:
    """Whether it is [[mean, standard error], [mean, standard error], [episodes]]."""
    return (
        isinstance(value, list)
        and [len(part) if isinstance(part, list) else 0 for part in value] == [2, 2, 1]
        and all(
            isinstance(number, int | float)
            and not isinstance(number, bool)
            and math.isfinite(number)
            and abs(number) < 2**53
            for part in value
            for number in part
        )
    )


def changes(player: Player) -> bool:
    """Whether a policy that is not of this package is another one than before it played."""
    if player.policy is None or type(player.policy).__module__.startswith("loqa."):
        return False
    return with_digest(player).digest != player.digest
