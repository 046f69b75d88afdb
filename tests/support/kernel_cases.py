"""What the kernel tests share: every kernel as a call on the same three arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from loqa._native import core
from loqa.ops import register

Call = Callable[..., Tensor]


def ends(like: Tensor) -> tuple[Tensor, Tensor]:
    """(terminated, truncated), several of each and of both in every few steps."""
    number = torch.arange(like.numel(), device=like.device).reshape(like.shape)
    mixed = (7 * number + 5 * (number // 3)) % 11
    return mixed < 2, (mixed > 0) & (mixed < 4)


# How each kernel is called on (rewards, values, log-probabilities); the module is `ops` or `reference`.
CALLS: dict[str, Call] = {
    "discounted_returns": lambda m, r, v, p: m.discounted_returns(r, 0.96),
    "bootstrapped_returns": lambda m, r, v, p: m.discounted_returns(r, 0.96, v[-1]),
    "generalized_advantage": lambda m, r, v, p: m.generalized_advantage(r, v, 0.96, 0.9),
    "dice_weights": lambda m, r, v, p: m.dice_weights(p, 0.9),
    "loaded_dice_returns": lambda m, r, v, p: m.loaded_dice_returns(r, v, p, 0.96, 0.9),
    "loaded_dice_q_values": lambda m, r, v, p: m.loaded_dice_q_values(r, v, p, 0.96, 0.9),
    # The same over several episodes.
    "ended_returns": lambda m, r, v, p: m.discounted_returns(r, 0.96, None, *ends(r)),
    "ended_bootstrapped": lambda m, r, v, p: m.discounted_returns(r, 0.96, v[-1], *ends(r)),
    "ended_advantage": lambda m, r, v, p: m.generalized_advantage(r, v, 0.96, 0.9, *ends(r)),
    "ended_dice_weights": lambda m, r, v, p: m.dice_weights(p, 0.9, *ends(p)),
    "ended_dice_returns": lambda m, r, v, p: m.loaded_dice_returns(r, v, p, 0.96, 0.9, *ends(r)),
    "ended_q_values": lambda m, r, v, p: m.loaded_dice_q_values(
        r, v, p, 0.96, 0.9, False, *ends(r)
    ),
}
WINDOWED: dict[str, Call] = {
    "n_step_returns": lambda m, r, v, p: m.n_step_returns(r, v, 0.96, min(3, len(r))),
    "n_step_dice_returns": lambda m, r, v, p: m.n_step_dice_returns(r, v, p, 0.96, 2, 0.3),
    "ended_n_step": lambda m, r, v, p: m.n_step_returns(r, v, 0.96, min(3, len(r)), *ends(r)),
    "ended_n_step_dice": lambda m, r, v, p: m.n_step_dice_returns(
        r, v, p, 0.96, min(4, len(r)), 0.3, *ends(r)
    ),
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

    def run_kernel(kernel: str, like: Tensor, *numbers: object) -> None:
        getattr(core, f"{kernel}_cuda")(*numbers, 0)

    core.emulate_cuda(True)
    monkeypatch.setattr(register, "run", run_kernel)
    return "cpu"


def draw(
    steps: int,
    *shape: int,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    device: str = "cpu",
) -> list[Tensor]:
    generator = torch.Generator("cpu").manual_seed(seed)
    sizes = (steps, steps + 1, steps)
    new = partial(torch.randn, generator=generator, dtype=dtype, device="cpu")
    return [new(t, *shape).to(device) for t in sizes]
