"""What `device=` promises: clear errors; and on a GPU streams, graphs, no waiting, several devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sim_devices import assert_same, make, needs_gpu, random_actions

import loqa
from loqa._native import core
from loqa.envs import device as devices

GAMES: dict[str, dict[str, Any]] = {
    "coin_game": {"episode_length": 7, "autoreset": "same_step"},
    "ipd": {"episode_length": 7, "autoreset": "next_step", "noise": 0.2, "end_probability": 0.1},
}
each_game = pytest.mark.parametrize("game", GAMES)


# --- errors, which need no GPU


class CoreWithCuda:
    """The core as a build with CUDA has it."""

    has_cuda = True

    def __getattr__(self, name: str) -> Any:
        return getattr(core, name)


@pytest.fixture
def with_gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes loqa and torch look as if built with CUDA, with so many GPUs."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(devices, "core", CoreWithCuda())
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)

    return pretend


@each_game
def test_no_cuda_in_the_build(monkeypatch: pytest.MonkeyPatch, game: str) -> None:
    class CoreWithoutCuda(CoreWithCuda):
        has_cuda = False

    monkeypatch.setattr(devices, "core", CoreWithoutCuda())
    with pytest.raises(RuntimeError, match=r"device='cuda' needs a loqa .* built with CUDA.*nvcc"):
        loqa.make(game, device="cuda")


def test_torch_without_cuda(
    monkeypatch: pytest.MonkeyPatch, with_gpus: Callable[[int], None]
) -> None:
    with_gpus(0)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(RuntimeError, match=r"device='cuda:1' needs a PyTorch built with CUDA"):
        loqa.make("coin_game", device="cuda:1")


def test_no_gpu(with_gpus: Callable[[int], None]) -> None:
    with_gpus(0)
    with pytest.raises(RuntimeError, match="NVIDIA GPU and its driver, and torch finds none: see"):
        loqa.make("coin_game", device=torch.device("cuda"))


def test_index_of_a_gpu(with_gpus: Callable[[int], None]) -> None:
    with_gpus(2)
    with pytest.raises(ValueError, match=r"index of the CUDA device .* in \[0, 1\], got 2"):
        loqa.make("coin_game", device="cuda:2")
    assert devices.usable_device("cuda") == torch.device("cuda", 0)
    assert devices.usable_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize("device", ["meta", "mps", "gpu", 3.5, None])
def test_not_a_device(device: Any) -> None:
    with pytest.raises(ValueError, match="device must be 'cpu', 'cuda' or 'cuda:N', got"):
        loqa.make("coin_game", device=device)


def test_core_without_cuda_refuses() -> None:
    if core.has_cuda:
        pytest.skip("this core has CUDA")
    with pytest.raises(ValueError, match="this build has no CUDA"):
        core.GameSimulatorDevice(**_device_settings(), on_host=False)


def test_core_checks_codes_and_sizes() -> None:
    settings = {**_device_settings(), "on_host": True}
    with pytest.raises(ValueError, match="unknown code of autoreset"):
        core.GameSimulatorDevice(**{**settings, "autoreset": 3})
    for name, size in {
        "seed": 8,
        "obs": 288,
        "rewards": 8,
        "truncated": 1,
        "bad_action": 4,
    }.items():
        with pytest.raises(ValueError, match=f"{name} must be of {size} bytes, got {size + 1}"):
            core.GameSimulatorDevice(**{**settings, name: core.Memory(size + 1)})
    native = core.GameSimulatorDevice(**settings)
    with pytest.raises(ValueError, match="unknown action type code 5"):
        native.step(core.Memory(2), 5, 0)
    with pytest.raises(ValueError, match="actions must be of 16 bytes, got 2"):
        native.step(core.Memory(2), 4, 0)
    with pytest.raises(ValueError, match="negative or too large"):
        native.rollout(core.Memory(0), 0, -1, core.Memory(0), core.Memory(0), 0)
    with pytest.raises(ValueError, match="obs must be of 576 bytes, got 0"):
        native.rollout(core.Memory(2), 0, 1, core.Memory(0), core.Memory(8), 0)
    with pytest.raises(ValueError, match="one kind for each player"):
        native.choose(core.GamePlayers(kinds=[0]), core.Memory(2), 0)
    with pytest.raises(ValueError, match="which must be of 1 bytes, got 2"):
        native.start(core.Memory(2), 0)


def _device_settings() -> dict[str, Any]:
    """Of one Coin Game of 3 x 3 in the host's memory, without autoreset."""
    rules = {
        "height": 3, "width": 3, "num_players": 2, "num_coins": 1, "num_actions": 4, "left": 0,
        "right": 1, "up": 2, "down": 3,
    }  # fmt: skip
    switches = (
        "distinct_start", "coin_anywhere", "first_takes", "relative", "channels_last",
        "egocentric", "history", "zero_last_reward", "cells",
    )  # fmt: skip
    batch = core.GameBatch(
        game="coin-game", rules={**rules, **dict.fromkeys(switches, 0)}, num_envs=1, num_players=2,
        obs_type=2, episode_length=5, first_env=0, states=core.Memory(7 * 64), t=core.Memory(4),
        episode=core.Memory(4),
    )  # fmt: skip
    results = {
        "obs": 288,
        "rewards": 8,
        "terminated": 1,
        "truncated": 1,
        "bad_action": 4,
        "seed": 8,
    }
    memory = {name: core.Memory(size) for name, size in results.items()}
    return {"batch": batch, **memory, "autoreset": 0, "final_obs": None}


@pytest.mark.parametrize("what", ["empty", "zeros"])
def test_out_of_memory(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    memory = devices.DeviceMemory(torch.device("cuda", 0))
    monkeypatch.setattr(torch, what, full)
    with pytest.raises(
        torch.OutOfMemoryError, match=r"no room for 0\.50 GiB on cuda:0 .* fewer env"
    ):
        getattr(memory, what)((2**20, 128), torch.float32)


@each_game
def test_actions_must_be_on_the_device(game: str) -> None:
    """As on a GPU: an environment that believes to be there refuses NumPy and CPU actions."""
    env = make("cuda-on-host", game, 3)
    env.device = torch.device("cuda", 0)
    actions = np.zeros((3, 2), np.uint8)
    with pytest.raises(TypeError, match=r"on cuda:0, got a NumPy array, which is in the CPU's mem"):
        env.step(actions)
    with pytest.raises(TypeError, match="got a NumPy array"):
        env.rollout(actions[None])
    with pytest.raises(ValueError, match=r"on cuda:0, got \[3, 2\] torch.uint8 on cpu"):
        env.step(torch.from_numpy(actions))
    with pytest.raises(ValueError, match=r"must be \[3, 2\] of an integer type on cuda:0"):
        env.step(torch.zeros(2, 3, dtype=torch.uint8))


@pytest.mark.parametrize("module", ["gymnasium", "pettingzoo"])
def test_numpy_adapters_are_for_the_cpu(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    adapters = pytest.importorskip(f"loqa.envs.{module}")

    env = make("cuda-on-host", "coin_game", 1)
    env.device = torch.device("cuda", 0)
    monkeypatch.setattr(adapters.loqa, "make", lambda *_, **__: env)
    adapter = adapters.VectorEnv if module == "gymnasium" else adapters.parallel_env
    with pytest.raises(ValueError, match=r"arrays are NumPy's, .* device must be 'cpu', got 'cuda"):
        adapter("coin_game", device="cuda:0")


# --- on a GPU


def step_all(env: Any, actions: torch.Tensor) -> list[torch.Tensor]:
    """Copies of everything that steps return."""
    return [value.clone() for now in actions for value in env.step(now)]


@needs_gpu
@each_game
def test_stream_ordering(game: str) -> None:
    """On a side stream, behind a long kernel that makes its actions, without waiting for anything."""
    env, plain = make("cuda", game, 500, **GAMES[game]), loqa.make(game, 500, **GAMES[game])
    actions = random_actions(env, 9)
    on_device = torch.zeros_like(actions, device="cuda")
    source = actions.cuda()
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        env.reset(seed=0)
        step_all(env, on_device)  # loads kernels and makes room for copies, which may wait
        torch.cuda._sleep(200_000_000)
        on_device.copy_(source)
        env.reset(seed=4)
        seen = step_all(env, on_device)
        assert not stream.query(), "the long kernel has ended: the test shows nothing"
    stream.synchronize()
    plain.reset(seed=4)
    assert_same(seen, step_all(plain, actions))


@needs_gpu
@each_game
def test_graph_replay_equals_eager(game: str) -> None:
    """Each replay goes on: new random numbers, autoresets, and a new seed between replays."""
    env, plain = make("cuda", game, 333, **GAMES[game]), loqa.make(game, 333, **GAMES[game])
    actions = random_actions(env).cuda()
    env.step(actions)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(3):
            result = env.step(actions)
    for seed in (6, 7):
        env.reset(seed=seed)
        plain.reset(seed=seed)
        for part in range(10):
            moves = random_actions(env, seed=part)
            actions.copy_(moves)
            graph.replay()
            for _ in range(3):
                expected = plain.step(moves)
            assert_same(result, expected)
    assert_same(env.get_state(), plain.get_state())


@needs_gpu
def test_graph_of_a_whole_episode() -> None:
    """Reset, scripted players and a rollout in one graph."""
    env, plain = make("cuda", "coin_game", 100, seed=3), loqa.make("coin_game", 100, seed=3)
    names, seats = ["always-defect", None], random_actions(env, 8)
    given = seats.cuda()
    env.reset()
    plain.reset()
    env.rollout_scripted(names, 8, given)
    plain.rollout_scripted(names, 8, seats)
    env.scripted_actions(names)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        env.reset()
        chosen = env.scripted_actions(names)
        result = env.rollout_scripted(names, 8, given)
    for _ in range(4):
        graph.replay()
        plain.reset()
        assert_same(chosen, plain.scripted_actions(names))
        assert_same(result, plain.rollout_scripted(names, 8, seats))


@needs_gpu
@each_game
@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")
def test_nothing_waits(game: str) -> None:
    """torch raises at any operation that would wait for the device."""
    env = make("cuda", game, 100, **GAMES[game])
    rolled = make("cuda", game, 100)
    actions = random_actions(env, 4).cuda()
    table = torch.full((2, 5), 0.5, device="cuda")
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        env.reset(seed=3)
        for now in actions:
            env.step(now)
        env.reset()
        env.reset(mask=env._truncated)
        rolled.rollout(actions)
        if game == "coin_game":
            rolled.scripted_actions([None, "random"])
            rolled.rollout_scripted([None, "random"], 4, actions)
        else:
            rolled.rollout_memory1(table, 5)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_gpu
@each_game
def test_a_step_allocates_nothing(game: str) -> None:
    env = make("cuda", game, 1000, **GAMES[game])
    actions = random_actions(env).cuda()
    env.step(actions)
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    for _ in range(20):
        env.step(actions)
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before


@needs_gpu
@each_game
def test_second_device(game: str) -> None:
    """An environment of another device than the current one, beside one of the current."""
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU only")
    plain = loqa.make(game, 200, **GAMES[game])
    envs = [loqa.make(game, 200, device=f"cuda:{index}", **GAMES[game]) for index in (0, 1)]
    actions = random_actions(plain, 9)
    expected = step_all(plain, actions)
    seen = [step_all(env, actions.to(env.device)) for env in envs]
    assert torch.cuda.current_device() == 0
    for env, came in zip(envs, seen, strict=True):
        assert all(value.device == env.device for value in came)
        assert_same(came, expected)
    with pytest.raises(ValueError, match=r"on cuda:1, got .* on cuda:0"):
        envs[1].step(actions[0].to("cuda:0"))


@needs_gpu
def test_too_many_environments_for_the_device() -> None:
    with pytest.raises(torch.OutOfMemoryError, match="take fewer environments"):
        loqa.make("coin_game", 2**28, device="cuda", height=60, width=60)
