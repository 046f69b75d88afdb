"""Short runs of the fuzzers in tests/fuzz: damaged files, and calls with legal and hostile arguments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import loqa

FUZZERS = Path(__file__).parent / "fuzz"


def run(script: str, *options: object) -> subprocess.CompletedProcess[str]:
    """A fuzzer in a process of its own, on the package under test."""
    paths = {"PYTHONPATH": str(Path(loqa.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, FUZZERS / script, *map(str, options)],
        capture_output=True, text=True, env={**os.environ, **paths},
    )  # fmt: skip


def test_readers_refuse_damaged_files_in_one_way(tmp_path: Path) -> None:
    done = run("readers.py", "--inputs", 300, "--seed", 1, "--save", tmp_path / "wrong")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "300 inputs, 0 that did what they must not" in done.stdout
    assert not (tmp_path / "wrong").exists()


def test_random_calls_are_right_or_refused() -> None:
    done = run("boundary.py", "--calls", 3000, "--seed", 8)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout.strip().partition("calls, ")[2])
    assert counts["refused"] > 500
    assert counts["carried out"] > 1000
    assert counts["wrong"] == 0


@pytest.mark.parametrize("settings", [{"game": 3}, {"game": "ipd", "preset": 3}, {"game": None}])
def test_names_that_are_no_text(settings: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be a name, got"):
        loqa.make(**settings)
