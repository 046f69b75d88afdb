"""Which runs a sweep is of, as it is typed and in Python; what is refused before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from loqa import Grid, IPDConfig
from loqa.sweeps.directory import named
from loqa.sweeps.grid import seeds_of, settings_of


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0..3", [0, 1, 2, 3]), ("7", [7]), ("0..2,10,2..3", [0, 1, 2, 10, 3]), ("5..5", [5])],
)
def test_seeds(text: str, seeds: list[int]) -> None:
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3..1", "-1", "0..", "1.5", "0...3", "0,,1", "²"])
def test_no_seeds(text: str) -> None:
    with pytest.raises(ValueError, match=r"^seeds are written as 0..9, 3 or 0..4,10,12, got "):
        seeds_of(text)


def test_too_many() -> None:
    with pytest.raises(ValueError, match="at most 100,000 runs"):
        seeds_of("0..99999999999")
    with pytest.raises(ValueError, match="at most 100,000 runs, got 110,000"):
        Grid("ipd", range(1000), {"iterations": range(1, 111)})


def test_texts() -> None:
    given = [
        "temperature=8,26",
        "actor-lr=0.01",
        "--actor_hidden=4",
        "payoff=-1,-3,0,-2",
        "payoff=3,0,5,1",
    ]
    assert settings_of("ipd", given) == {
        "softmax_temperature": ["8", "26"],
        "actor_lr": ["0.01"],
        "actor_hidden": ["4"],
        "payoff": ["-1,-3,0,-2", "3,0,5,1"],
    }
    assert settings_of("matrix", ["game=chicken,ipd"]) == {"stage_game": ["chicken", "ipd"]}


@pytest.mark.parametrize("text", ["temperature", "=3", "temperature="])
def test_no_setting(text: str) -> None:
    with pytest.raises(ValueError, match=r"^--set takes NAME=VALUE,VALUE,..., got "):
        settings_of("ipd", [text])


def test_every_combination_a_seed_at_a_time() -> None:
    grid = Grid(
        "ipd", [4, 2], {"softmax_temperature": [8, 26], "batch_size": [16], "actor": ["mlp", "gru"]}
    )
    assert grid.fields == ["softmax_temperature", "actor"]
    found = [(one.seed, one.softmax_temperature, one.actor, one.batch_size) for one in grid]
    expected = [(seed, float(temperature), actor, 16)
                for seed in (4, 2) for temperature in (8, 26) for actor in ("mlp", "gru")]  # fmt: skip
    assert found == expected
    assert len(named(list(grid))) == 8


def test_a_run_is_what_train_makes_of_the_options() -> None:
    """Also where a preset depends on an option."""
    (one,) = Grid("ipd", [3], {"actor": ["gru"], "algo": ["naive"]})
    assert one == IPDConfig.of_preset("default", seed=3, actor="gru", algo="naive")


@pytest.mark.parametrize(
    ("game", "settings", "said"),
    [
        ("ipd", {"batchsize": ["3"]}, "no field 'batchsize'; did you mean 'batch_size'?"),
        ("ipd", {"iterations": ["many"]}, "iterations must be int, got 'many'"),
        ("ipd", {"iterations": ["2.5"]}, "iterations must be int, got '2.5'"),
        ("ipd", {"shaping_weight": ["3", "x"]}, "shaping_weight must be float, got 'x'"),
        ("ipd", {"shared_reward": ["maybe"]}, "shared_reward must be bool, got 'maybe'"),
        ("ipd", {"actor": ["mpl"]}, "actor must be one of .*; did you mean 'mlp'?"),
        ("ipd", {"preset": ["papers"]}, "did you mean 'paper'?"),
        ("ipd", {"algo": ["lolo"]}, "did you mean 'lola'?"),
        ("ipd", {"out": ["x"]}, "no field 'out'"),
        ("ipd", {"seed": ["1"]}, "seeds are given by seeds"),
        ("ipd", {"payoff": ["1,2,3"]}, "payoff must be 4 numbers"),
        ("ipd", {"iterations": []}, "iterations must have one value or more"),
        ("coins", {}, "did you mean 'coin'?"),
        ("own", {}, "game must be one of"),
        ("nowhere:make", {}, "there is no module 'nowhere'"),
    ],
)  # fmt: skip
def test_refused(game: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        list(Grid(game, [0], settings))


def test_equal_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="two runs of the sweep are equal: ipd-loqa-seed0"):
        named(list(Grid("ipd", [0], {"softmax_temperature": ["8", "8.0"]})))
    with pytest.raises(ValueError, match="one run or more, got none"):
        named([])
