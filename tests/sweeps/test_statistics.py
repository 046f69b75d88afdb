"""Known values: of the trimmed mean and of U computed by scipy.stats 1.17 (trim_mean, mannwhitneyu), of the
intervals by its bootstrap (percentiles, 200,000 and 50,000 resamples)."""

from __future__ import annotations

import numpy as np
import pytest

from loqa.sweeps.statistics import bootstrap, interquartile_mean, probability_of_improvement

X = np.array([3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3])
Y = np.array([2.0, 7, 1, 8, 2, 8, 1, 8])


def test_interquartile_mean() -> None:
    assert interquartile_mean(X) == pytest.approx(11 / 3)
    assert interquartile_mean(Y) == pytest.approx(4.75)
    assert interquartile_mean(X[:7]) == pytest.approx(3.0)
    assert interquartile_mean(np.array([1.0, 2, 9])) == pytest.approx(4)  # of three nothing is cut
    assert interquartile_mean(np.array([5.0])) == 5
    both = interquartile_mean(np.array([Y, Y[::-1] + 1]))
    assert both.tolist() == pytest.approx([4.75, 5.75])


def test_an_outlier_changes_nothing() -> None:
    far = np.where(X == 9, 1e9, X)
    assert interquartile_mean(far) == interquartile_mean(X)


def test_bootstrap() -> None:
    found = bootstrap([X])
    assert found.value == pytest.approx(11 / 3)
    assert found.low == pytest.approx(2.167, abs=0.17)
    assert found.high == pytest.approx(5.333, abs=0.17)
    assert bootstrap([X]) == found  # the same draws


def test_strata_are_not_mixed() -> None:
    """Of two tasks on different scales; drawn from one urn the interval would be 4.6 to 34.5."""
    found = bootstrap([X, 10 * Y])
    assert (found.value, found.low, found.high) == pytest.approx((9.2, 6.7, 26.3), abs=0.3)


def test_a_constant_has_no_spread() -> None:
    found = bootstrap([np.full(5, -1.0), np.full(2, -1.0)])
    assert (found.value, found.low, found.high) == (-1, -1, -1)


def test_probability_of_improvement() -> None:
    found = probability_of_improvement([X], [Y])
    assert found.value == pytest.approx(0.4625)  # U / (10 * 8)
    assert found.low == pytest.approx(0.18125, abs=0.02)
    assert found.high == pytest.approx(0.75, abs=0.02)
    other = probability_of_improvement([Y], [X])
    assert other.value == pytest.approx(1 - found.value)


def test_probability_of_improvement_of_several_tasks() -> None:
    """The mean over the tasks: surely better in one, alike in the other."""
    found = probability_of_improvement([X + 100, np.ones(3)], [Y, np.ones(4)])
    assert (found.value, found.low, found.high) == pytest.approx((0.75, 0.75, 0.75))
