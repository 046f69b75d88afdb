"""Devices that cannot be used, failures that a GPU tells late, memory that runs out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from kernel_cases import DEVICES

from loqa._native import core
from loqa.cli.main import main
from loqa.runtime.device import PhaseClock, fetch, training_device
from loqa.runtime.distributed import BACKENDS
from loqa.training.config import CoinConfig, IPDConfig
from loqa.training.run_directory import RunDirectory
from loqa.training.train import TrainingError, load_agent, resume, train
from loqa.training.trainer import FiniteWatch, Trainer

QUICK = {"iterations": 12, "batch_size": 8, "log_every": 3, "checkpoint_every": 5}
COIN = {
    **QUICK, "opponents": 4, "episode_length": 6, "actor_hidden": 8, "critic_hidden": 8,
    "evaluate_every": 4, "evaluation_episodes": 8, "replay_every": 1,
}  # fmt: skip


def pretend(monkeypatch: pytest.MonkeyPatch, gpus: int, **environment: str) -> None:
    """A torch and a core with CUDA, and so many GPUs."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(core, "has_cuda", True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "CUDA", "cpu:0", "", "meta"])
def test_names(name: str) -> None:
    with pytest.raises(ValueError, match="device must be 'cpu', 'cuda' or 'cuda:N', got"):
        CoinConfig(device=name)


def test_a_configuration_of_another_machine_can_be_read() -> None:
    assert IPDConfig(device="cuda:7").device == "cuda:7"


def test_why_a_device_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert training_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(ValueError, match="needs a torch with CUDA, this is"):
        training_device("cuda")
    pretend(monkeypatch, gpus=0)
    with pytest.raises(ValueError, match=r"no NVIDIA GPU.*nvidia-smi.*CUDA 13.0"):
        training_device("cuda")
    monkeypatch.setattr(core, "has_cuda", False)
    with pytest.raises(ValueError, match="core was built without CUDA; install loqa again where"):
        training_device("cuda")
    pretend(monkeypatch, gpus=2)
    assert training_device("cuda") == torch.device("cuda", 0)
    assert training_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="no device cuda:7: this machine has cuda:0 to cuda:1"):
        training_device("cuda:7")
    pretend(monkeypatch, gpus=1)
    with pytest.raises(ValueError, match="no device cuda:1: this machine has cuda:0 alone"):
        training_device("cuda:1")


def test_a_gpu_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpus=2, WORLD_SIZE="2", LOCAL_RANK="1")
    assert training_device("cuda") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="a GPU each: give device 'cuda', not 'cuda:1'"):
        training_device("cuda:1")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="no device cuda:2"):
        training_device("cuda")
    assert "nccl" in BACKENDS["cuda"]
    assert BACKENDS["cpu"] == "gloo"


@pytest.mark.skipif(torch.cuda.is_available() and core.has_cuda, reason="there is a GPU")
@pytest.mark.parametrize("game", ["ipd", "coin"])
def test_the_command_without_a_gpu(
    game: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", game, "--device", "cuda", "--out", str(tmp_path / "run")]) == 2
    assert "loqa: error: device 'cuda'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("device", DEVICES)
def test_numbers_come_in_one_copy(device: str) -> None:
    tensors = [torch.tensor([[1.5, 2.0]]), torch.tensor(3), torch.zeros(0), torch.tensor(0.1)]
    got = fetch([tensor.to(device) for tensor in tensors])
    assert got == [[1.5, 2.0], [3.0], [], [torch.tensor(0.1).item()]]


@pytest.mark.parametrize("device", DEVICES)
def test_seconds_by_phase(device: str) -> None:
    clock = PhaseClock(torch.device(device))
    for _ in range(3):
        with clock.phase("a"):
            torch.zeros(100, device=device).add_(1)
    with clock.phase("b"):
        pass
    taken = clock.take()
    assert list(taken) == ["a", "b"]
    assert min(taken.values()) >= 0
    assert taken["a"] > 0
    assert clock.take() == {}


@pytest.mark.parametrize("device", DEVICES)
def test_the_first_number_that_is_not_finite(device: str) -> None:
    watch = FiniteWatch(("grad_norm", "loss/two", "loss/three"), torch.device(device))
    for iteration, numbers in enumerate(
        [[1, 2, 3], [1, 2, torch.inf], [1, torch.nan, 3], [torch.nan] * 3], start=7
    ):
        if iteration == 8:
            watch.check()
        watch.note(iteration, [torch.tensor(float(number), device=device) for number in numbers])
    with pytest.raises(FloatingPointError, match="the three loss is inf at iteration 8"):
        watch.check()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("game", ["ipd", "coin"])
def test_nan_that_is_noticed_late_stops_the_run(
    game: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loqa.training.trainer.defers", lambda _: True)
    iterate = Trainer.iterate

    def poisoned(self: Any) -> None:
        if self.iteration == 7:
            next(self.agent.critic.parameters()).data.fill_(float("nan"))
        iterate(self)

    monkeypatch.setattr(Trainer, "iterate", poisoned)
    config = (
        IPDConfig.of_preset("default", critic_warmup=2, **QUICK, device=device)
        if game == "ipd"
        else CoinConfig.of_preset("default", **COIN, device=device)
    )
    with pytest.raises(TrainingError, match=r"loss is nan at iteration 8; the last checkpoint is"):
        train(config, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    assert run.latest_checkpoint() == run.checkpoint_file(5)
    assert [line["iteration"] for line in run.metrics()] == [3, 6]
    assert all(torch.isfinite(v).all() for v in load_agent(tmp_path / "run").state_dict().values())


@pytest.mark.parametrize("where", ["iterate", "__init__"])
def test_memory_that_runs_out(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = getattr(Trainer, where)

    def fails(self: Trainer, *args: Any) -> None:
        if where == "__init__" or self.iteration == 7:
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"
            )
        whole(self, *args)

    monkeypatch.setattr(Trainer, where, fails)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in COIN.items()]
    assert main(["train", "coin", "--out", str(tmp_path / "run"), *options]) == 1
    said = capsys.readouterr().err
    assert "loqa: the run failed: cpu is out of memory (CUDA out of memory)" in said
    assert "--batch-size (now 8), --opponents (now 4), --replay-capacity (now 10000)" in said
    run = RunDirectory(tmp_path / "run")
    latest = run.latest_checkpoint()
    assert latest == (None if where == "__init__" else run.checkpoint_file(5))
    assert said.rstrip().endswith(f"the last checkpoint is {latest or 'none'}")


def test_resuming_elsewhere(tmp_path: Path) -> None:
    train(CoinConfig.of_preset("default", **COIN), tmp_path / "run")
    with pytest.raises(ValueError, match="device must be"):
        resume(tmp_path / "run", device="gpu")
    assert main(["resume", str(tmp_path / "run"), "--iterations", "13", "--device", "cpu"]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["device"], config["iterations"]) == ("cpu", 13)


@pytest.mark.parametrize("device", DEVICES[1:])
@pytest.mark.parametrize("game", ["ipd", "coin"])
def test_from_the_cpu_to_a_gpu_and_back(game: str, device: str, tmp_path: Path) -> None:
    config = (
        IPDConfig.of_preset("default", critic_warmup=2, **QUICK)
        if game == "ipd"
        else CoinConfig.of_preset("default", **COIN)
    )
    train(config, tmp_path / "run")
    assert resume(tmp_path / "run", 20, device=device)["device"] == device
    summary = resume(tmp_path / "run", 30, device="cpu")
    assert (summary["status"], summary["iterations"]) == ("finished", 30)
