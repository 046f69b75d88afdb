"""Whether the package works on a GPU at all: some seconds, one line a check.

    python benchmarks/gpu/smoke.py [--device cuda] [--lines FILE]

Prints PASS or FAIL with the traceback for each check, at once, and goes on after a failure. Results
are compared with the CPU's. With `--device cpu` it rehearses where there is no GPU.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import loqa
from loqa import ops
from loqa.algos import registry as algorithms
from loqa.ops.gru import gru
from loqa.runtime.graphs import recorder_for
from loqa.training.config import CoinConfig, IPDConfig

HANGS_AFTER = 45.0  # seconds: then every thread's traceback is printed


def same_game(device: str, game: str, **settings: object) -> None:
    """Episodes by step and by rollout: bit for bit what the CPU gives."""
    envs = [loqa.make(game, 257, seed=1, device=where, **settings) for where in (device, "cpu")]
    actions = torch.randint(envs[0].num_actions, (9, 257, 2), dtype=torch.uint8)
    results = []
    for env in envs:
        given = actions.to(env.device)
        first = [env.reset(seed=3).cpu().clone()]
        stepped = [value.cpu().clone() for now in given for value in env.step(now)]
        env.reset(seed=5)
        rolled = [value.cpu() for value in env.rollout(given)]
        results.append(first + stepped + rolled)
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


def coin_game(device: str) -> None:
    same_game(device, "coin_game")
    same_game(device, "coin_game", obs="cells")
    same_game(device, "coin_game", obs_dtype=torch.uint8)


def matrix_game(device: str) -> None:
    same_game(device, "ipd")


def kernels(device: str) -> None:
    """Loaded DiCE and its gradient against float64 on the CPU."""
    rewards, values, log_probs = (torch.randn(t, 300, dtype=torch.float64) for t in (50, 51, 50))
    grads = []
    for where, dtype in ((device, torch.float32), ("cpu", torch.float64)):
        r, v, p = (x.to(where, dtype) for x in (rewards, values, log_probs))
        p.requires_grad_()
        q_values = ops.loaded_dice_q_values(r, v, p, 0.96, 0.9)
        (grad,) = torch.autograd.grad(q_values.square().sum(), p)
        grads.append(torch.stack([q_values.detach(), grad]).double().cpu())
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-3)


def recurrent(device: str) -> None:
    """The GRU over a sequence and its gradient against float64 on the CPU."""
    inputs, weight, bias = (
        torch.randn(size, dtype=torch.float64) / 4 for size in ((11, 33, 48), (48, 16), (16,))
    )
    results = []
    for where, dtype in ((device, torch.float32), ("cpu", torch.float64)):
        given = [x.to(where, dtype).requires_grad_() for x in (inputs, weight, bias)]
        states = gru(*given)
        grads = torch.autograd.grad(states.square().sum(), given)
        results.append([x.detach().double().cpu() for x in (states, *grads)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def graph(device: str) -> None:
    """A step recorded once and replayed goes on with new random numbers."""
    record = recorder_for(torch.device(device))
    if record is None:
        return
    env, plain = loqa.make("ipd", 64, noise=0.3, device=device), loqa.make("ipd", 64, noise=0.3)
    actions = torch.randint(2, (64, 2), dtype=torch.uint8)
    given = actions.to(device)
    env.reset(seed=2)
    plain.reset(seed=2)
    env.step(given)
    plain.step(actions)
    recording = record(lambda: env.step(given))
    for _ in range(3):
        recording.replay()
        expected = plain.step(actions)
        for ours, theirs in zip(recording.result, expected, strict=True):
            assert torch.equal(ours.cpu(), theirs)


def train_ipd(device: str) -> None:
    config = IPDConfig.of_preset(iterations=5, log_every=1, device=device)
    with tempfile.TemporaryDirectory() as folder:
        assert loqa.train(config, Path(folder) / "run")["iterations"] == 5


def train_coin(device: str) -> None:
    config = CoinConfig.of_preset(
        iterations=5, log_every=1, batch_size=64, opponents=4, evaluation_episodes=16, device=device
    )
    with tempfile.TemporaryDirectory() as folder:
        assert loqa.train(config, Path(folder) / "run")["iterations"] == 5


def trained(algo: str) -> Callable[[str], None]:
    """Two updates of an algorithm on the Coin Game, with recurrent networks."""
    own: dict[str, dict[str, Any]] = {
        "pola": {"outer_steps": 2},
        "mfos": {"meets": "naive", "inner_episodes": 2, "inner_epochs": 1},
    }

    def check(device: str) -> None:
        fields = {"meets": "self", **own.get(algo, {})}
        config = CoinConfig.of_preset(
            algo=algo, iterations=2, log_every=1, batch_size=16, actor_hidden=16, critic_hidden=16,
            evaluation_episodes=16, device=device, **fields,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            assert loqa.train(config, Path(folder) / "run")["iterations"] == 2

    check.__name__ = f"train_{algo}"
    return check


CHECKS: tuple[Callable[[str], None], ...] = (
    coin_game, matrix_game, kernels, recurrent, graph, train_ipd, train_coin,
    *map(trained, algorithms.names()),
)  # fmt: skip


def main(*arguments: str) -> int:
    """Runs every check; returns how many failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--lines", type=Path, help="a file that gets a line of JSON a check")
    options = parser.parse_args(arguments or None)
    failed = 0
    for check in CHECKS:
        started, error = time.perf_counter(), ""
        faulthandler.dump_traceback_later(HANGS_AFTER)
        try:
            check(options.device)
        except Exception:
            error = traceback.format_exc()
            failed += 1
        faulthandler.cancel_dump_traceback_later()
        seconds = round(time.perf_counter() - started, 2)
        print(
            "FAIL" if error else "PASS",
            check.__name__,
            f"{seconds} s\n{error}".rstrip(),
            flush=True,
        )
        if options.lines:
            line = {"case": check.__name__, "seconds": seconds, "error": error or None}
            with options.lines.open("a") as file:
                file.write(json.dumps(line) + "\n")
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
