"""What the tests share: the golden files, and every instruction set in turn."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from kernel_cases import KERNEL_DEVICES, use_device

from loqa._native import core

GOLDEN = Path(__file__).parent / "golden"

# A shell ignores Ctrl-C in what it starts in the background, nohup a hang-up; tests of both need them, in
# children too.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

# Of several processes that test (`-n auto`) each takes its share of the cores.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:
    torch.set_num_threads(max(1, torch.get_num_threads() // WORKERS))

# No deadline: a busy machine is not a failure.
hypothesis.settings.register_profile("loqa", deadline=None, print_blob=True)
hypothesis.settings.load_profile("loqa")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A command that failed in a test says why: its error alone tells nothing but the exit status."""
    report = yield
    error = call.excinfo and call.excinfo.value
    if isinstance(error, subprocess.CalledProcessError | subprocess.TimeoutExpired):
        for name, said in (("output", error.stdout), ("errors", error.stderr)):
            text = said.decode(errors="replace") if isinstance(said, bytes) else said
            if text:
                report.sections.append((f"{name} of the command", text))
    return report


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, np.ndarray]]:
    """Loads a golden file by name, from tests/golden or from the directory LOQA_GOLDEN_DIR."""

    def load(name: str) -> dict[str, np.ndarray]:
        elsewhere = os.environ.get("LOQA_GOLDEN_DIR")
        places = [GOLDEN] + ([Path(elsewhere)] if elsewhere else [])
        for place in places:
            if (place / name).exists():
                with np.load(place / name, allow_pickle=False) as arrays:
                    return dict(arrays)
        pytest.skip(f"{name} is not in tests/golden, nor in the directory LOQA_GOLDEN_DIR")

    return load


@pytest.fixture(params=KERNEL_DEVICES)
def kernel_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where arrays go, for each device of the kernels and for the code of the GPU's threads on the host."""
    yield use_device(request.param, monkeypatch)
    core.emulate_cuda(False)


@pytest.fixture(params=core.supported_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once for each instruction set that this machine has."""
    before = core.isa()
    core.set_isa(request.param)
    yield request.param
    core.set_isa(before)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """A busy machine makes two threads far slower than one on small matrices."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
