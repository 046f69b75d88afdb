"""Memory that environments and the core work on, and tensors that show it."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from loqa._native import core

# Two results are alive in `result = env.rollout(...)`: the old one is dropped after the new one is made.
_KEPT = 4
# bfloat16, which NumPy has not, stands in as int16.
_NUMPY_TYPES: dict[torch.dtype, type[np.generic]] = {
    torch.float32: np.float32,
    torch.float16: np.float16,
    torch.bfloat16: np.int16,
    torch.int64: np.int64,
    torch.int32: np.int32,
    torch.int16: np.int16,
    torch.int8: np.int8,
    torch.uint8: np.uint8,
    torch.bool: np.bool_,
}


class Buffer:
    """Memory of an environment, which stays where it is whatever becomes of the tensors that show it.

    Args:
        native: the core's handle of it.
        view: makes a new tensor of this memory with a storage of its own. So what replaces a storage
            (`share_memory_`, a multiprocessing queue, `.data =`) takes that one tensor elsewhere,
            and nothing else.

    Attributes:
        tensor: for the environment's own bookkeeping; nobody else gets it.
    """

    def __init__(self, native: core.Memory, view: Callable[[], Tensor]) -> None:
        self.native = native
        self.view = view
        self.tensor = view()


class Lent(NamedTuple):
    """A tensor to hand out, and the core's handle of its memory."""

    tensor: Tensor
    native: core.Memory


def numpy_type(dtype: torch.dtype) -> np.dtype[np.generic]:
    """NumPy's name for a type of torch; int16 for bfloat16."""
    return np.dtype(_NUMPY_TYPES[dtype])


def host_buffer(shape: tuple[int, ...], dtype: torch.dtype) -> Buffer:
    """Zeros in memory that belongs to the core."""
    native = core.Memory(math.prod(shape) * dtype.itemsize)

    def view() -> Tensor:
        return _as_torch(np.frombuffer(memoryview(native), numpy_type(dtype)).reshape(shape), dtype)

    return Buffer(native, view)


def device_buffer(owner: Tensor) -> Buffer:
    """The memory of a tensor on a device, which the caller gives away."""
    bits = owner.view(torch.uint8) if owner.dtype == torch.bool else owner  # DLPack has no bool

    def view() -> Tensor:
        shown: Tensor = torch.utils.dlpack.from_dlpack(bits)
        return shown.view(owner.dtype)

    return Buffer(borrow(owner), view)


def borrow(tensor: Tensor) -> core.Memory:
    """The core's handle of a tensor's memory, for one call.

    Raises:
        ValueError: it is not contiguous, or has no memory.
    """
    if not tensor.is_contiguous():
        raise ValueError(f"a tensor must be contiguous, got strides {tensor.stride()}")
    return core.Memory.borrow(tensor.data_ptr(), tensor.numel() * tensor.element_size(), tensor)


def _as_torch(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor if tensor.dtype == dtype else tensor.view(dtype)


class BufferPool:
    """Uninitialised CPU tensors whose memory returns here when the last view of it dies.

    A fresh allocation of a large result costs more in page faults than the simulator takes to fill
    it. A tensor from the pool is nobody else's: it is only handed out again after every tensor and
    array that shares its memory has been collected.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[core.Memory]] = {}
        self._lent: dict[int, tuple[weakref.ref[np.ndarray], core.Memory]] = {}

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Lent:
        """A tensor of this shape and type with undefined contents."""
        size = math.prod(shape) * dtype.itemsize
        if size == 0:
            return Lent(torch.empty(shape, dtype=dtype, device="cpu"), core.Memory(0))
        free = self._free.setdefault(size, [])
        memory = free.pop() if free else core.Memory(size)
        # The tensor's storage, so every view of it, keeps this array alive.
        lent = np.frombuffer(memoryview(memory), numpy_type(dtype)).reshape(shape)
        key = id(lent)

        def take_back(_: object) -> None:
            _, returned = self._lent.pop(key)
            if len(free) < _KEPT:
                free.append(returned)

        self._lent[key] = (weakref.ref(lent, take_back), memory)
        return Lent(_as_torch(lent, dtype), memory)
