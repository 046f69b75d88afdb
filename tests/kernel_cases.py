"""What the kernel tests share: every kernel as a call on the same three arrays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from loqa._native import core

Call = Callable[..., Tensor]
# How each kernel is called on (rewards, values, log-probabilities); the module is `ops` or `reference`.
CALLS: dict[str, Call] = {
    "discounted_returns": lambda m, r, v, p: m.discounted_returns(r, 0.96),
    "bootstrapped_returns": lambda m, r, v, p: m.discounted_returns(r, 0.96, v[-1]),
    "generalized_advantage": lambda m, r, v, p: m.generalized_advantage(r, v, 0.96, 0.9),
    "dice_weights": lambda m, r, v, p: m.dice_weights(p, 0.9),
    "loaded_dice_returns": lambda m, r, v, p: m.loaded_dice_returns(r, v, p, 0.96, 0.9),
    "loaded_dice_q_values": lambda m, r, v, p: m.loaded_dice_q_values(r, v, p, 0.96, 0.9),
}
WINDOWED: dict[str, Call] = {
    "n_step_returns": lambda m, r, v, p: m.n_step_returns(r, v, 0.96, min(3, len(r))),
    "n_step_dice_returns": lambda m, r, v, p: m.n_step_dice_returns(r, v, p, 0.96, 2, 0.3),
}
ALL = CALLS | WINDOWED
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(
            not (torch.cuda.is_available() and core.has_cuda), reason="no CUDA device or build"
        ),
    ),
]


def draw(
    steps: int, *shape: int, dtype: torch.dtype = torch.float64, seed: int = 0
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = (steps, steps + 1, steps)
    return [torch.randn(t, *shape, generator=generator, dtype=dtype) for t in sizes]
