"""Safetensors with a checksum over everything in them.

Files are read, not mapped into memory: file systems that cannot map are read too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from loqa.storage.files import write_bytes
from loqa.storage.reading import FileError, parse_json, reading, wrong

_MAX_HEADER = 4 * 2**20
_CHECKSUM = "sha256"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors and texts by name, atomically, with their checksum.

    Raises:
        WriteError: the disk is full.
    """
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    texts = {**metadata, _CHECKSUM: _digest(own, metadata)}
    write_bytes(path, save(own, texts))


def load_tensors(path: Path, form: str, says: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads what `save_tensors` wrote.

    Args:
        path: of the file.
        form: what its metadata must have as "format".
        says: what the error says of a file that is damaged.

    Raises:
        FileNotFoundError: there is no such file.
        FileError: it is cut short, changed, or something else.
    """
    with reading(path, says):
        data = path.read_bytes()
        metadata = _metadata(data[:8], data[8 : 8 + _MAX_HEADER], len(data))
        if metadata.get("format") != form:
            raise wrong("metadata", f"format {form!r}", repr(metadata.get("format")))
        try:
            tensors = load(data)
        except SafetensorError as error:
            raise FileError(f"tensors: {error}") from error
        for name, tensor in tensors.items():
            if tensor.dtype is torch.bool and (tensor.view(torch.uint8) > 1).any():
                raise wrong(name, "0 or 1 for a boolean", "another number")
        if metadata.pop(_CHECKSUM, None) != _digest(tensors, metadata):
            raise wrong("checksum", "that of the content", "another: the file was changed")
    return tensors, metadata


def format_of(path: Path) -> str | None:
    """The "format" in a file's metadata; None if it is no safetensors file or has none."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return _metadata(file.read(8), file.read(min(size, _MAX_HEADER)), size).get("format")
    except (ValueError, TypeError):
        return None


def _metadata(length: bytes, text: bytes, size: int) -> dict[str, str]:
    """The texts in a file's header, from its first bytes and what follows them."""
    count, most = int.from_bytes(length, "little"), min(size - 8, _MAX_HEADER)
    if len(length) < 8 or count > most:
        raise wrong("header", f"a length of at most {max(most, 0)} bytes", count)
    header = parse_json(text[:count], "header")
    if not isinstance(header, dict):
        raise wrong("header", "a JSON object", header)
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise wrong("metadata", "texts by name", metadata)
    return metadata


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 of names, types, shapes, bytes and texts, whatever their order in the file."""
    total = hashlib.sha256()

    def add(data: Any) -> None:
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)

    for name, text in sorted(metadata.items()):
        add(name.encode())
        add(text.encode())
    for name, tensor in sorted(tensors.items()):
        add(name.encode())
        add(f"{tensor.dtype} {list(tensor.shape)}".encode())
        add(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
