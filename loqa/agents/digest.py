"""A hash of what a policy does: of the data that it is made of.

Networks of this package are told apart by their layers and parameters. What another policy is made of only
it can say: code cannot be hashed for sure, with all that it reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_NOT_PLAYED = frozenset({"training", "config", "iteration", "sigma"})  # attributes of agents


def digest(*values: Any) -> str:
    """SHA-256 (hex) of data: the same in another process, and with other versions of torch.

    Args:
        values: numbers, texts, None, tensors, arrays; tuples, lists and mappings of these.

    Raises:
        TypeError: anything else is among them.
    """
    total = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, Mapping):
            add(tuple(value.items()))
            return
        if isinstance(value, Tensor):
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            data = f"{value.dtype} {list(value.shape)}".encode() + flat.numpy().tobytes()
        elif isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
            data = f"{value.dtype.str} {value.shape}".encode() + value.tobytes()
        elif isinstance(value, tuple | list):
            data = f"{len(value)} values".encode()
        elif value is None or isinstance(value, str | bytes | bool | int | float):
            data = repr(value).encode()
        else:
            raise TypeError(
                "contents must be numbers, texts, arrays, tuples and mappings, got "
                f"{type(value).__name__}"
            )
        total.update(len(data).to_bytes(8, "little") + data)
        if isinstance(value, tuple | list):
            for item in value:
                add(item)

    add(values)
    return total.hexdigest()


def contents(policy: Any) -> tuple[Any, ...] | None:
    """The data that decides what a policy does; None if it is not known.

    A policy of one's own says it by a method `contents()`, which gives other data whenever the policy does
    something else.
    """
    said = getattr(policy, "contents", None)
    if said is not None:
        found: tuple[Any, ...] | None = said()
        return found
    if not isinstance(policy, nn.Module):
        return None
    parts = dict(policy.named_modules())
    if any(
        type(one).__module__.partition(".")[0] not in ("loqa", "torch") for one in parts.values()
    ):
        return None
    layers = [(name, type(one).__qualname__, _attributes(one)) for name, one in parts.items()]
    return layers, dict(policy.named_parameters()), dict(policy.named_buffers())


def likely(policy: Any) -> tuple[Any, ...]:
    """Attributes that hold data or networks: what tells policies apart that do not say what they are made of.

    Two unlike policies may have the same, whose code or hidden state differs.
    """
    found: list[tuple[str, Any]] = []
    for name, value in sorted(getattr(policy, "__dict__", {}).items()):
        data = value.state_dict() if isinstance(value, nn.Module) else value
        try:
            found.append((name, digest(data)))
        except TypeError:
            found.append((name, type(value).__qualname__))
    if isinstance(policy, nn.Module):
        found += [(name, digest(value)) for name, value in policy.state_dict().items()]
    return tuple(found)


def _attributes(module: nn.Module) -> dict[str, str]:
    """Sizes and the like. What is no data has its address in its text, and is never the same again."""
    return {
        name: repr(value)
        for name, value in sorted(vars(module).items())
        if not name.startswith("_") and name not in _NOT_PLAYED
    }
