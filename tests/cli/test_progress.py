"""What is seen while a run trains: at every width, and where there is no terminal."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from loqa.cli.progress import Pace, duration, fit_line, training_progress
from loqa.games.coin_view import CoinView
from loqa.games.matrix_game import view as ipd_view
from loqa.games.view import Part, reward_outcome, reward_view


def coin_line(iteration: int, seconds: float) -> dict[str, Any]:
    return {
        "iteration": iteration, "seconds": seconds, "env_steps": 51_200 * iteration,
        "phase_seconds": {"rollout": 3.0, "update": 4.0, "evaluate": 1.0},
        "self_play": [0.21, 0.22], "vs_always_cooperate": [0.3, 0.3],
        "vs_always_defect": [-0.05, 0.1], "own_coin_share": 0.74,
        "seconds_to_threshold": {"weak": 153.0, "medium": 251.0, "strong": None},
    }  # fmt: skip


def ipd_line(iteration: int, seconds: float) -> dict[str, Any]:
    p = {"start": 0.98, "CC": 0.99, "CD": 0.02, "DC": 0.97, "DD": 0.03}
    return {"iteration": iteration, "seconds": seconds, "env_steps": 12_800 * iteration,
            "p_cooperate": p, "reward": [-1.2, -1.3], "self_play": [-1.0, -1.0]}  # fmt: skip


def shown(view: Any, line: dict[str, Any], width: int, total: int = 1800) -> str:
    pace = Pace(total)
    pace.note(line)
    return fit_line(width, pace, view(line), pace.left).plain


@pytest.mark.parametrize("width", range(24, 200))
def test_iteration_and_time_left_are_shown_at_every_width(width: int) -> None:
    for view, line in ((CoinView(), coin_line(1234, 900)), (ipd_view, ipd_line(1234, 900))):
        text = shown(view, line, width)
        assert len(text) <= width
        assert "1234/1800" in text
        if width >= 26:
            assert "6:53 left" in text  # 900 s / 1234 * 566
        assert ("\u2501" in text) == (width >= 60)
        assert ("69%" in text) == (width < 60)


def test_what_matters_most_stays_longest() -> None:
    line = coin_line(1234, 900)
    at = {width: shown(CoinView(), line, width) for width in (40, 60, 80, 100, 200)}
    assert at[40] == "1234/1800  69%  6:53 left"
    assert at[60].endswith("1234/1800  6:53 left  self-play +0.215")
    for part in ("self-play +0.215", "vs AD -0.050"):
        assert part in at[80]
    for part in ("self-play +0.215", "vs AC +0.300", "vs AD -0.050", "own coins 74%"):
        assert part in at[100]
    for part in ("weak 153 s medium 251 s", "steps/s", "rollout 38% update 50% evaluate 12%"):
        assert part in at[200]
    ipd = shown(ipd_view, ipd_line(300, 5.0), 80, 600)
    for part in ("300/600", "0:05 left", "P(C)  CC 0.99  CD 0.02", "reward -1.00"):
        assert part in ipd


def test_columns_are_counted_as_terminals_do() -> None:
    """Wide letters take two columns; markup takes none."""
    parts = [Part("[green]\u81ea\u5df1 1[/]", 0)]
    line = fit_line(40, Pace(10), parts, 1.0)
    assert line.cell_len == len("0/10  0%  0:01 left  ") + 6
    assert "\u81ea" not in fit_line(line.cell_len - 1, Pace(10), parts, 1.0).plain
    assert "\u2501" not in fit_line(80, Pace(10), parts, 1.0, ascii_only=True).plain


def test_time_left() -> None:
    pace = Pace(100)
    assert pace.left is None
    pace.note({"iteration": 10, "seconds": 20.0})
    assert pace.left == pytest.approx(180)
    limited = Pace(100, time_limit=50)
    limited.note({"iteration": 10, "seconds": 20.0})
    assert limited.left == pytest.approx(30)
    resumed = Pace(100, 50, 500.0, time_limit=60)
    resumed.note({"iteration": 60, "seconds": 520.0})
    assert resumed.left == pytest.approx(40)  # of the limit; the rest would take 80
    # The newest checkpoint is older than the newest line of metrics.
    crashed = Pace(100, 50, 500.0)
    crashed.note({"iteration": 40, "seconds": 410.0})
    assert crashed.left is None
    crashed.note({"iteration": 50, "seconds": 420.0})
    assert crashed.left == pytest.approx(50)
    said = [duration(seconds) for seconds in (None, 0, 59.7, 3599, 3723, 200_000)]
    assert said == ["?", "0:00", "1:00", "59:59", "1:02:03", "2 d 7 h"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(console: Console, seconds: float, total: int = 1800) -> None:
    """A run that takes so many seconds an iteration, with a line every ten."""
    with training_progress(console, CoinView(), Pace(total)) as report:
        for iteration in range(10, total + 1, 10):
            report(coin_line(iteration, seconds * iteration))


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_file_gets_lines_at_sensible_times(environment: dict[str, str], monkeypatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "TERM", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # Slow: every ten seconds. Fast: every twentieth.
    for seconds, expected in ((1.0, 180), (0.5, 91), (0.001, 21)):
        file = io.StringIO()
        run(Console(file=file, _environ=environment), seconds)
        lines = file.getvalue().splitlines()
        assert len(lines) == expected
        assert "1800/1800  100%  0:00 left" in lines[-1]
        for line in lines:
            assert re.search(r"\d+/1800 +\d+%  \d+:\d\d left  self-play \+0.215", line)
            assert "FORCE_COLOR" in environment or "\033" not in line
            assert "\033[?25l" not in line  # no live line


def test_a_terminal_of_80_columns_gets_one_live_line() -> None:
    file = Terminal()
    console = Console(file=file, force_terminal=True, width=80, color_system=None, _environ={})
    run(console, 0.5)
    text = re.sub(r"\033\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    last = text.replace("\r", "\n").strip().splitlines()[-1]
    assert "1800/1800  0:00 left  self-play +0.215" in last
    assert len(last) <= 80
    assert "\u2501" * 8 in last


def test_a_game_that_says_nothing_itself() -> None:
    line = {**ipd_line(300, 5.0), "reward": [1.0, -2.0, 0.5]}
    assert shown(reward_view, line, 80, 600).endswith("reward +1.000 -2.000 +0.500  768k steps/s")
    assert reward_outcome({"self_play": [0.5, 0.25]}) == "reward per step: self-play +0.500 +0.250"
    assert reward_outcome({}) == "Stopped before the first evaluation"
