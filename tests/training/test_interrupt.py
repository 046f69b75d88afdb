"""Ctrl-C inside native calls, and threads inside them when the interpreter ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
import torch

import loqa
from loqa import ops
from loqa.evaluation.tournament import random_memory1, tournament

THREADS = [1, 2]


class Interruption(Exception):
    """What the signal's handler raises."""


@contextmanager
def alarm_soon(handler: Callable[..., Any], seconds: float = 0.02) -> Iterator[None]:
    """A signal while the block runs; another each second, should what the handler raised be lost, as it is
    in a callback of the garbage collector."""
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def interrupt(*_: object) -> None:
    raise Interruption


def long_ipd(env: Any) -> None:
    env.rollout_memory1([[0.5] * 5] * 2, 300_000)


def long_given(env: Any) -> None:
    env.rollout(torch.zeros((1, 1, 1), dtype=torch.uint8).expand(300_000, env.num_envs, 2))


def long_scripted(env: Any) -> None:
    env.rollout_scripted(["always-defect", "always-cooperate"], 60_000)


def finished(env: Any) -> bool:
    """Whether a long rollout ran to its end: no state is half of one."""
    return bool((env.get_state()["t"] >= 60_000).all())


def states_equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize(
    ("game", "play"),
    [("ipd", long_ipd), ("ipd", long_given), ("coin_game", long_scripted)],
    ids=["memory1", "ipd given", "coin scripted"],
)
def test_an_interrupted_rollout_leaves_the_environment_as_it_was(
    game: str, play: Callable[[Any], None], threads: int
) -> None:
    settings = {"obs": "index"} if game == "ipd" else {"obs": "cells"}
    moves = np.zeros((5, 128, 2), np.uint8)
    for seconds in (0.02, 0.01, 0.005):  # sooner where the rollout was over before the signal
        env, twin = (
            loqa.make(game, num_envs=128, num_threads=threads, **settings) for _ in range(2)
        )
        for one in (env, twin):
            one.rollout(moves)
        with alarm_soon(interrupt, seconds), suppress(Interruption):
            play(env)
        if not finished(env):
            break
    else:
        pytest.fail("no signal came during the rollout")
    assert states_equal(env.get_state(), twin.get_state())
    for got, expected in zip(env.rollout(moves), twin.rollout(moves), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("threads", THREADS)
def test_a_tournament_of_hours_is_interrupted(threads: int) -> None:
    with alarm_soon(interrupt), pytest.raises(Interruption):
        tournament(random_memory1(60), turns=1_000_000, repeats=100, num_threads=threads)


def test_a_kernel_of_minutes_is_interrupted() -> None:
    rewards, values = torch.zeros(100_000, 64), torch.zeros(100_001, 64)
    with alarm_soon(interrupt), pytest.raises(Interruption):
        ops.n_step_returns(rewards, values, 0.9, 50_000)


@pytest.mark.parametrize("threads", THREADS)
def test_a_handler_that_returns_changes_nothing(threads: int) -> None:
    """It may call the core in turn, in the middle of the call that it interrupts."""
    machines = random_memory1(30)
    expected = tournament(machines, turns=2_000, repeats=100, num_threads=threads)
    seen = []

    def handler(*_: object) -> None:
        env = loqa.make("ipd", num_envs=50_000, num_threads=threads)
        seen.append(env.rollout(np.zeros((2, 50_000, 2), np.uint8))[1].sum().item())

    with alarm_soon(handler):
        got = tournament(machines, turns=2_000, repeats=100, num_threads=threads)
    assert set(seen) == {-2.0 * 50_000 * 2}  # once or, on a slow machine, more often
    assert np.array_equal(got.outcomes, expected.outcomes)


def test_calls_of_other_threads_go_on() -> None:
    machines = random_memory1(30)
    expected = tournament(machines, turns=2_000, repeats=100)
    got = []
    worker = threading.Thread(
        target=lambda: got.append(tournament(machines, turns=2_000, repeats=100))
    )
    worker.start()
    with alarm_soon(interrupt), pytest.raises(Interruption):
        tournament(random_memory1(60), turns=1_000_000, repeats=100)  # waits its turn
    worker.join()
    assert np.array_equal(got[0].outcomes, expected.outcomes)


DAEMONS = """
import threading, time, numpy as np, torch, loqa
from loqa.evaluation.tournament import random_memory1, tournament
env, scripted = (loqa.make("coin_game", num_envs=20000, num_threads=2) for _ in range(2))
moves = np.zeros((20, 20000, 2), np.uint8)
ipd = loqa.make("ipd", num_envs=20000, num_threads=2)
machines = random_memory1(20)
for work in (
    lambda: env.rollout(moves),
    lambda: scripted.rollout_scripted(["always-defect", "always-cooperate"], 20),
    lambda: ipd.rollout_memory1([[.5] * 5] * 2, 50),
    lambda: tournament(machines, turns=20, repeats=32),
):
    threading.Thread(target=lambda work=work: [work() for _ in iter(int, 1)], daemon=True).start()
time.sleep(0.3)
"""


def test_daemon_threads_in_native_calls_let_the_process_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DAEMONS], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_ends_a_process_in_a_native_call() -> None:
    code = (
        "from loqa.evaluation.tournament import random_memory1, tournament\n"
        "machines = random_memory1(60)\n"
        "print('now', flush=True)\n"
        "tournament(machines, turns=1_000_000, repeats=100)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
