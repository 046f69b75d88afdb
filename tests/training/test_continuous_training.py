"""Continuous games through the whole house: runs, matches, leagues, films; environments of one's own."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import loqa
from loqa import ContinuousIPDConfig, CournotConfig
from loqa.agents.policy import PolicyError
from loqa.algos.trajectory import Trajectory
from loqa.cli.main import main
from loqa.envs.adapters.own import EnvError
from loqa.envs.continuous_game.presets import CONTINUOUS_PRESETS, Payoff
from loqa.evaluation.exploit import exploit
from loqa.games.continuous_worth import answers, best_response
from loqa.training.collect import collect
from loqa.training.trainer import make_agent

QUICK: dict[str, Any] = {"iterations": 2, "batch_size": 16, "episode_length": 5, "log_every": 1}
IPD = CONTINUOUS_PRESETS["continuous-ipd"]["donation"]
COURNOT = CONTINUOUS_PRESETS["cournot"]["linear"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Nothing here is large enough to be split."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def constant(action: float) -> Any:
    return lambda obs: torch.full((len(obs),), action)


def tit_for_tat(obs: Tensor) -> Tensor:
    """1 at first, then what the others did on average."""
    return torch.where(obs[:, 0] > 0, obs[:, 2:].mean(1), 1.0)


@pytest.mark.parametrize("players", [2, 3, 5])
def test_worth_in_the_prisoners_dilemma(players: int) -> None:
    """Who always gives half earns -1.5 among its like; who gives nothing among them, -1."""
    payoff = IPD.payoff_of(players)
    half = best_response(constant(0.5), payoff, players, 0.96)
    assert half["copies_earn"] == pytest.approx(-1.5, abs=1e-5)
    assert half["best_response_gain"] == pytest.approx(0.5, abs=1e-4)
    assert half["copies_do"] == 0.5


def test_tit_for_tat_has_no_better_response() -> None:
    """With patience; without, to give nothing gains what giving costs."""
    payoff = IPD.payoff_of(2)
    found = best_response(tit_for_tat, payoff, 2, 0.96)
    assert found["best_response_gain"] == pytest.approx(0, abs=1e-4)
    impatient = best_response(tit_for_tat, payoff, 2, 0.0)
    assert impatient["best_response_gain"] == pytest.approx(1, abs=1e-4)
    assert answers(tit_for_tat, payoff, 2) == {"start": 1, "CC": 1, "CD": 0, "DC": 1, "DD": 0}


def test_worth_in_cournot() -> None:
    """To 1/4 the best quantity is 3/8 and earns 9/64, against 1/8; to Nash's 1/3 there is none better."""
    payoff = COURNOT.payoff_of(2)
    cartel = best_response(constant(0.25), payoff, 2, 0.9, grid=81)
    assert cartel["best_response_gain"] == pytest.approx(9 / 64 - 1 / 8, abs=1e-4)
    nash = best_response(constant(1 / 3), payoff, 2, 0.9, grid=91)
    assert nash["best_response_gain"] == pytest.approx(0, abs=1e-5)


def test_the_best_response_by_trying_every_plan() -> None:
    """A short memory: gamma .3, grid of 5 and a player who does one of 5 levels; all plans of 8 steps."""

    def answer(obs: Tensor) -> Tensor:
        generous = (2 * obs[:, 2] - obs[:, 1] + 0.25).clamp(0, 1)
        return torch.where(obs[:, 0] > 0, (generous * 4).round() / 4, 0.75)

    payoff, discount, plan = Payoff(-2.0, -1.0, 2.0, 0.3, -0.4), 0.3, 7
    found = best_response(answer, payoff, 2, discount, grid=5)
    levels = torch.linspace(0, 1, 5)
    plans = torch.cartesian_prod(*[levels] * plan)
    seen, total = torch.zeros(len(plans), 3), torch.zeros(len(plans), dtype=torch.float64)
    for t in range(plan):
        own, other = plans[:, t], answer(seen)
        paid = payoff.base + payoff.own * own + payoff.others * other
        paid = paid + payoff.square * own**2 + payoff.cross * own * other
        total += discount**t * paid.double()
        seen = torch.stack([torch.ones_like(own), other, own], -1)
    best = (1 - discount) * float(total.max())
    left = 4 * discount**plan  # no reward is larger than that
    assert found["best_response_gain"] + found["copies_earn"] == pytest.approx(best, abs=left)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"algo": "naive", "actor": "mlp", "critic": "mlp", "critic_target": "lambda"},
        {"algo": "lola", "inner_steps": 1},
        {"algo": "lola", "baseline": "critic", "critic": "mlp"},
        {"algo": "pola", "outer_steps": 2},
        {"algo": "aa"},
        {"actor": "gru", "critic": "gru", "num_players": 3},
        {"meets": "past", "opponents": 4, "replay_every": 1},
        {"meets": "past", "opponents": 4, "critic": "mlp", "actor": "mlp"},
        {"meets": "learners", "other_algo": "naive"},
        {"meets": "fixed", "fixed": ("tit-for-tat",), "take_turns": True},
        {"num_players": 4, "evaluate_every": 1, "evaluation_episodes": 8},
        {"shared_reward": True},
    ],
    ids=lambda fields: ",".join(map(str, fields.values())) or "default",
)
def test_runs(tmp_path: Path, fields: dict[str, Any]) -> None:
    config = CournotConfig.of_preset("default", **{**QUICK, **fields})
    summary = loqa.train(config, tmp_path / "run")
    assert len(summary["self_play"]) == config.num_players
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert all(math.isfinite(n) for line in lines for n in json.loads(line)["loss"].values())


@pytest.mark.parametrize("critic", ["ridge", "mlp"])
def test_a_run_goes_on_bit_for_bit(tmp_path: Path, critic: str) -> None:
    fields = {**QUICK, "critic": critic, "target_ema": 0.9, "critic_target": "lambda"}
    config = ContinuousIPDConfig.of_preset("default", **fields)
    whole = loqa.train(config.replace(iterations=4), tmp_path / "whole")
    loqa.train(config, tmp_path / "parts")
    parts = loqa.resume(tmp_path / "parts", iterations=4)
    assert whole["answers"] == parts["answers"]
    agent = loqa.load_agent(tmp_path / "whole").state_dict()
    other = loqa.load_agent(tmp_path / "parts").state_dict()
    assert all(torch.equal(agent[name], other[name]) for name in agent)


def test_ridge_refuses_episodes_that_end(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="critic ridge has a mean return for each step"):
        loqa.train(env=ended, out=tmp_path / "run", critic="ridge", **OWN)


def test_actions_as_drawn_are_not_clipped_and_what_is_played_is() -> None:
    """Losses are of the draw; rewards and observations are of the clipped action."""
    env = loqa.make("continuous-ipd", 256, episode_length=3, num_threads=1)
    draws = torch.rand(3, 2, 256, 1, generator=torch.Generator().manual_seed(0))
    draws[0, 0, 0], draws[0, 0, 1] = 0.0, 1 - 2.0**-24
    agent = make_agent(ContinuousIPDConfig(episode_length=3))
    played, _ = collect(env, [agent, "always-defect"], lambda: draws, 0, 0.4)
    drawn = played.actions[..., 0]
    assert bool(drawn.isfinite().all())
    assert drawn.min() < 0
    assert drawn.max() > 1
    assert bool((drawn[:, :, 1] == 0).all())
    clipped = drawn.clamp(0, 1)
    torch.testing.assert_close(played.obs[1:, :, 0, 1:], clipped)
    torch.testing.assert_close(played.rewards[..., 1], -2 + 2 * clipped[..., 0])
    assert float(drawn[:, :, 0].std()) == pytest.approx(0.4, abs=0.05)
    with pytest.raises(ValueError, match="actions must be finite"):
        Trajectory(played.obs, played.actions * math.nan, played.rewards)


# --- matches


class Numbers:
    """Answers a number, whatever it sees."""

    def __init__(self, number: float) -> None:
        self.number = number

    def initial_state(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, 0)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full((len(obs), 1), self.number), state


def test_matches_leagues_and_films(tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    loqa.train(ContinuousIPDConfig.of_preset("default", **QUICK), run)
    result = loqa.evaluate(Numbers(0.5), "always-cooperate", game="continuous-ipd", episodes=4)
    assert result.total.reward[0].mean == pytest.approx(-2 + 2 - 0.5)
    assert result.total.statistics["action"] == pytest.approx((0.5, 1))
    found = loqa.evaluate(run, "always-defect", episodes=4, num_players=2)
    assert found.episode_length == 5
    league = loqa.league([run, "always-defect", "tit-for-tat"], episodes=4, out=tmp_path / "league")
    assert len(league.names) == 3
    assert main(["eval", str(run), "--against", "tft", "--episodes", "4"]) == 0
    assert "continuous-ipd, preset donation, 5 steps" in capsys.readouterr().out
    assert main(["watch", str(run), "--steps", "1"]) == 0
    assert "t   1" in capsys.readouterr().out
    assert main(["watch", str(run), "ad", "--steps", "2", "--gif", str(tmp_path / "a.gif")]) == 0
    assert (tmp_path / "a.gif").stat().st_size > 0
    assert main(["plot", str(run)]) == 0
    assert (run / "figures" / "answers.png").exists()


@pytest.mark.parametrize("number", [1.5, -0.1, math.nan])
def test_players_outside_of_the_box(number: float) -> None:
    with pytest.raises(PolicyError, match=r"step must return actions in \[0, 1\], got"):
        loqa.evaluate(Numbers(number), "tit-for-tat", game="cournot", episodes=4)


def test_what_cannot_meet_or_be_searched(tmp_path: Path) -> None:
    run = tmp_path / "run"
    loqa.train(CournotConfig.of_preset("default", num_players=3, **QUICK), run)
    with pytest.raises(ValueError, match="is for 3 players, got 2"):
        loqa.evaluate(run, "always-defect", episodes=4, num_players=2)
    with pytest.raises(ValueError, match="plays cournot, not coin_game"):
        loqa.evaluate(run, "always-defect", game="coin", episodes=4)
    with pytest.raises(ValueError, match="ppo chooses among finitely many actions"):
        exploit(run)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"exploration": -1.0}, r"exploration must be a finite number in \[0, 1\]"),
        ({"actor": "logits"}, "actor logits has a row for each state"),
        ({"actor": "cnn"}, "actor cnn reads boards"),
        ({"num_players": 9}, r"num_players must be an integer in \[2, 8\]"),
        ({"ridge_decay": 1.5}, r"ridge_decay must be a finite number in \[0, 1\]"),
    ],
)
def test_wrong_settings(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ContinuousIPDConfig.of_preset("default", **fields)


def test_without_noise_nothing_is_learned(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exploration must be > 0 where actions are numbers"):
        loqa.train(ContinuousIPDConfig.of_preset("default", exploration=0.0), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("fields", [{"actor": "hats"}, {"critic": "ridge"}])
def test_what_only_a_box_has(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is of actions that are numbers of a box"):
        loqa.IPDConfig.of_preset("default", **fields)


# --- environments of one's own

OWN: dict[str, Any] = {
    "iterations": 2, "batch_size": 4, "actor_hidden": 4, "critic_hidden": 4, "log_every": 1,
    "evaluation_episodes": 4, "critic_warmup": 0,
}  # fmt: skip


class Pull:
    """Two players pull at a rope in two directions, with forces in [-2, 2], and see where it is."""

    device = torch.device("cpu")
    ends: int | None = None

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.spec = loqa.EnvSpec(
            name="pull",
            num_players=2,
            num_actions=0,
            obs_shape=(2,),
            episode_length=6,
            action_box=(-2.0, 2.0),
            action_size=2,
        )

    def reset(self, seed: int | None = None) -> Tensor:
        self.t, self.at = 0, torch.zeros(self.num_envs, 2)
        return torch.stack([self.at, -self.at], 1)

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        assert actions.dtype == torch.float32
        assert actions.shape == (self.num_envs, 2, 2)
        assert float(actions.abs().max()) <= 2
        self.t, self.at = self.t + 1, self.at + actions[:, 0] - actions[:, 1]
        paid = self.at.sum(1)
        flags = torch.zeros(self.num_envs, dtype=torch.bool)
        over = flags | (self.t == self.ends)
        seen = torch.stack([self.at, -self.at], 1)
        if self.t == self.ends:
            seen = self.reset()
        return seen, torch.stack([paid, -paid], 1), over, flags


def pull(num_envs: int, seed: int, device: torch.device) -> Pull:
    return Pull(num_envs)


def ended(num_envs: int, seed: int, device: torch.device) -> Pull:
    env = Pull(num_envs)
    env.ends = 3
    return env


@pytest.mark.parametrize(
    "fields",
    [{}, {"critic": "ridge"}, {"algo": "lola", "exploration": 0.2}, {"actor": "gru", "critic": "gru"},
     {"meets": "past", "opponents": 2, "replay_every": 1}],
    ids=lambda fields: ",".join(map(str, fields.values())) or "default",
)  # fmt: skip
@pytest.mark.parametrize("make", [pull, ended])
def test_an_environment_of_ones_own(tmp_path: Path, make: Any, fields: dict[str, Any]) -> None:
    own = {name: value for name, value in OWN.items() if name != "critic_warmup"}
    if make is ended and fields.get("critic") == "ridge":
        fields = {}  # refused, see above
    summary = loqa.train(env=make, out=tmp_path / "run", **own, **fields)
    assert len(summary["self_play"]) == 2
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["action_box"], config["action_size"]) == ([-2, 2], 2)
    loqa.resume(tmp_path / "run", iterations=3, env=make)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"action_box": (0.0, math.inf)}, "action_box in the spec of Pull must be two finite"),
        ({"action_box": (1.0, 1.0)}, "must be two finite numbers, the lower first"),
        ({"action_box": (0.0,)}, "must be two finite numbers"),
        ({"num_actions": 2}, r"num_actions in the spec of Pull must be an integer in \[0, 0\]"),
        ({"action_size": 0}, "action_size in the spec of Pull must be an integer"),
    ],
)
def test_boxes_that_are_none(fields: dict[str, Any], said: str) -> None:
    def make(num_envs: int, seed: int, device: torch.device) -> Pull:
        env = Pull(num_envs)
        env.spec = loqa.envs.EnvSpec(**{**vars(env.spec), **fields})
        return env

    with pytest.raises(EnvError, match=said):
        loqa.train(env=make, **OWN)


def test_lola_looks_ahead_of_a_run_whose_critic_was_fitted(tmp_path: Path) -> None:
    """What the critic was fitted to is no parameter."""
    heads = {**OWN, "actor": "gru", "critic": "ridge", "exploration": 0.2}
    loqa.train(env=pull, out=tmp_path / "first", **heads)
    del heads["critic_warmup"]
    fixed = {"meets": "fixed", "fixed": (str(tmp_path / "first"),)}
    summary = loqa.train(env=pull, out=tmp_path / "ahead", algo="lola", **fixed, **heads)
    assert summary["status"] == "finished"


def test_a_pettingzoo_environment_of_a_box(tmp_path: Path) -> None:
    spaces = pytest.importorskip("gymnasium").spaces
    pytest.importorskip("pettingzoo")
    from test_own_env import Rounds

    class Shares(Rounds):
        moves = spaces.Box(0, 2, (2, 1), np.float32)
        space = spaces.Box(0, 2, (2,), np.float32)

        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            _, infos = super().reset(seed, options)
            return dict.fromkeys("ab", np.zeros(2, np.float32)), infos

        def step(self, actions: dict[str, Any]) -> Any:
            assert all(self.moves.contains(action) for action in actions.values())
            seen, _, ends, cuts, infos = super().step(dict.fromkeys("ab", 1))
            seen = {"a": actions["b"].ravel(), "b": actions["a"].ravel()}
            paid = {name: float(action.sum()) for name, action in actions.items()}
            return seen, paid, ends, cuts, infos

    summary = loqa.train(env=Shares, out=tmp_path / "run", **OWN)
    assert len(summary["self_play"]) == 2
