"""What each part may import, and what importing it loads: a leaf is for those who want nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# How it is used, and which modules must not be loaded then.
LEAVES = [
    ("import loqa.agents.memory1", ["loqa.algos", "loqa.training"]),
    ("import loqa.ops", ["loqa.agents", "loqa.algos", "loqa.training"]),
    ("import loqa.envs; loqa.envs.make", ["loqa.agents", "loqa.algos", "loqa.training"]),
    ("import loqa; loqa.make('ipd')", ["loqa.agents", "loqa.algos", "loqa.training"]),
    ("import loqa.reference", ["loqa._core", "loqa.agents", "loqa.training"]),
    ("import loqa.games.registry; loqa.games.game('ipd')", ["loqa.training", "loqa.evaluation",
                                                           "matplotlib"]),
    ("from loqa.cli.main import main; main(['--help'])", ["torch", "numpy", "loqa._core"]),
    ("from loqa.cli.main import main; main(['--version'])", ["torch", "numpy", "loqa._core"]),
]  # fmt: skip


@pytest.mark.parametrize(("use", "absent"), LEAVES, ids=lambda value: str(value)[:60])
def test_what_is_loaded(use: str, absent: list[str]) -> None:
    code = f"import atexit, sys\natexit.register(lambda: print('loaded:', *sys.modules))\n{use}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = ended.stdout.rpartition("loaded: ")[2].split()
    assert "loqa" in loaded
    unwanted = [
        one for one in loaded if any(one == name or one.startswith(f"{name}.") for name in absent)
    ]
    assert not unwanted


def test_the_reference_needs_no_core() -> None:
    """It must import where the core was never built."""
    code = """
import sys
sys.modules["loqa._core"] = None  # importing it now raises ImportError
import loqa.reference
env = loqa.reference.make("ipd", 2)
print(env.step([[0, 0], [0, 1]])[1].tolist())
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[[-1.0, -1.0], [-3.0, 0.0]]"


def test_contracts_of_imports() -> None:
    """Those of pyproject.toml."""
    pytest.importorskip("importlinter")
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    root = Path(__file__).parents[1]
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True,
                           check=False)  # fmt: skip
    assert ended.returncode == 0, ended.stdout
