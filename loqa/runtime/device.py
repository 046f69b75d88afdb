"""Where a run takes place, and how it asks a GPU for numbers without waiting more often than it must."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from loqa._native import core

_NAMES = re.compile(r"cpu|cuda(:\d+)?")


def check_name(name: str) -> str:
    """`name`, or ValueError unless it is "cpu", "cuda" or "cuda:N"; whether it is here is not asked."""
    if not _NAMES.fullmatch(name):
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {name!r}")
    return name


def training_device(name: str) -> torch.device:
    """The device of a run, checked to be usable.

    "cuda" is torch's current GPU; under torchrun it is the one of the process's local rank.

    Raises:
        ValueError: it cannot be used; says why and what to do.
    """
    device = torch.device(check_name(name))
    if device.type == "cpu":
        return device
    if torch.version.cuda is None:
        raise ValueError(
            f"device {name!r} needs a torch with CUDA, this is {torch.__version__}: "
            "install one as pytorch.org says for your driver"
        )
    if not core.has_cuda:
        raise ValueError(
            f"device {name!r}: loqa's core was built without CUDA; install loqa again where nvcc is "
            "found (-Ccmake.define.LOQA_CUDA=ON says if it is not)"
        )
    if not torch.cuda.is_available():
        raise ValueError(
            f"device {name!r}: torch finds no NVIDIA GPU; `nvidia-smi` must list one, and its "
            f"driver must be new enough for CUDA {torch.version.cuda}"
        )
    numbered = ":" in name
    index = device.index if numbered else torch.cuda.current_device()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        if numbered:
            raise ValueError(f"several processes take a GPU each: give device 'cuda', not {name!r}")
        index = int(os.environ["LOCAL_RANK"])
    count = torch.cuda.device_count()
    if index >= count:
        there = "cuda:0 alone" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise ValueError(f"there is no device cuda:{index}: this machine has {there}")
    return torch.device("cuda", index)


@contextmanager
def current(device: torch.device) -> Iterator[None]:
    """Makes a GPU the one that torch's streams, events and graphs are of; nothing for the CPU."""
    if device.type == "cpu":
        yield
        return
    with torch.cuda.device(device):
        yield


def fetch(tensors: Sequence[Tensor]) -> list[list[float]]:
    """The numbers of each tensor, by one copy to the host for all of them."""
    flat = torch.cat([tensor.detach().reshape(-1).double() for tensor in tensors]).tolist()
    numbers = iter(flat)
    return [[next(numbers) for _ in range(tensor.numel())] for tensor in tensors]


class PhaseClock:
    """Seconds by phase. On a GPU what the GPU took, by events that nobody waits for until they are read.

    Args:
        device: where the work is.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type != "cpu"
        self._seconds: dict[str, float] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What is done inside belongs to phase `name`."""
        if self._on_gpu:
            start, end = (_event() for _ in range(2))
            start.record()
            yield
            end.record()
            self._events.append((name, start, end))
        else:
            started = time.perf_counter()
            yield
            self._add(name, time.perf_counter() - started)

    def take(self) -> dict[str, float]:
        """Seconds of each phase since the last call."""
        for name, start, end in self._events:
            end.synchronize()
            self._add(name, start.elapsed_time(end) / 1000)
        self._events.clear()
        taken, self._seconds = self._seconds, {}
        return taken

    def _add(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
