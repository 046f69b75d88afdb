"""Whatever Python does to what an environment returned, the core keeps to its own memory."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sim_devices import make
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import loqa
from loqa._native import core

RULES: dict[str, dict[str, Any]] = {"ipd": {}, "coin_game": {}, "public-goods": {"num_players": 2}}
GAMES = list(RULES)
DEVICES = ["cpu", "cuda-on-host"]
each_game = pytest.mark.parametrize("game", GAMES)
each_device = pytest.mark.parametrize("device", DEVICES)


def shared(tensor: Tensor) -> None:
    tensor.share_memory_()


def resized(tensor: Tensor) -> None:
    try:
        tensor.resize_(100_000)
    except RuntimeError:  # memory that is the core's cannot be resized
        tensor.resize_(1)


def storage_resized(tensor: Tensor) -> None:
    try:
        tensor.untyped_storage().resize_(0)
    except RuntimeError:
        tensor.squeeze_()


def data_set(tensor: Tensor) -> None:
    tensor.data = torch.full_like(tensor, 1).clone()


def set_to_another(tensor: Tensor) -> None:
    with torch.no_grad():
        tensor.set_(torch.full_like(tensor, 1))


def turned(tensor: Tensor) -> None:
    tensor.unsqueeze_(0).transpose_(0, 1)


def storage_shared(tensor: Tensor) -> None:
    tensor.untyped_storage().share_memory_()


MOVES: list[Callable[[Tensor], None]] = [
    shared, resized, storage_resized, data_set, set_to_another, turned, storage_shared,
]  # fmt: skip


@each_game
@each_device
@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)
@pytest.mark.parametrize("which", range(4))
def test_results_that_were_moved(
    game: str, device: str, move: Callable[[Tensor], None], which: int
) -> None:
    """A moved tensor keeps what it had; step goes on with the numbers of an undisturbed copy."""
    env, plain = (make(device, game, 70, **RULES[game], episode_length=3) for _ in range(2))
    env.reset(seed=3)
    plain.reset(seed=3)
    actions = torch.ones(70, 2, dtype=torch.int64)
    moved = env.step(actions)[which]
    plain.step(actions)
    move(moved)
    kept = moved.clone()
    for _ in range(4):
        for ours, theirs in zip(env.step(actions), plain.step(actions), strict=True):
            assert ours.shape == theirs.shape
            assert torch.equal(ours, theirs)
    assert torch.equal(moved, kept) or move in (resized, storage_resized, turned)
    assert torch.equal(env.reset(), plain.reset())


@each_game
def test_moved_results_with_autoreset(game: str) -> None:
    for mode in ("next_step", "same_step"):
        env, plain = (
            loqa.make(game, 5, **RULES[game], autoreset=mode, episode_length=2) for _ in range(2)
        )
        for _ in range(7):
            results = env.step(np.ones((5, 2), np.int8))
            for ours, theirs in zip(results, plain.step(np.ones((5, 2), np.int8)), strict=True):
                assert torch.equal(ours, theirs)
            for tensor in results:
                tensor.share_memory_()
            if mode == "same_step":
                assert torch.equal(env.final_obs, plain.final_obs)
                env.final_obs.share_memory_()


def test_a_result_outlives_its_environment() -> None:
    env = loqa.make("coin_game", 300, obs_dtype=torch.bfloat16)
    obs = env.step(np.zeros((300, 2), np.int8))[0]
    before = obs.clone()
    array = env.step(np.zeros((300, 2), np.int8))[1].numpy()
    del env
    gc.collect()
    junk = [torch.full((300, 2, 4, 3, 3), 7.0) for _ in range(20)]
    assert len(junk) == 20
    assert obs.shape == before.shape
    assert set(np.unique(array)) <= {-2.0, -1.0, 0.0, 1.0}


def test_rollouts_that_were_moved() -> None:
    env, plain = (loqa.make("coin_game", 100) for _ in range(2))
    actions = np.ones((9, 100, 2), np.uint8)
    for _ in range(6):
        obs, rewards = env.rollout(actions)
        expected = plain.rollout(actions)
        obs.share_memory_()
        view = rewards[0]
        rewards.data = torch.zeros(1)
        assert torch.equal(obs, expected[0])
        assert torch.equal(view, expected[1][0])


def test_the_core_checks_sizes() -> None:
    one = core.Memory(8)
    assert memoryview(one).nbytes == one.bytes == 8
    with pytest.raises(ValueError, match="must not be negative"):
        core.Memory(-1)
    with pytest.raises(ValueError, match="an owner without memory"):
        core.Memory.borrow(0, 8, None)
    sizes = {"table": 112, "states": 4, "t": 8, "episode": 8}
    rules = {"num_actions": 2, "obs_width": 4, "noise": 0, "end_probability": 0}
    settings = {
        "game": "matrix-game", "rules": rules, "num_envs": 2, "num_players": 2, "obs_type": 2,
        "episode_length": 5, "first_env": 0,
    }  # fmt: skip
    for short in sizes:
        memory = {name: core.Memory(size - (name == short)) for name, size in sizes.items()}
        with pytest.raises(ValueError, match=f"{short} must be of {sizes[short]} bytes, got"):
            core.GameBatch(**settings, **memory)
    batch = core.GameBatch(**settings, **{n: core.Memory(size) for n, size in sizes.items()})
    results = {"obs": 64, "rewards": 16, "terminated": 2, "truncated": 2}
    for short in results:
        memory = {name: core.Memory(size - (name == short)) for name, size in results.items()}
        with pytest.raises(ValueError, match=f"{short} must be of {results[short]} bytes, got"):
            core.GameSimulator(batch, **memory, num_threads=1)
    game = core.GameSimulator(
        batch, **{n: core.Memory(size) for n, size in results.items()}, num_threads=1
    )
    actions = np.zeros((3, 2, 2), np.int8)
    for obs, rewards in ((4 * 64, 3 * 16 - 1), (3 * 64, 3 * 16)):
        with pytest.raises(ValueError, match="must be of"):
            game.rollout(actions, 3, core.Memory(obs), core.Memory(rewards))
    with pytest.raises(ValueError, match="negative or too large"):
        game.rollout(actions, -1, core.Memory(0), core.Memory(0))
    with pytest.raises(ValueError, match="negative or too large"):
        game.rollout(actions, 2**62, core.Memory(0), core.Memory(0))


# --- actions in any memory


def foreign(kind: str, actions: np.ndarray) -> Any:
    """The same actions, differently stored."""
    if kind == "unaligned":
        raw = np.zeros(actions.nbytes + 1, np.uint8)[1:]
        view = raw.view(actions.dtype).reshape(actions.shape)
        view[...] = actions
        return view
    if kind == "unaligned tensor":
        raw = bytearray(b"\0" + actions.tobytes())
        dtype = torch.from_numpy(actions[:1]).dtype
        return torch.frombuffer(raw, dtype=dtype, offset=1).reshape(actions.shape)
    if kind == "seats swapped":
        return np.ascontiguousarray(actions[:, ::-1])[:, ::-1]
    if kind == "games reversed":
        return np.ascontiguousarray(actions[::-1])[::-1]
    if kind == "big-endian":
        return actions.astype(actions.dtype.newbyteorder(">"))
    if kind == "read-only":
        view = actions.copy()
        view.flags.writeable = False
        return view
    if kind == "read-only swapped":
        view = np.ascontiguousarray(actions[:, ::-1])[:, ::-1]
        view.flags.writeable = False
        return view
    if kind == "by column":
        return np.asfortranarray(actions)
    if kind == "tensor by column":
        return torch.from_numpy(actions.T.copy()).t()
    if kind == "every second":
        return np.repeat(actions, 2, axis=0)[::2]
    if kind == "broadcast":
        return torch.from_numpy(actions[:1]).expand(len(actions), 2)
    if kind == "lists":
        return actions.tolist()
    return np.asarray(actions).view(np.recarray) if kind == "subclass" else actions


KINDS = [
    "unaligned", "unaligned tensor", "seats swapped", "games reversed", "big-endian", "read-only",
    "read-only swapped", "by column", "tensor by column", "every second", "broadcast", "lists",
]  # fmt: skip
TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


@each_game
@each_device
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.filterwarnings("error")
def test_actions_however_stored(game: str, device: str, kind: str, dtype: str) -> None:
    """Read as what they say, without a warning."""
    if kind == "unaligned tensor" and dtype in ("u2", "u4", "u8"):
        pytest.skip("torch makes no such tensor")
    rng = np.random.default_rng(1)
    env, plain = (make(device, game, 9, **RULES[game]) for _ in range(2))
    actions = rng.integers(0, env.num_actions, (9, 2)).astype(dtype)
    if kind == "broadcast":
        if dtype in ("u2", "u4", "u8"):
            actions = actions.astype("i8")
        actions[:] = actions[0]
    given = foreign(kind, actions)
    for ours, theirs in zip(env.step(given), plain.step(actions.tolist()), strict=True):
        assert torch.equal(ours, theirs)
    if kind in ("lists", "unaligned tensor", "broadcast", "tensor by column"):
        return
    ours, theirs = env.rollout(given[None]), plain.rollout(actions.tolist() and [actions.tolist()])
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])


@each_game
@each_device
def test_bool_actions(game: str, device: str) -> None:
    env, plain = (make(device, game, 4, **RULES[game]) for _ in range(2))
    wanted = np.array([[0, 1], [1, 0], [1, 1], [0, 0]])
    expected = [value.clone() for value in plain.step(wanted)]
    for actions in (
        wanted.astype(bool),
        torch.from_numpy(wanted).bool(),
        wanted.astype(bool).tolist(),
    ):
        env.reset(seed=0)
        for ours, theirs in zip(env.step(actions), expected, strict=True):
            assert torch.equal(ours, theirs)
    strange = np.full((4, 2), 7, np.uint8).view(bool)  # bytes of any value can be called bool
    if device == "cpu":
        with pytest.raises(ValueError, match=r"actions must be in 0\.\.\d, got 7 at \[0, 0\]"):
            env.step(strange)


@each_game
@each_device
def test_masked_and_other_arrays(game: str, device: str) -> None:
    env = make(device, game, 4, **RULES[game])
    for actions in (np.ma.masked_array(np.zeros((4, 2), int)), memoryview(np.zeros((4, 2), int))):
        assert env.step(actions)[0].shape[0] == 4
    with pytest.raises(TypeError, match=r"actions must be .*, got ndarray"):
        env.step(np.array([["a", "b"]] * 4))
    with pytest.raises(TypeError, match=r"got object|no numbers"):
        env.step(np.full((4, 2), None))


TOLD_BY_OBS: list[dict[str, Any]] = [
    {"game": "ipd", "obs": "index"},
    {"game": "ipd", "obs": "index", "obs_dtype": torch.int64},
    {"game": "coin_game", "obs": "cells", "obs_dtype": torch.uint8},
    {"game": "coin_game", "obs": "cells", "obs_dtype": torch.int64, "height": 1, "width": 3},
]


@each_device
@pytest.mark.parametrize("settings", TOLD_BY_OBS, ids=str)
@pytest.mark.parametrize("num_envs", [3, 5000])
def test_actions_that_lie_in_a_buffer(device: str, settings: dict[str, Any], num_envs: int) -> None:
    """They are read before it is written, by however many threads."""
    if device != "cpu" and num_envs > 3:
        num_envs = 200
    game = settings["game"]
    rest = {name: value for name, value in settings.items() if name != "game"}
    env, plain = (
        make(device, game, num_envs, **RULES[game], num_threads=3, **rest) for _ in range(2)
    )
    rng = np.random.default_rng(0)
    for _ in range(3):
        obs = env.step(rng.integers(0, 2, (num_envs, 2)))[0]
        plain.set_state(**env.get_state())
        plain.load_state_dict(env.state_dict())
        inside = obs.view(-1)[: 2 * num_envs].view(num_envs, 2)
        inside.remainder_(env.num_actions)
        copied = inside.clone()
        for ours, theirs in zip(env.step(inside), plain.step(copied), strict=True):
            assert torch.equal(ours, theirs)


@each_device
def test_a_mask_that_is_a_result(device: str) -> None:
    env = make(device, "coin_game", 6, episode_length=2)
    env.step(np.zeros((6, 2), int))
    env.reset(mask=np.arange(6) % 2 == 0)
    truncated = env.step(np.zeros((6, 2), int))[3]
    assert truncated.tolist() == [False, True] * 3
    env.reset(mask=truncated)
    assert env.get_state()["t"].tolist() == [1, 0] * 3
    assert not truncated.any()
    read_only = np.ones(6, bool)[::-1]
    read_only.flags.writeable = False
    env.reset(mask=read_only)
    assert not env.get_state()["t"].any()


def no_memory(kind: str, *shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    if kind == "zero":
        return torch._efficientzerotensor(shape, dtype=dtype)
    if kind == "meta":
        return torch.zeros(shape, dtype=dtype, device="meta")
    if kind == "fake":
        with FakeTensorMode():
            return torch.zeros(shape, dtype=dtype)
    tensor = torch.zeros(2 * shape[0], *shape[1:], dtype=dtype)
    tensor = tensor[shape[0] :] if kind == "offset" else tensor[: shape[0]]
    tensor.untyped_storage().resize_(0)
    return tensor


@each_game
def test_a_storage_that_was_cut_under_a_large_tensor(game: str) -> None:
    env = loqa.make(game, 4096, **RULES[game])
    _, first, second = whole = torch.zeros(3, 4096, 2, dtype=torch.int64)
    for one in (first, second):
        env.step(one)
    env.rollout(whole)
    if not whole.untyped_storage().resizable():
        pytest.skip("this torch cuts no storage that NumPy has seen")
    whole.untyped_storage().resize_(3 * 4096 * 16 - 8)
    env.step(first)
    before = env.get_state()
    for call, actions in ((env.step, second), (env.rollout, whole)):
        with pytest.raises(TypeError, match="196608 bytes whose storage has 196600"):
            call(actions)
    assert all(torch.equal(value, before[name]) for name, value in env.get_state().items())


@each_game
@each_device
@pytest.mark.parametrize("kind", ["zero", "meta", "fake", "emptied", "offset"])
def test_tensors_without_memory(game: str, device: str, kind: str) -> None:
    env = make(device, game, 3, **RULES[game])
    state = env.get_state()
    refused = pytest.raises((TypeError, ValueError))
    with refused:
        env.step(no_memory(kind, 3, 2))
    with refused:
        env.rollout(no_memory(kind, 4, 3, 2))
    with refused:
        env.set_state(**{**state, "t": no_memory(kind, 3)})
    with refused:
        env.reset(mask=no_memory(kind, 3, dtype=torch.bool))
    if game == "ipd":
        with refused:
            env.rollout_memory1(no_memory(kind, 2, 5, dtype=torch.float32), 4)
    elif game == "coin_game":
        with refused:
            env.rollout_scripted([None, "random"], 4, no_memory(kind, 4, 3, 2))
    for name, value in env.get_state().items():
        assert torch.equal(value, state[name])


# --- copies


@pytest.mark.parametrize("value", [False, True])
def test_copies_do_not_believe_the_flags_that_step_returned(value: bool) -> None:
    settings = {"episode_length": 4, "autoreset": "next_step", "end_probability": 0.4}
    env = loqa.make("ipd", 64, **settings)
    plain = loqa.make("ipd", 64, **settings)
    actions = np.ones((64, 2), int)
    for _ in range(9):
        for flags in env.step(actions)[2:]:
            flags.fill_(value)
        plain.step(actions)
        copied = by_pickle(env)
        for ours, theirs in zip(copied.step(actions), by_pickle(plain).step(actions), strict=True):
            assert torch.equal(ours, theirs)


def by_pickle(env: Any) -> Any:
    return pickle.loads(pickle.dumps(env))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, by_pickle])
@pytest.mark.parametrize(
    "settings",
    [
        {"game": "ipd", "noise": 0.3, "autoreset": "next_step", "end_probability": 0.2},
        {"game": "coin_game", "autoreset": "same_step", "preset": "mfos22"},
        {
            "game": "coin_game",
            "height": 4,
            "num_players": 3,
            "first_env": 5,
            "check_actions": False,
        },
        {"game": "matrix-game", "payoff": np.arange(9.0)},
    ],
    ids=str,
)
def test_copies_are_independent(copied: Callable[[Any], Any], settings: dict[str, Any]) -> None:
    rest = {name: value for name, value in settings.items() if name != "game"}
    env = loqa.make(settings["game"], 40, seed=3, episode_length=5, **rest)
    rng = np.random.default_rng(0)
    for _ in range(4):
        last = env.step(rng.integers(0, 2, (40, env.num_players)))
    other = copied(env)
    assert other.spec == env.spec
    before = [value.clone() for value in last]
    for ours, theirs in zip(other._shown(), before, strict=True):
        assert torch.equal(ours, theirs)
    for _ in range(12):
        actions = rng.integers(0, 2, (40, env.num_players))
        theirs = [value.clone() for value in other.step(actions)]
        for ours, value in zip(env.step(actions), theirs, strict=True):
            assert torch.equal(ours, value)
    env.step(actions)
    assert not torch.equal(env.get_state()["t"], other.get_state()["t"])
