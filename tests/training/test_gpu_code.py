"""Training by the code of a GPU, all of it on the host: simulators, kernels and GRU steps as their
threads run them, rollouts and updates recorded and replayed, numbers looked at late. The bits are
those of training on the CPU step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kernel_cases import use_device
from test_graphs import TINY, VARIANTS, HostRecording, assert_same, run

import loqa.envs.device
from loqa._native import core
from loqa.training.config import CoinConfig, IPDConfig
from loqa.training.trainer import Trainer


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    def to_the_code_of_a_gpu() -> None:
        use_device("threads", monkeypatch)
        monkeypatch.setattr(loqa.envs.device, "device_code_on_host", True)
        monkeypatch.setattr("loqa.training.trainer.recorder_for", lambda _: HostRecording)
        monkeypatch.setattr("loqa.training.trainer.defers", lambda _: True)

    yield to_the_code_of_a_gpu
    core.emulate_cuda(False)


@pytest.mark.parametrize("fields", VARIANTS)
def test_coin(
    fields: dict[str, Any], switch: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CoinConfig.of_preset("default", **{**TINY, **fields})
    # The native one rounds otherwise, and so do steps of heads.
    monkeypatch.setattr("loqa.envs.coin_game.env.CoinGame.rollout_policies", lambda *_: None)
    monkeypatch.setattr("loqa.training.collect.HeadSteps.of", lambda *_: None)
    plain = run(config, 8)
    switch()
    assert Trainer(config).env.on_device
    assert_same(run(config, 8), plain, exact=True)


@pytest.mark.parametrize("actor", ["logits", "gru"])
def test_ipd(actor: str, switch: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    config = IPDConfig.of_preset(
        "default", batch_size=8, episode_length=9, actor=actor, actor_lr=2.0**-6,
        critic="gru" if actor == "gru" else "mlp", critic_lr=2.0**-5, network_lr=2.0**-10,
        critic_warmup=1,
    )  # fmt: skip
    # The native one has numbers of its own.
    monkeypatch.setattr("loqa.envs.matrix_game.env.MatrixGame.rollout_policies", lambda *_: None)
    plain = run(config, 6)
    switch()
    assert Trainer(config).env.on_device
    assert_same(run(config, 6), plain, exact=True)
