"""Thresholds of the scalability figure."""

from __future__ import annotations

import pytest

from loqa.envs.coin_game.thresholds import THRESHOLDS, reached, score


@pytest.mark.parametrize(
    ("height", "width", "factor"),
    [(3, 3, 2), (4, 4, 4), (5, 5, 4), (6, 6, 6), (7, 7, 6), (3, 4, 3)],
)
def test_score_is_the_reward_times_the_longest_way(height: int, width: int, factor: int) -> None:
    assert score(0.25, height, width) == 0.25 * factor


def test_a_threshold_needs_both_scores() -> None:
    assert reached(0.3, -0.05, 3, 3) == ("weak", "medium", "strong")
    assert reached(0.3, -0.11, 3, 3) == ("weak", "medium")  # -0.22 < -0.2
    assert reached(0.3, -0.7, 3, 3) == ()
    assert reached(0.024, 0.0, 3, 3) == ()
    assert reached(0.024, 0.0, 7, 7) == ("weak", "medium")  # the same reward on a larger board


def test_exactly_the_published_values_are_enough() -> None:
    for number, (own, against) in enumerate(THRESHOLDS.values(), 1):
        assert len(reached(own / 2, against / 2, 3, 3)) == number
