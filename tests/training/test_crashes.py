"""Runs that die at any moment go on bit for bit; damaged files are named, and how to go on."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from loqa import CoinConfig, IPDConfig, load_agent, resume, train
from loqa.cli.main import main
from loqa.storage.files import locked
from loqa.storage.reading import FileError
from loqa.training import replay
from loqa.training.checkpoint import load_checkpoint, save_checkpoint
from loqa.training.run_directory import RunDirectory
from loqa.training.run_names import run_name
from loqa.training.train import TrainingError

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
import kills

TINY = {"batch_size": 4, "episode_length": 4, "actor_hidden": 3, "critic_hidden": 3,
        "log_every": 1}  # fmt: skip
COIN = {"opponents": 2, "evaluation_episodes": 4, "evaluate_every": 5, "replay_every": 1,
        "replay_capacity": 3, "checkpoint_every": 7}  # fmt: skip


def coin(**fields: Any) -> CoinConfig:
    return CoinConfig.of_preset(**{**TINY, **COIN, "iterations": 21, **fields})


def ipd(**fields: Any) -> IPDConfig:
    return IPDConfig.of_preset(**{**TINY, "iterations": 8, "checkpoint_every": 2, **fields})


class Killed(BaseException):
    """The process is no more."""


class Death:
    """Ends everything at the n-th call that changes a file; from then on nothing can be changed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.at, self.calls = at, 0
        for place, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"),
                            (Path, "rmdir"), (Path, "open"), (shutil, "rmtree")):  # fmt: skip
            monkeypatch.setattr(place, name, self._mortal(getattr(place, name)))

    def _mortal(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls >= self.at:
                raise Killed
            return function(*args, **kwargs)

        return call


def test_every_moment_to_die_in_is_one_to_go_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of 4 agents, places for 3, 7 agents a checkpoint: each checkpoint needs other blocks."""
    monkeypatch.setattr(replay, "_BLOCK", 4)
    config = coin(iterations=14)
    train(config, tmp_path / "whole")
    at, finished = 1, False
    while not finished:
        out = tmp_path / f"{at}"
        with monkeypatch.context() as patch:
            death = Death(patch, at)
            try:
                train(config, out)
                finished = True
            except Killed:
                pass
        if RunDirectory(out).config_file.exists():
            resume(out)
        else:
            train(config, out)
        assert kills.difference(out, tmp_path / "whole") == "", f"died at {at}"
        assert list(out.rglob(".*")) == []
        shutil.rmtree(out)
        at += 1
    assert death.calls > 30


def test_killed_runs_go_on(tmp_path: Path) -> None:
    """SIGKILL, a few times; tests/fuzz/kills.py does it more often."""
    for name, config in kills.configurations().items():
        (tmp_path / name).mkdir()
        assert kills.check(config, tmp_path / name, 5, random.Random(0)) == ""


# --- two at once


def test_a_run_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = []

    def second(line: dict[str, Any]) -> None:
        if line["iteration"] == 5:
            refused.append(main(["resume", str(tmp_path / "run")]))
            refused.append(main(["train", "ipd", "--out", str(tmp_path / "run")]))

    train(ipd(), tmp_path / "run", second)
    assert refused == [2, 2]
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("loqa: error")]
    assert len(said) == 2
    assert all(f"{tmp_path / 'run'} is in use: process {os.getpid()}" in line for line in said)
    lines = RunDirectory(tmp_path / "run").metrics()
    assert [line["iteration"] for line in lines] == list(range(1, 9))


@pytest.mark.parametrize(
    "command",
    [
        ["eval", "tft", "--against", "ad", "--game", "ipd", "--episodes", "2"],
        ["exploit", "tft", "--game", "ipd", "--iterations", "1", "--episodes", "2"],
        ["league", "tft", "ad", "--game", "ipd", "--episodes", "4"],
    ],
    ids=lambda command: command[0],
)
def test_a_folder_of_results_in_use_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    with locked(tmp_path, "league"):
        assert main([*command, "--out", str(tmp_path)]) == 2
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock"]
    said = capsys.readouterr()
    who = f"process {os.getpid()} on {socket.gethostname()} writes this league"
    assert said.err == (f"loqa: error: {tmp_path} is in use: {who}; wait for its end, or stop it\n")
    assert said.out == ""
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert not (tmp_path / ".lock").exists()


def test_runs_without_a_name_never_share_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    free = RunDirectory.unused(run_name(ipd()))

    # Another process takes the name between the look and the making.
    monkeypatch.setattr(RunDirectory, "unused", lambda config: names.pop())
    names = [Path("runs/other"), free]
    free.mkdir(parents=True)
    assert train(ipd())["out"] == "runs/other"
    assert list(free.iterdir()) == []


# --- full disks and full memory


def test_a_limit_of_file_sizes_ends_a_run_with_a_sentence(tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from loqa.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))\n"  # config.json fits
        "sys.exit(main(['train', 'ipd', '--iterations', '4', '--batch-size', '4', '--checkpoint-every',"
        "'2', '--actor', 'gru', '--out', sys.argv[1]]))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "run"], capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("loqa: the run failed: cannot write ")
    assert last.endswith("File too large; the last checkpoint is none")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_a_lack_of_memory_leaves_no_empty_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(config: IPDConfig, processes: object) -> None:
        raise error

    monkeypatch.setattr(sys.modules["loqa.training.train"], "Trainer", fail)
    with pytest.raises(TrainingError, match=r"cpu is out of memory .*: lower one of --batch-size"):
        train(ipd(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# --- damage


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_damaged_newest_checkpoint_names_the_good_one(tmp_path: Path) -> None:
    for name in ("run", "whole"):
        train(ipd(), tmp_path / name)
    run = RunDirectory(tmp_path / "run")
    for iteration in (8, 6):
        _damage(run.checkpoint_file(iteration))
    with pytest.raises(FileError) as caught:
        resume(run.path)
    said = str(caught.value)
    assert said.startswith(
        f"{run.checkpoint_file(8)} is not a readable checkpoint of loqa: checksum: "
    )
    assert (
        f"the newest good checkpoint is {run.checkpoint_file(4)}: to go on from it, delete "
        f"{run.checkpoint_file(8)}, {run.checkpoint_file(6)} and run `loqa resume {run.path}` again"
    ) in said
    for iteration in (8, 6):
        run.checkpoint_file(iteration).unlink()
    resume(run.path)
    assert kills.difference(run.path, tmp_path / "whole") == ""


def test_a_damaged_block_names_a_checkpoint_that_can_do_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_BLOCK", 4)
    train(coin(), tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    newest = max((run.path / "replay").iterdir())
    _damage(newest)
    with pytest.raises(FileError, match=f"{newest.name} is damaged: checksum.*newest good checkpoint"
                                        f" is {run.checkpoint_file(14)}"):  # fmt: skip
        resume(run.path)
    newest.unlink()
    with pytest.raises(FileError, match=f"{newest.name} is missing.*newest good checkpoint"):
        resume(run.path)


def test_a_changed_configuration_is_refused(tmp_path: Path) -> None:
    train(ipd(), tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    written = json.loads(run.config_file.read_text())
    run.config_file.write_text(json.dumps({**written, "gamma": 0.5, "payoff": [-1, -3, 0, -1]}))
    with pytest.raises(FileError, match=r"config.json was changed: .*payoff \(-1.0, -3.0, 0.0, -1.0\) "
                                        r"\(the .*\), gamma 0.5 \(the checkpoint: 0.9"):  # fmt: skip
        resume(run.path)
    run.config_file.write_text(json.dumps({**written, "iterations": 10, "log_every": 2}))
    assert resume(run.path)["iterations"] == 10


def test_a_checkpoint_takes_no_more_memory_than_it_has(tmp_path: Path) -> None:
    """A configuration of 65,536 units asks for 50 GB; the file holds three."""
    train(ipd(actor="gru", critic="gru"), tmp_path / "run")
    state = load_checkpoint(RunDirectory(tmp_path / "run").checkpoint_file(8))
    before = load_agent(tmp_path / "run").state_dict()
    assert all(torch.equal(value, state["trainer"]["learner"]["agent"][name])
               for name, value in before.items())  # fmt: skip
    state["config"]["actor_hidden"] = state["config"]["critic_hidden"] = 65_536
    save_checkpoint(tmp_path / "big.safetensors", state)
    with pytest.raises(
        FileError, match=r"of a training run: .*expected float32 or float16 \[.*(65536|196608).*got"
    ):
        load_agent(tmp_path / "big.safetensors")
