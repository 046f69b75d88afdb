"""Metrics for other viewers."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from loqa.training.config import CoinConfig, IPDConfig
from loqa.training.trackers import check_installed, flatten, trackers

LINE = {"iteration": 3, "loss": {"agent": 1.5}, "reward": [2, 3], "share": None, "name": "x"}


def test_flatten() -> None:
    assert flatten(LINE) == {"iteration": 3, "loss/agent": 1.5, "reward/0": 2, "reward/1": 3}


@pytest.mark.filterwarnings("ignore")  # TensorBoard's own
def test_tensorboard_where_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with trackers(tmp_path, IPDConfig()) as track:
        track(LINE)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("loss/agent")] == [1.5]
    assert [event.step for event in events.Scalars("reward/1")] == [3]


def test_wandb_is_told_and_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the package records the calls of its public interface."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    calls = []

    class Session:
        def log(self, numbers, step):
            calls.append(("log", numbers, step))

        def finish(self):
            calls.append(("finish",))

    def init(**settings):
        calls.append(("init", settings["project"], settings["id"], settings["config"]["seed"]))
        return Session()

    module = types.ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    with trackers(tmp_path / "run7", CoinConfig.of_preset(wandb="games", seed=5)) as track:
        track(LINE)
    assert calls == [("init", "games", "run7", 5), ("log", flatten(LINE), 3), ("finish",)]


def test_wandb_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"--wandb needs the package wandb.*loqa\[wandb\]"):
        check_installed(CoinConfig.of_preset(wandb="games"))
