"""What the benchmarks share: the machine and the versions, written beside every number."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from loqa._native import core

_PACKAGES = (
    "loqa", "torch", "numpy", "numba", "jax", "jaxmarl", "torchrl", "pytest-benchmark",
)  # fmt: skip


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    root = Path(__file__).parent
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


def versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def gpu() -> dict[str, str]:
    """Name of the GPU that torch uses, if there is one."""
    return {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}


def machine() -> dict[str, Any]:
    """What stands beside every table."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        **gpu(),
        "instruction_set": core.isa(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_at_the_end": round(os.getloadavg()[0], 2),
    }


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]
) -> None:
    """Replaces the plugin's machine and commit by what the tables show, and drops raw data."""
    output_json["machine_info"] = machine()
    output_json["commit_info"] = {"id": commit()}
    output_json["versions"] = versions()
    for benchmark in output_json["benchmarks"]:
        benchmark["stats"].pop("data", None)
        for repeated in ("options", "params", "param"):
            benchmark.pop(repeated, None)


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> bool:
    """Whether results are checked and nothing is timed (--benchmark-disable)."""
    return bool(request.config.getoption("benchmark_disable"))


@pytest.fixture
def timed(benchmark: Any) -> Callable[..., None]:
    """timed(function, env_steps, **about): times calls of `function` in at least 5 rounds."""

    def run(function: Callable[[], object], env_steps: int, **about: Any) -> None:
        for _ in range(3):
            function()
        benchmark.extra_info.update(about, env_steps=env_steps)
        benchmark(function)
        if benchmark.stats is not None:  # None when only checking
            stats = benchmark.stats.stats
            benchmark.extra_info["env_steps_per_second"] = env_steps / stats.median

    return run
