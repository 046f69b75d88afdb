"""Exact memory-1 play: rollouts, enumeration, and what zero-determinant theory says."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import loqa
from loqa.agents.memory1 import (
    best_response,
    discounted_value,
    exploitability,
    joint_chain,
    long_run_value,
    visits,
)

TIT_FOR_TAT = [1.0, 1.0, 0.0, 1.0, 0.0]
ALWAYS_COOPERATE = [1.0] * 5
ALWAYS_DEFECT = [0.0] * 5
WIN_STAY = [1.0, 1.0, 0.0, 0.0, 1.0]
GRIM = [1.0, 1.0, 0.0, 0.0, 0.0]
AXELROD = ((3.0, 0.0), (5.0, 1.0))
probability = st.floats(0, 1)
strategy = st.lists(probability, min_size=5, max_size=5)


def test_hand_worked() -> None:
    """Tit-for-tat is exploited once by always-defect, then both defect: -3 - 2 g / (1 - g)."""
    value = discounted_value(TIT_FOR_TAT, ALWAYS_DEFECT, 0.5)
    np.testing.assert_allclose(value, [-3 - 2, 0 - 2])
    np.testing.assert_allclose(visits(TIT_FOR_TAT, ALWAYS_DEFECT, 0.5), [0, 1, 0, 1])
    np.testing.assert_allclose(discounted_value(TIT_FOR_TAT, ALWAYS_DEFECT, 1, steps=3), [-7, -4])
    np.testing.assert_allclose(long_run_value(TIT_FOR_TAT, ALWAYS_DEFECT), [-2, -2])
    # Periodic: tit-for-tat meets suspicious tit-for-tat.
    suspicious = [0.0, *TIT_FOR_TAT[1:]]
    np.testing.assert_allclose(long_run_value(TIT_FOR_TAT, suspicious), [-1.5, -1.5], rtol=1e-12)


@given(strategy, strategy, st.floats(0, 0.99), st.floats(0, 1), st.floats(0, 1))
def test_chain_is_a_chain_and_seats_are_symmetric(p, q, discount, exploration, noise) -> None:
    start, matrix = joint_chain(p, q, exploration, noise)
    np.testing.assert_allclose(start.sum(), 1)
    np.testing.assert_allclose(matrix.sum(-1), 1)
    assert (matrix >= 0).all()
    settings = {"exploration": exploration, "noise": noise}
    count = visits(p, q, discount, **settings)
    np.testing.assert_allclose(count.sum(), 1 / (1 - discount))
    ours = discounted_value(p, q, discount, **settings)
    np.testing.assert_allclose(ours, discounted_value(q, p, discount, **settings)[::-1], atol=1e-9)


def test_finite_horizon_and_noise_agree_with_the_native_rollout() -> None:
    p, q = [0.8, 0.9, 0.2, 0.7, 0.1], [0.5, 0.6, 0.3, 0.9, 0.4]
    episodes, steps, discount = 60_000, 30, 0.9
    env = loqa.make("ipd", episodes, payoff=[1.0, -2.0, 4.0, 0.5], noise=0.05, seed=5)
    _, _, rewards = env.rollout_memory1([p, q], steps, 0.2)
    returns = np.einsum("tba,t->ba", rewards.numpy(), discount ** np.arange(steps))
    exact = discounted_value(
        p, q, discount, payoff=[1.0, -2.0, 4.0, 0.5], steps=steps, exploration=0.2, noise=0.05
    )
    error = returns.std(0) / episodes**0.5
    assert (np.abs(returns.mean(0) - exact) < 4 * error).all()


def test_pools_broadcast() -> None:
    pool = np.random.default_rng(0).random((6, 5))
    table = discounted_value(pool[:, None], pool[None], 0.9)
    assert table.shape == (6, 6, 2)
    np.testing.assert_allclose(table[2, 4], discounted_value(pool[2], pool[4], 0.9))
    np.testing.assert_allclose(table[..., 0], table[..., 1].T)
    np.testing.assert_allclose(long_run_value(pool[:, None], pool[None])[1, 3, 0],
                               long_run_value(pool[1], pool[3])[0])  # fmt: skip


@given(strategy, st.sampled_from([0.0, 0.5, 0.9, 0.96]), st.sampled_from([0.0, 0.1]))
def test_best_response_beats_every_deterministic_one(opponent, discount, exploration) -> None:
    best = best_response(opponent, discount, exploration=exploration)
    every = np.array(list(itertools.product([0.0, 1.0], repeat=5)))
    values = discounted_value(every, opponent, discount, exploration=exploration)[:, 0]
    assert best.value == pytest.approx(values.max(), rel=1e-9, abs=1e-9)
    assert best.state_values[0] == pytest.approx(best.value, rel=1e-9, abs=1e-9)


def test_known_best_responses() -> None:
    assert best_response(TIT_FOR_TAT, 0.96).value == pytest.approx(-25)
    assert best_response(TIT_FOR_TAT, 0.1).strategy.tolist()[0] == 0  # the future is too short
    assert (best_response(ALWAYS_DEFECT).strategy == 0).all()
    assert best_response(ALWAYS_COOPERATE).value == 0
    for equilibrium in (TIT_FOR_TAT, GRIM, ALWAYS_DEFECT):
        assert exploitability(equilibrium, 0.96) == pytest.approx(0, abs=1e-9)
    # Whoever deviates from always-cooperate earns 0 instead of -1 a step.
    assert exploitability(ALWAYS_COOPERATE, 0.96) == pytest.approx(25)
    # Against win-stay-lose-shift: 0, -2, 0, -2, ... by defecting always.
    by_hand = (0 - 2 * 0.96) / (1 - 0.96**2) + 25
    assert exploitability(WIN_STAY, 0.96) == pytest.approx(by_hand)


@given(strategy)
def test_press_dyson_extortion(opponent) -> None:
    """s_X - P = chi (s_Y - P), whatever the opponent does (Press and Dyson 2012, equation 12).

    chi = 3 with the payoffs 3, 0, 5, 1: p = 11/13, 1/2, 7/26, 0.
    """
    extortion = [0.0, 11 / 13, 1 / 2, 7 / 26, 0.0]
    perturbed = [0.01 + 0.98 * p for p in opponent]  # one recurrent class
    mine, other = long_run_value(extortion, perturbed, payoff=AXELROD)
    assert mine - 1 == pytest.approx(3 * (other - 1), abs=1e-8)


@given(strategy)
def test_equalizer(opponent) -> None:
    """Sets the opponent's long-run payoff to 2 (Press and Dyson 2012, equation 8).

    Payoffs R, S, T, P = 3, 0, 5, 1 with p1 = 2/3, p4 = 1/3: p2 = 0, p3 = 2/3 and
    s_Y = ((1 - p1) P + p4 R) / ((1 - p1) + p4) = 2.
    """
    p1, p4 = 2 / 3, 1 / 3
    r, s, t, p = 3, 0, 5, 1
    p2 = (p1 * (t - p) - (1 + p4) * (t - r)) / (r - p)
    p3 = ((1 - p1) * (p - s) + p4 * (r - s)) / (r - p)
    assert (p2, p3) == pytest.approx((0, 2 / 3))
    equalizer = [0.5, p1, max(p2, 0), p3, p4]
    perturbed = [0.01 + 0.98 * x for x in opponent]
    assert long_run_value(equalizer, perturbed, payoff=AXELROD)[1] == pytest.approx(2, abs=1e-8)


@given(strategy, strategy, st.floats(0.05, 0.99))
def test_akins_identity_with_discount(p, q, discount) -> None:
    """sum of visits times (p(after) g - cooperated now) = -p(start), for any opponent.

    The discounted lemma behind zero-determinant strategies (Akin 2012; Hilbe, Traulsen and Sigmund
    2015, equation 4).
    """
    count = visits(p, q, discount)
    cooperated = np.array([1.0, 1.0, 0.0, 0.0])
    assert count @ (discount * np.array(p[1:]) - cooperated) == pytest.approx(-p[0], abs=1e-9)


def _exact_shares(p: list[float], q: list[float], noise: float) -> list[Fraction]:
    """Stationary distribution of a chain with one recurrent class, in rational numbers: Gaussian
    elimination of s M = s, sum s = 1."""

    def played(x: float) -> Fraction:
        return Fraction(x) * (1 - Fraction(noise)) + (1 - Fraction(x)) * Fraction(noise)

    mine, others = [played(x) for x in p[1:]], [played(q[1:][i]) for i in (0, 2, 1, 3)]
    rows = [
        [a * b, a * (1 - b), (1 - a) * b, (1 - a) * (1 - b)]
        for a, b in zip(mine, others, strict=True)
    ]
    system = [[rows[i][j] - (i == j) for i in range(4)] + [Fraction(0)] for j in range(3)]
    system.append([Fraction(1)] * 5)
    for k in range(4):
        pivot = next(i for i in range(k, 4) if system[i][k])
        system[k], system[pivot] = system[pivot], system[k]
        system[k] = [value / system[k][k] for value in system[k]]
        for i in range(4):
            if i != k:
                system[i] = [
                    a - system[i][k] * b for a, b in zip(system[i], system[k], strict=True)
                ]
    return [row[4] for row in system]


near = st.sampled_from(
    [0.0, 1e-300**0.25, 1e-40, 1e-17, 3e-15, 1e-9, 0.3, 0.5, 1 - 1e-9, 1 - 2**-53, 1.0]
)


@given(st.lists(near, min_size=5, max_size=5), st.lists(near, min_size=5, max_size=5),
       st.sampled_from([1e-30, 1e-17, 1e-9, 0.01]))  # fmt: skip
def test_long_run_keeps_every_digit(p, q, noise) -> None:
    """Each share of time against rational arithmetic, however slowly the chain moves."""
    share = _exact_shares(p, q, noise)
    for outcome in range(4):
        payoff = np.zeros(4)
        payoff[outcome] = 1
        found = long_run_value(p, q, payoff=payoff, noise=noise)[0]
        assert found == pytest.approx(float(share[outcome]), rel=1e-13)


def test_long_run_where_the_start_decides() -> None:
    """Several recurrent classes, transient states, periods: by hand."""
    repeats = [0.3, 1, 1, 0, 0]  # what it did
    np.testing.assert_allclose(
        long_run_value(repeats, repeats, payoff=AXELROD)[0],
        0.09 * 3 + 0.21 * 0 + 0.21 * 5 + 0.49 * 1,
    )
    # Leaves CC for ever after some time, however long that takes.
    np.testing.assert_allclose(long_run_value([1, 1 - 1e-12, 0, 0, 0], ALWAYS_DEFECT), [-2, -2])
    np.testing.assert_allclose(
        long_run_value([1, 1 - 2**-53, 0, 0, 0], ALWAYS_COOPERATE, payoff=AXELROD), [5, 0]
    )
    alternate = [1.0, 0, 0, 1, 1]
    np.testing.assert_allclose(
        long_run_value(alternate, ALWAYS_COOPERATE, payoff=AXELROD), [4, 1.5]
    )


def test_discounts_close_to_one_keep_their_digits() -> None:
    """Defects once in 1e14 steps against always-cooperate, then for ever: the probability that it has not
    yet is g^t (1 - a)^t."""
    a, discount = 2.0**-46, 1 - 2.0**-45
    value = discounted_value([1, 1 - a, 0, 0, 0], ALWAYS_COOPERATE, discount, payoff=AXELROD)[0]
    rest, leave = Fraction(a), 1 - Fraction(discount)
    together = 1 / (1 - Fraction(discount) * (1 - rest))
    exact = 3 * together + 5 * (1 / leave - together)
    assert value == pytest.approx(float(exact), rel=1e-14)
    # Against it, cooperating pays 3 a step for ever; defecting once, 5 and then 1.
    best = best_response([1, 1, 0, 0, 0], 1 - 1e-12, payoff=AXELROD)
    assert best.strategy[:2].tolist() == [1, 1]
    assert best.value == pytest.approx(3 / (1 - (1 - 1e-12)), rel=1e-14)


def test_payoffs_keep_their_digits() -> None:
    payoff = [0.1, -1 / 3, 0.7, 1e-9]
    value = discounted_value(ALWAYS_COOPERATE, ALWAYS_COOPERATE, 0.5, payoff=payoff)[0]
    assert value == pytest.approx(0.2, rel=1e-15)
    assert long_run_value(ALWAYS_DEFECT, ALWAYS_DEFECT, payoff=payoff)[0] == 1e-9


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match=r"payoff must be one of.*did you mean 'pola22'"):
        discounted_value(TIT_FOR_TAT, TIT_FOR_TAT, 0.9, payoff="pola2")
    with pytest.raises(ValueError, match=r"first must be \[..., 5\].*got \[4\]"):
        joint_chain([0.5] * 4, TIT_FOR_TAT)
    with pytest.raises(ValueError, match=r"second must be in \[0, 1\]"):
        joint_chain(TIT_FOR_TAT, [0, 0, 0, 0, 1.5])
    with pytest.raises(ValueError, match=r"second must be in \[0, 1\]"):
        joint_chain(TIT_FOR_TAT, [0, 0, 0, 0, float("nan")])
    with pytest.raises(ValueError, match="must be five probabilities"):
        joint_chain("tft", TIT_FOR_TAT)
    with pytest.raises(ValueError, match="discount must be below 1"):
        visits(TIT_FOR_TAT, TIT_FOR_TAT, 1.0)
    with pytest.raises(ValueError, match=r"opponent must be \[5\]"):
        best_response([TIT_FOR_TAT] * 2)
    with pytest.raises(ValueError, match="payoff must be of two actions"):
        discounted_value(TIT_FOR_TAT, TIT_FOR_TAT, 0.9, payoff=np.eye(3))
