"""What a league keeps: what each seat earns in each seating, in memory and in seatings.jsonl."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from loqa.agents.player import Player
from loqa.evaluation.evaluate import Estimate
from loqa.evaluation.match_settings import Settings
from loqa.evaluation.matches import Match
from loqa.storage.files import append_line, write_text
from loqa.storage.reading import read_lines, wrong

Rewards = list[tuple[float, float]]
Play = Callable[[Sequence[Player], Settings, int, threading.Event], Rewards | None]
"""As `play`."""

_FORMAT = 3
_BLOCK = 500


class Store:
    """Mean reward and its error of each seat, by seating (the number of the player in each seat); in
    seatings.jsonl if there is a directory.

    Args:
        directory: of the league, or None.
        players: of the league.
        settings, rules: of the matches; results of others are not taken for these.
        episodes: of one agent among others, an equal part in each seat.
    """

    def __init__(
        self,
        directory: Path | None,
        players: Sequence[Player],
        settings: Settings,
        rules: Mapping[str, Any],
        episodes: int,
    ) -> None:
        self._file = None if directory is None else directory / "seatings.jsonl"
        self._players, self._settings, self._episodes = players, settings, episodes
        how = [_FORMAT, settings.game, rules, settings.seed, episodes]
        self._how = json.dumps(how, sort_keys=True)
        self._lock = threading.Lock()
        self._lines = {} if self._file is None else _read_lines(self._file)

    def _key(self, seating: Sequence[int]) -> str:
        text = "/".join([self._how, *(self._players[one].digest for one in seating)])
        return hashlib.sha256(text.encode()).hexdigest()

    def has(self, seating: Sequence[int]) -> bool:
        return self._key(seating) in self._lines

    def rewards(self, seating: Sequence[int]) -> Rewards:
        """(mean, standard error) of each seat."""
        return [(mean, error) for mean, error in self._lines[self._key(seating)]["rewards"]]

    def episodes_of(self, seating: Sequence[int]) -> int:
        """Of a seating. Two players who are one agent have no other: they play all."""
        alone = len(seating) == 2 and len({self._players[one].digest for one in seating}) == 1
        return self._episodes if alone else math.ceil(self._episodes / len(seating))

    def play(self, seating: Sequence[int], stop: threading.Event, on: Play) -> None:
        """Plays a seating and keeps what it came to; nothing if it is stopped on the way."""
        players, episodes = [self._players[one] for one in seating], self.episodes_of(seating)
        rewards = on(players, self._settings, episodes, stop)
        if rewards is None:
            return
        key, names = self._key(seating), [one.name for one in players]
        line = {"key": key, "names": names, "rewards": rewards, "episodes": episodes}
        with self._lock:
            self._lines[key] = line
            if self._file is not None and not any(one.unknown for one in players):
                append_line(self._file, line)


def play(
    players: Sequence[Player], settings: Settings, episodes: int, stop: threading.Event | None
) -> Rewards | None:
    """(mean reward, its standard error) of each seat; None if it is stopped on the way."""
    match = Match(players, settings, min(_BLOCK, episodes), 1, False)
    parts: list[torch.Tensor] = []
    while sum(len(part) for part in parts) < episodes:
        if stop is not None and stop.is_set():
            return None
        parts.append(match.play(len(parts)).rewards)
    paid = torch.cat(parts)[:episodes]
    each = [Estimate.of_samples(paid[:, seat]) for seat in range(len(players))]
    return [(one.mean, one.standard_error) for one in each]


def _read_lines(path: Path) -> dict[str, dict[str, Any]]:
    """Lines of a seatings.jsonl by key; a line cut short by a crash is dropped from the file too."""
    lines = read_lines(path, {"key": str, "names": list, "rewards": list, "episodes": int})
    for number, line in enumerate(lines, 1):
        if len(line["rewards"]) != len(line["names"]) or not all(map(_is_paid, line["rewards"])):
            problem = wrong(f"line {number}, rewards", "mean and error of each seat", line)
            raise problem.of(path, "is damaged")
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    return {line["key"]: line for line in lines}


def _is_paid(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(one) in (int, float) and math.isfinite(one) for one in value)
    )
