"""What stands beside every number: the machine, the commit and the versions."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

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
    """LOQA_COMMIT where it is given, else the commit of this checkout, else "unknown"."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
        described = result.stdout.strip()
    except FileNotFoundError:  # a machine without git
        described = ""
    return os.environ.get("LOQA_COMMIT") or described or "unknown"


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


def append(file: Path, line: dict[str, Any]) -> None:
    """Adds a line of JSON, which is in the file when this returns."""
    with file.open("a") as opened:
        opened.write(json.dumps(line) + "\n")


def about() -> dict[str, Any]:
    """What every file of results says of itself."""
    return {"machine_info": machine(), "commit_info": {"id": commit()}, "versions": versions()}
