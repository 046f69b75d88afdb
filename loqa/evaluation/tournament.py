"""Round robin of finite-state machines in the iterated prisoner's dilemma, in the native core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loqa import _checks
from loqa._native import threads
from loqa.agents.strategies import Machine, memory1_machine, strategy
from loqa.envs.matrix_game.presets import cooperation_first
from loqa.evaluation.tournament_engines import Matches, play_here, play_on_ray
from loqa.runtime.cluster import ENGINES

_UNIT = 2**24  # probabilities are multiples of 1 / _UNIT
_MAX_MACHINES = 2**15
_MAX_COUNTS = 2**31  # 32-bit numbers of outcomes that one call may write


@dataclass(frozen=True)
class Tournament:
    """What came out of a round robin of N strategies.

    Attributes:
        names: of the strategies, `[N]`.
        turns, repeats: of each match.
        outcomes: number of turns that ended CC, CD, DC, DD for the row player, in each repeat,
            `[N, N, R, 4]` int32; `[i, j]` and `[j, i]` are the same matches seen from both sides.
        payoff: to the row player for CC, CD, DC, DD, `[4]`.
    """

    names: tuple[str, ...]
    turns: int
    repeats: int
    outcomes: NDArray[np.int32]
    payoff: NDArray[np.float64]

    @property
    def scores(self) -> NDArray[np.float64]:
        """Total payoff of the row player in each match, `[N, N, R]`."""
        return np.asarray(self.outcomes @ self.payoff)

    @property
    def payoffs(self) -> NDArray[np.float64]:
        """Mean payoff per turn of row against column, `[N, N]`."""
        return np.asarray(self.outcomes.mean(2, dtype=np.float64) @ self.payoff / self.turns)

    @property
    def standard_errors(self) -> NDArray[np.float64]:
        """Standard error of `payoffs` over repeats, `[N, N]`; NaN for one repeat."""
        if self.repeats < 2:
            return np.full((len(self.names),) * 2, np.nan)
        deviation = self.scores.std(2, ddof=1) / self.turns
        return np.asarray(deviation / self.repeats**0.5)

    @property
    def cooperation(self) -> NDArray[np.float64]:
        """Share of turns on which row cooperated with column, `[N, N]`."""
        return np.asarray(self.outcomes[..., :2].sum(-1).mean(2) / self.turns)

    def ranking(self) -> list[tuple[str, float]]:
        """(name, mean payoff per turn against all others), the best first.

        A strategy's match with its own twin is not counted, as in Axelrod's library.
        """
        table = self.payoffs
        others = max(1, len(self.names) - 1)
        means = (table.sum(1) - table.diagonal()) / others
        order = np.argsort(-means, kind="stable")
        return [(self.names[i], float(means[i])) for i in order]


def tournament(
    strategies: Sequence[str | Machine | Sequence[float]],
    turns: int = 200,
    repeats: int = 100,
    *,
    noise: float = 0.0,
    payoff: Any = None,
    seed: int = 0,
    num_threads: int | None = None,
    engine: str = "local",
) -> Tournament:
    """Every strategy against every other and against its twin.

    With probability `noise`, for each player on each turn, the action played is not the one chosen;
    both see what was played. Probabilities are rounded to multiples of 2**-24 = 6e-8. The draws are a
    function of (seed, pair, repeat, turn): no number depends on where a pair is played, or beside which.

    Args:
        strategies: names (`loqa.agents.strategies.NAMED`), machines, or memory-1 vectors `[5]`.
        turns: of each match.
        repeats: matches of each pair.
        noise: in [0, 1].
        payoff: to me for CC, CD, DC, DD; Axelrod's 3, 0, 5, 1 by default. Or a preset of the prisoner's
            dilemma, by name or as it is, which is read by its own action codes.
        seed: of the draws.
        num_threads: pairs that are played at once; all cores by default, on Ray all of the cluster's.
        engine: "local", threads of this process; or "ray", a Ray cluster, whose machines need loqa only.

    Raises:
        ValueError, TypeError: an unknown name (the nearest is given), a value out of range, Ray is not
            installed, or a probability (noise included) so close to 0 or 1 that it would be played as
            certain.
        ConnectionError: as `loqa.runtime.cluster.cluster`.
    """
    machines = [_as_machine(number, one) for number, one in enumerate(strategies)]
    count = _checks.integer("number of strategies", len(machines), 1, _MAX_MACHINES)
    turns = _checks.integer("turns", turns, 1, 2**24)
    repeats = _checks.integer("repeats", repeats, 1, 2**24)
    if 4 * repeats * count * count > _MAX_COUNTS:
        raise ValueError(
            f"strategies ** 2 * repeats must be at most {_MAX_COUNTS // 4}, got {count} strategies "
            f"and {repeats} repeats"
        )
    noise = _checks.real("noise", noise, 0, 1)
    seed = _checks.integer("seed", seed, 0, 2**64 - 1)
    table = cooperation_first("axelrod" if payoff is None else payoff)
    if table.shape != (2, 2, 2) or not np.array_equal(table[0], table[1]):
        raise ValueError("payoff must be CC, CD, DC, DD of a symmetric game of two actions")
    threads(num_threads)  # or it is refused
    _checks.one_of("engine", engine, ENGINES)
    first = np.cumsum([0, *(len(machine.cooperate) for machine in machines)])
    chosen = np.concatenate([machine.cooperate for machine in machines])
    played = chosen * (1 - noise) + (1 - chosen) * noise
    certain = ((chosen == 0) | (chosen == 1)) & (noise in (0, 1))
    # Thresholds of a 24-bit uniform number.
    cooperates = np.rint(played * _UNIT).astype(np.int32)
    vanished = ((cooperates == 0) | (cooperates == _UNIT)) & ~certain
    if vanished.any():
        number = int(np.searchsorted(first, vanished.argmax(), "right")) - 1
        raise ValueError(
            f"{machines[number].name} would cooperate with probability {played[vanished][0]!r} under "
            f"noise {noise}; probabilities other than 0 and 1 must be at least 2**-25 = 3e-8 from them"
        )
    following = np.concatenate(
        [
            machine.transition.reshape(-1, 4) + at
            for machine, at in zip(machines, first, strict=False)
        ]
    ).astype(np.int32)
    rows, columns = np.triu_indices(count)
    pairs = np.ascontiguousarray(np.stack([rows, columns], 1), np.int32)
    matches = Matches(cooperates, following, first.astype(np.int32), turns, repeats, seed)
    play = play_on_ray if engine == "ray" else play_here
    counts = play(matches, pairs, num_threads)
    outcomes = np.empty((count, count, repeats, 4), np.int32)
    outcomes[columns, rows] = counts[..., [0, 2, 1, 3]]
    outcomes[rows, columns] = counts
    names = tuple(machine.name for machine in machines)
    return Tournament(names, turns, repeats, outcomes, table[0].reshape(4).astype(np.float64))


def random_memory1(count: int, seed: int = 0) -> list[Machine]:
    """`count` memory-1 strategies with independent uniform probabilities."""
    vectors = np.random.default_rng(seed).random((count, 5))
    return [memory1_machine(f"memory-1 {number}", vector) for number, vector in enumerate(vectors)]


def _as_machine(number: int, given: str | Machine | Sequence[float]) -> Machine:
    if isinstance(given, Machine):
        return given
    if isinstance(given, str):
        return strategy(given)
    vector = np.asarray(given, np.float64)
    return memory1_machine(f"strategy {number}", vector)
