"""Devices of the simulators' tests: a GPU where there is one, and a GPU's code run on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import loqa
from loqa._native import core
from loqa.envs import device as devices

needs_gpu = pytest.mark.skipif(
    not (torch.cuda.is_available() and core.has_cuda), reason="no CUDA device or build"
)
DEVICES = ["cuda-on-host", pytest.param("cuda", marks=needs_gpu)]
on_each_device = pytest.mark.parametrize("device", DEVICES)


def make(device: str, game: str, num_envs: int = 1, **settings: Any) -> Any:
    """`loqa.make` on a device; "cuda-on-host" runs what its threads do in a loop on the host."""
    before = devices.device_code_on_host
    devices.device_code_on_host = device == "cuda-on-host"
    try:
        where = "cuda" if device == "cuda" else "cpu"
        return loqa.make(game, num_envs, device=where, **settings)
    finally:
        devices.device_code_on_host = before


def random_actions(
    env: Any, *shape: int, seed: int = 0, dtype: torch.dtype = torch.uint8
) -> Tensor:
    """Actions [*shape, B, A] on the CPU."""
    random = np.random.default_rng(seed)
    shape = (*shape, env.num_envs, env.num_players)
    return torch.from_numpy(random.integers(0, env.num_actions, shape)).to(dtype)


def assert_same(ours: Any, theirs: Any) -> None:
    """Tensors, or several of them, equal bit for bit, the first on any device."""
    if isinstance(ours, Tensor):
        ours, theirs = [ours], [theirs]
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        ours, theirs = ours.values(), theirs.values()
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype
        assert torch.equal(mine.cpu(), other)
