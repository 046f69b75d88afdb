"""`loqa info`."""

from __future__ import annotations

import argparse
import os
import platform

import numpy
import torch

import loqa
from loqa import _checks
from loqa._native import core
from loqa.cli.terminal import DONE, Terminal


def add_info(one: argparse.ArgumentParser) -> None:
    one.set_defaults(run=_info)


def _info(options: argparse.Namespace, console: Terminal) -> int:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none that torch can use"
    cpus = os.cpu_count() or 1
    rows = {
        "loqa": loqa.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "machine": f"{platform.machine()}, {cpus} {_checks.plural(cpus, 'CPU')}",
        "instruction set": f"{core.isa()} (of {', '.join(core.supported_isas())})",
        "threads": core.default_num_threads(),
        "CUDA in the core": "yes" if core.has_cuda else "no",
        "GPU": gpu,
    }
    for name, value in rows.items():
        console.say(f"{name:>16}  {value}")
    return DONE
