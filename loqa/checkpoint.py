"""Files that survive a crash: atomic writes, and checkpoints as safetensors with JSON beside them.

Nothing here uses pickle: reading a file never runs code from it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_FORMAT = "loqa-checkpoint-1"
_TENSOR = "$tensor"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name to write to; it becomes `path` at the end, or vanishes on an error.

    A reader sees the old file or the whole new one, also if the process is killed in between.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes the file private; give it the permissions any new file would have.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a nested state of dicts, lists, numbers, strings and tensors, atomically.

    Tensors go into the safetensors file by their path ("learner/agent/actor.logits"), everything
    else into its header as JSON.
    """
    tensors: dict[str, Tensor] = {}
    tree = _strip(state, "", tensors)
    metadata = {"format": _FORMAT, "state": json.dumps(tree, allow_nan=False)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads what `save_checkpoint` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut short, damaged, or not a checkpoint of loqa.
    """
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise ValueError(f"expected format {_FORMAT!r}, got {metadata.get('format')!r}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state = _restore(json.loads(metadata["state"]), tensors)
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise ValueError(f"{path} is not a readable checkpoint of loqa: {error}") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} is not a readable checkpoint of loqa: its state is no mapping")
    return state


def _strip(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[where] = value.detach().cpu().contiguous().clone()
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


def _restore(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restore(item, tensors) for item in value]
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        return {key: _restore(item, tensors) for key, item in value["$dict"]}
    return value


def check_finite(parameters: dict[str, Tensor], where: str) -> None:
    """Raises ValueError naming the first tensor that holds NaN or infinity."""
    for name, value in parameters.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{where}: {name} holds NaN or infinity")
