"""Tables on terminals of every width: no name and no number is lost."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

import loqa
from loqa.cli.tables import league_table, reward_table, statistics_tables

OPPONENTS = ["zd-extort-2", "stochastic-win-stay-lose-shift", "always-defect", "tit-for-tat",
             "always-cooperate", "win-stay-lose-shift"]  # fmt: skip


def shown(make: object, width: int | None) -> list[str]:
    """The lines of the tables that `make(console)` gives; None is a file, not a terminal."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=width is not None, width=width or 100_000,
                      color_system=None, markup=False, highlight=False)  # fmt: skip
    for table in make(console):  # type: ignore[operator]
        console.print(table)
    return file.getvalue().splitlines()


def pieces(name: str) -> list[str]:
    """A name's parts, as it may be broken."""
    return [part + "-" for part in name.split("-")[:-1]] + [name.split("-")[-1]]


@pytest.mark.parametrize("width", [80, 100, 160, None])
def test_rewards_and_statistics(width: int | None) -> None:
    results = [loqa.evaluate("tft", one, episodes=4, game="ipd") for one in OPPONENTS]
    lines = shown(lambda console: [reward_table(results, "an agent", console)], width)
    text = "\n".join(lines)
    assert text.count("±") == 3 * 3 * len(OPPONENTS)
    statistics = shown(lambda console: statistics_tables(results, "an agent", console), width)
    numbers = "\n".join(statistics)
    assert numbers.count(" / ") == len(OPPONENTS) + numbers.count("agent / opponent")
    for said in (text, numbers):
        assert "…" not in said
        for name in OPPONENTS:
            assert name in said if width is None else all(part in said for part in pieces(name))
    if width is not None:
        assert max(map(len, lines + statistics)) <= width
    # A bold line for each opponent, then its seats.
    assert sum(" both " in line for line in lines) == len(OPPONENTS)


@pytest.mark.parametrize("width", [80, 120, None])
def test_a_league_of_long_names(width: int | None) -> None:
    names = {"a-name-that-is-as-long-as-those-of-runs-with-many-settings-seed0": "tft",
             "another": "ad", "always-cooperate": "ac"}  # fmt: skip
    result = loqa.league(names, episodes=4, game="ipd", episode_length=5,
                         groups={name: name for name in names})  # fmt: skip
    lines = shown(lambda console: [league_table(result, console)], width)
    text = "\n".join(lines)
    assert "…" not in text
    assert text.count("±") == 2 * 6
    for name in names:
        assert name in text if width is None else all(part in text for part in pieces(name))
    if width is not None:
        assert max(map(len, lines)) <= width
