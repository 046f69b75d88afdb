"""Sweeps, leagues and tournaments on a real Ray head with two workers of this machine."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import loqa
from loqa.agents.policy import PolicyError
from loqa.cli.main import main
from loqa.evaluation.tournament import random_memory1, tournament
from loqa.training.run_directory import RunDirectory

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
import kills

# Ray's own: sockets and processes that it leaves to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:::ray", "ignore::ResourceWarning",
                                        "ignore::pytest.PytestUnraisableExceptionWarning")  # fmt: skip
LAKE = """
import torch
import loqa


class Lake:
    def __init__(self, num_envs, seed, device):
        if num_envs == 4:
            raise LookupError("the lake is dry")
        self.num_envs, self.device = num_envs, torch.device(device)
        self.spec = loqa.EnvSpec("lake", num_players=2, num_actions=2, obs_shape=(1,), episode_length=3)

    def reset(self, seed=None):
        return torch.zeros(self.num_envs, 2, 1)

    def step(self, actions):
        over = torch.zeros(self.num_envs, dtype=torch.bool)
        return torch.zeros(self.num_envs, 2, 1), actions.float(), over, over
"""


@pytest.fixture(scope="module")
def head() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")  # or a token is written into the home directory
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield ray
        ray.shutdown()


def test_equal_results(head: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "sweep",
        "ipd",
        "--seed",
        "0..3",
        "--set",
        "iterations=3",
        "batch_size=4",
        "--engine",
    ]
    assert main([*command, "ray", "--out", str(tmp_path / "ray")]) == 0
    assert "4/4  finished" in capsys.readouterr().out
    assert main([*command, "local", "--out", str(tmp_path / "local")]) == 0
    names = [one.name for one in (tmp_path / "local").iterdir() if one.is_dir()]
    assert len(names) == 4
    for name in names:
        assert kills.difference(tmp_path / "ray" / name, tmp_path / "local" / name) == ""
    assert head.is_initialized()  # who was there before stays


def test_a_failed_run_is_named(
    head: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a user's own environment, which lies where the sweep is started."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dry_lake.py").write_text(LAKE)
    command = [
        "sweep",
        "dry_lake:Lake",
        "--set",
        "batch_size=2,4",
        "iterations=1",
        "evaluation_episodes=2",
    ]
    assert main([*command, "--engine", "ray", "--out", "out"]) == 1
    said = capsys.readouterr()
    assert "loqa: batch_size=4-seed0 failed: LookupError: the lake is dry" in said.err
    assert "2/2" in said.out
    assert (tmp_path / "out" / "batch_size=2-seed0" / "summary.json").exists()


def test_ctrl_c_saves_all_runs(head: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = {"batch_size": [4], "episode_length": [4], "log_every": [1], "iterations": [10**6]}

    def interrupt() -> None:
        end = time.monotonic() + 300
        while len(list(out.glob("*/metrics.jsonl"))) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    table = loqa.sweep(loqa.Grid("ipd", [0, 1], settings), out, engine="ray")
    thread.join()
    assert len(table.unfinished) == 2
    assert not table.failed
    for name in table.unfinished:
        assert RunDirectory(out / name).latest_checkpoint() is not None
        assert not list((out / name).glob(".*"))


class Moody(torch.nn.Module):
    """Cooperates with a probability of its own."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(share))

    def initial_state(self, batch_size: int) -> torch.Tensor:
        return torch.zeros(batch_size, 1)

    def step(self, obs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.share > 1:
            raise LookupError("no such share")
        return torch.stack([self.share, 1 - self.share]).log().expand(len(obs), 2), state


def test_league(head: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A user's policies are sent there; results are those of this process, bit for bit."""
    # As of a class in the user's own script: its module is nowhere else.
    pytest.importorskip("ray.cloudpickle").register_pickle_by_value(sys.modules[__name__])
    agents = {"moody": Moody(0.3), "kind": Moody(0.9), "tft": "tft"}
    here = loqa.league(agents, episodes=100, game="ipd")
    assert loqa.league(agents, episodes=100, game="ipd", engine="ray") == here
    command = ["league", "ac", "ad", "--episodes", "8", "--game", "ipd", "--engine", "ray"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "seatings.jsonl").read_text().count("\n") == 4
    capsys.readouterr()
    with pytest.raises(PolicyError, match="LookupError: no such share"):
        loqa.league({"ac": "ac", "broken": Moody(1.5)}, episodes=4, game="ipd", engine="ray")
    assert head.is_initialized()


def test_tournament(head: Any) -> None:
    """Numbers are those of this process, bit for bit; an interrupt frees the cores of the cluster."""
    pool = ["tit-for-tat", "evolved-fsm-4", *random_memory1(5)]
    here = tournament(pool, 50, 40, noise=0.01, seed=2)
    for num_threads in (None, 1, 5):
        there = tournament(pool, 50, 40, noise=0.01, seed=2, num_threads=num_threads, engine="ray")
        assert (there.outcomes == here.outcomes).all()
    threading.Timer(3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        tournament(random_memory1(60), turns=2**24, repeats=100, engine="ray")  # of hours
    end = time.monotonic() + 120
    while head.available_resources().get("CPU") != 2 and time.monotonic() < end:
        time.sleep(0.1)
    assert head.available_resources().get("CPU") == 2
