"""The training loop: run directory, metrics, checkpoints, interruption and resumption."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from loqa import checkpoint, coin, ipd
from loqa.agents import Agent
from loqa.config import MATMUL_PRECISION, CoinConfig, IPDConfig, TrainConfig
from loqa.device import current, training_device
from loqa.distributed import ProcessGroup
from loqa.run_names import run_name
from loqa.stopping import StopRequest
from loqa.torch_settings import usual_torch
from loqa.trackers import Tracker, trackers
from loqa.trainer import Trainer

GAMES: dict[str, type[TrainConfig]] = {kind.game: kind for kind in (IPDConfig, CoinConfig)}
_TRAINERS: dict[str, Any] = {"ipd": ipd.IPDTrainer, "coin": coin.CoinTrainer}
_AGENTS: dict[str, Any] = {"ipd": ipd.make_agent, "coin": coin.make_agent}

TRAINED: dict[str, Path] = {
    file.stem: file for file in sorted((Path(__file__).parent / "trained").glob("*.safetensors"))
}
"""Agents that come with the package, by name; loqa/trained/README.md says how they were made."""

Report = Callable[[dict[str, Any]], None]


class TrainingError(RuntimeError):
    """A run cannot go on: a loss is NaN or infinite, or the device's memory is full."""


class RunDirectory:
    """The files of a run: config.json, metrics.jsonl, checkpoints/, figures/, summary.json.

    Args:
        path: the directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.json"
        self.metrics_file = path / "metrics.jsonl"
        self.summary_file = path / "summary.json"
        self.checkpoints = path / "checkpoints"
        self.figures = path / "figures"

    @classmethod
    def create(cls, path: Path, config: TrainConfig) -> RunDirectory:
        """A new run directory.

        Raises:
            FileExistsError: the directory already holds a run.
            OSError: it cannot be written.
        """
        run = cls(path)
        if run.config_file.exists():
            raise FileExistsError(
                f"{path} already holds a run; go on with `loqa resume {path}` or give another --out"
            )
        for directory in (run.path, run.checkpoints, run.figures):
            directory.mkdir(parents=True, exist_ok=True)
        checkpoint.write_json(run.config_file, {"game": _game_of(config), **config.to_dict()})
        return run

    @classmethod
    def unused(cls, config: TrainConfig) -> Path:
        """The first free name below runs/."""
        base = f"runs/{run_name(config)}"
        names = [base, *(f"{base}-{number}" for number in range(2, 10_000))]
        return next(Path(name) for name in names if not Path(name).exists())

    def config(self) -> TrainConfig:
        """The run's configuration.

        Raises:
            FileNotFoundError: this is no run directory.
            ValueError: config.json is damaged, or of another version of loqa.
        """
        if not self.config_file.is_file():
            raise FileNotFoundError(f"{self.path} is no run directory: it has no config.json")
        try:
            values = json.loads(self.config_file.read_text(encoding="utf-8"))
            kind = GAMES[values.pop("game")]
            missing = kind.field_types().keys() - values.keys()
        except (KeyError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"{self.config_file} is damaged: {error!r}") from error
        if missing:  # their defaults would make it another run
            raise ValueError(
                f"{self.config_file} lacks {', '.join(sorted(missing))}: another version of loqa made "
                f"this run, go on with that one"
            )
        return kind.from_dict(values)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line cut short by a crash is left out."""
        if not self.metrics_file.exists():
            return []
        lines = self.metrics_file.read_text(encoding="utf-8").split("\n")[:-1]
        try:
            return [json.loads(line) for line in lines]
        except json.JSONDecodeError as error:
            raise ValueError(f"{self.metrics_file} is damaged: {error}") from error

    def checkpoint_file(self, iteration: int) -> Path:
        """Where the checkpoint of an iteration is."""
        return self.checkpoints / f"iteration_{iteration:08d}.safetensors"

    def latest_checkpoint(self) -> Path | None:
        """The newest checkpoint, None before the first."""
        files = sorted(self.checkpoints.glob("iteration_*.safetensors"))
        return files[-1] if files else None


@usual_torch()
def train(
    config: TrainConfig, out: str | Path | None = None, report: Report | None = None
) -> dict[str, Any]:
    """Trains a configuration in a new run directory.

    Args:
        config: for example `IPDConfig.of_preset("default", seed=3)`.
        out: the run directory; the first free name below runs/ by default.
        report: called with each line of metrics.
    Returns:
        The summary that is also written to summary.json, and "out", the directory. "status" is
        "finished", "time limit", or "interrupted" by one of `loqa.stopping.SIGNALS` (Ctrl-C, SIGTERM,
        SIGHUP...): the iteration comes to its end and everything is saved.
    Raises:
        FileExistsError, OSError: the directory holds a run already, or cannot be written.
        ValueError: the device cannot be used.
        TrainingError: a loss is not finite, or memory ran out; the last good checkpoint stays.
    """
    processes = _join(config)
    path = processes.of_leader(RunDirectory.unused(config) if out is None else Path(out))
    run = RunDirectory.create(path, config) if processes.leads else RunDirectory(path)
    return _run(config, run, None, report, processes)


@usual_torch()
def resume(
    out: str | Path,
    iterations: int | None = None,
    report: Report | None = None,
    device: str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Goes on with a run from its newest checkpoint, with the numbers of an uninterrupted run.

    What is changed counts from now on, and config.json says so.

    Args:
        out: the run directory.
        iterations: a new total; as configured by default.
        device: another one; then the numbers are not those of an uninterrupted run.
        fields: others of `loqa.config.RESUMABLE`: time_limit, of this session; num_threads, of which
            another number can round sums differently; log_every, checkpoint_every, wandb.
        report, returns, raises: as in `train`; FileNotFoundError and ValueError if the directory
            holds no run or a damaged one.
    """
    run = RunDirectory(Path(out))
    config = run.config()
    given = {"iterations": iterations, "device": device}
    given = {name: value for name, value in given.items() if value is not None}
    config = config.resumed(**given, **fields)
    latest = run.latest_checkpoint()
    state = None if latest is None else checkpoint.load_checkpoint(latest)
    reached = 0 if state is None else state["trainer"]["iteration"]
    if config.iterations < reached:
        raise ValueError(f"the run is at iteration {reached}, iterations must not be fewer")
    processes = _join(config)
    if processes.leads:
        checkpoint.write_json(run.config_file, {"game": _game_of(config), **config.to_dict()})
        kept = "".join(
            json.dumps(line) + "\n" for line in run.metrics() if line["iteration"] <= reached
        )
        with checkpoint.atomic_path(run.metrics_file) as temporary:
            temporary.write_text(kept, encoding="utf-8")
    return _run(config, run, state, report, processes)


@usual_torch()
def export_agent(source: str | Path, file: str | Path, note: str = "") -> None:
    """Writes the agent of a run or checkpoint alone, small and loadable like a checkpoint.

    Args:
        source: run directory or checkpoint.
        file: to write, atomically; its name ends in .safetensors.
        note: kept in the file, for example how the agent was made.

    Raises:
        FileNotFoundError, ValueError: as in `load_agent`, or `file` has another ending.
    """
    if Path(file).suffix != ".safetensors":
        raise ValueError(f"the file's name must end in .safetensors, got {file}")
    agent = load_agent(source)
    source = Path(source)
    latest = RunDirectory(source).latest_checkpoint() if source.is_dir() else source
    assert latest is not None  # the agent was loaded from it
    whole = checkpoint.load_checkpoint(latest)
    trainer = {"iteration": whole["trainer"]["iteration"], "learner": {"agent": agent.state_dict()}}
    alone = {"config": whole["config"], "seconds": whole["seconds"], "trainer": trainer}
    checkpoint.save_checkpoint(Path(file), {**alone, "note": note})


@usual_torch()
def load_agent(path: str | Path) -> Agent:
    """The agent of a checkpoint file, of a run directory's newest checkpoint, or of `TRAINED`.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: the file is damaged or holds NaN.
    """
    path = TRAINED.get(str(path), Path(path))
    if path.is_dir():
        latest = RunDirectory(path).latest_checkpoint()
        if latest is None:
            raise FileNotFoundError(f"{path} holds no checkpoint")
        path = latest
    state = checkpoint.load_checkpoint(path)
    try:
        config = dict(state["config"])
        game = config.pop("game")
        agent: Agent = _AGENTS[game](GAMES[game].from_dict(config))
        parameters = state["trainer"]["learner"]["agent"]
        checkpoint.check_finite(parameters, str(path))
        agent.load_state_dict(parameters)
        agent.iteration = state["trainer"].get("iteration")
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} is not a checkpoint of a training run: {error}") from error
    return agent


def _join(config: TrainConfig) -> ProcessGroup:
    """The processes that torchrun started with this one.

    Raises:
        ValueError: there are several, and this game cannot be shared; or the device cannot be used.
    """
    training_device(config.device)
    processes = ProcessGroup.of_environment(config.device)
    if processes.size > 1 and not isinstance(config, CoinConfig):
        raise ValueError("only `loqa train coin` can be shared by several processes")
    return processes


def _run(
    config: TrainConfig,
    run: RunDirectory,
    state: dict[str, Any] | None,
    report: Report | None,
    processes: ProcessGroup,
) -> dict[str, Any]:
    device = training_device(config.device)
    with usual_torch(MATMUL_PRECISION[config.matmul], config.num_threads):
        with _failures(run, config), current(device), StopRequest(processes.leads) as stop:
            trainer: Trainer = (
                coin.CoinTrainer(config, processes)
                if isinstance(config, CoinConfig)
                else _TRAINERS[_game_of(config)](config)
            )
            seconds = 0.0
            if state is not None:
                trainer.load_state_dict(state["trainer"], run.path)
                seconds = float(state["seconds"])
            status, seconds = _loop(trainer, run, seconds, report, processes, stop)
            summary = {
                "status": status,
                "game": _game_of(config),
                "preset": config.preset,
                "algo": config.algo,
                "shared_reward": config.shared_reward,
                "seed": config.seed,
                "device": config.device,
                "iterations": trainer.iteration,
                "env_steps": trainer.env_steps,
                "seconds": seconds,
                **trainer.summary(),
            }
            if processes.leads:
                checkpoint.write_json(run.summary_file, summary)
        return {**summary, "out": str(run.path)}


def _loop(
    trainer: Trainer,
    run: RunDirectory,
    seconds_before: float,
    report: Report | None,
    processes: ProcessGroup,
    stop: StopRequest,
) -> tuple[str, float]:
    """Iterates until the end; returns how it ended and the seconds of training in all."""
    config = trainer.config
    status = "finished"
    saved = trainer.iteration if run.latest_checkpoint() else -1
    started = time.perf_counter()
    seconds = seconds_before

    def save() -> None:
        nonlocal saved
        if not processes.leads:
            return
        trainer.settle()
        state = {
            "config": {"game": _game_of(config), **config.to_dict()},
            "seconds": seconds,
            "trainer": trainer.state_dict(),
        }
        trainer.save_files(run.path)
        checkpoint.save_checkpoint(run.checkpoint_file(trainer.iteration), state)
        saved = trainer.iteration

    with _metrics_of(run, config, processes) as publish:
        while not trainer.finished:
            trainer.iterate()
            logs = trainer.iteration % config.log_every == 0
            if logs or trainer.evaluates_now or trainer.finished:
                trainer.settle()  # or the clock would not count what a GPU has still to do
            seconds = seconds_before + time.perf_counter() - started
            trainer.evaluate(seconds)
            last = trainer.finished
            if last or logs:
                line = _metrics_line(trainer, seconds)
                publish(line)
                if report is not None and processes.leads:
                    try:
                        report(line)
                    except BaseException:  # a closed pipe, for example, ends the run, not its work
                        save()
                        raise
            if trainer.iteration % config.checkpoint_every == 0:
                save()
            if processes.any(stop.requested):
                status = "interrupted"
                break
            limit = math.inf if config.time_limit is None else config.time_limit
            if processes.any(seconds - seconds_before >= limit) and not last:
                status = "time limit"
                break
        if saved != trainer.iteration:
            save()
    return status, seconds


@contextmanager
def _metrics_of(
    run: RunDirectory, config: TrainConfig, processes: ProcessGroup
) -> Iterator[Tracker]:
    """Where lines of metrics go: to metrics.jsonl and the trackers, from the process that leads."""
    if not processes.leads:
        yield lambda line: None
        return
    with run.metrics_file.open("a", encoding="utf-8") as file, trackers(run.path, config) as track:

        def publish(line: dict[str, Any]) -> None:
            file.write(json.dumps(line) + "\n")
            file.flush()
            track(line)

        yield publish


def _metrics_line(trainer: Trainer, seconds: float) -> dict[str, Any]:
    return {
        "iteration": trainer.iteration,
        "env_steps": trainer.env_steps,
        "seconds": seconds,
        **trainer.metrics(),
    }


@contextmanager
def _failures(run: RunDirectory, config: TrainConfig) -> Iterator[None]:
    """Turns what ends a run into TrainingError; says where and what is left."""
    try:
        yield
    except FloatingPointError as error:
        raise TrainingError(f"{error}; {_left(run)}") from error
    except torch.OutOfMemoryError as error:
        sizes = ["batch_size", "actor_hidden", "critic_hidden"]
        if isinstance(config, CoinConfig):
            sizes[1:1] = ["opponents", "replay_capacity"]
        lower = ", ".join(
            f"--{name.replace('_', '-')} (now {getattr(config, name)})" for name in sizes
        )
        first_line = str(error).partition("\n")[0].partition(". ")[0]
        raise TrainingError(
            f"{config.device} is out of memory ({first_line}): lower one of {lower}; {_left(run)}"
        ) from error


def _left(run: RunDirectory) -> str:
    return f"the last checkpoint is {run.latest_checkpoint() or 'none'}"


def _game_of(config: TrainConfig) -> str:
    return config.game
