"""Metrics for other people's viewers: TensorBoard where it is installed, Weights & Biases on request."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from loqa.training.config import TrainConfig

Tracker = Callable[[dict[str, Any]], None]
"""Takes the lines of metrics.jsonl."""


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
    """Opens what is wanted for a run, and closes it. A viewer that fails is left out after a warning: a run
    does not end because of it."""
    with ExitStack() as stack:
        open_ones: list[Tracker] = []
        with _survived("TensorBoard"):
            open_ones += _tensorboard(stack, run)
        if config.wandb is not None:
            open_ones.append(_wandb(stack, run, config))

        def log(line: dict[str, Any]) -> None:
            for tracker in list(open_ones):
                open_ones.remove(tracker)
                with _survived("a viewer of metrics"):
                    tracker(line)
                    open_ones.append(tracker)

        yield log


def check_installed(config: TrainConfig) -> None:
    """Raises ValueError if `config.wandb` names a project and wandb is not installed."""
    if config.wandb is None:
        return
    try:
        import wandb

        found = hasattr(wandb, "init")  # any folder of that name can be imported
    except ImportError:
        found = False
    if not found:
        raise ValueError("--wandb needs the package wandb: python -m pip install 'loqa[wandb]'")


@contextmanager
def _survived(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        said = f"{name} fails, training goes on without it: {type(error).__name__}: {error}"
        warnings.warn(said, stacklevel=4)


def _tensorboard(stack: ExitStack, run: Path) -> list[Tracker]:
    """One tracker, or none where TensorBoard is not installed."""
    try:
        import tensorboard
    except ImportError:
        return []
    if not hasattr(tensorboard, "__version__"):  # any folder of that name can be imported
        return []
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(run / "tensorboard"))

    @stack.callback
    def close() -> None:
        with _survived("TensorBoard"):
            writer.close()

    def log(line: dict[str, Any]) -> None:
        for name, value in flatten(line).items():
            if name != "iteration":
                writer.add_scalar(name, value, line["iteration"])

    return [log]


def _wandb(stack: ExitStack, run: Path, config: TrainConfig) -> Tracker:
    import wandb

    # The same id when a run is resumed: its curves go on.
    session: Any = wandb.init(
        project=config.wandb, name=run.name, id=run.name, resume="allow", dir=str(run),
        config=config.to_dict(),
    )  # fmt: skip
    stack.callback(session.finish)

    def log(line: dict[str, Any]) -> None:
        session.log(flatten(line), step=line["iteration"])

    return log
