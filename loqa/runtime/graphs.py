"""Functions of tensors that are recorded once and then replayed, as CUDA graphs.

Launching the thousands of small kernels of an iteration one by one takes the host longer than they
take the GPU; a graph launches them all at once. What it launches is fixed, memory included: so a
`Replayed` function keeps the arguments that it was recorded with, and copies later ones over them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

Function = Callable[[], Any]


class Recording(Protocol):
    """A recorded function of no arguments: `replay` does its work again.

    Attributes:
        result: what it returned, overwritten by each replay.
    """

    result: Any

    def replay(self) -> None: ...


class CudaRecording:
    """A CUDA graph of a function on the current device; recording it does none of its work.

    The function must not wait for the GPU, nor copy from memory of the host.
    """

    def __init__(self, function: Function) -> None:
        self._graph = torch.cuda.CUDAGraph()
        # A stream of the current device: torch's own is one for all devices, of the first that recorded.
        with torch.cuda.graph(self._graph, stream=torch.cuda.Stream()):  # type: ignore[no-untyped-call]
            self.result = function()

    def replay(self) -> None:
        self._graph.replay()


Recorder = Callable[[Function], Recording]


def recorder_for(device: torch.device) -> Recorder | None:
    """CUDA graphs on a GPU, None (no recording) on the CPU."""
    return CudaRecording if device.type == "cuda" else None


class Replayed:
    """`function`, recorded at a call after the first few and replayed from then on.

    Arguments and results are trees of tuples, lists, dicts and dataclasses with tensors at the leaves;
    what else there is must be equal in every call. A tensor that is always the same memory is not
    copied. Results are overwritten by the next call. Memory that the function reads or writes beside
    its arguments must stay where it is.

    Args:
        function: called plainly while `record` is None.
        record: makes a recording.
    """

    def __init__(self, function: Callable[..., Any], record: Recorder | None) -> None:
        self._function = function
        self._record = record
        # Libraries set themselves up at their first use, which a graph cannot hold.
        self._plain_calls = 2
        self._recording: Recording | None = None
        self._places: tuple[Any, ...] = ()

    def __call__(self, *args: Any) -> Any:
        if self._record is None:
            return self._function(*args)
        if self._plain_calls:
            self._plain_calls -= 1
            return self._function(*args)
        if self._recording is None:
            self._places = map_tensors(args, writable)
            self._recording = self._record(lambda: self._function(*_afresh(self._places)))
        else:
            overwrite(self._places, args)
        self._recording.replay()
        return _afresh(self._recording.result)


def map_tensors(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A new tree with every tensor changed; leaves of other types stay."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, dict):
        return {key: map_tensors(value, change) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(map_tensors(value, change) for value in tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = [field.name for field in dataclasses.fields(tree)]
        return type(tree)(**{name: map_tensors(getattr(tree, name), change) for name in names})
    return tree


def _afresh(tree: Any) -> Any:
    """The same tensors in new objects: what those compute and keep (cached properties) is of one call."""
    return map_tensors(tree, lambda tensor: tensor)


def overwrite(places: Any, tree: Any) -> None:
    """Copies the tensors of one tree over those of another.

    Raises:
        ValueError: a shape, a type or a leaf that is no tensor differs.
    """
    for place, value in zip(_leaves(places), _leaves(tree), strict=True):
        if isinstance(place, Tensor) and isinstance(value, Tensor):
            if (place.shape, place.dtype) != (value.shape, value.dtype):
                raise ValueError(
                    f"recorded with {list(place.shape)} {place.dtype}, called with "
                    f"{list(value.shape)} {value.dtype}"
                )
            if place.data_ptr() != value.data_ptr() or place.stride() != value.stride():
                place.copy_(value)
        elif place is not value and place != value:
            raise ValueError(f"recorded with {place!r}, called with {value!r}")


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        for value in tree.values():
            yield from _leaves(value)
    elif isinstance(tree, tuple | list):
        for value in tree:
            yield from _leaves(value)
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        for field in dataclasses.fields(tree):
            yield from _leaves(getattr(tree, field.name))
    else:
        yield tree


def writable(tensor: Tensor) -> Tensor:
    """The tensor, or a copy of one whose elements share memory (`expand`)."""
    return tensor.contiguous() if 0 in tensor.stride() else tensor.detach()
