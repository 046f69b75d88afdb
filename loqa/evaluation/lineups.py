"""Who sits where in a league, and what each pair and each agent earns.

A seating says who sits in seat 0, 1, ...; an agent may sit in several seats. Of N agents and A seats there
are N^A. One X among Ys, in every seat, is always played; of all seatings either all, or a random sample.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loqa.agents.player import Player
from loqa.evaluation.evaluate import Estimate
from loqa.evaluation.league_store import Store

Seating = tuple[int, ...]
"""The number of the agent in each seat."""


@dataclass(frozen=True)
class Pair:
    """Two agents' mean rewards per step, over all seats; of more than two players, one agent's among others.

    Attributes:
        first, second: their names. Of two players, in a pair of one agent with itself, seat 0 and seat 1.
        reward: of (first, second); of several agents `second` their mean.
        seats: of (first, second) with first in seat 0, in seat 1, ...; one entry for an agent with itself.
        episodes: in all.
    """

    first: str
    second: str
    reward: tuple[Estimate, Estimate]
    seats: tuple[tuple[Estimate, Estimate], ...]
    episodes: int


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
        among: (X, Y) -> one X among Ys in each seat; of X among its like, one seating. Of two players (X, Y)
            is (Y, X): X <= Y.
    """

    def __init__(self, players: Sequence[Player], seats: int, limit: int, seed: int) -> None:
        count = len(players)
        self.total: int = count**seats
        found: dict[Seating, None] = {}
        if self.total <= limit:
            found = dict.fromkeys(itertools.product(range(count), repeat=seats))
        generator = np.random.default_rng(seed)
        while len(found) < min(limit, self.total):
            found[tuple(generator.integers(count, size=seats).tolist())] = None
        self.drawn: list[Seating] = list(found)
        self.among: dict[tuple[int, int], list[Seating]] = {}
        for x, y in itertools.product(range(count), repeat=2):
            each = [tuple(x if seat == one else y for seat in range(seats)) for one in range(seats)]
            same = players[x].digest == players[y].digest
            if seats > 2 or x <= y:
                self.among[x, y] = each[:1] if same else each

    @property
    def all_played(self) -> bool:
        """Whether nothing was left out."""
        return len(self.drawn) == self.total

    @property
    def parts(self) -> list[list[Seating]]:
        """All that are to be played: of two players pair by pair, of more each once."""
        beside = list(self.among.values())
        if len(beside[0][0]) == 2:
            return beside
        return [[one] for one in dict.fromkeys([*self.drawn, *itertools.chain(*beside)])]


def pairs_of(lineups: Lineups, players: Sequence[Player], store: Store) -> list[Pair]:
    """One X among Ys for every X and Y of `Lineups.among`: what X earns, and what a Y does (the mean of all
    Ys).

    Rewards of one game are not independent: the error of a mean over seats is taken as the mean of their
    errors, which is never too small.
    """
    found = []
    for (x, y), seatings in lineups.among.items():
        seats = []
        for seating in seatings:
            rewards = np.array(store.rewards(seating))
            mine = [seat for seat, one in enumerate(seating) if one == x]
            mine = mine[:1] if len(seating) == 2 else mine
            others = [seat for seat in range(len(seating)) if seat not in mine] or mine
            sides = [rewards[of].mean(0).tolist() for of in (mine, others)]
            seats.append((Estimate.normal(*sides[0]), Estimate.normal(*sides[1])))
        first, second = (Estimate.of_parts(parts) for parts in zip(*seats, strict=True))
        played = sum(store.episodes_of(each) for each in seatings)
        found.append(Pair(players[x].name, players[y].name, (first, second), tuple(seats), played))
    return found


def standings_of(lineups: Lineups, players: Sequence[Player], store: Store) -> list[Standing]:
    """What every agent earns in all line-ups, the most first. An agent that fewer than two of the drawn
    seatings hold is left out."""
    sums: dict[int, list[tuple[float, float, int]]] = {}
    for seating in lineups.drawn:
        rewards = store.rewards(seating)
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
