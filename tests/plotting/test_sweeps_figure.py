"""Figures of sweeps: what is drawn is the interquartile mean, in a band of its interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loqa.plotting.runs import Group, Run
from loqa.plotting.sweeps import draw_curves, draw_table
from loqa.sweeps.statistics import Interval
from loqa.sweeps.table import Comparison, Measure, Row


def group(label: str, rewards: list[list[float]]) -> Group:
    """Runs of these rewards; the evaluations are of every second iteration."""
    runs = []
    for seed, row in enumerate(rewards):
        lines = [
            {"iteration": place, "reward": [value - 1, value + 1]}
            | ({"vs_always_defect": [value, 9.0], "own_coin_share": 0.5} if place % 2 else {})
            for place, value in enumerate(row)
        ]
        runs.append(Run(Path(f"{label}{seed}"), {"game": "ipd"}, lines, {}))
    return Group(label, tuple(runs))


def test_curves() -> None:
    rewards = [[float(seed), float(10 * seed), -1.0] for seed in (1, 2, 3, 10)]
    figure = draw_curves([group("many", rewards), group("alone", [[0.0, 1.0, 2.0]])])
    learning, answers = figure.axes
    assert learning.lines[0].get_ydata().tolist() == [
        2.5,
        25,
        -1,
    ]  # of 1, 2, 3, 10: 1 and 10 are left out
    assert learning.lines[1].get_ydata().tolist() == [0, 1, 2]
    assert "vs always defect" in answers.get_ylabel()
    assert answers.lines[0].get_ydata().tolist() == [25]
    (band,) = learning.collections  # one run has none
    heights = band.get_paths()[0].vertices
    at_start = heights[heights[:, 0] == 0, 1]
    assert 1 <= at_start.min() < 2.5 < at_start.max() <= 10
    assert np.ptp(heights[heights[:, 0] == 2, 1]) == 0
    figure.canvas.draw()


def test_table() -> None:
    measure = Measure(Interval(0.5, 0.25, 1.0), (0.0, None, 1.0))
    rows = (Row("one", ("a", "b", "c"), {"self_play": measure}, {}), Row("none", (), {}, {}))
    (axes,) = draw_table(Comparison(rows, {})).axes
    assert [one.get_text() for one in axes.get_yticklabels()] == ["one", "none"]
    assert axes.lines[0].get_xdata().tolist() == [0, 1]
    assert axes.lines[1].get_xdata() == pytest.approx([0.5])
    (bar,) = axes.collections[0].get_segments()
    assert bar[:, 0].tolist() == [0.25, 1.0]
