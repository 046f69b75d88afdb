"""Training by the code of a GPU, all of it on the host: simulators, kernels and GRU steps as their
threads run them, rollouts and updates recorded and replayed, numbers looked at late. The bits are
those of training on the CPU step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kernel_cases import use_device
from test_graphs import TINY, VARIANTS, HostRecording, assert_same, run_coin

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
    # The native one rounds otherwise.
    monkeypatch.setattr("loqa.envs.coin_game.env.CoinGame.rollout_policies", lambda *_: None)
    plain = run_coin(config)
    switch()
    assert Trainer(config).env._on_device
    assert_same(run_coin(config), plain, exact=True)


@pytest.mark.parametrize("actor", ["logits", "gru"])
def test_ipd(actor: str, switch: Callable[[], None]) -> None:
    config = IPDConfig.of_preset(
        "default", batch_size=8, episode_length=9, actor=actor, actor_lr=2.0**-6,
        critic="gru" if actor == "gru" else "mlp", critic_lr=2.0**-5, critic_warmup=1,
    )  # fmt: skip
    results = []
    for by_a_gpu in (False, True):
        if by_a_gpu:
            switch()
        trainer, lines = Trainer(config), []
        assert trainer.env._on_device == by_a_gpu
        for _ in range(6):
            trainer.iterate()
            trainer.settle()
            lines.append(trainer.metrics())
        results.append({"lines": lines, "learner": trainer.algorithm.state_dict()})
    assert_same(results[1], results[0], exact=True)
