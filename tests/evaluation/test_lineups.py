"""Leagues of more than two players: all seatings, or a sample of them that is stated."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loqa
from loqa.cli.main import main
from loqa.evaluation.evaluate import evaluate
from loqa.evaluation.lineups import Lineups, Pair
from loqa.evaluation.players import as_player

AGENTS = ["always-cooperate", "always-defect", "random"]
THREE: dict[str, Any] = {"game": "coin", "num_players": 3, "episodes": 60, "episode_length": 10}


def rewards_by_seating(directory: Path) -> dict[tuple[str, ...], np.ndarray]:
    """(mean, standard error) of each seat, as the file has them."""
    lines = [json.loads(line) for line in (directory / "seatings.jsonl").read_text().splitlines()]
    return {tuple(line["names"]): np.array(line["rewards"]) for line in lines}


def test_all_seatings_of_three_players(tmp_path: Path) -> None:
    """Every table is a mean over the seatings that the file holds."""
    found = loqa.league(AGENTS, out=tmp_path, **THREE)
    held = rewards_by_seating(tmp_path)
    assert set(held) == set(itertools.product(AGENTS, repeat=3))
    assert (found.settings["seatings"], found.settings["seatings_in_all"]) == (27, 27)
    for x, one in enumerate(AGENTS):
        paid = [
            (rewards[seat, 0], rewards[seat, 1])
            for names, rewards in held.items()
            for seat in range(3)
            if names[seat] == one
        ]
        standing = next(each for each in found.standings if each.name == one)
        means, errors = np.array(paid).T
        assert standing.reward.mean == pytest.approx(means.mean())
        assert standing.seatings == 27 - 8
        independent = np.sqrt((errors**2).sum()) / len(errors)
        assert independent <= standing.reward.standard_error < 2 * independent
        for y, other in enumerate(AGENTS):
            among = [
                tuple(one if seat == mine else other for seat in range(3)) for mine in range(3)
            ]
            mine = [held[names][seat, 0] for seat, names in enumerate(among)]
            assert found.matrix[x, y] == pytest.approx(np.mean(mine))
    assert [each.reward.mean for each in found.standings] == sorted(
        (each.reward.mean for each in found.standings), reverse=True
    )
    # A defector among cooperators takes what they leave; everybody loses where all take everything.
    assert found.matrix[1, 0] > found.matrix[0, 0] > found.matrix[1, 1]
    assert found.group_matrix()[1] == pytest.approx(found.matrix)
    assert found.to_latex().count(r"\\") == 4


def test_one_episode_a_seat_leaves_the_error_unknown(tmp_path: Path) -> None:
    few = {**THREE, "num_players": 4, "max_seatings": 2}
    with pytest.raises(ValueError, match=r"episodes must be more than the 4 seats.*got 4"):
        loqa.league(AGENTS[:2], out=tmp_path / "out", **{**few, "episodes": 4})
    assert not (tmp_path / "out").exists()
    found = loqa.league(AGENTS[:2], out=tmp_path / "out", **{**few, "episodes": 6})
    assert all(one.standard_error < np.inf for pair in found.pairs for one in pair.reward)


def test_one_among_others_is_what_evaluate_plays() -> None:
    found = loqa.league(AGENTS[:2], **{**THREE, "episodes": 3000})
    pair: Pair = next(one for one in found.pairs if one.first == AGENTS[1] != one.second)
    result = evaluate(AGENTS[1], AGENTS[0], game="coin", num_players=3, episodes=1000,
                      episode_length=10)  # fmt: skip
    for mine, other in zip(pair.reward, result.total.reward, strict=True):
        error = np.hypot(mine.standard_error, other.standard_error)
        assert abs(mine.mean - other.mean) < 4 * error
    assert pair.episodes == 3000
    assert len(pair.seats) == 3


def test_a_sample_is_stated_and_fair() -> None:
    players = [as_player(name) for name in [*AGENTS, "random"]]
    whole, part = (Lineups(players, 3, limit, 5) for limit in (64, 40))
    assert whole.all_played
    assert not part.all_played
    assert len(set(part.drawn)) == 40
    assert part.drawn == Lineups(players, 3, 40, 5).drawn != Lineups(players, 3, 40, 6).drawn
    beside = {seating for each in part.among.values() for seating in each}
    assert {seating for (seating,) in part.parts} == {*part.drawn, *beside}
    assert len(beside) == 4 + (4 * 3 - 2) * 3 + 2  # two of the four are one agent
    full = loqa.league(AGENTS, **THREE)
    some = loqa.league(AGENTS, **THREE, max_seatings=14, seed=0)
    assert (some.settings["seatings"], some.settings["seatings_in_all"]) == (14, 27)
    for one in some.standings:  # the error knows of the seatings that were not drawn
        true = next(each for each in full.standings if each.name == one.name).reward
        assert abs(one.reward.mean - true.mean) < 4 * one.reward.standard_error
        assert one.reward.standard_error > true.standard_error


def test_command_league_of_three(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["league", *AGENTS, "--game", "coin", "--num-players", "3", "--episodes", "12",
                 "--episode-length", "5", "--out", str(tmp_path)]  # fmt: skip
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "one among" in said
    assert "all line-ups: all 27 seatings" in said
    assert main([*arguments, "--max-seatings", "9", "--seed", "3"]) == 0
    assert "9 of 27 seatings, drawn with seed 3" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "agents.png").exists()
    assert main(["plot", str(tmp_path)]) == 0
