"""The parts of the native core that every simulator and kernel stands on."""

from __future__ import annotations

import ast
import inspect
import itertools
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import loqa
import loqa.reference
from loqa._native import core

WORD = st.integers(0, 2**32 - 1)

# Philox4x32-10 in the known-answer file published with Random123: counter, key, result.
KNOWN_ANSWERS = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN_ANSWERS)
def test_philox_known_answers(counter: str, key: str, result: str) -> None:
    low, high = (int(word, 16) for word in key.split())
    words = [int(word, 16) for word in counter.split()]
    expected = tuple(int(word, 16) for word in result.split())
    assert core.philox(low | high << 32, *words) == expected
    assert loqa.reference.philox(low | high << 32, *words) == expected


@given(key=st.integers(0, 2**64 - 1), counter=st.tuples(WORD, WORD, WORD, WORD))
def test_philox_equals_reference(key: int, counter: tuple[int, int, int, int]) -> None:
    assert core.philox(key, *counter) == loqa.reference.philox(key, *counter)


@given(word=WORD, bound=st.integers(1, 1000))
def test_reference_draws_are_in_range(word: int, bound: int) -> None:
    assert 0 <= loqa.reference.uniform(word) < 1
    assert 0 <= loqa.reference.bounded(word, bound) < bound


def test_instruction_sets() -> None:
    names = core.supported_isas()
    assert names[0] == "baseline"
    assert core.isa() in names
    with pytest.raises(ValueError, match=r"must be one of baseline.* on this machine, got 'mmx'"):
        core.set_isa("mmx")


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_environment_variables() -> None:
    code = "from loqa._native import core; print(core.isa(), core.default_num_threads())"
    assert run_python(code, LOQA_ISA="baseline", LOQA_NUM_THREADS="3").stdout == "baseline 3\n"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LOQA_ISA", "avx9", "instruction set must be one of baseline.*, got 'avx9'"),
        ("LOQA_NUM_THREADS", "0", r"LOQA_NUM_THREADS must be an integer in \[1, 1024\], got '0'"),
        ("LOQA_NUM_THREADS", "two", "LOQA_NUM_THREADS must be .*, got 'two'"),
        ("LOQA_NUM_THREADS", "9" * 30, "LOQA_NUM_THREADS must be .*, got '9+'"),
    ],
)
def test_bad_environment_variables(name: str, value: str, message: str) -> None:
    code = (
        "import loqa\n"
        "try:\n"
        "    loqa.make('ipd', 2).step([[0, 0]] * 2)\n"
        "except ValueError as error:\n"
        "    print(error)"
    )
    result = run_python(code, **{name: value})
    assert result.returncode == 0, result.stderr
    assert re.search(message, result.stdout), result.stdout


def test_native_sizes_are_checked() -> None:
    """The core itself throws on what would make it touch memory that is not there (sizes of arrays:
    test_env_memory.py)."""
    sizes = {"table": 32, "states": 2, "t": 4, "episode": 4}
    arguments = {name: core.Memory(size) for name, size in sizes.items()}
    good = {"num_envs": 1, "num_players": 2, "obs_type": 0}
    rules = {"num_actions": 2, "obs_width": 0, "noise": 0, "end_probability": 0}
    rest = {"game": "matrix-game", "rules": rules, "episode_length": 1, "first_env": 0}
    for name, value in [("num_envs", 0), ("num_players", 3), ("obs_type", 3)]:
        with pytest.raises(ValueError, match="a size is out of range"):
            core.GameBatch(**arguments, **rest, **{**good, name: value})
    batch = core.GameBatch(**arguments, **rest, **good)
    results = [core.Memory(size) for size in (2, 8, 1, 1)]
    with pytest.raises(ValueError, match="num_threads must be 1 or more"):
        core.GameSimulator(batch, *results, num_threads=0)


def test_threads_that_call_at_once() -> None:
    """The pool serves one call after the other; every caller gets its own result."""
    actions = torch.randint(0, 2, (5, 40_000, 2), generator=torch.Generator().manual_seed(0))
    expected = loqa.make("ipd", 40_000, num_threads=1).rollout(actions)
    wrong = []

    def work() -> None:
        env = loqa.make("ipd", 40_000, num_threads=3)
        for _ in range(10):
            env.reset(seed=0)
            obs, rewards = env.rollout(actions)
            if not (torch.equal(obs, expected[0]) and torch.equal(rewards, expected[1])):
                wrong.append("differs")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- the stub


def public(names: list[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def test_stub_matches_module() -> None:
    """Every public name of _core.pyi is in the module and the other way round, but for the kernels, which
    have a twin on CUDA or a type in their name; the parameters of each function have the stub's names, in
    its order."""
    stub = Path(loqa.__file__).with_name("_core.pyi")
    tree = ast.parse(stub.read_text())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}

    def inherited(node: ast.ClassDef) -> list[ast.stmt]:
        bases = (classes.get(ast.unparse(base).partition("[")[0]) for base in node.bases)
        found = [inherited(base) for base in bases if base is not None]
        return [*itertools.chain(*found), *node.body]

    def compare(nodes: list[ast.stmt], owner: object, where: str, beside: set[str]) -> None:
        stubbed = set()
        for node in nodes:
            if isinstance(node, ast.AnnAssign):
                name = ast.unparse(node.target)
                stubbed.add(name)
                attribute = getattr(owner, name)
                if not isinstance(attribute, property):
                    assert type(attribute).__name__ == ast.unparse(node.annotation)
            elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                stubbed.add(node.name)
                compare(inherited(node), getattr(owner, node.name), f"{where}.{node.name}", set())
            elif isinstance(node, ast.FunctionDef):
                if node.name == "__buffer__":  # a slot, which Python shows from 3.12 on
                    continue
                stubbed.add(node.name)
                compare_parameters(node, getattr(owner, node.name), f"{where}.{node.name}")
        assert public(list(stubbed)) == public(list(vars(owner))) - beside, where

    def compare_parameters(node: ast.FunctionDef, function: object, where: str) -> None:
        arguments = node.args
        expected = [argument.arg for argument in arguments.args + arguments.kwonlyargs]
        signature = (inspect.getdoc(function) or "").splitlines()[0]  # written by pybind11
        inside = re.fullmatch(r"\w+\((.*)\) -> .*", signature)
        assert inside, f"{where}: {signature}"
        came = re.findall(r"(\w+):", re.sub(r"\[[^\]]*\]", "", inside.group(1)))
        assert came == expected, where
        keyword_only = "*, " in inside.group(1)
        assert keyword_only == bool(arguments.kwonlyargs), where

    kernels = {
        name
        for name in vars(core)
        if f"{name}_cuda" in vars(core) or name.endswith(("_f32", "_f64"))
    }
    assert "linear_scan" in kernels
    compare(tree.body, core, "loqa._core", kernels | {f"{name}_cuda" for name in kernels})
