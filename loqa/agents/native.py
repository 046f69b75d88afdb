"""Parameter sets as the core reads them where it plays whole episodes between networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from loqa._native import core
from loqa.ops.gru import fold, under
from loqa.ops.register import address_of, check_like, describe, extent_of


class StackedHead:
    """Parameter sets of a `GRUHead`, as the core reads them.

    Args:
        parameters: by name; `[N, ...]` of N sets, or those of one set.
        prefix: before the names.
        index: `[G]` int64, the sets meant; all by default.
        reads_time: whether the last feature is the step index.

    Raises:
        ValueError: a parameter is missing, shapes, types or devices do not fit, or the index is out
            of range.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        prefix: str,
        index: Tensor | None = None,
        reads_time: bool = False,
    ) -> None:
        own = under(parameters, prefix)
        needed = {"weight_ih", "bias_ih", "weight_hh", "bias_hn", "linear_end.weight",
                  "linear_end.bias"}  # fmt: skip
        for layer in ("linear1", "linear2"):
            if any(name.startswith(layer) for name in own):
                needed |= {f"{layer}.weight", f"{layer}.bias"}
        if needed != set(own):
            raise ValueError(f"{prefix}* must be {sorted(needed)}, got {sorted(own)}")
        if own["bias_hn"].ndim not in (1, 2) or min(own["linear_end.bias"].shape, default=0) < 1:
            raise ValueError(f"{prefix}bias_hn must be [H] or [N, H], and [K] outputs at least one")
        if own["bias_hn"].ndim == 1:
            if "linear2.weight" in own:  # saves a fifth of a step; of a stack it would cost more
                weight, bias = own.pop("linear2.weight"), own.pop("linear2.bias")
                own["weight_ih"], own["bias_ih"] = fold(
                    own["weight_ih"], own["bias_ih"], weight, bias
                )
            own = {name: value.unsqueeze(0) for name, value in own.items()}
        count, hidden = own["bias_hn"].shape
        outputs = own["linear_end.bias"].shape[-1]
        features = own["linear1.weight" if "linear1.weight" in own else "weight_ih"].shape[-1]
        shapes = {
            "linear1.weight": (hidden, features), "linear1.bias": (hidden,),
            "linear2.weight": (hidden, hidden), "linear2.bias": (hidden,),
            "weight_ih": (3 * hidden, hidden if "linear1.weight" in own else features),
            "bias_ih": (3 * hidden,), "weight_hh": (3 * hidden, hidden), "bias_hn": (hidden,),
            "linear_end.weight": (outputs, hidden), "linear_end.bias": (outputs,),
        }  # fmt: skip
        dtype = own["bias_hn"].dtype
        if not reads(own):
            raise ValueError(f"{prefix}* must be dense float32 or float16 on cpu, got {dtype}")
        for name, value in own.items():
            check_like(f"{prefix}{name}", value, own["bias_hn"], (count, *shapes[name]))
        if index is not None:
            fits = index.ndim == 1 and len(index) and index.dtype == torch.int64
            if not fits or not index.is_cpu:
                raise ValueError(f"index must be [G] int64 on cpu, got {describe(index)}")
            if int(index.min()) < 0 or int(index.max()) >= count:
                raise ValueError(f"index must be in 0..{count - 1}")
            index = index.contiguous()
        arrays = [own.get(name) for name in shapes]
        arrays = [a if a is None or a[0].is_contiguous() else a.contiguous() for a in arrays]
        self._arrays, self._index = arrays, index
        self._sizes: dict[str, Any] = {
            "half": dtype == torch.float16,
            "reads_time": reads_time,
            "sets": count if index is None else len(index),
            "features": features,
            "hidden": hidden,
            "outputs": outputs,
        }

    def native(self) -> core.GruSets:
        """For one call of the core: the arrays as they lie now, kept alive by this object."""
        return core.GruSets(
            arrays=[0 if array is None else address_of(array) for array in self._arrays],
            elements=[0 if array is None else extent_of(array) for array in self._arrays],
            strides=[0 if array is None else array.stride(0) for array in self._arrays],
            index=0 if self._index is None else address_of(self._index),
            **self._sizes,
        )


def reads(parameters: Mapping[str, Tensor]) -> bool:
    """Whether parameters are where and of a type that the core reads."""
    return all(
        value.is_cpu
        and value.dtype in (torch.float32, torch.float16)
        and value.layout is torch.strided
        for value in parameters.values()
    )
