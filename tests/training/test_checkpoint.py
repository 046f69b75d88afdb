"""Checkpoints: exact, atomic, and readable without running anything."""

import json
import pickle
import re

import pytest
import torch

from loqa.storage.reading import FileError
from loqa.storage.tensor_file import save_tensors
from loqa.training import checkpoint

STATE = {
    "name": "agent",
    "count": 2**53 + 1,
    "rate": 0.1,
    "nothing": None,
    "tensors": {"a": torch.randn(3, 2), "flag": torch.tensor([True]), "t": torch.tensor(7)},
    "optimizer": {0: {"step": torch.tensor(3.0)}, 1: {"step": torch.tensor(4.0)}},
    "list": [1, {"x": torch.arange(3, dtype=torch.int32)}],
}


def test_round_trip_is_exact(tmp_path):
    path = tmp_path / "c.safetensors"
    checkpoint.save_checkpoint(path, STATE)
    loaded = checkpoint.load_checkpoint(path)
    assert loaded["count"] == STATE["count"]
    assert (loaded["name"], loaded["rate"], loaded["nothing"]) == ("agent", 0.1, None)
    assert loaded["optimizer"].keys() == {0, 1}
    for name, value in STATE["tensors"].items():
        assert loaded["tensors"][name].dtype == value.dtype
        assert torch.equal(loaded["tensors"][name], value)
    assert torch.equal(loaded["list"][1]["x"], STATE["list"][1]["x"])


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    checkpoint.save_checkpoint(path, STATE)
    whole = path.read_bytes()
    for size in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="not a readable checkpoint"):
            checkpoint.load_checkpoint(path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    with pytest.raises(FileNotFoundError, match="does not exist"):
        checkpoint.load_checkpoint(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        checkpoint.load_checkpoint(path)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="expected format"):
        checkpoint.load_checkpoint(path)


def test_every_changed_bit_is_noticed(tmp_path):
    path = tmp_path / "c.safetensors"
    checkpoint.save_checkpoint(path, STATE)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(
            FileError, match=r"c.safetensors is not a readable checkpoint of loqa: "
        ):
            checkpoint.load_checkpoint(path)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("[" * 200_000, "state: expected JSON, got one that is nested too deeply"),
        ('{"$dict": 5}', "state: expected pairs of a key and a value"),
        ('{"$dict": [["a", {"$tensor": [1]}]]}', "state/a: expected the name of a tensor"),
        ('{"$dict": [[[], 1]]}', "expected pairs"),
        ("[]", "state: expected a mapping"),
        ("9" * 5000, "an integer of 5000 digits"),
    ],
)
def test_signed_states_that_are_none(tmp_path, state, words):
    path = tmp_path / "c.safetensors"
    save_tensors(path, {}, {"format": checkpoint.FORMAT, "state": state})
    with pytest.raises(FileError, match=re.escape(words)):
        checkpoint.load_checkpoint(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [2**40, 2**40]},
        {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]},
        {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "F9", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F64", "shape": [1] * 100, "data_offsets": [0, 8]},
        {"dtype": "BOOL", "shape": [8], "data_offsets": [0, 8]},
    ],
)
def test_headers_that_claim_what_is_not_there(tmp_path, entry):
    path = tmp_path / "c.safetensors"
    header = json.dumps({"__metadata__": {"format": checkpoint.FORMAT}, "a": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes([2] * 8))
    with pytest.raises(FileError, match=r"c.safetensors is not a readable checkpoint of loqa: "):
        checkpoint.load_checkpoint(path)


def test_what_cannot_be_stored_is_named(tmp_path):
    with pytest.raises(TypeError, match="cannot hold set at 'a/b'"):
        checkpoint.save_checkpoint(tmp_path / "c", {"a": {"b": set()}})
    assert list(tmp_path.iterdir()) == []
