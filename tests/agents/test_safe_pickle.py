"""Pickles are read, never run."""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from test_published import head_arrays, pola_arrays, rollout_log_probs

from loqa.agents.published.arrays import import_pickle, load_published
from loqa.agents.published.safe_pickle import UnsafePickleError, loads

TREE = {
    "params": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "n": 3, 7: None},
    "list": [1.5, "text", b"bytes", True, -(2**70), (1, (2, 3), ())],
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(4, dtype=">i4"),
    "empty": np.zeros((0, 3), bool),
    "ordered": OrderedDict(a=1, b=np.float64(2.5)),
    "shared": None,
}
TREE["shared"] = TREE["params"]


def nested(arrays: dict) -> dict:
    """Flax's nested dicts from names with slashes."""
    tree: dict = {}
    for name, array in arrays.items():
        *path, last = name.split("/")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = array
    return tree


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_round_trip(protocol: int) -> None:
    found = loads(pickle.dumps(TREE, protocol=protocol))
    assert found["list"] == TREE["list"]
    assert found["ordered"] == {"a": 1, "b": 2.5}
    for name in ("fortran", "big", "empty"):
        np.testing.assert_array_equal(found[name], TREE[name])
        assert found[name].shape == TREE[name].shape
    np.testing.assert_array_equal(found["params"]["kernel"], TREE["params"]["kernel"])
    assert found["params"][7] is None


class Attack:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch owned",)


def hostile() -> dict[str, bytes]:
    build = b"cnumpy\nndarray\n}(X\x01\x00\x00\x00aK\x01ub."
    return {
        "os.system": pickle.dumps(Attack()),
        "old os.system": b"cos\nsystem\n(S'touch owned'\ntR.",
        "inst": b"(S'touch owned'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'touch owned'\no.",
        "builtins.eval": b"c__builtin__\neval\n(S'1'\ntR.",
        "getattr on an allowed module": b"cnumpy\ndtype.__class__\n.",
        "numpy.load": b"cnumpy\nload\n(S'x'\ntR.",
        "call of a call": b"cnumpy\ndtype\n(S'f4'\ntRtR.",
        "newobj": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
        "state of a class": build,
        "object array": pickle.dumps(np.array([Attack()], dtype=object)),
        "record array": pickle.dumps(np.zeros(2, dtype=[("a", "f4")])),
        "persistent id": b"\x80\x02X\x01\x00\x00\x00aQ.",
        "extension": b"\x80\x02\x82\x01.",
        "set": pickle.dumps({1, 2}, protocol=4),
        "class as value": b"cnumpy\ndtype\n.",
        "mark as value": b"(.",
        "nothing": b".",
        "two values": b"NN.",
        "self containing": b"]q\x00h\x00a.",
        "bad memo": b"h\x05.",
        "bad key": pickle.dumps({(1, 2): 3}),
    }


@pytest.mark.parametrize("name", hostile())
def test_hostile(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pkl").write_bytes(hostile()[name])
    with pytest.raises(UnsafePickleError):
        loads(hostile()[name])
    with pytest.raises(ValueError, match=r"x.pkl cannot be imported"):
        import_pickle("x.pkl", "x.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == {"x.pkl"}


def test_bombs() -> None:
    # 2 ** 40 values by sharing, a string of 2 ** 60 bytes, a memo place of 2 ** 32 - 1.
    shared = b"]q\x00" + b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1])
                                  for i in range(40)) + b"."  # fmt: skip
    with pytest.raises(UnsafePickleError):
        loads(shared)
    level: list = []
    for _ in range(40):
        level = [level, level]
    with pytest.raises(UnsafePickleError, match="unfolds to more than"):
        loads(pickle.dumps(level))
    with pytest.raises(UnsafePickleError, match="damaged"):
        loads(b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"x.")
    assert loads(b"K\x01r\xff\xff\xff\xff.") == 1
    deep = b"]" * 100_000 + b"a" * 99_999 + b"."
    with pytest.raises(UnsafePickleError, match="damaged"):
        loads(deep)
    huge = pickle.dumps(np.zeros(3, np.float32)).replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85")
    with pytest.raises(UnsafePickleError, match="claims"):
        loads(huge)


def test_truncated_and_damaged() -> None:
    whole = pickle.dumps(TREE)
    for length in range(len(whole)):
        with pytest.raises(UnsafePickleError):
            loads(whole[:length])
    rng = np.random.default_rng(0)
    for place in rng.integers(len(whole), size=2000):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        try:
            loads(bytes(damaged))
        except UnsafePickleError:
            continue


def test_import_of_both_architectures(tmp_path: Path) -> None:
    """A checkpoint of two agents: the first is taken; hyper-parameters beside it do no harm."""
    loqa_arrays = {**head_arrays("actor_head/", 36, 6, 2), **head_arrays("qvalue_head/", 37, 5, 2)}
    state = {
        "hp": {"seed": 3, "lr": 1e-3, "mode": "mean"},
        "agent0": {"params": {"params": nested(loqa_arrays)}},
        "agent1": {"params": {"params": nested(head_arrays("actor_head/", 36, 6, 2, 9))}},
    }
    for name, tree, arrays in (
        ("loqa", state, loqa_arrays),
        ("pola", [{"params": nested(pola_arrays())}, {"params": nested(head_arrays("", 36, 6, 1, 5))}],
         pola_arrays()),
    ):  # fmt: skip
        source, target = tmp_path / f"{name}.pkl", tmp_path / f"{name}.safetensors"
        source.write_bytes(pickle.dumps(tree))
        import_pickle(source, target, {"algorithm": name.upper(), "grid": [3, 3], "seed": 3})
        np.savez(tmp_path / f"{name}.npz", **arrays)
        one, other = load_published(target), load_published(tmp_path / f"{name}.npz")
        assert (one.algorithm, one.grid, one.meta["seed"]) == (name.upper(), (3, 3), 3)
        obs = torch.rand(4, 2, 4, 3, 3)
        assert torch.equal(rollout_log_probs(one.policy, obs), rollout_log_probs(other.policy, obs))


def test_import_refuses(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    with pytest.raises(FileNotFoundError):
        import_pickle(path, tmp_path / "a.safetensors")
    path.write_bytes(pickle.dumps({"weights": np.zeros(3)}))
    with pytest.raises(ValueError, match="holds no agent"):
        import_pickle(path, tmp_path / "a.safetensors")
    arrays = pola_arrays()
    arrays["linear_end/bias"][0] = np.nan
    path.write_bytes(pickle.dumps(nested(arrays)))
    with pytest.raises(ValueError, match="holds NaN"):
        import_pickle(path, tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()
