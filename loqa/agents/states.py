"""What a player tells apart who remembers one step: as an index, and as bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class States:
    """The start, and every own action with what the others did.

        s = 0 at the start, else 1 + M (own action) + (what the others did)

    Attributes:
        actions: K, own actions.
        others: M, what the others may do as the player sees it: their action, or the sum of their actions.
    """

    actions: int
    others: int

    @property
    def count(self) -> int:
        """S = 1 + K M."""
        return 1 + self.actions * self.others

    @property
    def num_bits(self) -> int:
        """K + M."""
        return self.actions + self.others

    def to_bits(self, index: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """One-hot own action and one-hot others, zeros at the start: `[...]` integers -> `[..., K + M]`."""
        return self.every_bits(dtype, index.device)[index.long()]

    def from_bits(self, bits: Tensor) -> Tensor:
        """Inverse of `to_bits`: `[..., K + M]`, entries 0 or 1 -> `[...]` int64.

        Raises:
            ValueError: the last dimension is not K + M.
        """
        if bits.shape[-1:] != (self.num_bits,):
            raise ValueError(f"bits must be [..., {self.num_bits}], got {list(bits.shape)}")
        first = torch.arange(self.actions, dtype=bits.dtype, device=bits.device)
        second = torch.arange(self.others, dtype=bits.dtype, device=bits.device)
        own, other = bits[..., : self.actions], bits[..., self.actions :]
        return ((own * (1 + self.others * first)).sum(-1) + (other * second).sum(-1)).long()

    def index(self, x: Tensor) -> Tensor:
        """Of bits of a floating dtype `[..., K + M]`, or of the index `[...]` itself."""
        return self.from_bits(x) if x.is_floating_point() else x.long()

    def every_bits(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The bits of each state, `[S, K + M]`."""
        return _every_bits(self, dtype, device)


@lru_cache(maxsize=8)  # a copy to a GPU waits for it
def _every_bits(states: States, dtype: torch.dtype, device: torch.device) -> Tensor:
    own = torch.eye(states.actions, dtype=dtype, device="cpu").repeat_interleave(states.others, 0)
    other = torch.eye(states.others, dtype=dtype, device="cpu").repeat(states.actions, 1)
    joint = torch.cat([own, other], 1)
    return torch.cat([torch.zeros_like(joint[:1]), joint]).to(device)


PRISONERS = States(2, 2)
"""Of the prisoner's dilemma: start, CC, CD, DC, DD."""
