"""What LOQA learns in public goods of several players, and that its worth is what play says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import loqa
from loqa import PublicGoodsConfig
from loqa.games.public_goods import answers, exact_game, outcome, state_names, worth

N_IPD = (-2.0, 1.0, -1.0)  # of three players: base, gain of each other's, own


def table_of(p_cooperate: list[float]) -> Tensor:
    """Of P(C) in the order of the observation `index`."""
    give = torch.tensor(p_cooperate, dtype=torch.float64)
    return torch.stack([1 - give, give], 1)


def test_names_are_of_the_observation() -> None:
    """Three players: who gave, beside one other who did."""
    env = loqa.make("n-ipd", num_players=3, obs="index")
    assert state_names(3) == ["start", "D0", "D1", "D2", "C0", "C1", "C2"]
    seen = env.step([[1, 1, 0]])[0][0].tolist()
    assert [state_names(3)[index] for index in seen] == ["C1", "C1", "D2"]
    assert list(answers(table_of([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))) == [
        "start", "C2", "C1", "C0", "D2", "D1", "D0"
    ]  # fmt: skip


@pytest.mark.parametrize("players", [2, 3, 4])
@pytest.mark.parametrize(
    ("rule", "learned"),
    [
        (lambda own, others, most: False, "defection"),
        (lambda own, others, most: others == most, "strict"),
        (lambda own, others, most: own and others == most, "grim"),
        (lambda own, others, most: others >= most - 1, "threshold"),
    ],
)
def test_kinds_by_hand(players: int, rule: Any, learned: str) -> None:
    """The start gives, but of who always defects."""
    most = players - 1
    p = [float(rule(True, most, most))]
    p += [float(rule(own, others, most)) for own in (False, True) for others in range(players)]
    game = exact_game(-2.0, 2 / most, -1.0, players, 0.96)
    found = worth(game, table_of(p))
    assert found["learned"] == learned
    if learned == "defection":
        assert found["lone_defector"] == pytest.approx(-2)
        assert found["best_response_gain"] == pytest.approx(0, abs=1e-9)


def test_worth_is_what_is_played() -> None:
    """A lone defector among copies of a random table, sampled."""
    draw = np.random.default_rng(0)
    p = draw.random(7)
    found = worth(exact_game(*N_IPD, 3, 0.96), table_of(p.tolist()))
    env = loqa.make("n-ipd", 20_000, num_players=3, obs="index")
    table = np.stack([1 - p, p], 1)
    never = np.tile([1.0, 0.0], (7, 1))
    paid = env.rollout_memory1([never, table, table], 50)[2][..., 0].mean(0)
    error = paid.std().item() / len(paid) ** 0.5
    assert found["lone_defector"] == pytest.approx(paid.mean().item(), abs=4 * error)


def test_worth_where_there_is_none() -> None:
    table = table_of([0.5] * 7)
    assert worth(exact_game(0.0, 0.1, -1.0, 3, 0.96), table) == {}  # giving is bad for all
    assert worth(exact_game(*N_IPD, 3, 0.96), table * float("nan")) == {}


def test_loqa_learns_strict_conditional_cooperation(tmp_path: Path) -> None:
    """Three players, the default; nobody gains by leaving, and a lone defector is left alone."""
    config = PublicGoodsConfig.of_preset("default", seed=5, evaluation_episodes=16)
    summary = loqa.train(config, tmp_path / "run")
    assert summary["p_cooperate"]["start"] > 0.9
    assert summary["p_cooperate"]["C2"] > 0.9
    assert summary["p_cooperate"]["C0"] < 0.2
    assert summary["p_cooperate"]["D0"] < 0.2
    assert summary["self_play"] == pytest.approx([-1.0] * 3, abs=0.1)
    assert summary["lone_defector"] < -1.8
    assert summary["best_response_gain"] < 0.1
    said = outcome(summary)
    assert "C2 1.00" in said
    assert "strict conditional cooperation" in said
    pytest.importorskip("matplotlib")
    from loqa.plotting.plot import plot_run

    plot_run(tmp_path / "run")
    assert (tmp_path / "run" / "figures" / "answers.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "fields",
    [
        {"meets": "past", "opponents": 4, "replay_every": 2},
        {"meets": "fixed", "fixed": ("grim", "always-defect")},
        {"meets": "learners", "algo": "naive"},
        {"actor": "mlp", "actor_table": True},
        {"actor": "gru"},
        {"obs": "joint"},
        {"num_levels": 3},
        {"factor": 1.5, "payoffs": "public-goods"},
    ],
    ids=lambda fields: ",".join(f"{name}={value}" for name, value in fields.items()),
)
def test_runs_of_every_kind(tmp_path: Path, fields: dict[str, Any]) -> None:
    small = {"iterations": 6, "batch_size": 16, "evaluation_episodes": 8, "critic_warmup": 0}
    config = PublicGoodsConfig.of_preset("default", **{**small, **fields})
    summary = loqa.train(config, tmp_path / "run")
    assert len(summary["self_play"]) == 3
    by_table = "obs" not in fields and "num_levels" not in fields and fields.get("actor") != "gru"
    assert ("p_cooperate" in summary) == by_table
    assert ("p_cooperate_2" in summary) == (fields.get("meets") == "learners")
    assert ("learned" in summary) == (by_table and fields.get("meets") != "learners")


def test_fixed_players_are_of_the_game() -> None:
    with pytest.raises(ValueError, match=r"fixed must be one of .*grim.* no run or checkpoint"):
        loqa.train(
            PublicGoodsConfig.of_preset(
                "default", meets="fixed", fixed=("tit-for-tat",), iterations=1
            )
        )
