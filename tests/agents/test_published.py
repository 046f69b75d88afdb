"""Published agents: recorded outputs, and files that must be refused."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from loqa.agents.actor_critic import Agent
from loqa.agents.policy import HeadPolicy, MFOSPolicy, Policy, _rewards_between
from loqa.agents.published.arrays import load_published, read_npz, save_published
from loqa.envs import make

GATES = ("ir", "iz", "in", "hr", "hz", "hn")
EARLY = {
    *(f"loqa_{i}" for i in range(1, 6)),
    *(f"pola_{i}" for i in range(1, 6)),
    *(f"mfos_{i}" for i in range(42, 47)),
}


def reference_agents() -> Path:
    """The directory of the published agents' arrays."""
    directory = os.environ.get("LOQA_REFERENCE_AGENTS_DIR")
    if not directory:
        pytest.skip("set LOQA_REFERENCE_AGENTS_DIR to the published agents' arrays")
    return Path(directory)


def head_arrays(prefix: str, inputs: int, hidden: int, layers: int, seed: int = 0) -> dict:
    """A flax head of random numbers."""
    rng = np.random.default_rng(seed)
    arrays, width = {}, inputs
    for number in range(1, layers + 1):
        arrays[f"linear{number}/kernel"] = rng.normal(size=(width, hidden))
        arrays[f"linear{number}/bias"] = rng.normal(size=hidden)
        width = hidden
    for gate in GATES:
        arrays[f"GRUCell/{gate}/kernel"] = rng.normal(
            size=(width if gate[0] == "i" else hidden, hidden)
        )
    for gate in ("ir", "iz", "in", "hn"):
        arrays[f"GRUCell/{gate}/bias"] = rng.normal(size=hidden)
    arrays["linear_end/kernel"] = rng.normal(size=(hidden, 4))
    arrays["linear_end/bias"] = rng.normal(size=4)
    return {prefix + name: array.astype(np.float32) for name, array in arrays.items()}


def pola_arrays() -> dict:
    return head_arrays("", 36, 6, 1)


def mfos_arrays() -> dict:
    policy = MFOSPolicy(3, 3, 4, 5)
    return {name: value.numpy() for name, value in policy.state_dict().items()}


def rollout_log_probs(policy: Policy, obs: torch.Tensor) -> torch.Tensor:
    """`[T, B, ...]` -> `[T, B, K]`, step by step."""
    state, steps = policy.initial_state(obs.shape[1]), []
    with torch.no_grad():
        for now in obs:
            log_probs, state = policy.step(now, state)
            steps.append(log_probs)
    return torch.stack(steps)


def test_recorded_outputs_of_every_reference_agent() -> None:
    """Log-probabilities, q-values, logits and probabilities of the official modules, to 1e-4."""
    directory = reference_agents()
    observations = {
        early: torch.from_numpy(read_npz(directory / f"check_observations_3x3{suffix}.npz")["obs"])
        for early, suffix in ((True, ""), (False, "_b"))
    }
    files = [file for file in sorted(directory.glob("*.npz")) if not file.name.startswith("check")]
    assert len(files) == 38
    for file in files:
        agent = load_published(file)
        assert agent.grid == (3, 3)
        obs = observations[file.stem in EARLY].transpose(0, 1)
        checks = {name: torch.from_numpy(array).transpose(0, 1)
                  for name, array in agent.arrays.items()}  # fmt: skip
        log_probs = rollout_log_probs(agent.policy, obs)
        if "check_logits" in checks:
            assert isinstance(agent.policy, HeadPolicy)
            found = {"check_logits": agent.policy.head(obs.flatten(2))}
        elif "check_probs" in checks:
            found = {"check_probs": log_probs.exp()}
        else:
            assert isinstance(agent.policy, Agent)
            found = {
                "check_logp": log_probs,
                "check_qvalue": agent.policy.q_values(obs),
                "check_value": agent.policy.values(obs),
            }
        assert set(found) == set(checks)
        for name, value in found.items():
            torch.testing.assert_close(value, checks[name], rtol=0, atol=1e-4)


def test_rewards_are_read_off_observations() -> None:
    env = make("coin_game", 200, seed=3)
    actions = torch.randint(4, (50, 200, 2), generator=torch.Generator().manual_seed(0))
    obs, rewards = env.rollout(actions)
    for seat in (0, 1):
        for t in range(50):
            found = _rewards_between(obs[t, :, seat], obs[t + 1, :, seat])
            expected = rewards[t] if seat == 0 else rewards[t].flip(-1)
            assert torch.equal(found, expected)
    assert not _rewards_between(torch.zeros_like(obs[0, :, 0]), obs[0, :, 0]).any()


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_pola_permutes_its_actions(tmp_path: Path, layers: int) -> None:
    arrays = head_arrays("", 36, 6, layers)
    np.savez(tmp_path / "a.npz", **arrays)
    policy = load_published(tmp_path / "a.npz").policy
    arrays["linear_end/kernel"] = arrays["linear_end/kernel"][:, [1, 0, 3, 2]]
    arrays["linear_end/bias"] = arrays["linear_end/bias"][[1, 0, 3, 2]]
    actor = {f"actor_head/{name}": array for name, array in arrays.items()}
    np.savez(tmp_path / "b.npz", **actor, **head_arrays("qvalue_head/", 37, 6, 2))
    other = load_published(tmp_path / "b.npz").policy
    obs = torch.rand(5, 3, 4, 3, 3)
    torch.testing.assert_close(rollout_log_probs(policy, obs), rollout_log_probs(other, obs))


def test_mfos_by_hand(tmp_path: Path) -> None:
    """One step with the rewards given as planes, in plain torch."""
    np.savez(tmp_path / "m.npz", **mfos_arrays())
    policy = load_published(tmp_path / "m.npz").policy
    assert isinstance(policy, MFOSPolicy)
    obs, rewards = make("coin_game", 64, seed=1).rollout(torch.randint(4, (3, 64, 2)))
    log_probs = rollout_log_probs(policy, obs[:, :, 0])
    gru = torch.nn.GRU(5, 5)
    gru.load_state_dict(policy.GRU_a.state_dict())
    paid = torch.cat([torch.zeros(1, 64, 2), rewards, torch.zeros(0, 64, 2)])
    planes = torch.cat([paid, torch.zeros(4, 64, 1)], -1)[..., None, None].expand(-1, -1, -1, 3, 3)
    x = torch.cat([obs[:, :, 0], planes], 2).flatten(0, 1)
    for name in ("conv_a_0", "conv_a_1"):
        layer = getattr(policy, name)
        circular = torch.nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1,
                                   padding_mode="circular")  # fmt: skip
        circular.load_state_dict(layer.state_dict())
        x = torch.relu(circular(x))
    x = torch.relu(policy.linear_a_0(x.flatten(1))).unflatten(0, (4, 64))
    logits = policy.linear_a(torch.relu(gru(x)[0]))
    expected = logits[..., [1, 0, 3, 2]].log_softmax(-1)
    torch.testing.assert_close(log_probs, expected.detach(), rtol=1e-4, atol=1e-5)


def test_safetensors_round_trip(tmp_path: Path) -> None:
    save_published(tmp_path / "a.safetensors", pola_arrays(), {"algorithm": "POLA", "grid": [3, 3]})
    np.savez(tmp_path / "a.npz", **pola_arrays())
    one, other = (load_published(tmp_path / f"a.{kind}") for kind in ("safetensors", "npz"))
    assert (one.algorithm, one.grid, other.algorithm, other.grid) == (
        "POLA",
        (3, 3),
        "POLA",
        (3, 3),
    )
    obs = torch.rand(4, 2, 4, 3, 3)
    assert torch.equal(rollout_log_probs(one.policy, obs), rollout_log_probs(other.policy, obs))


# --- refused


def refused(path: Path, words: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{path.name} is not a readable published agent: .*{words}"
    ):
        load_published(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"linear1/kernel": np.zeros((36, 7), np.float32)}, r"linear1/kernel must be floating"),
        ({"linear_end/bias": np.zeros(5, np.float32)}, r"linear_end/bias must be floating \[4\]"),
        ({"GRUCell/hr/kernel": np.zeros((6, 6), np.int32)}, "got int32"),
        ({"GRUCell/hn/bias": np.full(6, np.nan, np.float32)}, "holds NaN or infinity"),
        ({"linear_end/kernel": np.full((6, 4), np.inf, np.float32)}, "holds NaN or infinity"),
        ({"linear1/extra": np.zeros(3)}, "linear1/extra belongs to no layer"),
        ({"GRUCell/hr/kernel": None}, "GRUCell/hr/kernel is missing"),
        ({"meta": np.array("[1, 2]")}, "meta must be a JSON object"),
        ({"meta": np.array("{")}, "Expecting property name"),
        ({"meta": np.zeros(3)}, "meta must be one string"),
        ({"meta": np.array(json.dumps({"grid": [3]}))}, "expected height and width"),
    ],
)
def test_wrong_arrays(tmp_path: Path, change: dict, words: str) -> None:
    arrays = {**pola_arrays(), **change}
    path = tmp_path / "agent.npz"
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    refused(path, words)


def test_mfos_of_another_board(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez(path, **mfos_arrays(), meta=np.array(json.dumps({"grid": [4, 4]})))
    refused(path, r"linear_a_0.weight must be floating \['any', 64\]")


def test_the_board_must_fit_the_network(tmp_path: Path) -> None:
    """A square board is told from the network; any other must be said, and fit."""
    path = tmp_path / "p.npz"
    np.savez(path, **head_arrays("", 4 * 25, 4, 1))
    assert load_published(path).grid == (5, 5)
    wide = head_arrays("", 4 * 12, 4, 1)
    np.savez(path, **wide, meta=np.array(json.dumps({"grid": [3, 4]})))
    assert load_published(path).grid == (3, 4)
    np.savez(path, **wide)
    refused(path, "reads 48 numbers, not 4 planes of a square board")
    np.savez(path, **wide, meta=np.array(json.dumps({"grid": [4, 4]})))
    refused(path, "reads 48 numbers, not 4 planes of 4 x 4")


def test_unknown_architecture(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, weights=np.zeros(3))
    refused(path, "expected the arrays of LOQA, POLA or M-FOS, got weights")
    path.write_bytes(b"")
    refused(path, "no npz file")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_published(tmp_path / "none.npz")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.npz"
    np.savez_compressed(path, **pola_arrays())
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a readable published agent"):
            load_published(path)


def test_damaged_bytes_are_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "agent.npz"
    np.savez_compressed(path, **pola_arrays())
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(len(whole), size=200):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            load_published(path)
        except ValueError as error:
            assert "not a readable published agent" in str(error)  # noqa: PT017


def npy(header: dict | str, body: bytes) -> bytes:
    text = (header if isinstance(header, str) else repr(header)).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            npy({"descr": "<f4", "fortran_order": False, "shape": (2**40,)}, b"1234"),
            "claims float32",
        ),
        (
            npy({"descr": "<f4", "fortran_order": False, "shape": (2**20, 2**20)}, b"12"),
            "claims float32",
        ),
        (
            npy({"descr": "<f4", "fortran_order": False, "shape": (-1,)}, b"1234"),
            "must hold numbers",
        ),
        (
            npy({"descr": "|O", "fortran_order": False, "shape": (1,)}, b"cos\nsystem"),
            "must hold numbers",
        ),
        (
            npy({"descr": [("a", "|O")], "fortran_order": False, "shape": (1,)}, b"12345678"),
            "numbers",
        ),
        (
            npy({"descr": "<f4", "shape": (1,)}, b"1234"),
            "its header is damaged",
        ),
        (
            npy("__import__('os').system('touch owned')", b""),
            "its header is damaged",
        ),
        (npy("(" * 5000, b""), "its header is damaged"),
        (b"\x93NUMPY\x01\x00\xff\xff{}", "is no npy array"),
        (b"not an array", "is no npy array"),
    ],
)
def test_hostile_arrays(tmp_path: Path, monkeypatch, data: bytes, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", data)
    refused(path, f"({words})")
    assert not (tmp_path / "owned").exists()


def test_bombs(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as file,
    ):
        for _ in range(300):
            file.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    refused(path, "bytes unpacked, the most allowed")
    # A directory that lies about the size.
    size = struct.pack("<I", 300 * 2**20)
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", 100)))
    with pytest.raises(ValueError, match="not a readable published agent"):
        load_published(path)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(1001):
            archive.writestr(f"{number}.npy", b"")
    refused(path, "1001 arrays")


def test_pickled_npz_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", stream.getvalue())
    refused(path, "must hold numbers or strings")
