"""Runs on environments of a user's own."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("pettingzoo")
import own_envs
import pettingzoo
from gymnasium import spaces
from own_envs import Board, EndingEnv, NumpyEnv, ThreePlayers, TorchEnv

import loqa
from loqa.agents.actor_critic import build_agent
from loqa.algos.learner import Learner
from loqa.algos.loqa import LOQASettings
from loqa.cli.main import main
from loqa.envs.adapters.own import CheckedEnv, EnvError
from loqa.games.own import imported, name_of
from loqa.training.collect import collect
from loqa.training.config import config_class
from loqa.training.own import own_config
from loqa.training.run_directory import RunDirectory
from loqa.training.train import TrainingError

QUICK: dict[str, Any] = {
    "iterations": 2, "batch_size": 4, "actor_hidden": 4, "critic_hidden": 4, "log_every": 1,
    "evaluate_every": 2, "evaluation_episodes": 4, "critic_warmup": 0,
}  # fmt: skip


class Coordination(pettingzoo.ParallelEnv):
    """Two agents are paid 1 for the same choice of three; 5 rounds."""

    metadata = {"name": "coordination"}  # noqa: RUF012
    possible_agents = ["a", "b"]  # noqa: RUF012

    def observation_space(self, agent: str) -> Any:
        return spaces.MultiBinary(3)

    def action_space(self, agent: str) -> Any:
        return spaces.Discrete(3)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.t, self.agents = 0, ["a", "b"]
        return {"a": [0, 0, 0], "b": [0, 0, 0]}, {"a": {}, "b": {}}

    def step(self, actions: dict[str, int]) -> Any:
        self.t += 1
        seen = [int(k == actions["a"]) for k in range(3)]
        paid = float(actions["a"] == actions["b"])
        over = dict.fromkeys("ab", self.t == 5)
        return (
            dict.fromkeys("ab", seen),
            dict.fromkeys("ab", paid),
            dict.fromkeys("ab", False),
            over,
            {},
        )


@pytest.mark.parametrize("algo", ["loqa", "naive"])
@pytest.mark.parametrize(
    ("make", "actor", "players"),
    [
        (TorchEnv, "mlp", 2),
        (NumpyEnv, "gru", 2),
        (Coordination, "mlp", 2),
        (Board, "cnn", 2),
        (Board, "gru", 2),
        (EndingEnv, "gru", 2),
        (ThreePlayers, "mlp", 3),
    ],
)
def test_trains(make: Any, actor: str, players: int, algo: str, tmp_path: Path) -> None:
    critic = "gru" if actor == "gru" else "mlp" if actor == "mlp" else "cnn"
    fields = {**QUICK, "actor": actor, "critic": critic}
    summary = loqa.train(out=tmp_path / "run", env=make, algo=algo, seed=3, **fields)
    assert (summary["status"], summary["iterations"], summary["game"]) == ("finished", 2, "own")
    assert len(summary["self_play"]) == players
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [1, 2]
    agent = loqa.load_agent(tmp_path / "run")
    assert agent.config is not None
    assert agent.config.env.num_players == players
    obs = torch.zeros(5, *agent.config.env.obs_shape)
    log_probs, _ = agent.step(obs, agent.initial_state(5))
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(5))


def test_learns(tmp_path: Path) -> None:
    """Action 1 pays 1 - 0.5 for the other's: the naive learner finds it, from 0.3 at random."""
    fields: dict[str, Any] = {"actor_lr": 0.02, "batch_size": 64, "critic_warmup": 0}
    summary = loqa.train(
        out=tmp_path / "run", env=TorchEnv, algo="naive", actor="mlp", critic="mlp",
        iterations=40, evaluate_every=40, **fields,
    )  # fmt: skip
    paid = sum(summary["self_play"]) / 2
    assert paid == pytest.approx(0.55, abs=0.05)  # 1.5 - 2 * 0.5, and luck of 0.05 each


@pytest.mark.parametrize("meets", ["past", "learners"])
def test_other_opponents(meets: str, tmp_path: Path) -> None:
    fields = {**QUICK, "meets": meets, "opponents": 2, "replay_every": 1}
    for kind in ("mlp", "gru"):
        summary = loqa.train(out=tmp_path / kind, env=EndingEnv, actor=kind, critic=kind, **fields)
        assert summary["status"] == "finished"
    summary = loqa.train(out=tmp_path / "cnn", env=Board, actor="cnn", critic="cnn", **fields)
    assert summary["status"] == "finished"


def test_who_plays_alone_has_nobody_to_model(tmp_path: Path) -> None:
    class Alone(TorchEnv):
        players = 1

    summary = loqa.train(out=tmp_path / "run", env=Alone, opponent_model="learned", **QUICK)
    assert len(summary["self_play"]) == 1


def test_config_says_all(tmp_path: Path) -> None:
    loqa.train(out=tmp_path / "run", env=TorchEnv, **QUICK)
    said = json.loads((tmp_path / "run" / "config.json").read_text())
    expected = {
        "game": "own", "make": "own_envs:TorchEnv", "num_players": 2, "num_actions": 2,
        "obs_shape": [2], "obs_dtype": "float32", "episode_length": 6, "discount": 0.9,
        "gamma": 0.9, "algo": "loqa",
    }  # fmt: skip
    assert {name: said[name] for name in expected} == expected
    shorter = own_config(TorchEnv, episode_length=4, gamma=0.5)
    assert (shorter.episode_length, shorter.discount, shorter.gamma) == (4, 0.9, 0.5)


def _files(run: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(run.glob("checkpoints/*"))[-1:]}


@pytest.mark.parametrize("importable", [True, False])
def test_a_resumed_run_is_the_uninterrupted_one(importable: bool, tmp_path: Path) -> None:
    make = EndingEnv if importable else partial(EndingEnv)
    fields = {**QUICK, "actor": "gru"}
    whole = loqa.train(out=tmp_path / "whole", env=make, **{**fields, "iterations": 5})
    loqa.train(out=tmp_path / "parts", env=make, **{**fields, "iterations": 2})
    if not importable:
        with pytest.raises(ValueError, match=r"cannot be imported again.*env=make_env"):
            loqa.resume(tmp_path / "parts", iterations=5)
    resumed = loqa.resume(tmp_path / "parts", iterations=5, env=None if importable else make)
    assert resumed["self_play"] == whole["self_play"]
    one, other = (loqa.load_agent(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(EnvError, match=r"not that of the run: num_players 3 \(the run's: 2\)"):
        loqa.resume(tmp_path / "parts", iterations=6, env=ThreePlayers)


class NaN(TorchEnv):
    def step(self, actions: Any) -> Any:
        obs, rewards, *flags = super().step(actions)
        return obs, rewards * (torch.nan if self.t == 3 else 1), *flags


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (NaN, r"NaN.step \(step 3\): expected finite rewards"),
        (lambda num_envs, seed, device: TorchEnv(7, seed, device), r"must give 1 copies, got .* 7"),
        (lambda a, b, c: TorchEnv(a, b, c), None),
        (lambda num_envs, seed, device: Coordination(), "gives B copies, got one ParallelEnv"),
        (
            lambda: TorchEnv(1, 0, torch.device("cpu")),
            "expected a PettingZoo ParallelEnv, got Torch",
        ),
        (lambda num_envs, seed: None, r"make_env\(num_envs, seed, device\).*\(num_envs, seed\)"),
        (lambda num_envs, seed, device: None, "NoneType has no spec"),
        (TorchEnv(2, 0, torch.device("cpu")), "got TorchEnv"),
    ],
)
def test_nothing_is_left_of_a_run_that_never_learned(
    make: Any, said: str | None, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    if said is None:
        loqa.train(out=run, env=make, **QUICK)
        return
    with pytest.raises((EnvError, TypeError), match=said):
        loqa.train(out=run, env=make, **QUICK)
    assert not any(file for file in tmp_path.rglob("*") if file.is_file())


def test_what_train_takes() -> None:
    with pytest.raises(TypeError, match="one of both"):
        loqa.train()
    with pytest.raises(TypeError, match="one of both"):
        loqa.train(loqa.IPDConfig(), env=TorchEnv)
    with pytest.raises(TypeError, match="seed are fields of a run on env="):
        loqa.train(loqa.IPDConfig(), seed=1)
    with pytest.raises(ValueError, match="num_players is the environment's"):
        own_config(TorchEnv, num_players=3)
    with pytest.raises(ValueError, match="no field 'iteration'; did you mean 'iterations'"):
        own_config(TorchEnv, iteration=3)
    with pytest.raises(
        ValueError, match=r"actor cnn reads boards \[C, H, W\]: the game shows \[2\]"
    ):
        own_config(TorchEnv, actor="cnn")
    with pytest.raises(ValueError, match="actor logits"):
        own_config(TorchEnv, actor="logits")


def test_functions_by_name() -> None:
    assert imported("own_envs:TorchEnv") is TorchEnv
    assert name_of(TorchEnv) == "own_envs:TorchEnv"
    assert name_of(lambda: None) == name_of(partial(TorchEnv)) == ""
    assert own_config("own_envs:NumpyEnv").make == "own_envs:NumpyEnv"
    for name, said in {
        "own_envs": "named package.module:function, got 'own_envs'",
        "no_such:make": "there is no module 'no_such'",
        "own_envs:TorchEnw": "own_envs has no 'TorchEnw'; did you mean 'TorchEnv'",
        "own_envs:annotations.x": "own_envs has no",
        "own_envs:__name__": "must be a function, got str",
    }.items():
        with pytest.raises(ValueError, match=said):
            imported(name)
    assert own_envs.__name__ == "own_envs"


def test_agents_of_unlike_games_do_not_meet(tmp_path: Path) -> None:
    loqa.train(out=tmp_path / "run", env=TorchEnv, **QUICK)
    with pytest.raises(ValueError, match="no matches are played"):
        loqa.evaluate(tmp_path / "run", "random", episodes=4)
    with pytest.raises(ValueError, match="no matches are played"):
        loqa.league({"a": tmp_path / "run", "b": "random"}, episodes=4)


class Hand(TorchEnv):
    """One copy; rewards 1, 2, 3, 4 for seat 0, whatever is done; ends for good after three of four steps."""

    length, ends = 4, 3

    def step(self, actions: Any) -> Any:
        self.count = 1 if getattr(self, "count", 4) == 4 else self.count + 1
        obs, rewards, *flags = super().step(actions)
        return obs, torch.full_like(rewards, self.count), *flags


@pytest.mark.parametrize(
    ("target", "huber"),
    [
        # Every value is 8, gamma 1/2: targets 1 + 4, 2 + 4, 3, 4 + 4; errors 3, 2, 5, 0.
        ("sarsa", (2.5 + 1.5 + 4.5 + 0) / 4),
        ("argmax", (2.5 + 1.5 + 4.5 + 0) / 4),
        # Targets 1 + 3.5 / 2, 2 + 3 / 2, 3, 4; errors 5.25, 4.5, 5, 4.
        ("returns", (4.75 + 4 + 4.5 + 3.5) / 4),
        # lambda 1/2: 1 + (8 + 4.75) / 4, 2 + (8 + 3) / 4, 3, 4 + 8 / 2; errors 3.8125, 3.25, 5, 0.
        ("lambda", (3.3125 + 2.75 + 4.5 + 0) / 4),
    ],
)
def test_losses_do_not_bootstrap_through_an_end(target: Any, huber: float) -> None:
    agent = build_agent("mlp", "mlp", 2, 2)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.zero_()
        agent.critic.linear_end.bias.fill_(8)
    env = CheckedEnv(Hand(1, 0, torch.device("cpu")))
    played, _ = collect(env, [agent, agent], lambda: torch.full((4, 2, 1), 0.5), seed=0)
    assert played.terminated is not None
    assert played.terminated.flatten().tolist() == [False, False, True, False]
    settings = LOQASettings(
        gamma=0.5, critic_target=target, critic_lambda=0.5, advantage_baseline="none",
        shaping_weight=0.0,
    )  # fmt: skip
    said = Learner(agent, settings).update(played)
    assert said.critic_loss.item() == pytest.approx(huber)
    # Advantages 1 + 4 - 8, 2 + 4 - 8, 3 - 8, 4 + 4 - 8 of log-probabilities -ln 2.
    assert said.losses.agent.mean().item() == pytest.approx(math.log(2) * -10 / 4)


def test_the_game_has_the_presets_of_any_game() -> None:
    config = config_class("own")()
    assert config.from_dict(config.to_dict()) == config


class LateNaN(TorchEnv):
    """Goes wrong in the fourth iteration: `resets` of all copies, the first of which shows the spec."""

    resets = 0
    wrong = 4

    def reset(self, seed: int | None = None) -> Any:
        type(self).resets += 1
        return super().reset(seed)

    def step(self, actions: Any) -> Any:
        obs, rewards, *flags = super().step(actions)
        return obs, rewards * (torch.nan if self.resets >= self.wrong else 1), *flags


@pytest.mark.parametrize("every", [2, 500])
def test_an_environment_that_fails_later_ends_the_run_and_says_how_to_go_on(
    every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LateNaN, "resets", 0)
    fields = {**QUICK, "iterations": 6, "evaluate_every": 0, "checkpoint_every": every}
    with pytest.raises(TrainingError) as caught:
        loqa.train(out=tmp_path / "run", env=LateNaN, **fields)
    said = str(caught.value)
    assert re.match(r"iteration 4: LateNaN.step \(step 1\): expected finite rewards, got nan", said)
    if every == 500:
        assert said.endswith("the last checkpoint is none (--checkpoint-every says how often one is "
                             "written)")  # fmt: skip
        return
    kept = RunDirectory(tmp_path / "run").latest_checkpoint()
    assert f"the last checkpoint is {kept}" in said
    assert f"`loqa resume {tmp_path / 'run'}` goes on from it" in said
    loqa.resume(tmp_path / "run", env=TorchEnv)
    whole = loqa.train(out=tmp_path / "whole", env=TorchEnv, **fields)
    one, other = (loqa.load_agent(tmp_path / name).state_dict() for name in ("whole", "run"))
    assert whole["iterations"] == 6
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_command_says_that_the_run_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, code, said in ((2, 1, "loqa: the run failed: iteration 2: LateNaN.step"),
                              (1, 2, "loqa: error: LateNaN.step")):  # fmt: skip
        monkeypatch.setattr(LateNaN, "resets", 0)
        monkeypatch.setattr(LateNaN, "wrong", wrong)
        options = ["--iterations", "3", "--batch-size", "4", "--evaluate-every", "0",
                   "--out", str(tmp_path / str(wrong))]  # fmt: skip
        assert main(["train", f"{__name__}:LateNaN", *options]) == code
        assert said in capsys.readouterr().err
