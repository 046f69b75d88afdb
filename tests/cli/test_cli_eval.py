"""`loqa eval` of the Coin Game, `loqa import`, `loqa exploit`: what they print, write and return."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from test_published import head_arrays, mfos_arrays, pola_arrays
from test_safe_pickle import Attack, nested

import loqa
from loqa.agents.published.arrays import load_published
from loqa.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as exit_:  # argparse
        code = int(exit_.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_eval_prints_a_table_and_writes_json_and_csv(tmp_path: Path, capsys) -> None:
    np.savez(tmp_path / "pola.npz", **pola_arrays())
    code, out, _ = run(capsys, "eval", tmp_path / "pola.npz", "--against", "ac", "ad",
                       "--episodes", 8, "--out", tmp_path / "results")  # fmt: skip
    assert code == 0
    for words in ("pola: coin_game", "against", "easy misses", "both", "95%"):
        assert words in out
    found = json.loads((tmp_path / "results" / "evaluation.json").read_text())
    assert [one["opponent"] for one in found] == ["always-cooperate", "always-defect"]
    assert found[0]["total"]["reward"][0].keys() == {"mean", "standard_error", "low", "high"}
    assert found[0]["total"]["discounted_return"][0]["low"] is not None
    text = (tmp_path / "results" / "evaluation.csv").read_text()
    assert [line["seat"] for line in csv.DictReader(text.splitlines())] == ["both", "0", "1"] * 2


def test_eval_of_seeds_as_json(capsys) -> None:
    code, out, _ = run(capsys, "eval", "0.1,1,0,1,0", "0.9,1,0,1,0", "--against", "tft",
                       "--episodes", 8, "--json")  # fmt: skip
    assert code == 0
    (found,) = json.loads(out)
    seeds = [one["total"]["reward"][0]["mean"] for one in found["seeds"]]
    assert found["total"]["reward"][0]["mean"] == pytest.approx(np.mean(seeds))


@pytest.mark.parametrize("kind", ["LOQA", "POLA", "M-FOS"])
def test_import(tmp_path: Path, capsys, kind: str) -> None:
    arrays = {
        "LOQA": {**head_arrays("actor_head/", 64, 6, 2), **head_arrays("qvalue_head/", 65, 5, 2)},
        "POLA": head_arrays("", 64, 6, 1),
        "M-FOS": mfos_arrays(),
    }[kind]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"agent": nested(arrays)}))
    target = tmp_path / "a.safetensors"
    code, out, _ = run(capsys, "import", tmp_path / "a.pkl", target)
    side = 3 if kind == "M-FOS" else 4
    assert (code, out) == (0, f"{target}: {kind} agent for a board of {side} x {side}\n")
    assert load_published(target).grid == (side, side)
    assert loqa.evaluate(target, "ad", episodes=4).total.episodes == 8


def test_import_refuses_and_writes_nothing(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.pkl").write_bytes(pickle.dumps(Attack()))
    Path("pola.pkl").write_bytes(pickle.dumps(nested(pola_arrays())))
    for arguments, message in (
        (["bad.pkl", "out.safetensors"], "bad.pkl cannot be imported"),
        (["none.pkl", "out.safetensors"], "does not exist"),
        (["pola.pkl", "out.safetensors", "--height", 4, "--width", 4], "not 4 planes of 4 x 4"),
        (["pola.pkl", "out.safetensors", "--height", 4], "must be given together"),
    ):
        code, _, err = run(capsys, "import", *arguments)
        assert code == 2
        assert message in err
    assert {path.name for path in tmp_path.iterdir()} == {"bad.pkl", "pola.pkl"}


def test_exploit_by_both_methods(tmp_path: Path, capsys) -> None:
    code, out, _ = run(capsys, "exploit", "random", "--method", "both", "--iterations", 2,
                       "--simulations", 2, "--episodes", 6, "--episode-length", 5,
                       "--out", tmp_path)  # fmt: skip
    assert code == 0
    for words in ("random: coin_game", "trained", "mcts", "self-play", "exploitability"):
        assert words in out
    found = json.loads((tmp_path / "exploitability.json").read_text())
    assert [one["method"] for one in found] == ["trained", "mcts"]
    for one in found:
        own = np.mean([each["mean"] for each in one["self_play"]["total"]["reward"]])
        best = one["response"]["total"]["reward"][0]["mean"]
        assert one["exploitability"]["mean"] == pytest.approx(best - own)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exploit", "tft", "--method", "mcts"], "Coin Game by the rules of loqa24 only"),
        (["exploit", "randon"], "did you mean 'random'"),
        (["exploit", "ac", "--iterations", "0"], "iterations"),
        # Before a response is trained:
        (["exploit", "ac", "--episodes", "1", "--iterations", "1000000"], "episodes must be"),
        (["exploit", "ac", "--num-threads", "0", "--iterations", "1000000"], "num_threads must be"),
        (["exploit", "ac", "--method", "guess"], "invalid choice: 'guess'"),
        (
            ["exploit", "ac", "--simulations", "3"],
            "--simulations has no effect with --method trained",
        ),
        (["exploit", "ac", "--method", "mcts", "--network", "gru"], "--network has no effect"),
        (["exploit", "ac", "--method", "mcts", "--iterations", "3"], "--iterations has no effect"),
        (["eval", "ac"], "--against"),
        (
            ["eval", "ac", "--against", "ad", "--episodes", "4", "--standard-error", "0.1"],
            "not both",
        ),
    ],
)
def test_wrong_usage(capsys, arguments: list[str], message: str) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
