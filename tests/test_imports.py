"""Every name that is imported from loqa is there: where packages load lazily mypy does not look."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPTIONAL = ("loqa.envs.gymnasium", "loqa.envs.pettingzoo", "loqa.envs.adapters.parallel")


def test_imports() -> None:
    files = [
        file for room in ("loqa", "tests", "benchmarks") for file in (ROOT / room).rglob("*.py")
    ]
    assert len(files) > 200
    missing = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "loqa":
                assert node.module is not None
                if node.module in OPTIONAL:
                    continue
                module = import_module(node.module)
                missing += [
                    f"{file.relative_to(ROOT)}: {node.module}.{name.name}"
                    for name in node.names
                    if not hasattr(module, name.name)
                    and find_spec(f"{node.module}.{name.name}") is None
                ]
    assert not missing


def test_public_names() -> None:
    """As the documentation writes them, after `import loqa` alone."""
    names = ("make", "train", "resume", "load_agent", "evaluate", "league", "CoinConfig", "IPDConfig",
             "MatrixConfig", "EnvSpec", "ops.loaded_dice_returns", "reference", "algos.register",
             "envs.register", "games.Game", "envs.make")  # fmt: skip
    asked = "; ".join(f"loqa.{name}" for name in names)
    subprocess.run([sys.executable, "-c", f"import loqa; {asked}"], check=True)


@pytest.mark.parametrize("name", ["gymnasium.VectorEnv", "pettingzoo.parallel_env"])
def test_adapters_need_no_import_of_their_own(name: str) -> None:
    pytest.importorskip(name.partition(".")[0])
    subprocess.run([sys.executable, "-c", f"import loqa; loqa.envs.{name}"], check=True)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("@dataclass(frozen=True)\nclass S: episode_length: int = 50\n"
         "loqa.envs.register(loqa.games.Game('coin', 'mine', S, print, print))", "a game 'coin'"),
        ("class Mine(loqa.algos.Algorithm): pass\n"
         "loqa.algos.register('loqa', Mine, object)", "an algorithm 'loqa'"),
    ],
)  # fmt: skip
def test_names_of_the_package_are_taken_before_they_are_loaded(code: str, what: str) -> None:
    code = f"import loqa\nfrom dataclasses import dataclass\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == f"ValueError: there is {what} already"
