"""Where an environment lives: the checks of `device=`, memory there, and calls on torch's stream."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from loqa import _checks
from loqa._native import core
from loqa.envs.buffers import Buffer, BufferPool, Lent, borrow, device_buffer, host_buffer

Made = TypeVar("Made")

# Tests on machines without a GPU set it: environments of the CPU then run what a GPU's threads do,
# in a loop over the threads.
device_code_on_host = False


def usable_device(device: str | torch.device) -> torch.device:
    """`device` with its index, or an error that says what is missing.

    Raises:
        ValueError: not a device, neither the CPU nor CUDA, or an index that does not exist.
        RuntimeError: CUDA, but not in this build of loqa or of torch, or no GPU that torch can use.
    """
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}") from None
    if wanted.type == "cpu":
        return torch.device("cpu")
    if wanted.type != "cuda":
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {str(device)!r}")
    named = f"device={str(device)!r} needs"
    if not core.has_cuda:
        raise RuntimeError(
            f"{named} a loqa that was built with CUDA: install it again where nvcc is on the path "
            "(-Ccmake.define.LOQA_CUDA=ON insists on it)"
        )
    if torch.version.cuda is None:
        raise RuntimeError(
            f"{named} a PyTorch built with CUDA, this is {torch.__version__}: install one for your "
            "driver's CUDA version"
        )
    if not torch.cuda.is_available():
        raise RuntimeError(
            f"{named} an NVIDIA GPU and its driver, and torch finds none: see what nvidia-smi says, "
            "and whether CUDA_VISIBLE_DEVICES hides it"
        )
    count = torch.cuda.device_count()
    index = torch.cuda.current_device() if wanted.index is None else wanted.index
    return torch.device("cuda", _checks.integer("index of the CUDA device", index, 0, count - 1))


def require_cpu(device: torch.device, whose: str) -> None:
    """Raises ValueError unless NumPy can see what is on this device."""
    if device.type != "cpu":
        raise ValueError(
            f"{whose} arrays are NumPy's, which are in the CPU's memory: device must be 'cpu', "
            f"got {str(device)!r}"
        )


class DeviceMemory:
    """Memory on one device; on the CPU results come from a pool."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._pool = BufferPool() if device.type == "cpu" else None

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Buffer:
        """Memory of an environment, all zeros."""
        if self._pool is not None:
            return self._told(host_buffer, shape, dtype)
        return device_buffer(self._told(partial(torch.zeros, device=self.device), shape, dtype))

    def copy_of(self, values: Tensor) -> Buffer:
        """Memory of an environment with the values of a tensor."""
        buffer = self.zeros(tuple(values.shape), values.dtype)
        buffer.tensor.copy_(values)
        return buffer

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Lent:
        """A tensor with undefined contents, of nobody else's memory."""
        if self._pool is not None:
            return self._told(self._pool.empty, shape, dtype)
        tensor = self._told(partial(torch.empty, device=self.device), shape, dtype)
        return Lent(tensor, borrow(tensor))

    def _told(self, make: Callable[..., Made], shape: tuple[int, ...], dtype: torch.dtype) -> Made:
        try:
            return make(shape, dtype=dtype)
        except (MemoryError, torch.OutOfMemoryError) as error:
            size = math.prod(shape) * dtype.itemsize / 2**30
            raise type(error)(
                f"no room for {size:.2f} GiB on {self.device} ({list(shape)} {dtype}): take fewer "
                "environments, fewer steps a rollout, obs='cells' or a smaller obs_dtype, or drop "
                f"results that are still alive. {error}"
            ) from None


class OnDevice:
    """A simulator of the core on a device: its methods, on torch's current stream of that device."""

    def __init__(self, native: Any, device: torch.device) -> None:
        self._native = native
        self._device = device
        self.show = native.show  # these two enqueue nothing
        self.intact = native.intact

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._native, name)
        device = self._device

        def on_host(*args: Any) -> Any:
            return method(*args, 0)

        def on_stream(*args: Any) -> Any:
            with torch.cuda.device(device):
                return method(*args, torch.cuda.current_stream(device).cuda_stream)

        call = on_stream if device.type == "cuda" else on_host
        setattr(self, name, call)
        return call
