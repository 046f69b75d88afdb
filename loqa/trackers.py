"""Metrics for other people's viewers: TensorBoard where it is installed, Weights & Biases on request."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from loqa.config import TrainConfig


class Tracker(Protocol):
    """Takes the lines of metrics.jsonl."""

    def __call__(self, line: dict[str, Any]) -> None: ...


def flatten(line: dict[str, Any]) -> dict[str, float]:
    """The numbers of a line by path: {"loss": {"agent": 1.0}, "reward": [2, 3]} becomes
    {"loss/agent": 1.0, "reward/0": 2.0, "reward/1": 3.0}."""
    flat: dict[str, float] = {}

    def visit(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                visit(f"{path}/{key}", item)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                visit(f"{path}/{index}", item)
        elif isinstance(value, int | float):
            flat[path.removeprefix("/")] = float(value)

    visit("", line)
    return flat


@contextmanager
def trackers(run: Path, config: TrainConfig) -> Iterator[Tracker]:
    """Opens what is wanted for a run; everything is closed at the end.

    TensorBoard's files go into `run`/tensorboard.

    Raises:
        ValueError: `config.wandb` names a project and wandb is not installed.
    """
    with ExitStack() as stack:
        open_ones: list[Tracker] = []
        if importlib.util.find_spec("tensorboard") is not None:
            open_ones.append(_tensorboard(stack, run))
        if config.wandb is not None:
            open_ones.append(_wandb(stack, run, config))

        def log(line: dict[str, Any]) -> None:
            for tracker in open_ones:
                tracker(line)

        yield log


def _tensorboard(stack: ExitStack, run: Path) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = stack.enter_context(SummaryWriter(str(run / "tensorboard")))

    def log(line: dict[str, Any]) -> None:
        for name, value in flatten(line).items():
            if name != "iteration":
                writer.add_scalar(name, value, line["iteration"])

    return log


def _wandb(stack: ExitStack, run: Path, config: TrainConfig) -> Tracker:
    try:
        import wandb
    except ImportError as error:
        raise ValueError(
            "--wandb needs the package wandb: python -m pip install 'loqa[wandb]'"
        ) from error
    # The same id when a run is resumed: its curves go on.
    session: Any = wandb.init(
        project=config.wandb, name=run.name, id=run.name, resume="allow", dir=str(run),
        config=config.to_dict(),
    )  # fmt: skip
    stack.callback(session.finish)

    def log(line: dict[str, Any]) -> None:
        session.log(flatten(line), step=line["iteration"])

    return log
