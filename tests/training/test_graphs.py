"""Recorded functions: the same numbers as plain calls, whatever stays in place and whatever does not.

On the CPU a recording is a stand-in that runs the function again over the memory of the first
result, as a CUDA graph would; on a GPU the same tests record CUDA graphs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
import torch
from kernel_cases import DEVICES
from torch import Tensor

from loqa.runtime.graphs import (
    Function,
    Recorder,
    Replayed,
    map_tensors,
    overwrite,
    recorder_for,
    writable,
)
from loqa.training.config import CoinConfig, IPDConfig, TrainConfig
from loqa.training.trainer import Trainer


class HostRecording:
    """Records nothing until the first replay, and then writes every result where the first one was."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._empty = True
        self.result: Any = None

    def replay(self) -> None:
        result = self._function()
        if self._empty:
            self.result, self._empty = map_tensors(result, writable), False
        else:
            overwrite(self.result, result)


def recorder(device: str) -> Recorder:
    return recorder_for(torch.device(device)) or HostRecording


@dataclass(frozen=True)
class Pair:
    x: Tensor
    y: Tensor | None = None

    @cached_property
    def total(self) -> Tensor:
        return self.x.sum()


@pytest.mark.parametrize("device", DEVICES)
def test_small_functions_are_replayed(device: str) -> None:
    calls = torch.zeros((), device=device)  # a side effect

    def function(pair: Pair, more: dict[str, tuple[Tensor, ...]], name: str) -> Pair:
        calls.add_(1)
        (z,) = more["z"]
        return Pair(pair.x * 2 + z, pair.y)

    replayed = Replayed(function, recorder(device))
    held = torch.empty(3, device=device)
    for i in range(6):
        held.fill_(i)  # always the same memory
        z = torch.full((1,), 10.0 * i, device=device).expand(3)  # never
        result = replayed(Pair(held), {"z": (z,)}, "name")
        assert result.x.tolist() == [12.0 * i] * 3
        assert result.total.item() == 36.0 * i  # not kept from an earlier call
        assert result.y is None
        assert calls.item() == i + 1
    earlier = result.x
    held.fill_(100)
    replayed(Pair(held), {"z": (z,)}, "name")
    assert earlier.tolist() == [250.0] * 3  # overwritten, as said
    for pair, name, message in [
        (Pair(held[:2]), "name", r"recorded with \[3\] torch.float32, called with \[2\]"),
        (Pair(held), "other", "recorded with 'name', called with 'other'"),
        (Pair(held, held), "name", "recorded with None, called with"),
    ]:
        with pytest.raises(ValueError, match=message):
            replayed(pair, {"z": (z,)}, name)


def test_nothing_is_recorded_on_the_cpu() -> None:
    assert recorder_for(torch.device("cpu")) is None
    replayed = Replayed(lambda x: x, None)
    x = torch.zeros(1)
    assert all(replayed(x) is x for _ in range(5))


TINY = {
    "batch_size": 8, "opponents": 4, "episode_length": 6, "actor_hidden": 8, "critic_hidden": 8,
    "iterations": 8, "evaluate_every": 2, "evaluation_episodes": 8, "replay_every": 1,
    # Powers of two, which the GPU's float32 learning rates hold exactly.
    "actor_lr": 2.0**-8, "critic_lr": 2.0**-7, "entropy_bonus": 2.0**-4,
    "anneal": 4, "anneal_after": 2,
    "actor_lr_final": 2.0**-10, "critic_lr_final": 2.0**-9, "entropy_final": 0.0,
    "self_play_target": 0.5,
}  # fmt: skip
VARIANTS: list[dict[str, Any]] = [
    {},
    {"algo": "naive"},
    {"height": 5, "width": 6, "shared_reward": True, "anneal": 0},
    {"advantage_gradient": True, "critic_target": "sarsa", "opponents": 8, "entropy_final": 0.25},
    {"shaping": "n-step", "advantage": "mc", "critic_target": "returns", "layers_before_gru": 1},
]


def run(config: TrainConfig, iterations: int) -> dict[str, Any]:
    """Every number of a run but its seconds."""
    trainer = Trainer(config)
    lines = []
    for _ in range(iterations):
        trainer.iterate()
        trainer.settle()
        trainer.evaluate(0.0)
        line = trainer.metrics()
        line.pop("phase_seconds")
        lines.append(line)
    return {"lines": lines, "learner": trainer.algorithm.state_dict()}


def flat(tree: Any, where: str = "") -> dict[str, Any]:
    if isinstance(tree, dict | list | tuple):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for key, item in items for k, v in flat(item, f"{where}/{key}").items()}
    return {where: tree}


def assert_same(got: Any, expected: Any, exact: bool) -> None:
    one, two = flat(got), flat(expected)
    assert one.keys() == two.keys()
    for name, value in one.items():
        if name.endswith("capturable"):
            continue
        if not isinstance(value, Tensor | float):
            assert value == two[name], name
        elif exact:
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(two[name])), name
        else:  # a graph may choose other algorithms of cuBLAS
            torch.testing.assert_close(
                torch.as_tensor(value), torch.as_tensor(two[name]), rtol=1e-4, atol=1e-5, msg=name
            )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("fields", VARIANTS)
def test_replayed_coin_training_is_plain_training(
    fields: dict[str, Any], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CoinConfig.of_preset("default", **{**TINY, **fields, "device": device})
    # The native one rounds otherwise.
    monkeypatch.setattr("loqa.envs.coin_game.env.CoinGame.rollout_policies", lambda *_: None)
    monkeypatch.setattr("loqa.training.trainer.recorder_for", lambda _: None)
    plain = run(config, 8)
    monkeypatch.setattr("loqa.training.trainer.recorder_for", lambda _: recorder(device))
    assert_same(run(config, 8), plain, exact=device == "cpu")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("actor", ["logits", "mlp", "gru"])
def test_replayed_ipd_training_is_plain_training(
    actor: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = IPDConfig.of_preset(
        "default", batch_size=8, episode_length=9, actor=actor, actor_lr=2.0**-6,
        critic="gru" if actor == "gru" else "mlp", critic_lr=2.0**-5, network_lr=2.0**-10,
        critic_warmup=1, device=device,
    )  # fmt: skip
    # The native one has numbers of its own.
    monkeypatch.setattr("loqa.envs.matrix_game.env.MatrixGame.rollout_policies", lambda *_: None)
    results = []
    for record in (None, recorder(device)):
        monkeypatch.setattr("loqa.training.trainer.recorder_for", lambda _, record=record: record)
        results.append(run(config, 6))
    assert_same(results[1], results[0], exact=device == "cpu")
