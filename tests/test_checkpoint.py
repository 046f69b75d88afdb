"""Checkpoints: exact, atomic, and readable without running anything."""

import json
import pickle

import pytest
import torch

from loqa import checkpoint

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


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "value.json"
    checkpoint.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        checkpoint.write_json(path, {"a": float("nan")})

    def fail():
        with checkpoint.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_stored_is_named(tmp_path):
    with pytest.raises(TypeError, match="cannot hold set at 'a/b'"):
        checkpoint.save_checkpoint(tmp_path / "c", {"a": {"b": set()}})
    assert list(tmp_path.iterdir()) == []
