"""Past agents to play against: a ring of parameter vectors in bounded memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor

from loqa.agents import Agent
from loqa.checkpoint import atomic_path

_BLOCK = 64  # agents in a file


class ReplayPool:
    """The last `capacity` agents that were pushed, in half precision.

    10,000 agents of the published Coin Game size (151,000 parameters) take 3 GB: on the CPU committed
    as they come; on a GPU at once, in its memory if that leaves half of what is free there (a card of
    80 GB: always), else in pinned memory of the host. A parameter moves by at most 2^-11 of itself
    when it is stored.

    Full blocks of agents are written once to files of their own, so that a checkpoint holds only
    the block that is being filled.

    Args:
        like: gives names and shapes.
        capacity: agents kept; the oldest is overwritten.

    Raises:
        ValueError: capacity < 1.
    """

    def __init__(self, like: Agent, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        named = dict(like.named_parameters())
        self.capacity = capacity
        self.pushed = 0
        self._names = list(named)
        self._shapes = [parameter.shape for parameter in named.values()]
        self._sizes = [parameter.numel() for parameter in named.values()]
        first = next(iter(named.values()))
        self._dtype, self._device = first.dtype, first.device
        # Pages that nobody wrote to cost nothing.
        self._rows = _rows(capacity, sum(self._sizes), self._device)
        self._written = 0

    @property
    def device(self) -> torch.device:
        """Where the agents are kept, and what generators `sample` takes are of."""
        return self._rows.device

    def __len__(self) -> int:
        return min(self.pushed, self.capacity)

    def push(self, agent: Agent) -> None:
        """Adds the agent as it is now."""
        flat = torch.cat([parameter.detach().reshape(-1) for parameter in agent.parameters()])
        self._rows[self.pushed % self.capacity] = flat.half()
        self.pushed += 1

    def draw(self, count: int, generator: Generator, early: int = 0, share: float = 0.0) -> Tensor:
        """`count` independent draws: `[count]`, indices into `stored`.

        A draw is uniform over what is there; with probability `share` over the first `early` agents
        ever pushed, while the pool has these and more.

        Args:
            count: of draws.
            generator: of `device`.
            early: number of agents that count as the first.
            share: probability, in [0, 1], of a draw among these alone.

        Raises:
            ValueError: the pool is empty.
        """
        if not self.pushed:
            raise ValueError("the pool is empty: push an agent before sampling")
        index = torch.randint(len(self), (count,), generator=generator, device=self.device)
        if not share or not 0 < early < self.pushed <= self.capacity:
            return index
        first = torch.randint(early, (count,), generator=generator, device=self.device)
        theirs = torch.rand(count, generator=generator, device=self.device) < share
        return torch.where(theirs, first, index)

    def stored(self) -> dict[str, Tensor]:
        """Name -> `[capacity, ...]` float16, views on `device` of all places, filled or not: the same
        memory in every call, so that what was recorded with it finds later agents."""
        return self._by_name(self._rows)

    def gather(self, index: Tensor) -> dict[str, Tensor]:
        """Name -> `[G, ...]`, copies in full precision, on the device of the agents pushed."""
        return self._by_name(self._gather(index).to(self._dtype))

    def sample(self, count: int, generator: Generator) -> dict[str, Tensor]:
        """`gather` of a `draw`."""
        return self.gather(self.draw(count, generator))

    def _by_name(self, rows: Tensor) -> dict[str, Tensor]:
        parts = torch.split(rows, self._sizes, 1)
        return {
            name: part.view(len(part), *shape)
            for name, part, shape in zip(self._names, parts, self._shapes, strict=True)
        }

    def _gather(self, index: Tensor) -> Tensor:
        """Rows on the agents' device; from the host by a copy that nobody waits for."""
        if self.device == self._device:
            return self._rows[index]
        staged = torch.empty(
            (len(index), self._rows.shape[1]), dtype=self._rows.dtype, pin_memory=True
        )
        torch.index_select(self._rows, 0, index, out=staged)
        return staged.to(self._device, non_blocking=True)

    def state_dict(self) -> dict[str, Any]:
        """What is not in the files of `save_blocks`: the block that is being filled."""
        start = self.pushed - self.pushed % _BLOCK
        return {"pushed": self.pushed, "rows": self._read(start, self.pushed)}

    def save_blocks(self, directory: Path) -> None:
        """Writes the blocks that have become full, atomically; deletes those overwritten long ago."""
        for start in range(self._written, self.pushed - _BLOCK + 1, _BLOCK):
            with atomic_path(self._file(directory, start)) as temporary:
                save_file({"rows": self._read(start, start + _BLOCK)}, temporary)
            self._written = start + _BLOCK
        oldest = self.pushed - self.capacity - 2 * _BLOCK  # an older checkpoint may want some more
        for start in range(oldest - oldest % _BLOCK - _BLOCK, -1, -_BLOCK):
            file = self._file(directory, start)
            if not file.exists():
                break
            file.unlink()

    def load_state_dict(self, state: dict[str, Any], directory: Path) -> None:
        """Restores `state_dict` and the files in `directory`.

        Raises:
            FileNotFoundError, ValueError: a file is missing or damaged.
        """
        self.pushed = int(state["pushed"])
        start = self.pushed - self.pushed % _BLOCK
        self._write(start, state["rows"])
        self._written = start
        oldest = max(0, self.pushed - self.capacity)
        for first in range(oldest - oldest % _BLOCK, start, _BLOCK):
            file = self._file(directory, first)
            if not file.is_file():
                raise FileNotFoundError(f"{file} is missing: it holds past agents of this run")
            try:
                rows = load_file(file)["rows"]
                if rows.shape != (_BLOCK, self._rows.shape[1]):
                    raise ValueError(f"expected {_BLOCK} agents, got {list(rows.shape)}")
            except (SafetensorError, KeyError, ValueError) as error:
                raise ValueError(f"{file} is damaged: {error}") from error
            skipped = max(0, oldest - first)
            self._write(first + skipped, rows[skipped:])

    @staticmethod
    def _file(directory: Path, start: int) -> Path:
        return directory / f"agents_{start:08d}.safetensors"

    def _slots(self, start: int, stop: int) -> Tensor:
        return torch.arange(start, stop) % self.capacity

    def _read(self, start: int, stop: int) -> Tensor:
        return self._rows[self._slots(start, stop)].cpu()

    def _write(self, start: int, rows: Tensor) -> None:
        self._rows[self._slots(start, start + len(rows))] = rows.to(self.device)


def _rows(capacity: int, size: int, device: torch.device) -> Tensor:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if capacity * size * torch.float16.itemsize > free // 2:
            return torch.empty(capacity, size, dtype=torch.float16, pin_memory=True)
    return torch.empty(capacity, size, dtype=torch.float16, device=device)
