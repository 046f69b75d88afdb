"""The digest of a policy is one of all that decides what it does."""

from __future__ import annotations

import functools
import json
import math
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import loqa
from loqa.agents.fingerprint import CannotFingerprintError, fingerprint
from loqa.evaluation.players import as_player

SCALE = 1.0
TABLE = np.zeros(4)


class Plain:
    """A policy of four actions: the log-probabilities are `self.table` times `SCALE`, normalised."""

    def __init__(self, table: Any = None, act: Any = None) -> None:
        self.table, self.act = table, act

    def initial_state(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, 0)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.act(obs) if self.act else torch.as_tensor(self.table, dtype=torch.float32)
        return (SCALE * logits).expand(len(obs), 4).log_softmax(-1), state


class Net(torch.nn.Module):
    """What decides is in a plain attribute and in a buffer that `state_dict` leaves out."""

    def __init__(self, temperature: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.register_buffer("shift", torch.full((4,), shift), persistent=False)

    def initial_state(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, 0)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return (self.shift / self.temperature).expand(len(obs), 4).log_softmax(-1), state


def closure(value: Any) -> Any:
    def act(obs: Tensor) -> Tensor:
        return torch.as_tensor(value, dtype=torch.float32)

    return act


def wrapped(value: float) -> Any:
    inner = closure(value)
    return lambda obs: inner(obs)


def large(value: float) -> np.ndarray:
    """`repr` leaves out its middle."""
    table = np.zeros(5000)
    table[2500] = value
    return table


def layer(value: float) -> torch.nn.Linear:
    made = torch.nn.Linear(2, 2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.fill_(value)
    return made


def scaled(obs: Any, by: Any) -> Any:
    return by


class Holder:
    def __init__(self, value: Any) -> None:
        self.value = value

    def act(self, obs: Any) -> Any:
        return self.value


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


KINDS = {
    "array": large,
    "network in an attribute": layer,
    "network in a list in a dictionary": lambda value: {"nets": [torch.nn.ReLU(), layer(value)]},
    "closure": closure,
    "closure of a closure": wrapped,
    "default": lambda value: lambda obs, by=value: by,
    "keyword default": lambda value: lambda obs, *, by=value: by,
    "partial": lambda value: functools.partial(scaled, by=large(value)),
    "bound method": lambda value: Holder(large(value)).act,
    "slots": lambda value: Slotted(large(value)),
    "object array": lambda value: np.array([large(value), None], dtype=object),
    "record array": lambda value: np.array([(1, value)], dtype=[("a", "i4"), ("b", "f8")]),
    "bfloat16": lambda value: torch.tensor([value], dtype=torch.bfloat16),
    "transposed": lambda value: torch.tensor([[1.0, 2.0], [value, 4.0]]).t(),
    "sets": lambda value: {1, "two", value},
    "generator of numbers": lambda value: np.random.default_rng(int(value)),
    "Python's generator": lambda value: random.Random(int(value)),
    "torch's generator": lambda value: torch.Generator().manual_seed(int(value)),
    "module": lambda value: Net(shift=value),
    "module's attribute": lambda value: Net(temperature=1 + value),
    "float's last digit": lambda value: 1.0 + value * 2**-52,
    "vectorised": lambda value: np.vectorize(closure(value)),
    "cached": lambda value: functools.cache(closure(value)),
    "hook": lambda value: _hooked(value),
}


def _hooked(value: float) -> torch.nn.Module:
    made = layer(1)
    made.register_forward_hook(lambda module, args, out: out * value)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_unlike_contents_unlike_digests(kind: str) -> None:
    make = KINDS[kind]
    digests = [as_player(Plain(make(value))).digest for value in (0.0, 0.0, 1.0)]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]
    assert as_player(Plain(make(1.0))).unknown == ""


def test_code_and_globals_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(Plain())
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    changed = fingerprint(Plain())
    assert changed != before
    monkeypatch.setitem(globals(), "SCALE", 1.0)
    assert fingerprint(Plain()) == before

    def step(self: Plain, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(obs), 4).log_softmax(-1), state

    monkeypatch.setattr(Plain, "step", step)
    assert fingerprint(Plain()) not in (before, changed)
    first, second = (fingerprint(lambda obs, n=n: obs + n) for n in (1, 2))
    assert first != second
    assert fingerprint(lambda obs: obs + 1) != fingerprint(lambda obs: obs - 1)
    assert fingerprint(math.sin) != fingerprint(math.cos)
    assert fingerprint(torch.relu) != fingerprint(torch.tanh)


def test_recurrent_layers_of_torch() -> None:
    """They keep weak references to their parameters beside them."""
    first, copied = (torch.nn.GRU(3, 2) for _ in range(2))
    copied.load_state_dict(first.state_dict())
    assert fingerprint(first) == fingerprint(copied)
    with torch.no_grad():
        copied.bias_hh_l0[1] += 1
    assert fingerprint(first) != fingerprint(copied)


def test_cycles_end() -> None:
    one, two = Holder(None), Holder(None)
    one.value, two.value = two, one
    assert fingerprint(one) == fingerprint(one)


def test_the_same_in_another_process(tmp_path: Path) -> None:
    """Whatever Python's hashes of texts are."""
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_fingerprint as t; "
        "print([t.fingerprint(t.Plain(m(1.0))) for k, m in t.KINDS.items()])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True,
            env={**__import__("os").environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(printed) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (threading.Lock, "it.table is a lock"),
        (lambda: (n for n in range(3)), "it.table is a generator"),
        (lambda: torch.zeros(1, device="meta"), "numbers cannot be read"),
        (lambda: lambda obs: open("table"), r"calls open\(\)"),  # noqa: SIM115
        (lambda: lambda obs: eval("1"), r"calls eval\(\)"),
        (lambda: lambda obs: sys.argv, "uses the module sys"),
        (lambda: loqa.make("ipd", 1), "state cannot be read"),
    ],
)
def test_what_cannot_be_hashed_is_said(make: Any, message: str) -> None:
    policy = Plain(make())
    with pytest.raises(CannotFingerprintError, match=message):
        fingerprint(policy)
    assert as_player(policy).unknown != ""


def test_league_does_not_take_one_policy_for_another(tmp_path: Path) -> None:
    """Two policies by one name: each is played, and its result is its own."""
    settings: dict[str, Any] = {"game": "ipd", "episodes": 20, "out": tmp_path}
    cooperates, defects = (MachineLike([p] * 5) for p in (1.0, 0.0))
    assert loqa.league({"one": cooperates, "ad": "ad"}, **settings).matrix[0, 1] == -3
    assert loqa.league({"one": defects, "ad": "ad"}, **settings).matrix[0, 1] == -2
    # A player made before its policy changed.
    policy = MachineLike([1.0] * 5)
    player = as_player(policy)
    assert loqa.league([player, "ad"], **settings).matrix[0, 1] == -3
    policy.vector[:] = 0.0
    assert loqa.league([player, "ad"], **settings).matrix[0, 1] == -2


class MachineLike:
    """A memory-1 player."""

    def __init__(self, vector: list[float], secret: Any = None) -> None:
        self.vector, self.secret, self.steps = np.array(vector), secret, 0

    def initial_state(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, 0)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        p = torch.from_numpy(self.vector)[obs]
        return torch.stack([p, 1 - p], -1).log(), state


class Counting(MachineLike):
    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        self.steps += 1
        return super().step(obs, state)


def test_what_cannot_be_hashed_is_played_anew(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"game": "ipd", "episodes": 20, "out": tmp_path}
    for p, expected in ((1.0, -3), (0.0, -2)):
        policy = MachineLike([p] * 5, threading.Lock())
        with pytest.warns(UserWarning, match="played anew each time: one: it.secret is a lock"):
            league = loqa.league({"one": policy, "ad": "ad"}, **settings)
        assert league.matrix[0, 1] == expected
        assert list(league.not_stored) == ["one"]
        lines = [
            json.loads(line) for line in (tmp_path / "seatings.jsonl").read_text().splitlines()
        ]
        assert [line["names"] for line in lines] == [["ad", "ad"]]
    # Two of them by one name are two players.
    pair = [as_player(MachineLike([p] * 5, threading.Lock()), "same") for p in (1.0, 0.0)]
    both = loqa.league(pair, game="ipd", episodes=20)
    assert both.names == ("same", "same (2)")
    np.testing.assert_allclose(both.matrix, [[-1, -3], [0, -2]])


def test_what_changes_while_it_plays_is_not_stored(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"game": "ipd", "episodes": 4, "out": tmp_path}
    league = loqa.league({"one": Counting([1.0] * 5), "ad": "ad"}, **settings)
    assert league.not_stored == {"one": "it changes while it plays"}
    assert (tmp_path / "seatings.jsonl").read_text().count("\n") == 1
