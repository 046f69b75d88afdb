"""`loqa train matrix --exact`: its run directory, its options, and what it refuses."""

from __future__ import annotations

import json
import re

import pytest
import torch

from loqa import resume
from loqa.cli.exact import parsed
from loqa.cli.main import main
from loqa.plotting.plot import plot_run
from loqa.training import exact
from loqa.training.exact import ExactConfig, load_policies, train_exact
from loqa.training.train import TrainingError

FEW = ("--runs", "3", "--updates", "4", "--log-every", "2")


def loqa(*given):
    return main(["train", "matrix", "--exact", *given])


def test_run_directory(tmp_path, capsys):
    out = tmp_path / "run"
    assert loqa(*FEW, "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert "3 runs of 4 updates" in said
    summary = json.loads((out / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["iterations"] == 4
    assert [len(player) for player in summary["reward"]] == [3, 3]
    assert [len(player) for player in summary["p_cooperate"]] == [3, 3]
    assert [sum(counts.values()) for counts in summary["strategies"]] == [3, 3]
    assert summary["mean_reward"][0] == pytest.approx(sum(summary["reward"][0]) / 3)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [2, 4]
    assert lines[-1]["reward"] == summary["mean_reward"]
    config = json.loads((out / "config.json").read_text())
    assert config["exact"] is True
    assert (config["game"], config["algo"], config["form"]) == ("matrix", "lola", "taylor")
    policies = load_policies(out)
    assert policies["players"].shape == (2, 3, 5)
    assert policies["p_cooperate"].tolist() == summary["p_cooperate"]
    assert policies["rewards"].shape == (5, 2, 3)
    assert not list(out.rglob("*.tmp"))


def test_the_same_from_python_and_from_its_own_config(tmp_path):
    first = train_exact(ExactConfig.of("pola", runs=2, updates=1, outer_steps=3), tmp_path / "a")
    assert loqa("--algo", "pola", "--runs", "2", "--updates", "1", "--outer-steps", "3",
                "--out", str(tmp_path / "b")) == 0  # fmt: skip
    for name in ("config.json", "summary.json"):
        one, other = (json.loads((tmp_path / run / name).read_text()) for run in "ab")
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert first["iterations"] == 1


@pytest.mark.parametrize("given", [
    ("--algo", "naive", "--game", "stag-hunt"),
    ("--algo", "pola", "--game", "public-goods", "--factor", "1.1", "--outer-steps", "2"),
    ("--game", "chicken", "--steps", "1", "--form", "lookahead", "--inner-steps", "2"),
    ("--payoff", "3,0,5,1", "--gamma", "0.5", "--policy", "network", "--hidden", "3"),
    ("--payoff", "1,-1,-1,1,-1,1,1,-1", "--steps", "5"),
    ("--algo", "mfos", "--batch-size", "2", "--meta-steps", "3", "--opponent", "self"),
])  # fmt: skip
def test_options(given, tmp_path):
    assert loqa(*given, *FEW, "--out", str(tmp_path / "run")) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    states = 1 if "1" in given else 5
    assert len(summary["p_cooperate"][1][2]) == states
    assert ("strategies" in summary) == (states == 5)


@pytest.mark.parametrize(("players", "given"), [
    (2, ("--game", "ipd")),
    (3, ("--game", "n-ipd", "--num-players", "3", "--policy", "counts")),
    (4, ("--game", "public-goods", "--num-players", "4", "--factor", "1.6")),
    (3, ("--num-players", "3", "--game", "n-ipd", "--payoff", "3,2,2,1,4,3,3,2",
         "--no-stop-normaliser-gradient")),
])  # fmt: skip
def test_loqa_is_one_policy_in_every_seat(players, given, tmp_path, capsys):
    out = tmp_path / "run"
    assert loqa("--algo", "loqa", *given, *FEW, "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert "every player: reward a step" in said
    assert "self play" in said
    summary = json.loads((out / "summary.json").read_text())
    assert [len(one) for one in summary["p_cooperate"][0]] == [2**players + 1] * 3
    for name in ("self_play", "lone_defector", "best_response_gain", "errors_to_return"):
        assert len(summary[name]) == 3
    assert sum(summary["kinds"].values()) == 3
    names = list(summary["mean_p_cooperate"])
    assert names[:2] == ["start", "C" * players]
    assert len(names) == 2**players + 1
    assert ("strategies" in summary) == (players == 2)
    assert load_policies(out)["rewards"].shape == (5, 1, 3)


def test_loqa_where_all_gain_nothing_by_cooperating(tmp_path):
    out = tmp_path / "run"
    assert loqa("--algo", "loqa", "--payoff", "0,0,1,1", *FEW, "--out", str(out)) == 0
    assert "kinds" not in json.loads((out / "summary.json").read_text())


@pytest.mark.parametrize("algo", ["naive", "lola", "loqa", "pola", "mfos"])
def test_what_help_shows_can_be_typed_back(algo, capsys):
    with pytest.raises(SystemExit) as stop:
        parsed(["--algo", algo, "--help"])
    assert stop.value.code == 0
    box = capsys.readouterr().out.partition("exact [-h]")[2]
    said = " ".join(re.sub("[│╭╮╰╯─]|-{9,}", " ", box).split())
    said = re.sub(r"(--([a-z-]+)), --no-\2", r"\1", said)
    for name in ExactConfig.field_types(algo):
        assert f"--{name.replace('_', '-')}" in said
    typed = ["--algo", algo]
    for name, default in re.findall(r"--([a-z-]+) (?:(?!--).)*?\(default: ([^()]*)\)", said):
        if name not in ("algo", "out"):
            typed += [f"--{name}", default]
    assert parsed(typed)[0] == ExactConfig.of(algo)


@pytest.mark.parametrize(("given", "said"), [
    (("--runs", "0"), "runs must be an integer in"),
    (("--inner-steps", "0"), "inner_steps must be an integer in"),
    (("--lr=-1",), "lr must be a finite number in"),
    (("--lr", "nan"), "lr must be a finite number in"),
    (("--algo", "pola", "--outer-kl", "nan"), "outer_kl must be a finite number in"),
    (("--payoff", "1,2,3"), "payoff must be 4 numbers, or 8"),
    (("--payoff", "1,2,3,inf"), "payoff must be a finite number"),
    (("--factor", "1.2"), "factor is of the game public-goods"),
    (("--algo", "lolla"), "did you mean 'lola'"),
    (("--algo", "naive", "--inner-steps", "2"), "--inner-steps"),
    (("--gamma", "1"), "discount must be below 1"),
    (("--game", "chess"), "invalid choice 'chess'"),
    (("--policy", "network", "--steps", "1"), "a game of one step has none"),
    (("--num-players", "3"), "ipd is of two players, got num_players 3"),
    (("--num-players", "9", "--game", "n-ipd"), "num_players must be an integer in [2, 8], got 9"),
    (("--num-players", "3", "--game", "n-ipd"), "lola is of two players, got 3: loqa is of any number"),
    (("--num-players", "3", "--game", "n-ipd", "--payoff", "1,2,3,4"), "payoff must be 8 numbers"),
    (("--algo", "loqa", "--game", "matching-pennies"), "does not pay every player the same"),
    (("--algo", "loqa", "--dice-discount", "2"), "dice_discount must be a finite number in"),
])  # fmt: skip
def test_bad_options(given, said, tmp_path, monkeypatch, capsys):
    """A sentence that says what is needed, exit code 2, nothing written."""
    monkeypatch.chdir(tmp_path)
    try:
        code = loqa(*FEW[2:], *given) if "--runs" in given else loqa(*FEW, *given)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    error = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said in error
    assert not [one for one in tmp_path.rglob("*") if one.is_file()]


def test_only_matrix_games_are_exact(capsys):
    assert main(["train", "coin", "--exact"]) == 2
    assert "loqa train matrix --exact, got coin" in capsys.readouterr().err


def test_it_is_neither_resumed_nor_drawn(tmp_path, capsys):
    out = tmp_path / "run"
    assert loqa(*FEW, "--out", str(out)) == 0
    for use in (resume, plot_run):
        with pytest.raises(ValueError, match=r"an exact game, .*: start it anew"):
            use(out)
    assert main(["resume", str(out)]) == 2
    assert loqa(*FEW, "--out", str(out)) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_ctrl_c_saves_what_was_learned(tmp_path, monkeypatch):
    class Asked(exact.StopRequest):
        def __enter__(self):
            self.requested = True
            return self

    monkeypatch.setattr(exact, "StopRequest", Asked)
    out = tmp_path / "run"
    assert loqa(*FEW, "--out", str(out)) == 130
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["status"], summary["iterations"]) == ("interrupted", 0)
    assert torch.isfinite(load_policies(out)["p_cooperate"]).all()


def test_what_diverges_fails(tmp_path, capsys):
    config = ExactConfig.of("lola", runs=2, updates=5, lr=1e308, policy="network")
    with pytest.raises(TrainingError, match="no longer finite"):
        train_exact(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert loqa("--lr", "1e308", "--policy", "network", *FEW, "--out", str(tmp_path / "b")) == 1
    assert "the run failed" in capsys.readouterr().err


def test_policies_of_another_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_policies(tmp_path)
