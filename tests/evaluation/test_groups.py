"""Seeds of one configuration together, everything else apart; intervals that mean something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import loqa
from loqa.agents.memory1 import discounted_value
from loqa.agents.player import Player
from loqa.cli.main import main
from loqa.evaluation.groups import distinct, group_names, grouped, named_apart
from loqa.evaluation.players import as_player
from loqa.training.trainer import make_agent


def player(name: str, iteration: int | None = 600, noise: float = 0.0, **fields: Any) -> Player:
    """An agent of a run; without training, so that seeds are told apart by `noise`."""
    agent = make_agent(loqa.IPDConfig.of_preset(fields.pop("preset", "default"), **fields))
    with torch.no_grad():
        agent.actor.logits[:, 0] += noise + fields.get("seed", 0)
    agent.iteration = iteration
    return as_player(agent, name)


def test_groups_are_configurations_less_the_seed() -> None:
    a, b = player("a", seed=0), player("b", seed=1, num_threads=2, log_every=3)
    assert group_names([a, b]) == ["loqa (loqa)"] * 2
    other = player("c", actor_lr=0.5)
    names = group_names([a, b, other])
    assert names[0] == names[1] == "loqa (loqa), actor_lr 0.02"
    assert names[2] == "loqa (loqa), actor_lr 0.5"
    for fields in (
        {"payoff": (0, -1, 1, -10)}, {"algo": "naive"}, {"shared_reward": True},
        {"episode_length": 9}, {"preset": "paper"},
    ):  # fmt: skip
        assert len(set(group_names([a, player("d", **fields)]))) == 2, fields
    assert [len(group) for group in grouped([a, other, b])] == [2, 1]


def test_iterations_and_repeated_seeds_are_not_seeds() -> None:
    whole, half = player("a"), player("b", iteration=300, noise=1)
    assert group_names([whole, half]) == [
        "loqa (loqa), iteration 600",
        "loqa (loqa), iteration 300",
    ]
    # A run that time ended is a seed like any other, unless it is the same one.
    timed = [player("a", 500, time_limit=9.0), player("b", 400, seed=1, time_limit=9.0)]
    assert group_names(timed) == ["loqa (loqa)"] * 2
    again = [player("a", 500, time_limit=9.0), player("b", 400, noise=1, time_limit=9.0)]
    assert len(set(group_names(again))) == 2
    # The same seed with other weights (made elsewhere) is no second seed.
    assert group_names([whole, player("twin", noise=1)]) == ["loqa (loqa)", "loqa (loqa), twin"]


def test_the_same_run_twice_is_one() -> None:
    a, same, b = player("a"), player("copy"), player("b", seed=1)
    assert distinct([a, same, b]) == [a, b]
    result = loqa.evaluate([a, same, b], "ad", episodes=4)
    assert [one.agent for one in result.seeds] == ["a", "b"]
    assert loqa.league([a, same, b], episodes=4).names == ("a", "b")
    with pytest.raises(ValueError, match=r"got 1 \(the same run twice is one\)"):
        loqa.league([a, same], episodes=4)
    # Under two names it is there twice, and counted once.
    league = loqa.league({"a": a, "copy": same, "b": b}, episodes=4)
    assert league.names == ("a", "copy", "b")
    assert [pair.pairs for pair in league.group_pairs] == [3]


def test_unlike_agents_are_not_averaged() -> None:
    with pytest.raises(ValueError, match=r"no seeds of one another.*actor_lr 0.02.*actor_lr 0.5"):
        loqa.evaluate([player("a"), player("b", actor_lr=0.5, seed=1)], "ad", episodes=4)
    with pytest.raises(ValueError, match="no seeds of one another"):
        loqa.evaluate(["ac", "ad"], "tft", game="ipd", episodes=4)
    with pytest.raises(ValueError, match="no seeds of one another"):
        loqa.evaluate([player("a"), "ad"], "tft", episodes=4)


def test_the_league_keeps_unlike_runs_apart() -> None:
    agents = [player("a"), player("b", seed=1), player("c", seed=2, algo="naive")]
    league = loqa.league(agents, episodes=20)
    assert league.groups == ("loqa (loqa)", "loqa (loqa)", "naive (loqa)")
    assert [(one.pairs, one.interval) for one in league.group_pairs] == [
        (3, "agents"),
        (2, "agents"),
        (1, "episodes"),
    ]


def test_one_agent_on_each_side_has_an_interval_over_episodes() -> None:
    """Against the spread of an independent repetition, and in all that is written."""
    mixed = [0.8, 0.9, 0.2, 0.7, 0.1]
    league = loqa.league({"mixed": mixed, "ad": "ad"}, episodes=400, game="ipd")
    pair = {(one.first, one.second): one for one in league.group_pairs}[
        "0.8,0.9,0.2,0.7,0.1", "always-defect"
    ]
    assert pair.interval == "episodes"
    mine = pair.reward[0]
    exact = discounted_value(mixed, [0.0] * 5, 1, steps=50)[0] / 50
    assert mine.standard_error > 1e-4
    assert abs(mine.mean - exact) < 4 * mine.standard_error
    assert (mine.high - mine.low) / 2 == pytest.approx(1.96 * mine.standard_error, rel=1e-3)
    assert rf"\pm {(mine.high - mine.low) / 2:.3f}^{{*}}$" in league.to_latex()
    assert "* one agent on each side: over episodes" in league.to_latex()
    other = pair.reward[1]
    assert other.mean == pytest.approx(-2 + 2 * (mine.mean + 2) * -1, abs=1e-6)


def test_names_say_which_folder() -> None:
    from dataclasses import replace

    a, b, c = (replace(player("run"), source=f"/x/{folder}/run") for folder in ("1", "2", "2"))
    assert [one.name for one in named_apart([a, b])] == ["1/run", "2/run"]
    assert [one.name for one in named_apart([b, c])] == ["run", "run (2)"]
    assert [one.name for one in named_apart([as_player("ac"), as_player("ac")])] == [
        "always-cooperate",
        "always-cooperate (2)",
    ]


def test_command_eval_groups_runs(tmp_path: Path, capsys) -> None:
    for name, fields in {
        "a0": {}, "a1": {"seed": 1}, "other": {"seed": 2, "actor_lr": 0.5},
    }.items():  # fmt: skip
        config = loqa.IPDConfig.of_preset("default", iterations=1, batch_size=4, **fields)
        loqa.train(config, tmp_path / name)
    runs = [str(tmp_path / name) for name in ("a0", "other", "a1", "a0")]
    assert main(["eval", *runs, "--against", "ad", "--episodes", "4", "--json"]) == 0
    import json

    together, alone = json.loads(capsys.readouterr().out)
    assert [one["agent"] for one in together["seeds"]] == ["a0", "a1"]
    assert (alone["agent"], alone["seeds"]) == ("other", [])
    assert main(["eval", *runs, "--against", "ad", "--episodes", "4"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "loqa (loqa), actor_lr 0.02, 2 seeds" in text
    assert "other (loqa (loqa), actor_lr 0.5)" in text
    league = ["league", *runs, "--episodes", "4", "--out", str(tmp_path / "league")]
    assert main(league) == 0
    found = json.loads((tmp_path / "league" / "league.json").read_text())
    assert found["names"] == ["a0", "other", "a1"]
    assert len(set(found["groups"])) == 2
    np.testing.assert_equal(len(found["pairs"]), 6)
