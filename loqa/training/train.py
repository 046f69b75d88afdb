"""The training loop: run directory, metrics, checkpoints, interruption and resumption."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loqa.agents.actor_critic import Agent
from loqa.agents.networks import shapes_only
from loqa.envs.adapters.own import EnvError
from loqa.games.own import MakeEnv, made_by
from loqa.runtime.device import current, training_device
from loqa.runtime.distributed import ProcessGroup, world_size
from loqa.runtime.torch_settings import usual_torch
from loqa.storage.files import WriteError, append_line, sync, write_json, write_text
from loqa.storage.reading import FileError, out_of_memory, reading, wrong
from loqa.training import checkpoint
from loqa.training.config import RESUMABLE, TrainConfig
from loqa.training.own import own_config
from loqa.training.parts import MATMUL_PRECISION
from loqa.training.run_directory import RunDirectory, config_of
from loqa.training.run_names import run_name
from loqa.training.stopping import StopRequest
from loqa.training.stopping import TrainingError as TrainingError
from loqa.training.trackers import Tracker, check_installed, trackers
from loqa.training.trainer import Trainer, make_agent

TRAINED: dict[str, Path] = {
    file.stem: file
    for file in sorted((Path(__file__).parents[1] / "trained").glob("*.safetensors"))
}
"""Agents that come with the package, by name; loqa/trained/README.md says how they were made."""

Report = Callable[[dict[str, Any]], None]
_SUMMARISED = ("game", "preset", "algo", "shared_reward", "seed", "device")
_SAYS = "is not a checkpoint of a training run"


@usual_torch()
def train(
    config: TrainConfig | None = None,
    out: str | Path | None = None,
    report: Report | None = None,
    *,
    env: MakeEnv | str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Trains an agent in a new run directory: by a configuration, or on your own environment.

    Args:
        config: for example `IPDConfig.of_preset("default", seed=3)`.
        out: the run directory; by default a new one in runs/.
        report: called with each line of metrics.
        env: your own environment, in place of a configuration: a class or function that makes it, or its
            name, "module:Class"; see `loqa.training.own.own_config`.
        fields: settings of the run on `env`: algo, actor, iterations, seed, or any other field.
    Returns:
        The summary that is also written to summary.json. Its "out" is the run directory; its "status" is
        "finished", "time limit", or "interrupted" (by Ctrl-C, SIGTERM or another of
        `loqa.training.stopping.SIGNALS`: the run finishes the iteration and saves everything).
    Raises:
        FileExistsError, OSError: the directory holds a run already, or cannot be written.
        ValueError: the device cannot be used; or the environment does not do what it should (`EnvError`),
            before anything was learned.
        TrainingError: a loss is not finite, memory ran out, or the environment fails later; the last good
            checkpoint stays.
    """
    if (config is None) == (env is None):
        raise TypeError("train takes a configuration, or env= and fields: one of both")
    if env is not None:
        config = own_config(env, **fields)
    elif fields:
        raise TypeError(
            f"{', '.join(fields)} are fields of a run on env=: a configuration has its own"
        )
    if not isinstance(config, TrainConfig):
        raise TypeError(
            "config must be a configuration such as loqa.IPDConfig() (an environment of your own is env=), "
            f"got {config!r}"
        )
    processes = _join(config)
    check_installed(config)
    with ExitStack() as stack:
        stack.enter_context(made_by(env))
        run = None
        if processes.leads:
            path = None if out is None else Path(out)
            run = stack.enter_context(RunDirectory.create(path, config, run_name(config)))
        path = processes.of_leader(run.path if run else None)
        return _Session(config, run or RunDirectory(path), processes, report).work(None)


@usual_torch()
def resume(
    out: str | Path,
    iterations: int | None = None,
    report: Report | None = None,
    device: str | None = None,
    *,
    env: MakeEnv | str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Continues a run from its newest checkpoint. The result is that of a run that was never stopped.

    Changed settings apply from now on, and are written to config.json. As `train`, it returns the summary.

    Args:
        out: the run directory.
        iterations: a new total; by default that of the configuration.
        report: called with each line of metrics.
        device: another device; then the result differs from that of an uninterrupted run.
        env: makes your own environment, if config.json cannot name it.
        fields: the other settings that may change, `loqa.training.config.RESUMABLE`: time_limit (seconds from
            now on), num_threads (another number can round sums differently), log_every, checkpoint_every,
            wandb.
    Raises:
        FileNotFoundError: the directory holds no run.
        ValueError: its files are damaged, or a setting may not change.
        TrainingError: as in `train`.
    """
    run = RunDirectory(Path(out))
    given = {"iterations": iterations, "device": device}
    given = {name: value for name, value in given.items() if value is not None}
    config = run.config().resumed(**given, **fields)
    processes = _join(config)
    check_installed(config)
    with made_by(env), run.reopened() if processes.leads else nullcontext():
        state = _newest_state(run, config)
        reached = 0 if state is None else state["trainer"]["iteration"]
        if config.iterations < reached:
            raise ValueError(f"the run is at iteration {reached}, iterations must not be fewer")
        if processes.leads:
            run.write_config(config)
            lines = [line for line in run.metrics() if line["iteration"] <= reached]
            write_text(run.metrics_file, "".join(json.dumps(line) + "\n" for line in lines))
        return _Session(config, run, processes, report).work(state)


@contextmanager
def _newest(run: RunDirectory, config: TrainConfig) -> Iterator[None]:
    """Says how to go on when the newest checkpoint, or a file that it needs, is damaged."""
    try:
        yield
    except (FileError, FileNotFoundError) as error:
        raise FileError(f"{error}; {_advice(run, config)}") from error


def _advice(run: RunDirectory, config: TrainConfig) -> str:
    files = run.all_checkpoints()
    for number, file in enumerate(files[1:], 1):
        with suppress(ValueError, OSError), reading(file):
            Trainer(config).load_state_dict(checkpoint.load_checkpoint(file)["trainer"], run.path)
            newer = ", ".join(str(one) for one in files[:number])
            return (
                f"the newest good checkpoint is {file}: to go on from it, delete {newer} and run "
                f"`loqa resume {run.path}` again"
            )
    return "there is no good checkpoint before it"


def _newest_state(run: RunDirectory, config: TrainConfig) -> dict[str, Any] | None:
    """What the newest checkpoint holds, checked as far as it can be without building the agent."""
    latest = run.latest_checkpoint()
    if latest is None:
        return None
    with _newest(run, config):
        state = checkpoint.load_checkpoint(latest)
        made_with = _agent_of(state, latest, resumed=True)[1]
    differing = [
        f"{name} {getattr(config, name)!r} (the checkpoint: {getattr(made_with, name)!r})"
        for name in made_with.to_dict()
        if name not in RESUMABLE and getattr(config, name) != getattr(made_with, name)
    ]
    if differing:
        raise FileError(
            f"expected the configuration that {latest} was made with, got {', '.join(differing)}: "
            f"undo the change to go on, or train anew with another --out",
            run.config_file,
            "was changed",
        )
    return state


def _agent_of(
    state: dict[str, Any], path: Path, resumed: bool = False
) -> tuple[Agent, TrainConfig]:
    """The agent in a checkpoint, and its configuration; of one to be resumed the rest is checked too."""
    with reading(path, _SAYS):
        for name in ("config", "trainer"):
            if not isinstance(state.get(name), dict):
                raise wrong(name, "a mapping", state.get(name))
        iteration: Any = state["trainer"].get("iteration")
        seconds: Any = state.get("seconds")
        counts = type(iteration) is int and 0 <= iteration < 2**31
        if not counts and (iteration is not None or resumed):
            raise wrong("trainer/iteration", "a number of iterations", iteration)
        if resumed and (type(seconds) not in (int, float) or not 0 <= seconds < math.inf):
            raise wrong("seconds", "a number of seconds", seconds)
        says = "is damaged" if resumed else _SAYS
        config = config_of(state["config"], path, says, whole=resumed)
        parameters = state["trainer"]["learner"]["agent"]
        with shapes_only():  # no memory but the checkpoint's own tensors
            agent = make_agent(config)
        shapes = {name: list(value.shape) for name, value in agent.state_dict().items()}
        for name in shapes.keys() | parameters.keys():
            value, shape = parameters.get(name), shapes.get(name)
            fits = isinstance(value, Tensor) and value.dtype in (torch.float32, torch.float16)
            if not fits or list(value.shape) != shape:
                got = [value.dtype, *value.shape] if isinstance(value, Tensor) else value
                raise wrong(f"trainer/learner/agent/{name}", f"float32 or float16 {shape}", got)
        checkpoint.check_finite(parameters, str(path))
        widened = {name: value.float() for name, value in parameters.items()}
        agent.load_state_dict(widened, assign=True)
        agent.iteration = iteration
        return agent, config


@usual_torch()
def export_agent(source: str | Path, file: str | Path, note: str = "", half: bool = False) -> None:
    """Writes the agent of a run or checkpoint alone, small and loadable like a checkpoint.

    Args:
        source: run directory or checkpoint.
        file: to write, atomically; its name ends in .safetensors.
        note: kept in the file, for example how the agent was made.
        half: parameters in 16 bits, half the size; they are rounded by 0.05% at most.

    Raises:
        FileNotFoundError, ValueError: as in `load_agent`, or `file` has another ending.
    """
    if Path(file).suffix != ".safetensors":
        raise ValueError(f"the file's name must end in .safetensors, got {file}")
    path = _checkpoint_of(source)
    whole = checkpoint.load_checkpoint(path)
    agent = _agent_of(whole, path)[0]
    parameters = (agent.half() if half else agent).state_dict()
    checkpoint.check_finite(parameters, f"{source} in 16 bits" if half else str(source))
    trainer = {"iteration": agent.iteration, "learner": {"agent": parameters}}
    alone = {"config": whole["config"], "seconds": whole.get("seconds"), "trainer": trainer}
    checkpoint.save_checkpoint(Path(file), {**alone, "note": note})


@usual_torch()
def load_agent(path: str | Path) -> Agent:
    """Loads the agent of a checkpoint file, of a run directory's newest checkpoint, or one of the package.

    Agents that come with the package have names, such as "loqa-coin-3x3".

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: the file is damaged or holds NaN.
    """
    path = _checkpoint_of(path)
    return _agent_of(checkpoint.load_checkpoint(path), path)[0]


def _checkpoint_of(source: str | Path) -> Path:
    path = TRAINED.get(str(source), Path(source))
    latest = RunDirectory(path).latest_checkpoint() if path.is_dir() else path
    if latest is None:
        raise FileNotFoundError(f"{path} holds no checkpoint")
    return latest


def _join(config: TrainConfig) -> ProcessGroup:
    """The processes that torchrun started with this one; ValueError where they cannot share the batch."""
    training_device(config.device)
    size, shared = world_size(), ["batch_size"]
    if config.others.meets == "past":
        shared.append("opponents")
    for name in shared:
        if (number := getattr(config, name)) % size:
            raise ValueError(f"{name} must be a multiple of the {size} processes, got {number}")
    return ProcessGroup.of_environment(config.device)


@dataclass
class _Session:
    """What this process does of a run, from a state of it to the end."""

    config: TrainConfig
    run: RunDirectory
    processes: ProcessGroup
    report: Report | None
    seconds: float = 0.0
    trainer: Trainer = field(init=False)

    def work(self, state: dict[str, Any] | None) -> dict[str, Any]:
        """The summary; `state` is that of the newest checkpoint."""
        config, leads = self.config, self.processes.leads
        device = training_device(config.device)
        with (
            usual_torch(MATMUL_PRECISION[config.matmul], config.num_threads),
            self._failures(),
            current(device),
            StopRequest(leads) as stop,
        ):
            self.trainer = trainer = Trainer(config, self.processes)
            if state is not None:
                newest = self.run.all_checkpoints()[0]
                with _newest(self.run, config), reading(newest, _SAYS):
                    trainer.load_state_dict(state["trainer"], self.run.path)
                self.seconds = float(state["seconds"])
            summary = {
                "status": self._loop(stop),
                **{name: getattr(config, name) for name in _SUMMARISED},
                "iterations": trainer.iteration,
                "env_steps": trainer.env_steps,
                "seconds": self.seconds,
                **trainer.summary(),
            }
            if leads:
                write_json(self.run.summary_file, summary)
            return {**summary, "out": str(self.run.path)}

    def _loop(self, stop: StopRequest) -> str:
        """Iterates until the end; returns how it ended."""
        config, run, trainer, processes = self.config, self.run, self.trainer, self.processes
        limit = math.inf if config.time_limit is None else config.time_limit
        saved = trainer.iteration if run.latest_checkpoint() else -1
        before, started, status = self.seconds, time.perf_counter(), "finished"
        with trackers(run.path, config) if processes.leads else nullcontext() as track:
            while not trainer.finished:
                with self._own_failures():
                    trainer.iterate()
                logs = trainer.iteration % config.log_every == 0
                if logs or trainer.evaluates_now or trainer.finished:
                    trainer.settle()  # or the clock would not count what a GPU has still to do
                self.seconds = before + time.perf_counter() - started
                with self._own_failures():
                    trainer.evaluate(self.seconds)
                last = trainer.finished
                if last or logs:
                    self._say(track)
                if trainer.iteration % config.checkpoint_every == 0:
                    self._save()
                    saved = trainer.iteration
                if processes.any(stop.requested):
                    status = "interrupted"
                    break
                if processes.any(self.seconds - before >= limit) and not last:
                    status = "time limit"
                    break
            if saved != trainer.iteration:
                self._save()
        return status

    def _say(self, track: Tracker | None) -> None:
        """A line of metrics, from the process that leads."""
        trainer = self.trainer
        line = {
            "iteration": trainer.iteration,
            "env_steps": trainer.env_steps,
            "seconds": self.seconds,
            **trainer.metrics(),
        }
        if track is None:
            return
        append_line(self.run.metrics_file, line)
        track(line)
        if self.report is not None:
            try:
                self.report(line)
            except BaseException:  # a closed pipe, for example, ends the run, not its work
                self._save()
                raise

    def _save(self) -> None:
        run, trainer = self.run, self.trainer
        if not self.processes.leads:
            return
        trainer.settle()
        state = {
            "config": {"game": self.config.game, **self.config.to_dict()},
            "seconds": self.seconds,
            "trainer": trainer.state_dict(),
        }
        trainer.opponents.save_files(run.path)
        if run.metrics_file.exists():
            sync(run.metrics_file)  # lines up to here are not written again
        checkpoint.save_checkpoint(run.checkpoint_file(trainer.iteration), state)
        trainer.opponents.drop_files(run.path)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turns what ends a run into TrainingError; says where and what is left."""
        config = self.config
        try:
            yield
        except (FloatingPointError, WriteError) as error:
            raise TrainingError(f"{error}; {self._left()}") from error
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            sizes = ["batch_size", "actor_hidden", "critic_hidden"]
            if config.others.meets == "past":
                sizes[1:1] = ["opponents", "replay_capacity"]
            lower = ", ".join(
                f"--{name.replace('_', '-')} (now {getattr(config, name)})" for name in sizes
            )
            first_line = str(error).partition("\n")[0].partition(". ")[0] or "MemoryError"
            raise TrainingError(
                f"{config.device} is out of memory ({first_line}): lower one of {lower}; "
                f"{self._left()}"
            ) from error

    @contextmanager
    def _own_failures(self) -> Iterator[None]:
        """A user's environment that fails from the start is wrong input; one that fails later ends a run
        that has learned something, and can go on once the environment is mended."""
        try:
            yield
        except EnvError as error:
            if self.trainer.iteration == 1:
                raise
            how = " (--checkpoint-every says how often one is written)"
            if self.run.latest_checkpoint() is not None:
                how = f": when the environment is mended, `loqa resume {self.run.path}` goes on from it"
            raise TrainingError(
                f"iteration {self.trainer.iteration}: {error}; {self._left()}{how}"
            ) from error

    def _left(self) -> str:
        return f"the last checkpoint is {self.run.latest_checkpoint() or 'none'}"
