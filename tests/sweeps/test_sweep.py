"""Sweeps in processes: what they write, that they go on, what a failed or interrupted one leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import loqa
from loqa.cli.main import main
from loqa.sweeps import sweep as sweeps
from loqa.sweeps.work import Task, work
from loqa.training.run_directory import RunDirectory

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
import kills

TINY = {"batch_size": 4, "episode_length": 4, "log_every": 1}
LONG = {**TINY, "iterations": 500}
TWO = loqa.Grid("ipd", [0, 1], {name: [value] for name, value in LONG.items()})
OWN = """
import os, signal
from own_envs import TorchEnv

def fails(num_envs, seed, device):
    env = TorchEnv(num_envs, seed, device)
    if os.path.exists("broken") and num_envs > 1:
        if open("broken").read() == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise LookupError("the lake is dry")
    return env
"""


def options(settings: dict[str, Any]) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def names(path: Path) -> list[str]:
    return sorted(one.name for one in path.iterdir() if one.is_dir())


def test_a_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["sweep", "ipd", "--seed", "0..2", "--set", "temperature=3,26", "--workers", "2",
               *options({**TINY, "iterations": 3}), "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "6/6  finished" in said
    assert re.search(r"softmax_temperature 26 +3 +-1\.\d+ \[", said)
    assert len(names(tmp_path / "out")) == 6
    config = loqa.IPDConfig.of_preset(seed=1, softmax_temperature=26, iterations=3, **TINY)
    loqa.train(config, tmp_path / "alone")
    (same,) = (name for name in names(tmp_path / "out") if "=26" in name and "seed1" in name)
    assert kills.difference(tmp_path / "out" / same, tmp_path / "alone") == ""

    table = json.loads((tmp_path / "out" / "table.json").read_text())
    rows = table["settings"]["rows"]
    assert [row["label"] for row in rows] == ["softmax_temperature 3", "softmax_temperature 26"]
    assert [len(row["measures"]["self_play"]["values"]) for row in rows] == [3, 3]
    summary = json.loads((tmp_path / "alone" / "summary.json").read_text())
    assert rows[1]["measures"]["self_play"]["values"][1] == pytest.approx(
        sum(summary["self_play"]) / 2
    )
    assert rows[1]["counts"]["strategy"] == {summary["strategy"]: 3}

    # Again: nothing is left to do. With other options: refused.
    monkeypatch.setattr(sweeps, "_engine", lambda *_: pytest.fail("nothing was to be done"))
    assert main(command) == 0
    capsys.readouterr()
    assert main([*command, "--set", "actor=mlp"]) == 2
    error = capsys.readouterr().err
    assert "holds another sweep: of its 6 runs 6 are not of this one" in error
    assert "give another --out" in error
    assert main([*command[:-1], str(tmp_path)]) == 2
    assert f"{tmp_path} is not empty and holds no sweep" in capsys.readouterr().err


def test_wrong_usage_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["--set", "temprature=3"], "did you mean 'softmax_temperature'?"),
        (["--set", "iterations=x"], "iterations must be int, got 'x'"),
        (["--seed", "5..1"], "seeds are written as 0..9"),
        (["--workers", "0"], "workers must be an integer in [1, 10000], got 0"),
    ):
        assert main(["sweep", "ipd", *words, "--out", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_strata(tmp_path: Path) -> None:
    """Where several fields vary, each has rows over the settings of the others."""
    grid = loqa.Grid(
        "ipd", [0, 1], {"batch_size": [2, 4], "actor": ["mlp", "logits"], "iterations": [1]}
    )
    table = loqa.sweep(grid, tmp_path / "out", workers=1)
    assert len(table.settings.rows) == 4
    assert [row.label for row in table.fields["actor"].rows] == ["actor mlp", "actor logits"]
    assert [len(row.runs) for row in table.fields["batch_size"].rows] == [4, 4]
    assert table.fields["actor"].improvement["self_play"][0][0].value == 0.5
    assert not table.failed
    assert not table.unfinished


@pytest.mark.parametrize(
    ("how", "error"),
    [("raise", "LookupError: the lake is dry"), ("kill", "its process ended: killed by SIGKILL")],
)
def test_a_failed_run_is_named_and_the_others_go_on(
    how: str,
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lake.py").write_text(OWN)
    command = ["sweep", "lake:fails", "--set", "batch-size=1,4", "--set", "iterations=2", "--workers", "1",
               *options({"evaluation_episodes": 1, "actor": "mlp"}), "--out", "out"]  # fmt: skip
    (tmp_path / "broken").write_text(how)
    assert main(command) == 1
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert "batch_size=4" in line
    assert error in line
    assert "2/2  failed" in said.out
    assert "1/2  finished" in said.out
    (tmp_path / "broken").unlink()
    assert main(command) == 0
    assert "2/2  finished" in capsys.readouterr().out


def begun(out: Path) -> subprocess.Popen[str]:
    """A sweep of two runs in a process of its own, when both have learned a little."""
    command = [
        "sweep",
        "ipd",
        "--seed",
        "0..1",
        *options(LONG),
        "--workers",
        "2",
        "--out",
        str(out),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "loqa", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: len(lines(out)) == 2 and all(lines(out)), process)
    return process


def lines(out: Path) -> list[int]:
    """How many lines of metrics each run has."""
    return [file.read_text().count("\n") for file in out.glob("*/metrics.jsonl")]


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + 300
    while not true():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.01)


def held(out: Path) -> bool:
    """Whether a process writes a run."""
    return any(out.glob("*/.lock"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    path = tmp_path_factory.mktemp("whole") / "run"
    loqa.train(loqa.IPDConfig.of_preset(seed=1, **LONG), path)
    return path


@pytest.mark.parametrize("everybody", [True, False], ids=["the terminal", "the sweep alone"])
def test_ctrl_c_saves_all_runs(everybody: bool, tmp_path: Path, whole: Path) -> None:
    """A terminal sends it to all of its processes, `kill -INT` to one."""
    out = tmp_path / "out"
    process = begun(out)
    (os.killpg if everybody else os.kill)(process.pid, signal.SIGINT)
    said, error = process.communicate()
    assert process.returncode == 130, error
    assert error.count("Ctrl-C: saving") == 1
    assert "Interrupted and saved, 2 runs to go" in said
    assert not held(out)
    for name in names(out):
        assert RunDirectory(out / name).latest_checkpoint() is not None
        assert RunDirectory(out / name).metrics()[-1]["iteration"] < 500
    if not everybody:  # from here on it is the same
        return
    table = loqa.sweep(TWO, out)
    assert not table.unfinished
    assert kills.difference(out / table.settings.rows[0].runs[1], whole) == ""


def test_a_killed_sweep_leaves_runs_that_go_on(tmp_path: Path, whole: Path) -> None:
    """Its processes see that it is no more, save and end."""
    out = tmp_path / "out"
    process = begun(out)
    process.kill()
    process.communicate()
    wait_until(lambda: not held(out))
    assert all(RunDirectory(out / name).latest_checkpoint() for name in names(out))
    table = loqa.sweep(TWO, out)
    assert kills.difference(out / table.settings.rows[0].runs[1], whole) == ""


def test_a_changed_run_is_refused(tmp_path: Path) -> None:
    """Whoever trained a run of it for longer has another sweep."""
    grid = loqa.Grid("ipd", [0], {"iterations": [2], "batch_size": [4]})
    (name,) = loqa.sweep(grid, tmp_path / "out").settings.rows[0].runs
    run = RunDirectory(tmp_path / "out" / name)
    run.summary_file.unlink()
    run.write_config(run.config().replace(iterations=5))
    table = loqa.sweep(grid, tmp_path / "out")
    assert "was changed: it is iterations 5, the sweep's is iterations 2" in table.failed[name]


def test_a_time_limit_is_of_the_whole_run(tmp_path: Path) -> None:
    """One that was stopped goes on for what is left of it; one that met it has ended."""
    settings = {"iterations": [10**6], "time_limit": [0.2], "batch_size": [4], "log_every": [1]}
    grid = loqa.Grid("ipd", [0], settings)
    path = tmp_path / "out" / "ipd-loqa-seed0"
    loqa.sweep(grid, tmp_path / "out")
    ended = json.loads((path / "summary.json").read_text())
    assert ended["status"] == "time limit"
    (row,) = loqa.sweep(grid, tmp_path / "out").settings.rows
    assert row.measures["seconds"].values == (ended["seconds"],)  # nothing was done

    (path / "summary.json").unlink()  # as if it had been killed just before its end
    (config,) = grid
    task = Task(str(path), {"game": "ipd", **config.to_dict()})
    assert work(asdict(task)) == {"status": "time limit", "error": ""}
    again = json.loads((path / "summary.json").read_text())
    assert again["iterations"] == ended["iterations"] + 1


def test_python_takes_any_configurations(tmp_path: Path) -> None:
    configs = [
        loqa.IPDConfig.of_preset(algo=algo, iterations=1, batch_size=4)
        for algo in ("loqa", "naive")
    ]
    told = []
    table = loqa.sweep(configs, tmp_path / "out", report=lambda *said: told.append(said[2:]))
    assert told == [(1, 2), (2, 2)]
    assert [row.label for row in table.settings.rows] == ["algo loqa", "algo naive"]
    assert table.fields == {}
    with pytest.raises(
        ValueError, match="engine must be one of local, ray, got 'rey'; did you mean 'ray'"
    ):
        loqa.sweep(configs, tmp_path / "other", engine="rey")
