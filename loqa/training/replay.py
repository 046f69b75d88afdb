"""Past agents to play against: a ring of parameter vectors in bounded memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from loqa.agents.actor_critic import Agent
from loqa.storage.files import sync_directory
from loqa.storage.reading import reading, wrong
from loqa.storage.tensor_file import load_tensors, save_tensors

_BLOCK = 64  # agents in a file
_FORMAT = "loqa-replay-1"


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
        capacity: agents kept, at least 1; the oldest is overwritten.
    """

    def __init__(self, like: Agent, capacity: int) -> None:
        first = next(like.parameters())
        self.capacity = capacity
        self.pushed = 0
        self._shapes = {name: one.shape for name, one in like.named_parameters()}
        self._sizes = [shape.numel() for shape in self._shapes.values()]
        self._dtype, self._device = first.dtype, first.device
        # Pages that nobody wrote to cost nothing.
        how: dict[str, Any] = {"device": self._device}
        if self._device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self._device)
            if capacity * sum(self._sizes) * torch.float16.itemsize > free // 2:
                how = {"pin_memory": True}
        self._rows = torch.empty(capacity, sum(self._sizes), dtype=torch.float16, **how)
        self._written = 0
        self._wanted = 0  # the oldest agent that the last checkpoint needs

    @property
    def device(self) -> torch.device:
        """Where the agents are kept, and what generators `draw` takes are of."""
        return self._rows.device

    def __len__(self) -> int:
        return min(self.pushed, self.capacity)

    def push(self, agent: Agent) -> None:
        """Adds the agent as it is now."""
        flat = torch.cat([parameter.detach().reshape(-1) for parameter in agent.parameters()])
        self._rows[self.pushed % self.capacity] = flat.half()
        self.pushed += 1

    def draw(self, count: int, generator: Generator, early: int = 0, share: float = 0.0) -> Tensor:
        """`count` independent draws: `[count]`, indices into `stored`; the generator is of `device`.

        A draw is uniform over what is there; with probability `share` over the first `early` agents
        ever pushed, while the pool has these and more.
        """
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
        """Name -> `[G, ...]`, copies in full precision, on the device of the agents pushed; from the host
        by a copy that nobody waits for."""
        if self.device == self._device:
            rows = self._rows[index]
        else:
            shape = len(index), self._rows.shape[1]
            staged = torch.empty(shape, dtype=self._rows.dtype, pin_memory=True)
            torch.index_select(self._rows, 0, index, out=staged)
            rows = staged.to(self._device, non_blocking=True)
        return self._by_name(rows.to(self._dtype))

    def _by_name(self, rows: Tensor) -> dict[str, Tensor]:
        parts = zip(self._shapes.items(), torch.split(rows, self._sizes, 1), strict=True)
        return {name: part.view(len(part), *shape) for (name, shape), part in parts}

    def state_dict(self) -> dict[str, Any]:
        """What is not in the files of `save_blocks`: the block that is being filled."""
        start = self.pushed - self.pushed % _BLOCK
        return {"pushed": self.pushed, "rows": self._read(start, self.pushed)}

    def save_blocks(self, directory: Path) -> None:
        """Writes the blocks that have become full, atomically; before the checkpoint that needs them."""
        for start in range(self._written, self.pushed - _BLOCK + 1, _BLOCK):
            rows = self._read(start, start + _BLOCK)
            save_tensors(self._file(directory, start), {"rows": rows}, {"format": _FORMAT})
            self._written = start + _BLOCK

    def drop_blocks(self, directory: Path) -> None:
        """Deletes the blocks that neither the newest checkpoint nor the one before it needs.

        To be called when the newest checkpoint, of the pool as it is, is on the disk: till then a
        crash goes on from the one before, and later too if the newest is found damaged.
        """
        wanted = self._file(directory, self._wanted - self._wanted % _BLOCK)
        for file in directory.glob("agents_*.safetensors"):
            if file.name < wanted.name:
                file.unlink(missing_ok=True)
        sync_directory(directory)
        self._wanted = max(0, self.pushed - self.capacity)

    def load_state_dict(self, state: dict[str, Any], directory: Path) -> None:
        """Restores `state_dict` and the files in `directory`.

        Raises:
            FileNotFoundError, FileError: a file is missing or damaged, or the state is of no such pool.
        """
        pushed, rows = state["pushed"], state["rows"]
        if type(pushed) is not int or not 0 <= pushed < 2**63:
            raise wrong("pool/pushed", "a number of agents", pushed)
        self._check_rows("pool/rows", rows, pushed % _BLOCK)
        self.pushed = pushed
        start = pushed - pushed % _BLOCK
        self._write(start, rows)
        self._written = start
        self._wanted = oldest = max(0, pushed - self.capacity)
        for first in range(oldest - oldest % _BLOCK, start, _BLOCK):
            file = self._file(directory, first)
            if not file.is_file():
                raise FileNotFoundError(f"{file} is missing: it holds past agents of this run")
            tensors, _ = load_tensors(file, _FORMAT, "is damaged")
            with reading(file):
                self._check_rows("rows", tensors.get("rows"), _BLOCK)
            skipped = max(0, oldest - first)
            self._write(first + skipped, tensors["rows"][skipped:])

    def _check_rows(self, place: str, rows: object, count: int) -> None:
        wanted = (count, self._rows.shape[1])
        if not isinstance(rows, Tensor) or rows.dtype != torch.float16 or rows.shape != wanted:
            got = [rows.dtype, *rows.shape] if isinstance(rows, Tensor) else rows
            raise wrong(place, f"float16 {list(wanted)}", got)

    @staticmethod
    def _file(directory: Path, start: int) -> Path:
        return directory / f"agents_{start:08d}.safetensors"

    def _read(self, start: int, stop: int) -> Tensor:
        return self._rows[torch.arange(start, stop) % self.capacity].cpu()

    def _write(self, start: int, rows: Tensor) -> None:
        places = torch.arange(start, start + len(rows)) % self.capacity
        self._rows[places] = rows.to(self.device)
