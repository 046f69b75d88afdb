"""Result buffers that are used again as soon as nobody looks at them."""

from __future__ import annotations

import math
import weakref

import numpy as np
import torch
from torch import Tensor

# Two results are alive in `result = env.rollout(...)`: the old one is dropped after the new one is made.
_KEPT = 4


# Bytes of a cache line: vectors that straddle two are stored at half the speed.
_LINE = 64


def _aligned(size: int) -> np.ndarray:
    memory = np.empty(size + _LINE - 1, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + size]


class BufferPool:
    """Uninitialised CPU tensors whose memory returns here when the last view of it dies.

    A fresh allocation of a large result costs more in page faults than the simulator takes to fill
    it. A tensor from the pool is nobody else's: it is only handed out again after every tensor and
    array that shares its memory has been collected.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = {}
        self._lent: dict[int, tuple[weakref.ref[np.ndarray], np.ndarray]] = {}

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor of this shape and type with undefined contents."""
        size = math.prod(shape) * dtype.itemsize
        if size == 0:
            return torch.empty(shape, dtype=dtype)
        free = self._free.setdefault(size, [])
        memory = free.pop() if free else _aligned(size)
        lent = memory.view()  # kept alive by the tensor's storage, so by every view of it
        key = id(lent)

        def take_back(_: object) -> None:
            _, returned = self._lent.pop(key)
            if len(free) < _KEPT:
                free.append(returned)

        self._lent[key] = (weakref.ref(lent, take_back), memory)
        return torch.from_numpy(lent).view(dtype).view(shape)
