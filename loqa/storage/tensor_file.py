"""Safetensors with a checksum over everything in them.

Read here, not mapped into memory: file systems that cannot map are read too, and what the header
claims is held against the bytes that are there before anything is made.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from loqa._checks import plural
from loqa.storage.files import write_bytes
from loqa.storage.reading import parse_json, reading, wrong

_MAX_HEADER = 4 * 2**20
_CHECKSUM = "sha256"
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


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
    with reading(path, says), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header, start = _header(file.read(8), file.read(min(size, _MAX_HEADER)), size)
        metadata = _metadata(header)
        if metadata.get("format") != form:
            raise wrong("metadata", f"format {form!r}", repr(metadata.get("format")))
        tensors = {}
        place = 0
        entries = [_entry(name, value) for name, value in header.items()]
        for name, dtype, shape, begin, end in sorted(entries, key=lambda entry: entry[3:]):
            if begin != place or end > size - start:
                raise wrong(name, f"bytes from {place} to at most {size - start}", [begin, end])
            place = end
            data = bytearray(end - begin)
            file.seek(start + begin)
            file.readinto(data)
            tensors[name] = _tensor(data, dtype, shape)
        if place != size - start:
            raise wrong("tensors", f"{size - start} {plural(size - start, 'byte')}", place)
        if metadata.pop(_CHECKSUM, None) != _digest(tensors, metadata):
            raise wrong("checksum", "that of the content", "another: the file was changed")
    return tensors, metadata


def format_of(path: Path) -> str | None:
    """The "format" in a file's metadata; None if it is no safetensors file or has none."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            header, _ = _header(file.read(8), file.read(min(size, _MAX_HEADER)), size)
        return _metadata(header).get("format")
    except (ValueError, TypeError):
        return None


def _header(length: bytes, text: bytes, size: int) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors begin."""
    count = int.from_bytes(length, "little")
    if len(length) < 8 or count > min(size - 8, _MAX_HEADER):
        most = min(max(size - 8, 0), _MAX_HEADER)
        raise wrong("header", f"a length of at most {most} bytes", count)
    header = parse_json(text[:count], "header")
    if not isinstance(header, dict):
        raise wrong("header", "a JSON object", header)
    return header, 8 + count


def _metadata(header: dict[str, Any]) -> dict[str, str]:
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise wrong("metadata", "texts by name", metadata)
    return metadata


def _entry(name: str, value: Any) -> tuple[str, torch.dtype, list[int], int, int]:
    """What the header says of a tensor: its bytes are as many as its type and shape need."""
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise wrong(name, "dtype, shape and data_offsets", value)
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise wrong(f"{name}, dtype", f"one of {', '.join(_DTYPES)}", dtype)
    for part, numbers in (("shape", shape), ("data_offsets", offsets)):
        fine = isinstance(numbers, list) and len(numbers) <= 32
        if not fine or not all(type(one) is int and 0 <= one < 2**48 for one in numbers):
            raise wrong(f"{name}, {part}", "a list of sizes", numbers)
    wanted = math.prod(shape) * _DTYPES[dtype].itemsize
    if len(offsets) != 2 or offsets[1] - offsets[0] != wanted:
        raise wrong(f"{name}, data_offsets", f"{wanted} {plural(wanted, 'byte')} for {dtype} {shape}",
                    offsets)  # fmt: skip
    return name, _DTYPES[dtype], shape, offsets[0], offsets[1]


def _tensor(data: bytearray, dtype: torch.dtype, shape: list[int]) -> Tensor:
    if not data:
        return torch.empty(shape, dtype=dtype)
    if dtype is torch.bool and max(data) > 1:
        raise wrong("tensors", "0 or 1 for a boolean", max(data))
    return torch.frombuffer(data, dtype=dtype).reshape(shape)


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
