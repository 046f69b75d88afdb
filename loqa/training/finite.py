"""Whether the numbers of an update are finite, without waiting for a GPU in every iteration."""

from __future__ import annotations

import torch
from torch import Tensor

from loqa.runtime.device import fetch

_WORDS = {"grad_norm": "norm of the actor's gradient"}


class FiniteWatch:
    """Notes on the device in which iteration a number first was NaN or infinite.

    Args:
        names: of the numbers, as an algorithm calls them.
        device: where they are.
    """

    def __init__(self, names: tuple[str, ...], device: torch.device) -> None:
        self._names = names
        self._where = torch.zeros(len(names), dtype=torch.float64, device=device)  # 0: never
        self._value = torch.zeros(len(names), device=device)

    def note(self, iteration: int, numbers: list[Tensor]) -> None:
        """Looks at the numbers of an iteration (from 1) without waiting for them."""
        values = torch.stack(numbers).float()
        fine = values.isfinite() | (self._where != 0)
        self._where = torch.where(fine, self._where, float(iteration))
        self._value = torch.where(fine, self._value, values)

    def check(self) -> None:
        """Waits for the device.

        Raises:
            FloatingPointError: names the number that was not finite first, and its iteration.
        """
        where, values = fetch([self._where, self._value])
        bad = [found for found in zip(where, values, self._names, strict=True) if found[0]]
        if bad:
            iteration, value, name = min(bad, key=lambda found: found[0])
            kind, of, player = name.partition(" of ")
            what = _WORDS.get(kind, f"{kind.removeprefix('loss/')} loss") + of + player
            raise FloatingPointError(f"the {what} is {value} at iteration {int(iteration)}")


def defers(device: torch.device) -> bool:
    """Whether synchronising is expensive, so that a run looks at its numbers now and then only."""
    return device.type != "cpu"
