"""Every part of a run in every game: whom the agent meets, networks, schedules, evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import loqa
from loqa.training.config import GAMES
from loqa.training.trainer import Trainer

SMALL: dict[str, Any] = {
    "iterations": 3, "batch_size": 32, "episode_length": 6, "opponents": 4, "replay_every": 1,
    "evaluate_every": 2, "evaluation_episodes": 8, "actor_hidden": 6, "critic_hidden": 5,
    "log_every": 1, "anneal": 2, "anneal_after": 1,
}  # fmt: skip
PARTS: list[tuple[str, dict[str, Any]]] = [
    *(
        (game, {"meets": meets, "actor": actor, "critic": critic})
        for game in ("ipd", "matrix", "coin")
        for meets in ("self", "past", "learners")
        for actor, critic in (("mlp", "gru"), ("gru", "mlp"), ("gru", "gru"))
    ),
    ("ipd", {"meets": "past"}),
    ("ipd", {"meets": "fixed", "fixed": ("tit-for-tat",), "actor": "gru"}),
    ("matrix", {"stage_game": "matching-pennies"}),
    ("matrix", {"payoff": tuple(range(9)), "meets": "past"}),
    ("coin", {"meets": "fixed", "fixed": ("always-defect",)}),
    ("coin", {"meets": "fixed", "fixed": ("loqa-coin-5x5",), "height": 5, "width": 5}),
    ("coin", {"rules": "mfos22"}),
    ("coin", {"rules": "mfos22", "meets": "self", "egocentric": False}),
    ("coin", {"num_players": 3}),
    ("coin", {"num_players": 3, "meets": "fixed", "fixed": ("always-defect", "always-cooperate")}),
    ("coin", {"height": 5, "width": 5, "meets": "self"}),
    ("coin", {"height": 5, "width": 5, "actor": "mlp", "critic": "mlp"}),
]


@pytest.mark.parametrize(("game", "fields"), PARTS)
def test_it_trains_and_goes_on(game: str, fields: dict[str, Any], tmp_path: Path) -> None:
    """Three iterations in one go and in two: the same bits."""
    config = GAMES[game].of_preset("default", **{**SMALL, **fields})
    whole = loqa.train(config, tmp_path / "whole")
    loqa.train(config.replace(iterations=1), tmp_path / "parts")
    parts = loqa.resume(tmp_path / "parts", iterations=3)
    assert len(whole["self_play"]) == getattr(config, "num_players", 2)
    one, two = (loqa.load_agent(each["out"]).state_dict() for each in (whole, parts))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_past_agents_act_as_the_agent_did() -> None:
    """The pool's first agent is the untrained one; a copy of it answers alike, whatever its heads are."""
    for actor in ("logits", "mlp", "gru"):
        trainer = Trainer(loqa.IPDConfig.of_preset(**{**SMALL, "meets": "past", "actor": actor}))
        with torch.no_grad():
            for parameter in trainer.agent.parameters():
                parameter.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
        trainer.opponents.pool._rows[0] = torch.cat(
            [parameter.detach().flatten() for parameter in trainer.agent.parameters()]
        ).half()
        (past,) = trainer.opponents.seats(1)
        obs = torch.randint(0, 5, (4, 32), dtype=torch.int8)
        state, kept = past.initial_state(32), trainer.agent.initial_state(32)
        for seen in obs:
            said, state = past.step(seen, state)
            wanted, kept = trainer.agent.step(seen, kept)
            torch.testing.assert_close(said, wanted, rtol=0, atol=5e-3)  # half precision


def test_a_run_meets_an_earlier_one(tmp_path: Path) -> None:
    first = loqa.train(loqa.IPDConfig.of_preset(**SMALL), tmp_path / "first")
    config = loqa.IPDConfig.of_preset(**SMALL, meets="fixed", fixed=(first["out"],))
    assert loqa.train(config, tmp_path / "second")["iterations"] == 3


def test_a_run_does_not_meet_one_that_saw_something_else(tmp_path: Path) -> None:
    first = loqa.train(loqa.CoinConfig.of_preset(**SMALL), tmp_path / "first")
    fixed = {**SMALL, "meets": "fixed", "fixed": (first["out"],)}
    assert Trainer(loqa.CoinConfig.of_preset(**fixed)).iteration == 0
    with pytest.raises(ValueError, match=r"view egocentric \(here absolute\)"):
        Trainer(loqa.CoinConfig.of_preset(**fixed, egocentric=False))
    with pytest.raises(ValueError, match=r"num_features 36 \(here 48\)"):
        Trainer(loqa.CoinConfig.of_preset(**fixed, height=4))


def test_agents_play_by_the_rules_that_they_learned(tmp_path: Path) -> None:
    by_rules = {rules: loqa.train(loqa.CoinConfig.of_preset(**SMALL, rules=rules), tmp_path / rules)
                for rules in ("mfos22", "loqa24")}  # fmt: skip
    one, other = by_rules["mfos22"]["out"], by_rules["loqa24"]["out"]
    assert "seconds_to_threshold" not in by_rules["mfos22"]  # none is known of its rules
    result = loqa.evaluate(one, "always-defect", episodes=8)
    assert (result.preset, result.episode_length) == ("mfos22", 6)
    with pytest.raises(ValueError, match="plays by the rules of"):
        loqa.evaluate(one, other, episodes=8)
    with pytest.raises(ValueError, match="num_players by rules mfos22 must be"):
        loqa.CoinConfig(rules="mfos22", num_players=3)


def test_players_that_are_not_there() -> None:
    for kind, name, message in (
        (loqa.IPDConfig, "tit-for-tit", "did you mean 'tit-for-tat'"),
        (loqa.CoinConfig, "tit-for-tat", "must be one of"),
    ):
        config = kind.of_preset(**{**SMALL, "meets": "fixed", "fixed": (name,)})
        with pytest.raises(ValueError, match=message):
            Trainer(config)
    with pytest.raises(ValueError, match="fixed must name 2 players"):
        Trainer(
            loqa.CoinConfig.of_preset(**SMALL, num_players=3, meets="fixed", fixed=("random",) * 3)
        )
    with pytest.raises(ValueError, match="meets fixed needs the players"):
        loqa.IPDConfig(meets="fixed")
    with pytest.raises(ValueError, match="an agent a seat learns"):
        loqa.MatrixConfig(stage_game="matching-pennies", meets="past")


def test_all_that_learn_follow_the_schedule_and_stay_finite() -> None:
    config = loqa.CoinConfig.of_preset(
        **{
            **SMALL,
            "meets": "learners",
            "actor_lr": 1e-3,
            "actor_lr_final": 5e-4,
            "anneal": 2,
            "anneal_once": "at_once",
        }
    )
    trainer = Trainer(config)
    for _ in range(3):
        trainer.iterate()
        groups = [one.learner.actor_optimizer.param_groups[0]["lr"]
                  for one in (trainer.algorithm, *trainer.opponents.algorithms)]  # fmt: skip
        assert len(groups) == 2
        assert groups[0] == groups[1]
    assert groups[0] == pytest.approx(5e-4)
    (other,) = trainer.opponents.algorithms
    next(other.agent.critic.parameters()).data.fill_(float("nan"))
    trainer.algorithm.learner.set_rates(shaping_weight=0.0)  # else it reads that critic
    with pytest.raises(FloatingPointError, match="of player 1 is nan at iteration 4"):
        trainer.iterate()
