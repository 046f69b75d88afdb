"""Every way in which planes are written: small and large boards, each type and instruction set, rollouts
that go past the cache, and what an environment costs in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import loqa
import loqa.reference
from loqa._native import core

BOARDS = [(1, 4), (2, 2), (3, 3), (2, 5), (4, 4), (3, 7), (8, 8), (9, 9), (40, 1)]


@pytest.mark.parametrize("isa", core.supported_isas())
@pytest.mark.parametrize("preset", ["loqa24", "pola22", "pax23"])
def test_boards(preset: str, isa: str) -> None:
    before = core.isa()
    core.set_isa(isa)
    try:
        for height, width in BOARDS:
            settings = {"preset": preset, "height": height, "width": width, "seed": height}
            actions = np.random.default_rng(width).integers(0, 4, (9, 67, 2))
            expected = loqa.reference.make("coin_game", 67, **settings).rollout(actions)
            for dtype in (torch.float32, torch.bfloat16, torch.uint8):
                env = loqa.make("coin_game", 67, obs_dtype=dtype, **settings)
                obs, rewards = env.rollout(actions)
                np.testing.assert_array_equal(obs.float().numpy(), expected[0])
                np.testing.assert_array_equal(rewards.numpy(), expected[1])
    finally:
        core.set_isa(before)


@pytest.mark.parametrize(
    "num_envs", [2048, 2047]
)  # rows that begin at a cache line, and that do not
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_large_rollouts(dtype: torch.dtype, num_envs: int) -> None:
    """More than the 4 MiB from which results are written past the cache."""
    steps = 12 if dtype == torch.float32 else 40
    env = loqa.make("coin_game", num_envs, obs_dtype=dtype)
    stepped = loqa.make("coin_game", num_envs, obs_dtype=dtype)
    actions = torch.randint(4, (steps, num_envs, 2), generator=torch.Generator().manual_seed(0))
    obs, rewards = env.rollout(actions)
    assert obs.nbytes > 4 << 20
    for t in range(steps):
        seen, paid, _, _ = stepped.step(actions[t])
        assert torch.equal(obs[t + 1], seen)
        assert torch.equal(rewards[t], paid)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts pages of Linux")
@pytest.mark.parametrize(
    "settings",
    [
        {"obs_dtype": torch.uint8},
        {"obs_dtype": torch.uint8, "num_players": 8, "width": 4},
        {"obs_dtype": torch.int16, "preset": "mfos22"},
    ],
    ids=["2 players", "8 players", "history"],
)
def test_memory_of_an_environment(settings: dict[str, Any]) -> None:
    """At most 64 bytes at any time beside the actions and the results, by reset, step and rollout."""
    program = f"""
import torch, loqa
def resident(line):  # of this program alone; ru_maxrss also counts whoever started it
    status = open('/proc/self/status').read()
    return 1024 * int(status.split(line + ':')[1].split()[0])
def used(num_envs):
    before = resident('VmRSS')
    env = loqa.make('coin_game', num_envs, obs='cells', **{settings})
    actions = torch.zeros((1, num_envs, env.num_players), dtype=torch.uint8)
    results = [actions, *env.step(actions[0]), *env.rollout(actions)]
    env.reset()
    return (resident('VmHWM') - before - sum(value.nbytes for value in results)) / num_envs
used(1000)
print(used(2**21))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert 20 < float(result.stdout) <= 64
