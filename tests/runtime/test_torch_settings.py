"""What a program sets in torch for the whole process changes no result, and is left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import loqa
from loqa.runtime.torch_settings import usual_torch
from loqa.training import checkpoint

THREADS = torch.get_num_threads()
CONFIGS = {
    "ipd": loqa.IPDConfig(batch_size=16, iterations=3, log_every=1),
    "coin": loqa.CoinConfig(
        batch_size=8, iterations=2, opponents=2, replay_capacity=4, evaluation_episodes=8,
        actor_hidden=8, critic_hidden=8, log_every=1,
    ),
}  # fmt: skip


def settings() -> tuple[Any, ...]:
    return (
        torch.get_default_dtype(),
        torch.empty(0).device,
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.is_anomaly_enabled(),
    )


@contextmanager
def until_reset(change: Callable[[], None], reset: Callable[[], None]) -> Iterator[None]:
    change()
    try:
        yield
    finally:
        reset()


CHANGES: dict[str, Callable[[], Any]] = {
    "float64": lambda: until_reset(
        lambda: torch.set_default_dtype(torch.float64),
        lambda: torch.set_default_dtype(torch.float32),
    ),
    "device": lambda: torch.device("meta"),
    "inference": torch.inference_mode,
    "no gradients": torch.no_grad,
    "deterministic": lambda: until_reset(
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        lambda: torch.use_deterministic_algorithms(False),
    ),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "threads": lambda: until_reset(
        lambda: torch.set_num_threads(THREADS + 1), lambda: torch.set_num_threads(THREADS)
    ),
    "matmul": lambda: until_reset(
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: torch.set_float32_matmul_precision("highest"),
    ),
    "seed": lambda: until_reset(lambda: torch.manual_seed(3), lambda: None),
}  # fmt: skip


def result(game: str, run: Path) -> tuple[Any, ...]:
    """Everything that a run and an evaluation of it come to."""
    loqa.train(CONFIGS[game], run)
    name = f"iteration_{CONFIGS[game].iterations:08d}.safetensors"
    state = checkpoint.load_checkpoint(run / "checkpoints" / name)
    other = "tft" if game == "ipd" else "ad"
    played = loqa.evaluate(run, other, episodes=8).to_dict()
    agent = loqa.load_agent(run).state_dict()
    return state["trainer"]["learner"], played, agent


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.fixture(scope="module", params=CONFIGS)
def usual(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return request.param, result(request.param, tmp_path_factory.mktemp("usual") / "run")


@pytest.mark.parametrize("change", CHANGES)
def test_the_settings_of_a_program(usual: Any, change: str, tmp_path: Path) -> None:
    game, expected = usual
    with CHANGES[change]():
        before = settings()
        got = result(game, tmp_path / "run")
        assert settings() == before
    assert same(got, expected)


def test_settings_come_back_after_a_failure() -> None:
    def fail() -> None:
        with usual_torch("high", 1):
            usual = (torch.float32, torch.device("cpu"), 1, "high", True, *[False] * 5)
            assert settings() == usual
            raise ZeroDivisionError

    with ExitStack() as stack:
        for change in CHANGES.values():
            stack.enter_context(change())
        before = settings()
        with pytest.raises(ZeroDivisionError):
            fail()
        assert settings() == before
