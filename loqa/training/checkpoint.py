"""Checkpoints: nested states as safetensors, with JSON and a checksum beside the tensors.

Nothing here uses pickle: reading a file never runs code from it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loqa.storage.reading import parse_json, reading, wrong
from loqa.storage.tensor_file import load_tensors, save_tensors

FORMAT = "loqa-checkpoint-1"
_TENSOR = "$tensor"
_SAYS = "is not a readable checkpoint of loqa"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a nested state of dicts, lists, numbers, strings and tensors, atomically.

    Tensors go into the safetensors file by their path ("learner/agent/actor.logits"), everything
    else into its header as JSON.
    """
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_strip(state, "", tensors), allow_nan=False)
    save_tensors(path, tensors, {"format": FORMAT, "state": tree})


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads what `save_checkpoint` wrote; FileError if it is cut short, changed, or no checkpoint of loqa."""
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    tensors, metadata = load_tensors(path, FORMAT, _SAYS)
    with reading(path, _SAYS):
        state = _restore(parse_json(metadata.get("state", ""), "state"), "state", tensors)
        if not isinstance(state, dict):
            raise wrong("state", "a mapping", state)
    return state


def _strip(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[where] = value
        return {_TENSOR: where}
    if isinstance(value, dict):
        # JSON keys are strings, an optimiser numbers its parameters: keep pairs.
        return {
            "$dict": [[key, _strip(item, f"{where}/{key}".lstrip("/"), tensors)]
                      for key, item in value.items()]
        }  # fmt: skip
    if isinstance(value, list | tuple):
        return [_strip(item, f"{where}/{index}", tensors) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__} at {where!r}")


def _restore(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restore(item, f"{where}/{index}", tensors) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_TENSOR}:
        name = value[_TENSOR]
        if not isinstance(name, str) or name not in tensors:
            raise wrong(where, "the name of a tensor", name)
        return tensors[name]
    pairs = value.get("$dict")
    if value.keys() != {"$dict"} or not isinstance(pairs, list) or not all(map(_is_pair, pairs)):
        raise wrong(where, "pairs of a key and a value", value)
    return {key: _restore(item, f"{where}/{key}"[:200], tensors) for key, item in pairs}


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int)


def check_finite(parameters: dict[str, Tensor], where: str) -> None:
    """Raises ValueError naming the first tensor that holds NaN or infinity."""
    for name, value in parameters.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{where}: {name} holds NaN or infinity")
