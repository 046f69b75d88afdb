"""Evaluation of one player against another, in every seat, until the numbers are good enough."""

from __future__ import annotations

import csv
import io
import math
import numbers
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch

from loqa import _checks
from loqa._native import threads
from loqa.agents.player import Player
from loqa.evaluation.groups import group_names, grouped, named_apart
from loqa.evaluation.match_settings import Settings, settings_of
from loqa.evaluation.matches import Episodes, Match
from loqa.evaluation.players import as_player
from loqa.runtime.torch_settings import usual_torch

_Z95 = 1.959963984540054
_RESAMPLES = 10_000
_BLOCK = 256


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and 95% interval."""

    mean: float
    standard_error: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Of the interval."""
        return (self.high - self.low) / 2

    @classmethod
    def normal(cls, mean: float, standard_error: float) -> Estimate:
        """The interval mean +- 1.96 standard errors."""
        half = _Z95 * standard_error
        return cls(mean, standard_error, mean - half, mean + half)

    @classmethod
    def of_samples(cls, samples: torch.Tensor) -> Estimate:
        """Of independent episodes, `[B]`."""
        error = float(samples.std()) / math.sqrt(len(samples)) if len(samples) > 1 else math.inf
        return cls.normal(float(samples.mean()), error)

    @classmethod
    def of_parts(cls, parts: Sequence[Estimate]) -> Estimate:
        """The mean of independent estimates."""
        error = math.sqrt(sum(one.standard_error**2 for one in parts)) / len(parts)
        return cls.normal(sum(one.mean for one in parts) / len(parts), error)

    @classmethod
    def bootstrap(cls, means: Sequence[float]) -> Estimate:
        """Of the means of several seeds: percentile bootstrap over seeds (Efron 1979)."""
        values = np.asarray(means, np.float64)
        picks = np.random.default_rng(0).integers(len(values), size=(_RESAMPLES, len(values)))
        low, high = np.quantile(values[picks].mean(1), (0.025, 0.975))
        error = values.std(ddof=1) / len(values) ** 0.5
        return cls(float(values.mean()), float(error), float(low), float(high))


@dataclass(frozen=True)
class Score:
    """What the agent and its opponent earned; of several opponents, their mean.

    Attributes:
        seat: of the agent; None for all seats together.
        episodes: played.
        reward: mean reward per step of (agent, opponent).
        discounted_return: of an episode, of (agent, opponent).
        statistics: name -> (agent, opponent).
    """

    seat: int | None
    episodes: int
    reward: tuple[Estimate, Estimate]
    discounted_return: tuple[Estimate, Estimate]
    statistics: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class MatchResult:
    """What `evaluate` found.

    Attributes:
        agent, opponent: their names; several seeds of an agent are joined by " + ".
        game, preset, episode_length: what was played.
        rules: the same in full (payoff, noise; board...), and `discount`, that of the returns.
        total: all seats together, their mean; over several seeds their mean, with an interval that is
            a bootstrap over seeds.
        seats: the agent in seat 0, in seat 1... (one seed only).
        seeds: the result of each seed, if there are several.
    """

    agent: str
    opponent: str
    game: str
    preset: str
    episode_length: int
    total: Score
    seats: tuple[Score, ...]
    seeds: tuple[MatchResult, ...] = ()
    rules: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; what is not finite becomes None."""
        plain: dict[str, Any] = _finite(asdict(self))
        return plain


@usual_torch()
def evaluate(
    agent: Any,
    opponent: Any,
    *,
    game: str | None = None,
    episodes: int | None = None,
    standard_error: float = 0.005,
    max_episodes: int = 100_000,
    discount: float | None = None,
    seed: int = 0,
    num_threads: int | None = None,
    statistics: bool = True,
    **settings: Any,
) -> MatchResult:
    """Plays an agent against an opponent, with the agent in each seat in turn and the opponent in all others.

    In every seat 256 episodes are played at a time, until the standard error of both players' mean
    reward per step (over all seats) is at most `standard_error`.

    The game is the one that the players were trained on, with the run's payoff, episode length, board and
    discount, unless a setting says otherwise.

    Args:
        agent: a player as `loqa.evaluation.players.as_player` takes it (a path, a name, five
            probabilities, an `Agent`...), or a list of players that are seeds of one algorithm. The
            same run given twice counts once.
        opponent: a player.
        game: its name as `loqa train` takes it; by default the first that both can play.
        episodes: exact number in each seat, in place of the bound on the standard error.
        standard_error: the bound.
        max_episodes: in each seat, if the bound is not reached before.
        discount: of the discounted return; by default that of the agent's run (else the opponent's,
            else the preset's).
        seed: everything random is a function of it and of the players.
        num_threads: 1 to play the seats one after the other, more to play them at once.
        statistics: whether to compute the literature's statistics.
        settings: of the environment: preset, episode_length; height, width, num_players; payoff,
            noise... A preset stands for its whole game, payoff and episode length included.

    Returns:
        A `MatchResult`.

    Raises:
        ValueError, TypeError, FileNotFoundError: no such player, a damaged file, players of
            different games or boards, agents that are no seeds of one another, or a value out of range.
        PolicyError: a player's policy fails, or its answers are no log-probabilities.
    """
    agents = _as_agents(agent)
    other = as_player(opponent)
    bound = _checks.real("standard_error", standard_error, 0)
    most = _checks.integer("max_episodes", max_episodes, 2, 2**31 - 1)
    if episodes is not None:
        bound, most = -1.0, _checks.integer("episodes", episodes, 2, 2**31 - 1)
    workers = threads(2 if num_threads is None else num_threads)
    discount = None if discount is None else _checks.real("discount", discount, 0, 1)
    seed = _checks.integer("seed", seed, 0, 2**63 - 1)
    played = settings_of([*agents, other], game, settings, discount, seed)
    with seat_threads(workers) as pool:
        results = tuple(
            _evaluate_one(one, other, played, bound, most, pool, statistics) for one in agents
        )
    return results[0] if len(results) == 1 else _over_seeds(results)


@contextmanager
def seat_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Up to `count` threads in which torch works alone: nothing is gained by splitting products as
    small as these, and the threads' barriers cost more than they bring.

    What the process says of gradients, autocast and the precision of products does not count inside.
    """
    with usual_torch(num_threads=1):
        pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _as_agents(agent: Any) -> list[Player]:
    if isinstance(agent, list | tuple) and not agent:
        raise ValueError("agent must be a player or a list of players, got an empty list")
    several = isinstance(agent, list | tuple) and not all(
        isinstance(one, numbers.Real) for one in agent
    )
    if not several:
        return [as_player(agent)]
    groups = grouped([as_player(one) for one in agent])
    firsts = [group[0] for group in groups]
    if len(groups) > 1:
        told = " and ".join(
            f"{one.name} ({name})" for one, name in zip(firsts, group_names(firsts), strict=True)
        )
        raise ValueError(
            f"the agents are no seeds of one another, their mean would mix what differs: {told}; "
            f"evaluate each by itself"
        )
    return named_apart(groups[0])


def _evaluate_one(
    agent: Player,
    opponent: Player,
    settings: Settings,
    bound: float,
    most: int,
    pool: ThreadPoolExecutor,
    statistics: bool,
) -> MatchResult:
    """In each seat `most` episodes, or fewer once the standard error is within the bound."""
    block = min(_BLOCK, most)
    count = settings.matches.num_players(settings.make)
    matches = [
        Match([agent if one == seat else opponent for one in range(count)], settings, block, 1,
              statistics, stream=seat)
        for seat in range(count)
    ]  # fmt: skip
    played: list[list[Episodes]] = [[] for _ in matches]
    while True:
        numbers = [len(parts) for parts in played]
        for parts, episodes in zip(played, pool.map(Match.play, matches, numbers), strict=True):
            parts.append(episodes)
        done = len(played[0]) * block
        seats = tuple(_score(seat, parts, most) for seat, parts in enumerate(played))
        total = _mean_score(seats, Estimate.of_parts)
        error = max(estimate.standard_error for estimate in total.reward)
        if done >= most or (error <= bound and len(played[0]) > 1):
            break
    spec = matches[0].env.spec
    rules = {**settings.matches.rules_of(matches[0].env), "discount": matches[0].discount}
    return MatchResult(
        agent.name,
        opponent.name,
        spec.name,
        spec.preset,
        spec.episode_length,
        total,
        seats,
        (),
        rules,
    )


def _score(seat: int, parts: Sequence[Episodes], most: int) -> Score:
    """The agent's numbers and its opponents' mean where the agent sat in `seat`, of at most `most`
    episodes; statistics are of whole blocks."""
    rewards = torch.cat([part.rewards for part in parts])[:most]
    returns = torch.cat([part.returns for part in parts])[:most]
    others = [one for one in range(rewards.shape[1]) if one != seat]
    statistics = {}
    for name in parts[0].statistics:
        values = np.array([part.statistics[name] for part in parts])
        known = [column[np.isfinite(column)] for column in values.T]
        means = [float(column.mean()) if len(column) else math.nan for column in known]
        statistics[name] = (means[seat], float(np.mean([means[one] for one in others])))

    def pair(values: torch.Tensor) -> tuple[Estimate, Estimate]:
        # A column by itself stays a view, whose sums are rounded as they always were.
        other = values[:, others[0]] if len(others) == 1 else values[:, others].mean(1)
        return Estimate.of_samples(values[:, seat]), Estimate.of_samples(other)

    return Score(seat, len(rewards), pair(rewards), pair(returns), statistics)


def _mean_score(scores: Sequence[Score], mean: Callable[[Sequence[Estimate]], Estimate]) -> Score:
    def pair(name: str) -> tuple[Estimate, Estimate]:
        mine, other = zip(*(getattr(one, name) for one in scores), strict=True)
        return mean(mine), mean(other)

    statistics = {}
    for name in scores[0].statistics:
        mine, other = zip(*(one.statistics[name] for one in scores), strict=True)
        statistics[name] = (float(np.mean(mine)), float(np.mean(other)))
    episodes = sum(one.episodes for one in scores)
    return Score(None, episodes, pair("reward"), pair("discounted_return"), statistics)


def _over_seeds(results: tuple[MatchResult, ...]) -> MatchResult:
    total = _mean_score(
        [one.total for one in results],
        lambda seeds: Estimate.bootstrap([one.mean for one in seeds]),
    )
    name = " + ".join(one.agent for one in results)
    return replace(results[0], agent=name, total=total, seats=(), seeds=results)


def to_csv(results: Sequence[MatchResult]) -> str:
    """One line for each result, seat and seed."""
    lines = []
    for result in results:
        scores = [(result.agent, result.total)]
        for one in result.seeds or (result,):
            scores += [(one.agent, score) for score in one.seats]
        for agent, score in scores:
            line: dict[str, Any] = {
                "agent": agent,
                "opponent": result.opponent,
                "game": result.game,
                "preset": result.preset,
                "seat": "both" if score.seat is None else score.seat,
                "episodes": score.episodes,
            }
            for what in ("reward", "discounted_return"):
                for who, estimate in zip(("agent", "opponent"), getattr(score, what), strict=True):
                    for name, value in asdict(estimate).items():
                        line[f"{who}_{what}_{name}"] = value
            for name, pair in score.statistics.items():
                line[f"agent_{name}"], line[f"opponent_{name}"] = pair
            lines.append(line)
    text = io.StringIO()
    columns = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
