"""Torch as it is when nobody has set anything: what a caller's settings must not change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def own_modes() -> Iterator[None]:
    """Torch as it starts up in this thread: gradients, no inference mode, no autocast, and the CPU for
    new tensors."""
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu"),
    ):
        yield
