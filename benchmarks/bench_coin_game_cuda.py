"""The Coin Game on a GPU, 3 x 3, two players, actions given: environment steps per second.

    pytest benchmarks/bench_coin_game_cuda.py --benchmark-json=gpu.json
    pytest benchmarks/bench_coin_game_cuda.py --benchmark-disable       checks the results only

`step` is a CUDA graph of some steps, replayed; `rollout` one call of as many, which keeps every
observation. Each timed call ends with a synchronisation. Beside the steps per second stand the bytes
that a step must read and write, and their share of what copying moves on the same GPU. JAX (a scan of
the same rules, float32 planes) is skipped where it has no GPU. Results are checked against the CPU
before they are timed. Without a GPU everything is skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import bench_coin_game
import coin_peers
import pytest
import torch

import loqa
from loqa._native import core

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX leaves torch some memory

pytestmark = pytest.mark.skipif(
    not (torch.cuda.is_available() and core.has_cuda), reason="no CUDA device or build"
)
BATCHES = (16_777_216, 1_048_576, 65_536, 4096)  # what matters most first
STEPS = 50
MOST = 2**26  # environment steps of one call
CHECKED = 64  # environments compared with the CPU, at each end of the batch
STATE_BYTES = 7  # rows and columns of two players and a coin, and its owner
COPIED = 2**30  # bytes


def steps_of(num_envs: int) -> int:
    return min(STEPS, MOST // num_envs)


def bytes_of_step(env: Any, call: str, steps: int) -> float:
    """What one step of one environment reads and writes: results, actions, and its state."""
    results = env._obs[0].nbytes + env._rewards[0].nbytes
    actions = env.num_players
    state = 2 * (STATE_BYTES + 4) + 4  # in and out, with t; the episode in
    if call == "step":
        return results + actions + state + 1  # truncated
    return results * (1 + 1 / steps) + actions + state / steps


def need(size: float) -> None:
    """Skips where the GPU has no room."""
    free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()
    if size > 0.9 * free:
        pytest.skip(f"needs {size / 2**30:.1f} GiB, the GPU has {free / 2**30:.1f} free")


def check(env: Any, actions: torch.Tensor, settings: dict[str, Any]) -> None:
    """The first and the last environments against the CPU, by rollout and by step."""
    few = min(env.num_envs, CHECKED)
    for first in (0, env.num_envs - few):
        plain = loqa.make("coin_game", few, first_env=first, **settings)
        plain.reset(seed=0)
        env.reset(seed=0)
        part = slice(first, first + few)
        for ours, theirs in zip(
            (*env.rollout(actions[:1]), *(value[None] for value in env.step(actions[0]))),
            (
                *plain.rollout(actions[:1, part].cpu()),
                *(value[None] for value in plain.step(actions[0, part].cpu())),
            ),
            strict=True,
        ):
            assert torch.equal(ours[:, part].cpu(), theirs)


@pytest.fixture(scope="module")
def copied_per_second() -> float:
    """Bytes read and written per second by torch's copy, the median of ten."""
    source = torch.zeros(COPIED, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = []
    for _ in range(12):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        target.copy_(source)
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return 2 * COPIED / sorted(times[2:])[5]


@pytest.mark.parametrize("obs", bench_coin_game.OBS)
@pytest.mark.parametrize("call", ["rollout", "step"])
@pytest.mark.parametrize("num_envs", BATCHES)
def test_cuda_loqa(
    timed: Callable[..., None],
    benchmark: Any,
    copied_per_second: float,
    call: str,
    obs: str,
    num_envs: int,
) -> None:
    settings = bench_coin_game.OBS[obs]
    steps = steps_of(num_envs)
    size = loqa.make("coin_game", 1, **settings)._obs.nbytes + 8
    need(num_envs * (size * (steps + 4) + 64.0))
    torch.cuda.empty_cache()
    env = loqa.make("coin_game", num_envs, device="cuda", **settings)
    generator = torch.Generator("cuda").manual_seed(0)
    actions = torch.randint(
        4, (steps, num_envs, 2), generator=generator, dtype=torch.uint8, device="cuda"
    )
    check(env, actions, settings)
    rest = bench_coin_game.about("loqa-cuda", call, obs, num_envs)
    moved = bytes_of_step(env, call, steps)
    run: Callable[[], object]
    if call == "rollout":

        def run() -> None:
            env.rollout(actions)
            torch.cuda.synchronize()

    else:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for now in actions:
                env.step(now)

        def run() -> None:
            graph.replay()
            torch.cuda.synchronize()

    timed(run, steps * num_envs, gpu=torch.cuda.get_device_name(), bytes_per_step=moved, **rest)
    if "env_steps_per_second" in benchmark.extra_info:
        rate = benchmark.extra_info["env_steps_per_second"] * moved
        benchmark.extra_info.update(
            bytes_per_second=rate,
            copied_per_second=copied_per_second,
            share_of_copy=rate / copied_per_second,
        )


@pytest.mark.parametrize("call", ["rollout", "step"])
@pytest.mark.parametrize("num_envs", BATCHES)
def test_cuda_jax(timed: Callable[..., None], call: str, num_envs: int) -> None:
    jax = pytest.importorskip("jax", reason="jax is not installed")
    if jax.default_backend() != "gpu":
        pytest.skip("jax has no GPU here")
    steps = steps_of(num_envs)
    torch.cuda.empty_cache()
    need(num_envs * 296.0 * (steps + 4))
    bench_coin_game.check_peer(
        coin_peers.JaxCoinGame(CHECKED), bench_coin_game.random_actions(3, CHECKED)
    )
    peer = coin_peers.JaxCoinGame(num_envs)
    given = jax.device_put(bench_coin_game.random_actions(steps, num_envs))
    moves = list(given)
    rest = bench_coin_game.about("jax-cuda", call, "float32", num_envs)

    def run() -> None:
        for now in moves:
            peer.step(now)

    function = (lambda: peer.rollout(given)) if call == "rollout" else run
    timed(function, steps * num_envs, gpu=torch.cuda.get_device_name(), **rest)
