"""Result buffers that are used again as soon as nobody looks at them."""

from __future__ import annotations

import math
import weakref

import numpy as np
import torch
from torch import Tensor

# Two results are alive in `result = env.rollout(...)`: the old one is dropped after the new one is made.
_KEPT = 4
# Reinterpreting is cheaper in NumPy than in torch; bfloat16, which NumPy has not, stands in as int16.
_NUMPY_TYPES: dict[torch.dtype, type[np.generic]] = {
    torch.float32: np.float32,
    torch.float16: np.float16,
    torch.bfloat16: np.int16,
    torch.int64: np.int64,
    torch.int32: np.int32,
    torch.int16: np.int16,
    torch.int8: np.int8,
    torch.uint8: np.uint8,
}
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
        # The tensor's storage, so every view of it, keeps this array alive.
        lent = memory.view(_NUMPY_TYPES[dtype]).reshape(shape)
        key = id(lent)

        def take_back(_: object) -> None:
            _, returned = self._lent.pop(key)
            if len(free) < _KEPT:
                free.append(returned)

        self._lent[key] = (weakref.ref(lent, take_back), memory)
        tensor = torch.from_numpy(lent)
        return tensor if tensor.dtype == dtype else tensor.view(dtype)
