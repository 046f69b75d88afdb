"""What the kernel tests share: every kernel as a call on the same three arrays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import loqa.gru
from loqa import _dice_ops, _kernel_ops
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


# Devices of the kernels; "threads" is the code of the GPU's threads, run on the host.
KERNEL_DEVICES = [*DEVICES, "threads"]


def use_device(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where arrays go for a device of `KERNEL_DEVICES`."""
    if name != "threads":
        return name

    def launch_kernel(kernel: str, steps: int, like: Tensor, *args: object) -> None:
        code, width = _kernel_ops._DTYPE_CODES[like.dtype], _kernel_ops._width(like)
        getattr(core, f"{kernel}_cuda")(code, *args, steps, width, 0)

    def launch_gru(which: int, like: Tensor, *args: int) -> None:
        loqa.gru._CUDA[like.dtype][which](*args, 0)

    core.emulate_cuda(True)
    monkeypatch.setattr(_kernel_ops, "_launch", launch_kernel)
    monkeypatch.setattr(_dice_ops, "_launch", launch_kernel)
    monkeypatch.setattr(loqa.gru, "_launch", launch_gru)
    return "cpu"


def draw(
    steps: int,
    *shape: int,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    device: str = "cpu",
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = (steps, steps + 1, steps)
    return [torch.randn(t, *shape, generator=generator, dtype=dtype).to(device) for t in sizes]
