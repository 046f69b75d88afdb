"""Damaged files of every kind: a short run of tests/fuzz/readers.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import loqa

READERS = Path(__file__).parent / "fuzz" / "readers.py"


def test_readers_refuse_damaged_files_in_one_way(tmp_path: Path) -> None:
    """In a process of its own: it limits its memory."""
    done = subprocess.run(
        [sys.executable, READERS, "--inputs", "300", "--seed", "1", "--save", tmp_path / "wrong"],
        capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(loqa.__file__).parents[1])},  # the one under test
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "300 inputs, 0 that did what they must not" in done.stdout
    assert not (tmp_path / "wrong").exists()
