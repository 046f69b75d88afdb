"""How `terminated` and `truncated` become what the kernels read, and what a truncation leaves.

Codes of a step, [T, ...] uint8: 0 the episode goes on, bit 0 it is terminated, bit 1 truncated; a
step with both bits counts as terminated (csrc/kernels/formulas.h).
"""

from __future__ import annotations

import torch
from torch import Tensor

from loqa.ops.register import check_sequence, describe, is_recorded

_TERMINATED, _TRUNCATED = 1, 2


def codes(
    terminated: Tensor | None, truncated: Tensor | None, name: str, like: Tensor
) -> Tensor | None:
    """Codes in the shape of `like` [T, ...], the argument called `name`; None if neither is given.

    Raises:
        TypeError, ValueError: not a tensor, wrong shape or device, values other than 0 and 1.
    """
    if terminated is None and truncated is None:
        return None
    check_sequence(name, like)
    found = None
    for flags_name, flags, bit in (
        ("terminated", terminated, _TERMINATED),
        ("truncated", truncated, _TRUNCATED),
    ):
        if flags is not None:
            code = _flags(flags_name, flags, like).to(torch.uint8) * bit
            found = code if found is None else found | code
    return found


def with_final_values(rewards: Tensor, values: Tensor, gamma: float, ends: Tensor) -> Tensor:
    """Rewards of truncated steps plus gamma times the value of the state that follows."""
    left = torch.where(ends == _TRUNCATED, values[1:], torch.zeros_like(rewards))
    return rewards + gamma * left


def with_bootstrap(rewards: Tensor, bootstrap: Tensor, gamma: float, ends: Tensor) -> Tensor:
    """The last reward plus gamma times the value of the state after it, unless it terminated."""
    cut = (ends[-1:] & _TERMINATED) != 0
    left = torch.where(cut, torch.zeros_like(rewards[-1:]), bootstrap[None])
    return torch.cat([rewards[:-1], rewards[-1:] + gamma * left])


def _flags(name: str, x: object, like: Tensor) -> Tensor:
    """Booleans in the shape of `like`; trailing dimensions that are not given are the same."""
    wanted = f"{name} must be bool (or 0 and 1), {list(like.shape)} or its leading dimensions"
    if not isinstance(x, Tensor):
        raise TypeError(f"{wanted}, got {describe(x)}")
    if x.layout is not torch.strided or x.is_nested or x.dtype.is_complex:
        raise TypeError(f"{wanted}, got {describe(x)}")
    pairs = list(zip(x.shape, like.shape, strict=False))
    fits = 0 < x.dim() <= like.dim() and pairs[0][0] == pairs[0][1]
    if not fits or any(one not in (1, other) for one, other in pairs) or x.device != like.device:
        raise ValueError(f"{wanted}, on {like.device}, got {describe(x)}")
    if x.dtype != torch.bool:
        if is_recorded() or torch._C._are_functorch_transforms_active():
            raise TypeError(
                f"{name} must be bool while a function is compiled, traced or vectorized, "
                f"got {describe(x)}"
            )
        x = x.detach()
        if not bool(((x == 0) | (x == 1)).all()):
            raise ValueError(f"{wanted}, got other numbers in {describe(x)}")
        x = x != 0
    return x.reshape(*x.shape, *(1,) * (like.dim() - x.dim())).expand(like.shape)
