"""Signals that end a run: nothing that was done is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import loqa
from loqa.training import checkpoint
from loqa.training.stopping import SIGNALS, StopRequest

LONG = ["train", "ipd", "--batch-size", "8", "--iterations", "1000000", "--log-every", "5",
        "--checkpoint-every", "1000000"]  # fmt: skip


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "loqa", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_lines(run: Path) -> None:
    metrics = run / "metrics.jsonl"
    for _ in range(6000):  # five minutes, on a busy machine
        if metrics.exists() and metrics.stat().st_size:
            return
        time.sleep(0.05)
    raise AssertionError(f"no line in {metrics}")


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_is_a_request(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    number = signal.Signals[name]
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.requested
        for _ in range(3):  # impatience changes nothing
            signal.raise_signal(number)
        assert stop.requested
    assert signal.getsignal(number) is before
    said = capfd.readouterr().err
    assert said.count("saving after this iteration") == 3
    assert ("Ctrl-C" if name == "SIGINT" else name) in said


def test_ignored_signals_stay_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As nohup and `&` in a script leave them."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (1, 2)}
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGINT)
            assert not stop.requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_handlers_of_the_program_stay() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: seen.append(number))
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGUSR2)
            assert (stop.requested, seen) == (False, [signal.SIGUSR2])
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_other_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def look() -> None:
        with StopRequest():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGUSR1"])
def test_a_run_that_is_told_twice_saves_its_last_iteration(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    process = start(*LONG, "--out", run)
    wait_for_lines(run)
    os.kill(process.pid, signal.Signals[name])
    os.kill(process.pid, signal.Signals[name])
    out, errors = process.communicate()
    assert process.returncode == 130
    assert "saving after this iteration" in errors
    assert "Traceback" not in errors
    assert f"Interrupted and saved. Go on with: loqa resume {run}" in out
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert summary["status"] == "interrupted"
    [saved] = (run / "checkpoints").glob("*.safetensors")
    state = checkpoint.load_checkpoint(saved)
    assert state["trainer"]["iteration"] == summary["iterations"] >= 5


def test_training_goes_on_when_nobody_reads(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(
        *["train", "ipd", "--batch-size", "8", "--iterations", "60", "--log-every", "1"],
        *["--checkpoint-every", "1000", "--out", run],
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("loqa train ipd")
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait() == 0
    assert len((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 60
    assert (run / "checkpoints" / "iteration_00000060.safetensors").exists()
    assert (run / "figures" / "reward.png").exists()


def test_a_report_that_fails_ends_the_run_after_saving(tmp_path: Path) -> None:
    def report(line: dict[str, object]) -> None:
        if line["iteration"] == 3:
            raise BrokenPipeError("nobody reads")

    config = loqa.IPDConfig(batch_size=8, iterations=10, log_every=1)
    with pytest.raises(BrokenPipeError):
        loqa.train(config, tmp_path / "run", report)
    saved = tmp_path / "run" / "checkpoints" / "iteration_00000003.safetensors"
    assert saved.exists()
    assert loqa.resume(tmp_path / "run")["iterations"] == 10
