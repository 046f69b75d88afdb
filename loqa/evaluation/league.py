"""A league: every pair of agents, in both seats, and what each algorithm does on average.

Where more than two play, a pair is one X among Ys (`loqa.evaluation.lineups`), and beside the pairs stands
what each agent earns in all line-ups.

Results of seatings are kept in `seatings.jsonl`, one line each as soon as it is known, under a key made of
what the agents do and how they were played: a league that is interrupted, or grows, plays only what is
missing.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from loqa import _checks
from loqa._native import threads
from loqa.agents.player import Player, with_digest
from loqa.evaluation.engines import engine_of, spread
from loqa.evaluation.evaluate import Estimate
from loqa.evaluation.groups import distinct, group_names, named_apart
from loqa.evaluation.league_store import Store
from loqa.evaluation.lineups import Lineups, Pair, Seating, Standing, pairs_of, standings_of
from loqa.evaluation.match_settings import make_env, settings_of
from loqa.evaluation.players import as_player, expand
from loqa.runtime.cluster import ENGINES
from loqa.runtime.torch_settings import usual_torch
from loqa.storage.files import output_directory, write_json, write_text

INTERVALS = "bootstrap over agents; * one agent on each side: over episodes"
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class GroupPair:
    """Two algorithms: what agents of the first and of the second earn when they meet.

    Attributes:
        first, second: algorithms.
        pairs: number of pairs of agents; within one algorithm each agent meets itself too. The same
            agent under two names counts once.
        reward: of (first, second): mean over pairs, with a 95% interval.
        deviation: standard deviation over pairs, of (first, second).
        interval: "agents", a bootstrap over agents; "episodes" where each side has one agent: then
            nothing can be said of other agents of the algorithm.
    """

    first: str
    second: str
    pairs: int
    reward: tuple[Estimate, Estimate]
    deviation: tuple[float, float]
    interval: str


@dataclass(frozen=True)
class League:
    """The results of a league.

    Attributes:
        names, groups: of the agents, `[N]`. Runs of unlike configurations are of different groups.
        game, settings: what was played, in full.
        pairs: every pair i <= j of two players; of more every (i, j), one agent i among agents j:
            `reward` is that of i and the mean of the others.
        group_pairs: every pair of algorithms, in order of appearance; of more than two players both
            (one X among Ys) and (one Y among Xs).
        not_stored: name of an agent -> why its pairs are played anew each time.
        standings: of more than two players, what each agent earns in all line-ups, the most first.
            `settings` say of how many seatings ("seatings"), and of how many there are
            ("seatings_in_all"); a sample is drawn with the league's seed.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    game: str
    settings: dict[str, Any]
    pairs: tuple[Pair, ...]
    group_pairs: tuple[GroupPair, ...]
    not_stored: dict[str, str] = field(default_factory=dict)
    standings: tuple[Standing, ...] = ()

    @property
    def matrix(self) -> np.ndarray:
        """Mean reward per step of row against column (one of row among columns), `[N, N]` float64; the
        diagonal is the mean of all sides of self-play."""
        return self._table(self.names, self.pairs)

    def _table(self, names: Sequence[str], pairs: Iterable[Pair | GroupPair]) -> np.ndarray:
        place = {name: number for number, name in enumerate(names)}
        table = np.full((len(names),) * 2, np.nan)
        for pair in pairs:
            i, j = place[pair.first], place[pair.second]
            mine, others = (one.mean for one in pair.reward)
            table[i, j] = (mine + others) / 2 if i == j else mine
            if i != j and not self.standings:  # else it has a pair of its own
                table[j, i] = others
        return table

    def group_matrix(self) -> tuple[list[str], np.ndarray]:
        """Algorithms, and the mean reward per step of row against column, `[G, G]`."""
        names = list(dict.fromkeys(self.groups))
        return names, self._table(names, self.group_pairs)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return {**asdict(self), "matrix": self.matrix.tolist()}

    def to_latex(self) -> str:
        """The table of algorithms (booktabs): reward of row, with its 95% interval, against column."""
        names = list(dict.fromkeys(self.groups))
        cells: dict[tuple[str, str], str] = {}
        for pair in self.group_pairs:
            mark = "^{*}" if pair.interval == "episodes" else ""
            mine, others = (f"${one.mean:.3f} \\pm {one.half:.3f}{mark}$" for one in pair.reward)
            cells.setdefault((pair.second, pair.first), others)  # unless it has its own
            cells[pair.first, pair.second] = mine
        lines = [
            f"% 95% intervals: {INTERVALS}",
            rf"\begin{{tabular}}{{l{'r' * len(names)}}}",
            r"\toprule",
            " & ".join(["", *map(_escape, names)]) + r" \\",
            r"\midrule",
        ]
        for row in names:
            values = [cells[row, column] for column in names]
            lines.append(" & ".join([_escape(row), *values]) + r" \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


@usual_torch()
def league(
    agents: Mapping[str, Any] | Sequence[Any],
    *,
    episodes: int = 1000,
    out: str | Path | None = None,
    game: str | None = None,
    seed: int = 0,
    num_threads: int | None = None,
    engine: str = "local",
    groups: Mapping[str, str] | None = None,
    report: Report | None = None,
    max_seatings: int = 1000,
    **settings: Any,
) -> League:
    """Plays all pairs of agents, and each agent against itself, with half of the episodes in each seat.

    In games of more than two players it plays all seatings (assignments of agents to seats). Pairs are spread
    over threads; the results do not depend on the number of threads.

    With `out`, a league that was interrupted, or that has new agents, plays only what is missing. An agent is
    recognised by its contents (`loqa.agents.digest`), not by its name. A policy of your own without
    `contents()` cannot be recognised: its results are not stored, and a warning says so.

    Args:
        agents: players as `loqa.evaluation.players.as_player` takes them, in a list, or a mapping from names.
            A directory stands for the agents in it. The same run twice is one agent.
        episodes: of each pair, an even number of 4 or more. Of A > 2 players each seating has 1 / A of
            them, rounded up: one X among Ys sits in A seats; they must be more than A.
        out: directory for seatings.jsonl, league.json, league.csv, league.tex, and heatmaps.
        game, seed, settings: as in `loqa.evaluate`.
        num_threads: pairs that are played at once; all cores by default, on Ray all of the cluster's.
        engine: "local", threads of this process; or "ray", a Ray cluster, to which players are sent:
            the modules of their classes must be there.
        groups: name of an agent -> algorithm, instead of what its file says. By default runs are of one
            group if only their seeds differ; else the group's name says what differs.
        report: called with (pairs done, pairs in all); A > 2: seatings.
        max_seatings: A > 2: of the N^A seatings of N agents so many are drawn where there are more; those
            of one X among Ys are always played.

    Returns:
        A `League`.

    Raises:
        ValueError, TypeError, FileNotFoundError: as `loqa.evaluate`; fewer than two agents.
        PolicyError: a player's policy fails, or its answers are no log-probabilities.
        BlockingIOError: another process writes in `out`.
        KeyboardInterrupt: interrupted; with `out`, the finished pairs are kept.
    """
    players = _as_players(agents)
    # One in each seat would leave the standard error unknown.
    episodes = _checks.integer("episodes", episodes, 4, 2**31 - 1)
    if episodes % 2:
        raise ValueError(f"episodes must be even, half of them in each seat, got {episodes}")
    seed = _checks.integer("seed", seed, 0, 2**63 - 1)
    threads(num_threads)  # or it is refused, before anything is written
    _checks.one_of("engine", engine, ENGINES)
    played = settings_of(players, game, settings, None, seed)
    max_seatings = _checks.integer("max_seatings", max_seatings, 1, 10**6)
    count = played.matches.num_players(played.make)
    if episodes <= count:
        raise ValueError(
            f"episodes must be more than the {count} seats: one a seat leaves the error unknown, "
            f"got {episodes}"
        )
    rules = played.matches.rules_of(make_env(played, 1, 0, 1))
    unknown = {one.name: one.unknown for one in players if one.unknown}
    if out is not None and unknown:
        told = "; ".join(f"{name}: {why}" for name, why in unknown.items())
        warnings.warn(f"not stored, played anew each time: {told}", stacklevel=2)
    with output_directory(out, "league") as directory:
        how: dict[str, Any] = {"episodes": episodes, "seed": seed, **rules}
        store = Store(directory, players, played, rules, episodes)
        lineups = Lineups(players, count, max_seatings, seed)

        def done(part: Sequence[Seating]) -> bool:
            return all(map(store.has, part))

        def work(part: Sequence[Seating], stop: threading.Event) -> None:
            for seating in part:
                if not store.has(seating):
                    store.play(seating, stop, one_seating)

        with engine_of(engine, num_threads) as (one_seating, at_once):
            spread(lineups.parts, done, work, at_once, report)
        pairs = pairs_of(lineups, players, store)
        standings: Sequence[Standing] = ()
        if count > 2:
            standings = standings_of(lineups, players, store)
            how |= {"seatings": len(lineups.drawn), "seatings_in_all": lineups.total}
        of_agent = {
            one.name: (groups or {}).get(one.name, group)
            for one, group in zip(players, group_names(players), strict=True)
        }
        counted = _counted(players, of_agent)
        result = League(
            tuple(of_agent),
            tuple(of_agent.values()),
            played.game,
            how,
            tuple(pairs),
            tuple(_group_pairs(pairs, counted, ordered=count > 2)),
            unknown,
            tuple(standings),
        )
        if directory is not None:
            _write(result, directory)
        return result


def _as_players(agents: Mapping[str, Any] | Sequence[Any]) -> list[Player]:
    if isinstance(agents, Mapping):
        players = [
            replace(as_player(given, name), name=name, source="") for name, given in agents.items()
        ]
    else:
        given = [
            one
            for each in agents
            for one in (expand([each]) if isinstance(each, str | Path) else [each])
        ]
        players = distinct([as_player(one) for one in given])
    # A policy may have changed since it was made a player.
    players = named_apart([with_digest(one) for one in players])
    if len(players) < 2:
        raise ValueError(
            f"a league needs at least two agents, got {len(players)} (the same run twice is one)"
        )
    return players


def _counted(players: Sequence[Player], group_of: Mapping[str, str]) -> dict[str, str]:
    """Name of an agent -> group, without those that are another one of their group again."""
    seen: set[tuple[str, str]] = set()
    found = {}
    for one in players:
        what = (group_of[one.name], one.digest)
        if what not in seen:
            seen.add(what)
            found[one.name] = group_of[one.name]
    return found


# --- algorithms


def _group_pairs(
    pairs: Iterable[Pair], group_of: Mapping[str, str], ordered: bool = False
) -> Iterable[GroupPair]:
    """Of pairs (i, j) that are `ordered` there is also (j, i)."""
    names = list(dict.fromkeys(group_of.values()))
    number = {name: place for place, name in enumerate(group_of)}
    cells: dict[tuple[str, str], list[tuple[int, int, float, float]]] = {}
    by_cell: dict[tuple[str, str], Pair] = {}
    for pair in pairs:
        if pair.first not in group_of or pair.second not in group_of:
            continue
        key = (group_of[pair.first], group_of[pair.second])
        mine, others = (one.mean for one in pair.reward)
        cell = (number[pair.first], number[pair.second], mine, others)
        if not ordered and names.index(key[0]) > names.index(key[1]):
            key, cell = (key[1], key[0]), (cell[1], cell[0], cell[3], cell[2])
        cells.setdefault(key, []).append(cell)
        by_cell[key] = pair
    for (first, second), members in cells.items():
        values = np.array([member[2:] for member in members])
        if len(members) == 1:  # one agent on each side: there is nothing to draw again
            pair = by_cell[first, second]
            reward = pair.reward if group_of[pair.first] == first else pair.reward[::-1]
            yield GroupPair(first, second, 1, (reward[0], reward[1]), (0.0, 0.0), "episodes")
            continue
        (mine, other), deviation = values.mean(0).tolist(), values.std(0).tolist()
        intervals = _bootstrap_cells(members, values)
        estimates = (Estimate(mine, *intervals[0]), Estimate(other, *intervals[1]))
        yield GroupPair(
            first, second, len(members), estimates, (deviation[0], deviation[1]), "agents"
        )


def _bootstrap_cells(
    members: Sequence[tuple[int, int, float, float]], values: np.ndarray, resamples: int = 2000
) -> list[tuple[float, float, float]]:
    """Standard error and 95% interval of the mean over pairs when agents, not pairs, are drawn again:
    pairs that share an agent are not independent.

    Each side's agents are drawn with replacement; a pair weighs as the product of how often its two
    agents were drawn.
    """
    generator = np.random.default_rng(0)
    agents, places = np.unique([member[:2] for member in members], return_inverse=True)
    places = places.reshape(-1, 2)
    within = bool(set(places[:, 0]) & set(places[:, 1]))
    weights = np.zeros((resamples, 2, len(agents)))
    sides = [np.unique(places)] if within else [np.unique(places[:, side]) for side in (0, 1)]
    for side, own in enumerate(sides):
        drawn = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), resamples)
        weights[:, side][:, own] = drawn
    if within:
        weights[:, 1] = weights[:, 0]
    joint = weights[:, 0][:, places[:, 0]] * weights[:, 1][:, places[:, 1]]
    total = joint.sum(1)
    means = (joint[total > 0] @ values) / total[total > 0][:, None]
    low, high = np.quantile(means, (0.025, 0.975), axis=0)
    return [(float(means[:, w].std()), float(low[w]), float(high[w])) for w in (0, 1)]


# --- files


def _write(result: League, directory: Path) -> None:
    from loqa.plotting.league import plot_heatmap

    write_json(directory / "league.json", result.to_dict())
    for name, text in (("league.tex", result.to_latex()), ("league.csv", _csv(result))):
        write_text(directory / name, text)
    for kind in ("png", "svg"):
        plot_heatmap(list(result.names), result.matrix, directory / f"agents.{kind}",
                     groups=list(result.groups))  # fmt: skip
        plot_heatmap(*result.group_matrix(), directory / f"algorithms.{kind}")


def _csv(result: League) -> str:
    lines = [
        "first,second,episodes,first_reward,first_standard_error,second_reward,second_standard_error"
    ]
    for pair in result.pairs:
        numbers = [
            f"{value:.6f}" for one in pair.reward for value in (one.mean, one.standard_error)
        ]
        names = ['"' + name.replace('"', '""') + '"' for name in (pair.first, pair.second)]
        lines.append(",".join([*names, str(pair.episodes), *numbers]))
    return "\n".join(lines) + "\n"


def _escape(name: str) -> str:
    return "".join("\\" + letter if letter in "_&%#$" else letter for letter in name)
