"""Runs the code of a page of documentation: Python and shell blocks, in order, in fewer iterations."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from loqa.cli.main import main

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)

_TRAIN = {"--iterations": "2", "--batch-size": "8", "--log-every": "1"}
_COIN = {
    "--opponents": "2",
    "--evaluation-episodes": "8",
    "--actor-hidden": "8",
    "--critic-hidden": "8",
}
# What makes a command short, by its first words; the longest that fits counts.
SHORT: dict[str, dict[str, str]] = {
    "train": _TRAIN,
    "train coin": _TRAIN | _COIN,
    "train coin --algo mfos": _TRAIN | {"--inner-episodes": "2", "--inner-epochs": "1"},
    "train ipd --preset paper": _TRAIN,
    "train matrix --exact": {"--runs": "2", "--updates": "2"},
    "resume": {"--iterations": "3"},
    "sweep": {"--seed": "0..1", "--workers": "1", "--set": "iterations=2"},
    "eval": {"--episodes": "8"},
    "league": {"--episodes": "4"},
    "exploit": {"--iterations": "1", "--episodes": "8", "--simulations": "2"},
    "watch": {"--steps": "2"},
}  # fmt: skip
# Libraries whose blocks are left out where they are not installed.
OPTIONAL = ("optuna", "stable_baselines3", "torchrl")
# Commands that no test runs: what another test or .ci/run does, or what needs other machines.
NOT_RUN = ("python -m pip install", "python benchmarks/")


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, code) of a page's Python and shell blocks."""
    return [(found[1], found[2]) for found in _BLOCK.finditer(text)]


def run(
    page: Path, monkeypatch: pytest.MonkeyPatch, replaced: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The names that a page's Python blocks leave; shell blocks run between them.

    Args:
        page: its file.
        replaced: texts of Python blocks -> what stands in their place, each found once or more.
    """
    found = blocks(page.read_text())
    for old in replaced or ():
        assert any(old in code for _, code in found), old
    module = ModuleType("guide")  # dataclasses look for theirs
    monkeypatch.setitem(sys.modules, "guide", module)
    names = vars(module)
    for number, (language, code) in enumerate(found, 1):
        if language == "bash":
            shell(code)
            continue
        imported = re.findall(r"^(?:import|from) (\w+)", code, flags=re.MULTILINE)
        if any(name in OPTIONAL and find_spec(name) is None for name in imported):
            continue
        for old, new in (replaced or {}).items():
            code = code.replace(old, new)
        exec(compile(code, f"{page.name}, block {number}", "exec"), names)
    return names


def shell(code: str) -> None:
    """Runs the `loqa` commands of a block in this process; a script is looked at by bash alone."""
    if code.startswith("#!"):
        subprocess.run(["bash", "-n"], input=code, text=True, check=True)
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words or code.startswith("#!") or line.startswith(NOT_RUN) or "ray" in words:
            continue
        if words[0] == "torchrun":  # one process here
            words = words[words.index("-m") + 1 :]
        assert words[0] == "loqa", f"no test runs this line: {line}"
        arguments = short(words[1:])
        try:
            code_of_exit = main(arguments)
        except SystemExit as end:
            code_of_exit = end.code
        except Exception:
            raise AssertionError(f"{line}\n{traceback.format_exc()}") from None
        assert code_of_exit in (0, None), (
            f"{line}\nran as loqa {shlex.join(arguments)}: {code_of_exit}"
        )


def short(arguments: list[str]) -> list[str]:
    """The command in seconds, on the CPU."""
    known = [one for one in SHORT if f"{' '.join(arguments)} ".startswith(f"{one} ")]
    less = SHORT[max(known, key=len)] if known else {}
    kept = list(arguments)
    for option in (*less, "--device", "--matmul"):
        while option in kept and option != "--set":  # which may be given again
            place = kept.index(option)
            del kept[place : place + 2]
    return [*kept, *(word for pair in less.items() for word in pair)]
