"""Matches play the game that the players were made for, or refuse."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import loqa
from loqa.agents.actor_critic import Agent
from loqa.agents.memory1 import discounted_value, long_run_value
from loqa.cli.main import main
from loqa.envs.matrix_game.presets import MATRIX_PRESETS
from loqa.envs.matrix_game.scripted import memory1
from loqa.evaluation.best_response import ResponseSettings, train_best_response
from loqa.evaluation.exploit import exploit
from loqa.evaluation.match_settings import settings_of
from loqa.evaluation.mcts import SearchSettings, mcts_best_response
from loqa.evaluation.players import as_player
from loqa.evaluation.tournament import tournament
from loqa.training.trainer import make_agent as coin_agent
from loqa.training.trainer import make_agent as ipd_agent

OWN = (0.0, -1.0, 1.0, -10.0)
QUICK = ResponseSettings(iterations=30, batch_size=32, hidden=16, minibatches=4, learning_rate=1e-2)


def ipd(p: float = 0.5, **fields: Any) -> Agent:
    """An agent of a run that cooperates with probability p, whatever happened."""
    agent = ipd_agent(loqa.IPDConfig.of_preset("default", **fields))
    with torch.no_grad():
        agent.actor.logits[:, 0] = torch.tensor([p / (1 - p)]).log()
    return agent


def coin(**fields: Any) -> Agent:
    small = {"actor_hidden": 4, "critic_hidden": 4, **fields}
    return coin_agent(loqa.CoinConfig.of_preset("default", **small))


def test_payoff_of_the_run() -> None:
    """Cooperates (nearly) always: 0 in self-play, -1 against always-defect."""
    agent = ipd(1 - 1e-7, payoff=OWN)
    assert loqa.evaluate(agent, agent, episodes=8).total.reward[0].mean == pytest.approx(0)
    assert loqa.evaluate(agent, "ad", episodes=8).total.reward[0].mean == pytest.approx(-1)
    assert loqa.evaluate("ad", agent, episodes=8).total.reward[0].mean == pytest.approx(1)
    table = loqa.league({"run": agent, "ad": "ad"}, episodes=8).matrix
    np.testing.assert_allclose(table, [[0, -1], [1, -10]])
    given = loqa.evaluate(agent, "ad", episodes=8, payoff=(4, 3, 2, 1))
    assert given.total.reward[0].mean == pytest.approx(3)
    # A preset stands for its whole game.
    theirs = loqa.evaluate(agent, "ad", episodes=8, preset="axelrod")
    assert theirs.total.reward[0].mean == pytest.approx(0)
    assert theirs.episode_length == 200


def test_lengths_boards_and_discounts_of_the_run() -> None:
    short = ipd(episode_length=16, gamma=0.5)
    result = loqa.evaluate("tft", short, episodes=8)
    assert (result.episode_length, result.rules["discount"]) == (16, 0.5)
    always = loqa.evaluate(short, "ac", episodes=4, payoff=(1, 1, 1, 1))
    assert always.total.discounted_return[0].mean == pytest.approx(2 - 2**-15)
    assert loqa.evaluate(short, "tft", episodes=4, episode_length=3).episode_length == 3
    assert loqa.evaluate(short, "tft", episodes=4, discount=0.9).rules["discount"] == 0.9
    # The agent's own comes before its opponent's.
    assert loqa.evaluate(short, ipd(episode_length=16), episodes=4).rules["discount"] == 0.5
    wide = coin(height=2, width=5, episode_length=7, gamma=0.25)
    result = loqa.evaluate("ad", wide, episodes=4)
    assert (result.rules["height"], result.rules["width"]) == (2, 5)
    assert (result.episode_length, result.rules["discount"]) == (7, 0.25)
    with pytest.raises(ValueError, match="Agent is for a board of 2 x 5, got 3 x 3"):
        loqa.evaluate(wide, "ad", height=3, width=3)
    with pytest.raises(ValueError, match="plays by the rules of loqa24, not pola22"):
        loqa.evaluate(wide, "ad", preset="pola22")
    with pytest.raises(ValueError, match="egocentric"):
        loqa.evaluate(wide, "ad", egocentric=True)


@pytest.mark.parametrize("size", [(3, 3), (4, 5), (2, 7)])
def test_an_agent_that_sees_itself_in_the_middle_meets_any(size: tuple[int, int]) -> None:
    """The same answers where the board is shown as it is as where it is shown shifted."""
    board = dict(zip(("height", "width"), size, strict=True))
    agent = coin(egocentric=True, **board)
    policy = as_player(agent).policy
    assert policy is not None
    envs = [loqa.make("coin_game", 64, egocentric=shifted, **board) for shifted in (False, True)]
    states = [one.initial_state(64) for one in (policy, agent)]
    actions = torch.randint(4, (9, 64, 2), generator=torch.Generator().manual_seed(0))
    for now in actions.to(torch.uint8):
        obs = [env.step(now)[0][:, 0] for env in envs]
        (ours, states[0]), (own, states[1]) = (
            one.step(seen, state)
            for one, seen, state in zip((policy, agent), obs, states, strict=True)
        )
        torch.testing.assert_close(ours, own)
    absolute = coin(egocentric=False, **board)
    assert loqa.league({"a": agent, "b": absolute, "ad": "ad"}, episodes=4).matrix.shape == (3, 3)
    with pytest.raises(ValueError, match="was made for egocentric=False observations"):
        loqa.evaluate(agent, "ad", egocentric=True)
    later = copy.deepcopy(agent)
    later.iteration = 9
    assert as_player(later).digest == as_player(agent).digest


def test_players_of_unlike_games_are_refused_by_what_differs() -> None:
    agents = {"a": ipd(payoff=OWN), "b": ipd(episode_length=16)}
    with pytest.raises(ValueError, match=r"payoff 0,-1,1,-10 \(a\), -1,-3,0,-2 \(b\); "
                                         r"episode_length 50 \(a\), 16 \(b\)"):  # fmt: skip
        loqa.league(agents, episodes=4)
    with pytest.raises(ValueError, match="give payoff to say what is played"):
        loqa.league(agents, episodes=4, episode_length=9)
    played = loqa.league(agents, episodes=4, episode_length=9, payoff=OWN).settings
    assert played["episode_length"] == 9
    assert played["payoff"] == np.reshape([OWN, OWN], (2, 2, 2)).tolist()
    with pytest.raises(ValueError, match="different boards"):
        loqa.evaluate(coin(height=4), coin())
    with pytest.raises(ValueError, match="episode_length"):
        loqa.evaluate(coin(episode_length=9), coin())
    with pytest.raises(TypeError, match="no setting 'episode_lenght'; did you mean"):
        loqa.evaluate("ac", "ad", episode_lenght=4)


def test_a_run_directory_says_its_game(tmp_path: Path, capsys) -> None:
    config = loqa.IPDConfig.of_preset(
        "default", iterations=1, batch_size=4, payoff=OWN, episode_length=6
    )
    loqa.train(config, tmp_path / "run")
    for given in (tmp_path / "run", loqa.load_agent(tmp_path / "run")):
        result = loqa.evaluate(given, "ac", episodes=4)
        assert result.episode_length == 6
        assert result.rules["payoff"][0] == [[0, -1], [1, -10]]
    file = next((tmp_path / "run" / "checkpoints").iterdir())
    assert as_player(file).name == "run, iteration 1"
    for command in (
        ["eval", "--against", "ad", "--episodes", "4"],
        ["exploit", "--iterations", "1"],
    ):
        assert main([command[0], str(tmp_path / "run"), *command[1:]]) == 0
        assert "payoff 0,-1,1,-10, 6 steps" in " ".join(capsys.readouterr().out.split())
    said = ["eval", str(tmp_path / "run"), "--against", "ad", "--episodes", "4", "--payoff=4,3,2,1"]
    assert main(said) == 0
    assert "payoff 4,3,2,1, 6 steps" in " ".join(capsys.readouterr().out.split())


def test_watch_shows_the_agents_game(tmp_path: Path, capsys) -> None:
    config = loqa.CoinConfig.of_preset(
        "default", iterations=1, batch_size=4, opponents=2, height=2, width=4, episode_length=3,
        actor_hidden=4, critic_hidden=4, evaluation_episodes=2,
    )  # fmt: skip
    loqa.train(config, tmp_path / "run")
    assert main(["watch", str(tmp_path / "run"), "ad"]) == 0
    assert capsys.readouterr().out.count("t   ") == 4


def test_responses_are_to_the_players_game() -> None:
    """Against always-cooperate of a game that pays 1 for defecting once, in 6 steps."""
    opponent = ipd(1 - 1e-7, payoff=OWN, episode_length=6)
    found = exploit(opponent, training=QUICK)
    assert found.response.episode_length == 6
    assert found.response.total.reward[0].mean == pytest.approx(1, abs=0.1)
    assert found.exploitability.mean == pytest.approx(1, abs=0.1)
    response = train_best_response(opponent, training=ResponseSettings(iterations=1))
    assert loqa.evaluate(response, "ac", episodes=2).episode_length == 6
    searching = mcts_best_response(
        coin(episode_length=3), guide="random", search=SearchSettings(1, 2, 2)
    )
    assert loqa.evaluate(searching, "random", episodes=2).episode_length == 3


@pytest.mark.parametrize("form", ["memory-1", "machine", "run"])
def test_cooperation_by_the_action_codes_of_the_preset(form: str) -> None:
    """pola22: action 0 defects. Who cooperates earns f - 1 = 0.33, and f / 2 - 1 of a defector."""
    player = {"memory-1": "ac", "machine": "tit-for-2-tats", "run": ipd(1 - 1e-7)}[form]
    for opponent, mine, theirs in (("ac", 0.33, 0.33), ("grim", 0.33, 0.33)):
        total = loqa.evaluate(player, opponent, preset="pola22", episodes=4, game="ipd").total
        assert [one.mean for one in total.reward] == pytest.approx([mine, theirs], abs=1e-6)
        assert total.statistics["cooperation"] == (1, 1)
    total = loqa.evaluate("ac", "ad", preset="pola22", episodes=4, game="ipd").total
    assert [one.mean for one in total.reward] == pytest.approx([-0.335, 0.665], abs=1e-6)
    assert total.statistics["cooperation"] == (1, 0)


@pytest.mark.parametrize("second", ["predator", "tit-for-tat", "0.9,1,0.1,0.8,0.2"])
def test_pola22_is_the_same_game_by_other_codes(second: str) -> None:
    """Every kind of player against the exact values of the same payoffs, C first."""
    payoff = (0.33, -0.335, 0.665, 0.0)
    first = "0.8,0.9,0.2,0.7,0.1"
    here = loqa.evaluate(first, second, game="ipd", preset="pola22", episodes=2000, seed=1)
    there = loqa.evaluate(first, second, game="ipd", payoff=payoff, episodes=2000, seed=2)
    for a, b in zip(here.total.reward, there.total.reward, strict=True):
        assert abs(a.mean - b.mean) < 4 * np.hypot(a.standard_error, b.standard_error)
    shares = zip(here.total.statistics["cooperation"], there.total.statistics["cooperation"],
                 strict=True)  # fmt: skip
    assert all(abs(a - b) < 0.02 for a, b in shares)


def test_exploiting_a_cooperator_by_other_codes() -> None:
    found = exploit("ac", game="ipd", preset="pola22", episode_length=6, training=QUICK)
    assert found.response.total.reward[0].mean == pytest.approx(0.665, abs=0.05)
    assert found.response.total.statistics["cooperation"][0] < 0.2


def test_exact_values_of_a_preset_by_its_codes() -> None:
    """Always-cooperate against always-defect: f / 2 - 1 and f / 2."""
    cooperate, defect = [1.0] * 5, [0.0] * 5
    for payoff in ("pola22", MATRIX_PRESETS["ipd"]["pola22"]):
        value = discounted_value(cooperate, defect, 0.5, payoff=payoff)
        np.testing.assert_allclose(value, [2 * -0.335, 2 * 0.665])
        np.testing.assert_allclose(long_run_value(cooperate, cooperate, payoff=payoff), [0.33] * 2)
    played = tournament(["always-cooperate", "always-defect"], 10, 1, payoff="pola22")
    np.testing.assert_allclose(played.payoffs, [[0.33, -0.335], [0.665, 0]], atol=1e-12)


def test_memory1_rollouts_by_codes() -> None:
    """Tit-for-tat against always-defect by pola22: a defector's f / 2 once, then nothing."""
    env = loqa.make("ipd", 4, preset="pola22")
    players = [memory1(name, env.cooperate) for name in ("tit-for-tat", "always-defect")]
    _, actions, rewards = env.rollout_memory1(players, 3)
    assert actions[:, 0].tolist() == [[1, 0], [0, 0], [0, 0]]
    np.testing.assert_allclose(rewards[:, 0, 1], [0.665, 0, 0], atol=1e-6)
    with pytest.raises(ValueError, match="cooperate must be action 0 or 1"):
        memory1("tit-for-tat", loqa.make("matching-pennies", 1).cooperate)


def test_games_without_cooperation() -> None:
    three = np.arange(9.0).reshape(3, 3)
    with pytest.raises(
        ValueError, match="tit-for-tat cooperates or defects, in a game of 2 actions"
    ):
        loqa.evaluate("tft", "tft", payoff=three)
    with pytest.raises(ValueError, match="this one has 3"):
        loqa.evaluate(ipd(), "tft", payoff=three)

    class Third:
        """Knows the game as it is, and takes action 2 always."""

        def initial_state(self, batch_size: int) -> torch.Tensor:
            return torch.zeros(batch_size, 0)

        def step(self, obs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.tensor([[-torch.inf, -torch.inf, 0.0]]).expand(len(obs), 3), state

    result = loqa.evaluate(Third(), Third(), game="ipd", payoff=three, episodes=4).total
    assert result.reward[0].mean == 8
    assert result.statistics == {}
    with pytest.raises(ValueError, match="a game of 2 actions, this one has 3"):
        train_best_response("tft", game="ipd", payoff=three)
    quick = ResponseSettings(iterations=60, batch_size=64)
    best = train_best_response(Third(), game="ipd", payoff=three, training=quick)
    result = loqa.evaluate(best, Third(), game="ipd", payoff=three, episodes=16).total
    assert result.reward[0].mean > 7.5  # of 2, 5 and 8 against its action 2
    assert settings_of([as_player(Third())], "ipd", {}, None, 0).make == {}
