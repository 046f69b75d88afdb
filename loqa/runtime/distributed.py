"""Training by several processes that hold the same agent and share the batch (torchrun)."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from loqa.runtime.device import training_device

BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
"""What carries tensors, by the device of a run."""


def world_size() -> int:
    """Number of processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class ProcessGroup:
    """The processes of one run. Without torchrun: a group of one, whose calls do nothing.

    Attributes:
        rank: of this process; rank 0 is the only one that writes files and speaks.
        size: number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @classmethod
    def of_environment(cls, device: str) -> ProcessGroup:
        """The group that torchrun's environment variables describe; joins it on the first call.

        gloo for tensors on CPUs, NCCL for those on GPUs, where each process has the GPU of its local
        rank.

        Raises:
            ValueError: there are several processes, and the device cannot be used.
        """
        if world_size() == 1:
            return cls()
        if not dist.is_initialized():
            place = training_device(device)
            if place.type == "cuda":
                torch.cuda.set_device(place)
            dist.init_process_group(BACKENDS[place.type])
            # So that its threads end before the interpreter does.
            atexit.register(dist.destroy_process_group)
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def share(self, total: int) -> slice:
        """This process's part of `total` things in a row.

        Raises:
            ValueError: they cannot be divided evenly.
        """
        if total % self.size:
            raise ValueError(f"{total} cannot be shared evenly by {self.size} processes")
        part = total // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def mean_(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by its mean over the processes, in one exchange."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def of_leader(self, value: Any) -> Any:
        """Rank 0's `value`, in every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process."""
        if self.size == 1:
            return flag
        count = torch.tensor(float(flag))  # on the CPU: nobody waits for a GPU
        dist.all_reduce(count)
        return bool(count.item() > 0)
