"""Evaluation: exact values, both seats, the numbers of the literature."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_published import head_arrays, pola_arrays, reference_agents

import loqa
from loqa.agents.actor_critic import build_agent
from loqa.agents.memory1 import discounted_value
from loqa.agents.player import MachinePolicy
from loqa.agents.strategies import NAMED, memory1_machine
from loqa.envs.coin_game.presets import COIN_PRESETS
from loqa.evaluation.evaluate import Estimate, to_csv
from loqa.evaluation.players import as_player, expand
from loqa.evaluation.tournament import tournament


def close(estimate: Estimate, value: float, errors: float = 4) -> bool:
    return abs(estimate.mean - value) <= errors * estimate.standard_error + 1e-9


@pytest.mark.parametrize("form", ["memory-1", "machine"])
def test_exact_values_of_the_prisoners_dilemma(form: str) -> None:
    """Native rollouts and the step-wise loop against linear algebra, in both seats."""
    p, q = [0.8, 0.9, 0.2, 0.7, 0.1], [0.5, 0.6, 0.3, 0.9, 0.4]
    given = p if form == "memory-1" else MachinePolicy(memory1_machine("p", p))
    result = loqa.evaluate(given, q, episodes=4096, game="ipd", seed=2)
    mean = discounted_value(p, q, 1, steps=50) / 50
    total = discounted_value(p, q, 0.96, steps=50)
    for score in (result.total, *result.seats):
        for who in (0, 1):
            assert close(score.reward[who], mean[who])
            assert close(score.discounted_return[who], total[who])
    assert result.total.episodes == 8192
    assert 0 < result.total.statistics["cooperation"][0] < 1


def test_machines_follow_the_tournament() -> None:
    names = ["predator", "tit-for-2-tats", "soft-grudger", "resurrection"]
    table = tournament(names, 50, 1, payoff=(-1, -3, 0, -2)).payoffs
    for i, first in enumerate(names):
        for j, second in enumerate(names):
            result = loqa.evaluate(first, second, episodes=2)
            assert result.total.reward[0].mean == pytest.approx(table[i, j])
            assert result.total.reward[0].standard_error < 1e-9


def test_stops_at_the_standard_error() -> None:
    loose = loqa.evaluate("random", "random", game="ipd", standard_error=0.005)
    tight = loqa.evaluate("random", "random", game="ipd", standard_error=0.0015)
    assert max(one.standard_error for one in tight.total.reward) <= 0.0015
    assert tight.total.episodes > loose.total.episodes
    capped = loqa.evaluate("random", "random", game="ipd", standard_error=0, max_episodes=300)
    assert [score.episodes for score in capped.seats] == [300, 300]


def test_coin_game_oracles() -> None:
    """Mean rewards per step of the published code's scripted players, 3 x 3.

    Recorded to three digits over a few hundred episodes, in which random play has a standard error
    of 0.005 (0.08 an episode); three of those.
    """
    oracles = {
        ("ac", "ac"): ((0.347, 0.349), (0.347, 0.349)),
        ("ac", "ad"): ((-0.269, -0.265), (0.631, 0.636)),
        ("ad", "ad"): ((0, 0), (0, 0)),
        ("ad", "random"): ((0.526, 0.526), (-0.534, -0.534)),
        ("ac", "random"): ((0.053, 0.053), (0.106, 0.106)),
    }
    for (first, second), bounds in oracles.items():
        result = loqa.evaluate(first, second, episodes=2048, statistics=False)
        assert result.game == "coin_game"
        for estimate, (low, high) in zip(result.total.reward, bounds, strict=True):
            assert low - 0.015 < estimate.mean < high + 0.015


@pytest.mark.parametrize("preset", COIN_PRESETS)
def test_pickups_account_for_the_rewards_of_every_preset(preset: str) -> None:
    """r_i = coins taken by i - 2 (coins of i taken by the other), whatever the planes look like."""
    result = loqa.evaluate("random", "ad", episodes=64, preset=preset, height=3, width=4)
    for score in (result.total, *result.seats):
        taken, foreign = (score.statistics[name] for name in ("any_pickups", "other_pickups"))
        for who in (0, 1):
            expected = taken[who] - 2 * foreign[1 - who]
            assert score.reward[who].mean == pytest.approx(expected, abs=1e-6)
        assert taken[1] > taken[0] > 0.01


@pytest.mark.parametrize("preset", COIN_PRESETS)
def test_statistics_do_not_depend_on_the_view(preset: str) -> None:
    seen = [
        loqa.evaluate("random", "ad", episodes=64, preset=preset, egocentric=egocentric)
        for egocentric in (False, True)
    ]
    assert seen[0].total.statistics == seen[1].total.statistics
    assert seen[0].total.reward == seen[1].total.reward


def test_scripted_against_network_equals_native_rollout_of_both() -> None:
    """A network that plays at random is the scripted random player, within its interval."""
    agent = build_agent("gru", "gru", 36, 4, actor_hidden=8, critic_hidden=8)
    torch.nn.init.zeros_(agent.actor.linear_end.weight)
    one = loqa.evaluate(agent, "ad", episodes=1024)
    two = loqa.evaluate("random", "ad", episodes=1024)
    for mine, others in zip(one.total.reward, two.total.reward, strict=True):
        assert abs(mine.mean - others.mean) < 4 * (mine.standard_error + others.standard_error)
    for name, pair in one.total.statistics.items():
        np.testing.assert_allclose(pair, two.total.statistics[name], atol=0.02)


def test_same_numbers_again_and_other_seeds_differ() -> None:
    agent = build_agent("gru", "gru", 36, 4, actor_hidden=8, critic_hidden=8)
    runs = [loqa.evaluate(agent, "ad", episodes=64, num_threads=n, seed=s)
            for n, s in ((1, 0), (2, 0), (1, 1))]  # fmt: skip
    assert runs[0] == runs[1]
    assert runs[0].total.reward != runs[2].total.reward


def test_self_play_seats_are_independent() -> None:
    result = loqa.evaluate("random", "random", game="ipd", episodes=512)
    assert result.seats[0].reward[0].mean != result.seats[1].reward[1].mean


def test_several_seeds_are_bootstrapped() -> None:
    agents = [[p] * 5 for p in (0.1, 0.5, 0.9)]
    result = loqa.evaluate(agents, "ac", game="ipd", episodes=300)
    means = [one.total.reward[0].mean for one in result.seeds]
    assert result.total.reward[0].mean == pytest.approx(np.mean(means))
    assert min(means) - 1e-9 <= result.total.reward[0].low < result.total.reward[0].high
    assert result.total.reward[0].high <= max(means) + 1e-9
    assert result.total.reward[0].standard_error > result.seeds[0].total.reward[0].standard_error


def test_json_and_csv() -> None:
    results = [loqa.evaluate("tft", name, episodes=8, game="ipd") for name in ("ad", "random")]
    json.dumps([result.to_dict() for result in results], allow_nan=False)
    lines = list(csv.DictReader(io.StringIO(to_csv(results))))
    assert [line["seat"] for line in lines] == ["both", "0", "1"] * 2
    assert float(lines[0]["agent_reward_mean"]) == pytest.approx(-2.02)
    assert float(lines[0]["agent_cooperation"]) == pytest.approx(0.02)


def test_checkpoints_and_run_directories(tmp_path: Path) -> None:
    config = loqa.IPDConfig.of_preset("default", iterations=3, batch_size=8)
    loqa.train(config, tmp_path / "run")
    by_run = as_player(str(tmp_path / "run"))
    by_file = as_player(next((tmp_path / "run" / "checkpoints").iterdir()))
    assert by_run.digest == by_file.digest
    assert (by_run.name, by_run.games) == ("run", ("ipd",))
    result = loqa.evaluate(tmp_path / "run", "tft", episodes=16)
    assert -3 <= result.total.reward[0].mean <= 0
    np.savez(tmp_path / "pola.npz", **pola_arrays())
    assert expand([tmp_path]) == [tmp_path / "pola.npz", tmp_path / "run"]


@pytest.mark.parametrize(
    ("fields", "payoff"),
    [
        ({"stage_game": "chicken"}, [[[0, -1], [1, -100]]] * 2),
        (
            {"payoff": (1, 2, 3, 4, 4, 3, 2, 1), "meets": "learners"},
            [[[1, 2], [3, 4]], [[4, 3], [2, 1]]],
        ),
        ({"payoff": tuple(range(9))}, [[[0, 1, 2], [3, 4, 5], [6, 7, 8]]] * 2),
    ],
    ids=["stage game", "asymmetric", "three actions"],
)
def test_a_run_plays_the_game_that_it_learned(
    fields: dict[str, Any], payoff: Any, tmp_path: Path
) -> None:
    small = {"iterations": 1, "batch_size": 4, "episode_length": 3}
    loqa.train(loqa.MatrixConfig.of_preset(**small, **fields), tmp_path / "run")
    result = loqa.evaluate(tmp_path / "run", tmp_path / "run", episodes=2)
    assert result.rules["payoff"] == payoff
    least, most = np.min(payoff), np.max(payoff)
    assert all(least <= one.mean <= most for one in result.total.reward)


def test_wrong_players(tmp_path: Path) -> None:
    np.savez(tmp_path / "pola.npz", **pola_arrays())
    wide = head_arrays("", 64, 4, 1)
    np.savez(tmp_path / "wide.npz", **wide, meta=np.array(json.dumps({"grid": [4, 4]})))
    pola = tmp_path / "pola.npz"
    with pytest.raises(ValueError, match="no game in common"):
        loqa.evaluate(pola, "tft")
    with pytest.raises(ValueError, match="pola plays coin_game, not ipd"):
        loqa.evaluate(pola, "ad", game="ipd")
    with pytest.raises(ValueError, match="different boards"):
        loqa.evaluate(pola, tmp_path / "wide.npz")
    with pytest.raises(ValueError, match="wide is for a board of 4 x 4, got 3 x 4"):
        loqa.evaluate(tmp_path / "wide.npz", "ad", height=3)
    with pytest.raises(ValueError, match="pola plays by the rules of loqa24, not pola22"):
        loqa.evaluate(pola, "ad", preset="pola22")
    with pytest.raises(ValueError, match="did you mean 'random'"):
        loqa.evaluate("randon", "tft")
    with pytest.raises(ValueError, match=r"0.5,0.5 must be"):
        loqa.evaluate("0.5,0.5", "tft")
    with pytest.raises(TypeError, match="a player must be"):
        loqa.evaluate(3, "tft")
    with pytest.raises(ValueError, match="empty list"):
        loqa.evaluate([], "tft")
    with pytest.raises(ValueError, match="episodes"):
        loqa.evaluate("ac", "tft", episodes=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no run directories"):
        expand([tmp_path / "empty"])
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        as_player(tmp_path / "empty")


def test_every_named_strategy_is_a_player() -> None:
    assert all(as_player(name).machine is NAMED[name] for name in NAMED)


def test_five_probabilities_of_any_kind() -> None:
    names = {
        as_player(given).name
        for given in (
            [0.9, 1, 0, 1, 0], np.array([0.9, 1, 0, 1, 0], np.float32), torch.tensor([0.9, 1, 0, 1, 0]),
        )
    }  # fmt: skip
    assert names == {"0.9,1,0,1,0"}
    with pytest.raises(TypeError, match="a player must be"):
        as_player(np.zeros((2, 5)))


# self play (seat 0, seat 1), against AD (agent, AD), against AC (agent, AC): published environment,
# 256 episodes, standard error of an entry about 0.0055.
RECORDED = {
    "loqa_1": (0.3266, 0.3252, -0.0533, 0.1323, 0.3480, 0.3328),
    "loqa_2": (0.3325, 0.3313, -0.0382, 0.0858, 0.3508, 0.3345),
    "loqa_3": (0.3247, 0.3222, -0.0379, 0.0734, 0.3485, 0.3321),
    "loqa_4": (0.3380, 0.3402, -0.1331, 0.3058, 0.3516, 0.3348),
    "loqa_5": (0.2859, 0.2780, -0.0770, 0.1687, 0.3623, 0.3045),
    "pola_1": (0.0122, 0.0110, -0.0016, 0.0058, 0.3768, 0.2900),
    "pola_2": (-0.0004, 0.0020, -0.0037, 0.0050, 0.4296, 0.1741),
    "pola_3": (0.0027, -0.0007, 0.0029, 0.0003, 0.3936, 0.2494),
    "pola_4": (0.3381, 0.3387, -0.0492, 0.1109, 0.3532, 0.3309),
    "pola_5": (0.1400, 0.1402, -0.0349, 0.0807, 0.3840, 0.2712),
}


@pytest.mark.parametrize("name", RECORDED)
def test_published_entries(name: str) -> None:
    """Each within three standard errors, and the two seats agree within their intervals."""
    path = reference_agents() / f"{name}.npz"
    found = []
    for opponent in (path, "ad", "ac"):
        result = loqa.evaluate(path, opponent, episodes=512, statistics=False)
        found += [one.mean for one in result.total.reward]
        for who in (0, 1):
            first, second = (seat.reward[who] for seat in result.seats)
            error = np.hypot(first.standard_error, second.standard_error)
            assert abs(first.mean - second.mean) < 4 * error
    np.testing.assert_allclose(found, RECORDED[name], rtol=0, atol=3 * 0.0055)


def test_three_players() -> None:
    """The agent in each seat once, its opponent in all others."""
    result = loqa.evaluate("ad", "ac", num_players=3, episodes=400, seed=4)
    assert [score.seat for score in result.seats] == [0, 1, 2]
    assert (result.total.episodes, result.rules["num_players"]) == (1200, 3)
    names = ["always-cooperate"] * 3
    for seat, score in enumerate(result.seats):
        env = loqa.make("coin_game", 2000, num_players=3, seed=9)
        seated = [*names[:seat], "always-defect", *names[seat + 1 :]]
        _, _, rewards = env.rollout_scripted(seated, env.episode_length)
        paid = rewards.double().mean(0)
        mine, others = paid[:, seat], paid[:, [one for one in range(3) if one != seat]].mean(1)
        for estimate, direct in zip(score.reward, (mine, others), strict=True):
            error = float(direct.std()) / 2000**0.5
            assert abs(estimate.mean - float(direct.mean())) < 4 * (estimate.standard_error + error)
    assert result == loqa.evaluate("ad", "ac", num_players=3, episodes=400, seed=4, num_threads=1)
    with pytest.raises(ValueError, match="is for 2 players, got 3"):
        loqa.evaluate("loqa-coin-3x3", "ad", num_players=3)


@pytest.mark.parametrize("preset", ["loqa24", "lola18"])
def test_statistics_of_three_players_add_up(preset: str) -> None:
    """Who takes a coin earns 1, its owner loses 2 if it was another; once only if two others took it at
    once, which lola18 rules out. There all players are shown the same planes."""
    total = loqa.evaluate("ad", "random", preset=preset, num_players=3, episodes=64).total

    def of_all(name: str) -> float:
        mine, others = total.statistics[name]
        return mine + 2 * others

    paid = of_all("any_pickups") - 2 * of_all("other_pickups")
    assert of_all("any_pickups") == pytest.approx(of_all("own_pickups") + of_all("other_pickups"))
    if preset == "lola18":
        assert paid == pytest.approx(of_all("mean_rewards"))
    else:
        assert paid < of_all("mean_rewards")
    earned = total.reward[0].mean + 2 * total.reward[1].mean
    assert earned == pytest.approx(of_all("mean_rewards"))
