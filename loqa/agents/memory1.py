"""Exact play of memory-1 strategies in two-player games of two actions, by linear algebra.

A memory-1 strategy is five probabilities of cooperating: at the start and after CC, CD, DC, DD, own
action first. Two of them make a Markov chain on the four joint outcomes; values, best responses and
long-run payoffs are solutions of small linear systems. The outcomes are always in the first player's
order CC, CD, DC, DD.

Nothing is subtracted on the way to a distribution (Grassmann, Taksar and Heyman 1985): a probability
1e-15 short of 1 counts as exactly as any other. Payoffs are given for CC, CD, DC, DD whatever the
action codes of a game; a `MatrixPreset`, or the name of one of "ipd", is read by its own codes.

All functions take float64 arrays with any leading dimensions, which broadcast: a pool of N
strategies against itself is `first = pool[:, None], second = pool[None]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loqa import _checks
from loqa.envs.matrix_game.presets import cooperation_first

Array = NDArray[np.float64]

PRISONERS_DILEMMA = ((-1.0, -3.0), (0.0, -2.0))
"""Payoff to me by [own action, other's action], preset `loqa24`."""

_SEEN_BY_OTHER = [0, 1, 3, 2, 4]  # start, CC, CD, DC, DD as the other player sees them
_OUTCOMES_OF_OTHER = [0, 2, 1, 3]  # CC, CD, DC, DD the same
_MAX_SWEEPS = 64  # policy iteration over 2^5 policies ends long before


def as_strategy(name: str, probabilities: ArrayLike) -> Array:
    """`probabilities` as float64 `[..., 5]`.

    Raises:
        ValueError: the last dimension is not 5, or an entry is not in [0, 1].
    """
    try:
        strategy = np.asarray(probabilities, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be five probabilities, got {probabilities!r}") from error
    if strategy.shape[-1:] != (5,):
        raise ValueError(
            f"{name} must be [..., 5], P(C) at the start and after CC, CD, DC, DD, "
            f"got {list(strategy.shape)}"
        )
    if not bool(((strategy >= 0) & (strategy <= 1)).all()):
        raise ValueError(f"{name} must be in [0, 1], got {strategy.tolist()}")
    return strategy


def joint_chain(
    first: ArrayLike, second: ArrayLike, exploration: float = 0.0, noise: float = 0.0
) -> tuple[Array, Array]:
    """The Markov chain of two memory-1 players.

        p' = p (1 - e) + e / 2,   then   p'' = p' (1 - n) + (1 - p') n

    Args:
        first, second: P(C) at the start and after CC, CD, DC, DD, own action first, `[..., 5]`.
        exploration: e, share of uniformly random play.
        noise: n, probability that the action played is not the one chosen.

    Returns:
        Distribution of the first outcome `[..., 4]`, and transition matrix M `[..., 4, 4]`, row =
        outcome before, both over CC, CD, DC, DD as the first player sees them.

    Raises:
        ValueError: a probability is not in [0, 1], or shapes do not fit together.
    """
    exploration = _checks.real("exploration", exploration, 0, 1)
    noise = _checks.real("noise", noise, 0, 1)
    p, not_p = _perturbed(as_strategy("first", first), exploration, noise)
    q, not_q = (
        each[..., _SEEN_BY_OTHER]
        for each in _perturbed(as_strategy("second", second), exploration, noise)
    )
    outcomes = np.stack([p * q, p * not_q, not_p * q, not_p * not_q], axis=-1)
    return outcomes[..., 0, :], outcomes[..., 1:, :]


def _perturbed(strategy: Array, exploration: float, noise: float) -> tuple[Array, Array]:
    """P(C) and P(D) as played: 1 - p of a rounded p would have lost what is near 0."""
    explored = [p * (1 - exploration) + exploration / 2 for p in (strategy, 1 - strategy)]
    p, not_p = (one * (1 - noise) + other * noise for one, other in (explored, explored[::-1]))
    return p, not_p


def _occupancy(start: Array, rates: Array, leave: float) -> tuple[Array, Array]:
    """Where a chain is, by elimination of one state after the other, without a subtraction.

    Eliminating state k sends what would visit it where it goes from there:

        N_ij += N_ik N_kj / o_k,   o_k = sum_{j<k} N_kj + l_k,   l_i += N_ik l_k / o_k

    and back: x_k = (b_k + sum_{j<k} x_j N_jk) / o_k. A state with o_k = 0 ends a recurrent class; what
    flows there stays, and is shared among the states of the class in proportion to the time that
    one round takes in each. From `start [..., S]`, `rates [..., S, S]` (the diagonal is not read) and the
    probability l of ending after each step: expected visits of each state (of transient ones if l is 0),
    and the share of time in each in the long run (0 if l is not), `[..., S]`.
    """
    size = start.shape[-1]
    lead = np.broadcast_shapes(start.shape[:-1], rates.shape[:-2])
    flow = np.array(np.broadcast_to(start, (*lead, size)))
    rates = np.array(np.broadcast_to(rates, (*lead, size, size)))
    lost, time = np.full_like(flow, leave), np.ones_like(flow)
    outs: list[Array] = []
    for k in range(size - 1, -1, -1):
        out = rates[..., k, :k].sum(-1) + lost[..., k]
        outs.insert(0, out)
        safe = np.where(out == 0, 1, out)
        onward = rates[..., k, :k] / safe[..., None]
        into = rates[..., :k, k]
        rates[..., :k, :k] += into[..., None] * onward[..., None, :]
        lost[..., :k] += into * np.where(out == 0, 1, lost[..., k] / safe)[..., None]
        time[..., :k] += into * np.where(out == 0, 0, time[..., k] / safe)[..., None]
        flow[..., :k] += flow[..., k, None] * onward
    visited, shares = np.zeros_like(flow), np.zeros_like(flow)
    for k, out in enumerate(outs):
        safe = np.where(out == 0, 1, out)
        came = flow[..., k] + (visited[..., :k] * rates[..., :k, k]).sum(-1)
        again = (shares[..., :k] * rates[..., :k, k]).sum(-1)
        visited[..., k] = np.where(out == 0, 0, came / safe)
        shares[..., k] = np.where(out == 0, came / time[..., k], again / safe)
    return visited, shares


def visits(
    first: ArrayLike,
    second: ArrayLike,
    discount: float,
    *,
    steps: int | None = None,
    exploration: float = 0.0,
    noise: float = 0.0,
) -> Array:
    """Discounted expected number of times that each outcome occurs, `[..., 4]`.

        sum_{t<T} g^t d0 M^t,   for T without end: d0 (I - g M)^-1

    Args:
        first, second, exploration, noise: as in `joint_chain`.
        discount: g in [0, 1]; below 1 if steps is None.
        steps: T, or None for an endless game.

    Raises:
        ValueError: a value out of range; discount 1 without end.
    """
    discount = _checks.real("discount", discount, 0, 1)
    start, matrix = joint_chain(first, second, exploration, noise)
    if steps is None:
        if discount == 1:
            raise ValueError("discount must be below 1 for a game without end, got 1.0")
        return _occupancy(start, discount * matrix, 1 - discount)[0]
    total, state = np.zeros_like(start), start
    for step in range(_checks.integer("steps", steps, 0, 2**31 - 1)):
        total = total + discount**step * state
        state = (state[..., None, :] @ matrix)[..., 0, :]
    return total


def discounted_value(
    first: ArrayLike,
    second: ArrayLike,
    discount: float = 0.96,
    *,
    payoff: Any = PRISONERS_DILEMMA,
    steps: int | None = None,
    exploration: float = 0.0,
    noise: float = 0.0,
) -> Array:
    """Expected discounted return of both players, `[..., 2]`.

        v = d0 (I - g M)^-1 r   (T steps: d0 sum_{t<T} g^t M^t r)

    It is a sum: multiply by 1 - g for reward per step, or divide by T with discount 1 and T steps.

    Args:
        first, second, discount, steps, exploration, noise: as in `visits`.
        payoff: to me by [own, other's] action `[2, 2]`, C first, or one for each player `[2, 2, 2]`; or
            a preset of the prisoner's dilemma, by name or as it is.

    Raises:
        ValueError: a value out of range, or a payoff that is not of two actions.
    """
    count = visits(first, second, discount, steps=steps, exploration=exploration, noise=noise)
    mine, others = _payoff_vectors(payoff)
    return np.stack([count @ mine, count @ others], axis=-1)


def long_run_value(
    first: ArrayLike,
    second: ArrayLike,
    *,
    payoff: Any = PRISONERS_DILEMMA,
    exploration: float = 0.0,
    noise: float = 0.0,
) -> Array:
    """Mean payoff per step of an endless undiscounted game, `[..., 2]`.

    The limit of (1 - g) `discounted_value` as g goes to 1. Where the chain has one recurrent class
    this is the payoff of the stationary distribution; where it has several the start decides.

        d0 lim_n (I + M + ... + M^(n-1)) / n r,   by elimination without subtraction

    Each entry of the distribution is right to a few units of the last digit, however close to 0 or 1
    probabilities are (the product of two of them must not be below 1e-308).
    """
    start, matrix = joint_chain(first, second, exploration, noise)
    share = _occupancy(start, matrix, 0.0)[1]
    mine, others = _payoff_vectors(payoff)
    return np.stack([share @ mine, share @ others], axis=-1)


@dataclass(frozen=True)
class BestResponse:
    """What answers a memory-1 opponent best.

    Attributes:
        strategy: P(C) at the start and after CC, CD, DC, DD, each 0 or 1, `[5]`. No strategy of
            any memory earns more.
        value: discounted return against the opponent.
        opponent_value: the opponent's discounted return.
        state_values: discounted return from the start and after CC, CD, DC, DD, `[5]`.
    """

    strategy: Array
    value: float
    opponent_value: float
    state_values: Array


def best_response(
    opponent: ArrayLike,
    discount: float = 0.96,
    *,
    payoff: Any = PRISONERS_DILEMMA,
    exploration: float = 0.0,
    noise: float = 0.0,
) -> BestResponse:
    """The best answer to a memory-1 opponent, by policy iteration.

    Against a fixed memory-1 opponent the game is a Markov decision process on five states (the
    start and four outcomes), so some deterministic memory-1 strategy is best among all strategies
    (Puterman 1994, section 6.2; Press and Dyson 2012, appendix A).

        Q(s, a) = sum_o P(o | s, a) (r(o) + g V(o)),   V(s) = max_a Q(s, a)

    Both players' play is perturbed by exploration and noise. Ties keep cooperation.

    Args:
        opponent: `[5]`, its own action first.
        discount: g in [0, 1).
        payoff, exploration, noise: as in `discounted_value`.

    Raises:
        ValueError: a value out of range, or more than one opponent.
    """
    opponent = as_strategy("opponent", opponent)
    if opponent.ndim != 1:
        raise ValueError(f"opponent must be [5], got {list(opponent.shape)}")
    discount = _checks.real("discount", discount, 0, 1 - 1e-12)
    rewards = _payoff_vectors(payoff)[0]
    # outcomes[a, s, o]: distribution of the next outcome after choosing C (a = 0) or D in state s.
    start, matrix = joint_chain([[1.0] * 5, [0.0] * 5], opponent, exploration, noise)
    outcomes = np.concatenate([start[:, None], matrix], 1)
    actions = np.zeros(5, np.int64)
    states = np.arange(5)
    for _ in range(_MAX_SWEEPS):
        chosen = outcomes[actions, states]
        visited = _occupancy(np.eye(4), discount * chosen[1:], 1 - discount)[0]
        after = visited @ (chosen[1:] @ rewards)
        q_values = outcomes @ (rewards + discount * after)
        gains = q_values.max(0) - q_values[actions, states]
        better = gains > 1e-12 * (1 + np.abs(q_values).max())
        if not better.any():
            break
        actions = np.where(better, q_values.argmax(0), actions)
    strategy = 1.0 - actions.astype(np.float64)
    value = discounted_value(
        strategy, opponent, discount, payoff=payoff, exploration=exploration, noise=noise
    )
    return BestResponse(strategy, float(value[0]), float(value[1]), q_values[actions, states])


def exploitability(
    strategy: ArrayLike,
    discount: float = 0.96,
    *,
    payoff: Any = PRISONERS_DILEMMA,
    exploration: float = 0.0,
    noise: float = 0.0,
) -> float:
    """What a player gains by leaving self-play of this strategy for the best response to it.

    max_q v(q, p) - v(p, p),   a discounted return, 0 exactly when (p, p) is an equilibrium.
    """
    played: Any = {"payoff": payoff, "exploration": exploration, "noise": noise}
    own = discounted_value(strategy, strategy, discount, **played)
    return max(0.0, best_response(strategy, discount, **played).value - float(own[0]))


def _payoff_vectors(payoff: Any) -> tuple[Array, Array]:
    """Payoff of both players over the outcomes CC, CD, DC, DD of the first player, each [4]."""
    table = cooperation_first(payoff)
    if table.shape != (2, 2, 2):
        raise ValueError(
            f"payoff must be of two actions, [2, 2] or [2, 2, 2], got {list(table.shape)}"
        )
    return table[0].reshape(4), table[1].reshape(4)[_OUTCOMES_OF_OTHER]
