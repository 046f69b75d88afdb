"""Trained best responses against exact ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from coin_dp import CoinModel
from test_mcts import network, with_memory

import loqa
from loqa.agents.memory1 import best_response
from loqa.evaluation.best_response import ResponseSettings, train_best_response
from loqa.evaluation.exploit import exploit
from loqa.evaluation.players import as_player

QUICK = ResponseSettings(iterations=40, batch_size=64, hidden=16, minibatches=4)


@pytest.mark.parametrize("opponent", ["tft", "always-cooperate", "0.9,0.8,0.4,0.1,0.3"])
def test_equals_the_exact_response_in_the_prisoners_dilemma(opponent: str) -> None:
    """As much as the exact best response of the infinite game earns in 20 steps, or more: near the end
    there is more to gain than it knows."""
    game = {"game": "ipd", "episode_length": 20}
    trained = train_best_response(opponent, training=QUICK, **game)
    machine = as_player(opponent).machine
    assert machine is not None
    exact = best_response(machine.cooperate, 0.99).strategy.tolist()
    mine, best, chance = (
        loqa.evaluate(player, opponent, episodes=500, **game).total.reward[0]
        for player in (trained, exact, "random")
    )
    assert mine.mean > best.mean - 0.03 - 4 * np.hypot(mine.standard_error, best.standard_error)
    assert best.mean > chance.mean + 0.2  # where a learner that learns nothing would stay


def test_nearly_the_optimum_on_a_small_coin_board() -> None:
    """Against a network without memory, whose best response is known exactly, in both seats."""
    model = CoinModel(2, 2)
    opponent, table = network(model, 3)
    exact = float(model.start() @ model.best_values(lambda t: table, 10)[0].max(1)) / 10
    board = {"height": 2, "width": 2, "episode_length": 10}
    training = ResponseSettings(iterations=80, batch_size=64, hidden=32, network="mlp")
    trained = train_best_response(opponent, training=training, **board)
    assert trained.games == ("coin_game",)
    assert trained.grid == (2, 2)
    result = loqa.evaluate(trained, opponent, episodes=500, **board)
    chance = loqa.evaluate("random", opponent, episodes=500, **board).total.reward[0]
    for score in (result.total, *result.seats):
        mine = score.reward[0]
        assert mine.mean < exact + 4 * mine.standard_error
        assert mine.mean > exact - 0.15 * (exact - chance.mean)


def test_a_response_remembers_where_it_must() -> None:
    """Against a player that alternates between two habits, seen alike: memory earns more."""
    # On one row: always to the left, or (up is nowhere) never moving.
    opponent = with_memory([1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0])
    board = {"height": 1, "width": 3, "episode_length": 12}
    earned = {}
    for name in ("mlp", "gru"):
        training = ResponseSettings(iterations=40, batch_size=64, hidden=16, minibatches=4,
                                    learning_rate=5e-3, network=name)  # fmt: skip
        response = train_best_response(opponent, training=training, **board)
        earned[name] = loqa.evaluate(response, opponent, episodes=500, **board).total.reward[0]
    error = np.hypot(*(one.standard_error for one in earned.values()))
    assert earned["gru"].mean > earned["mlp"].mean + 3 * error


def test_the_same_again_and_another_seed_differs() -> None:
    training = ResponseSettings(iterations=2, batch_size=8)
    reports: list[dict] = []
    weights = [
        train_best_response("ac", seed=seed, training=training, report=reports.append)
        .policy.actor.linear1.weight
        for seed in (0, 0, 1)
    ]  # fmt: skip
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert [line["iteration"] for line in reports] == [1, 2] * 3


def test_exploitability_of_an_equilibrium_is_nothing() -> None:
    """Always-defect is a best response to itself: nothing is gained by leaving it."""
    longer = replace(QUICK, iterations=80)
    found = exploit("ad", game="ipd", training=longer, episode_length=20)
    assert found.response.total.reward[0].mean == pytest.approx(-2, abs=0.02)
    assert abs(found.exploitability.mean) < 0.02
    gained = exploit("ac", game="ipd", training=longer, episode_length=20).exploitability
    assert gained.mean == pytest.approx(1, abs=0.05)  # defects: 0 instead of -1


def test_wrong_input() -> None:
    with pytest.raises(
        ValueError, match=r"network must be one of mlp, gru, got 'gruu'; did you mean"
    ):
        ResponseSettings(network="gruu")
    with pytest.raises(ValueError, match="batch_size"):
        ResponseSettings(batch_size=0)
    with pytest.raises(ValueError, match=r"tit-for-tat plays ipd or .*, not coin_game"):
        train_best_response("tft", game="coin_game")
    with pytest.raises(ValueError, match="method must be one of trained, mcts"):
        exploit("ac", "guess")
    with pytest.raises(ValueError, match="loqa24 only"):
        exploit("ac", "mcts", preset="pola22")
