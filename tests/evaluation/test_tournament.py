"""The round robin: a plain-Python tournament, exact values, and the axelrod package."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loqa._native import core
from loqa.agents.memory1 import discounted_value
from loqa.agents.strategies import NAMED, Machine, strategy
from loqa.evaluation import tournament_engines
from loqa.evaluation.tournament import random_memory1, tournament
from loqa.reference.philox import philox

# Ours -> the class of the axelrod package.
AXELROD = {
    "always-cooperate": "Cooperator",
    "always-defect": "Defector",
    "tit-for-tat": "TitForTat",
    "suspicious-tit-for-tat": "SuspiciousTitForTat",
    "anti-tit-for-tat": "AntiTitForTat",
    "bully": "Bully",
    "win-stay-lose-shift": "WinStayLoseShift",
    "win-shift-lose-stay": "WinShiftLoseStay",
    "alternator": "Alternator",
    "tit-for-2-tats": "TitFor2Tats",
    "two-tits-for-tat": "TwoTitsForTat",
    "hard-tit-for-tat": "HardTitForTat",
    "hard-tit-for-2-tats": "HardTitFor2Tats",
    "slow-tit-for-two-tats": "SlowTitForTwoTats2",
    "resurrection": "Resurrection",
    "aon2": "AON2",
    "delayed-aon1": "DelayedAON1",
    "grudger": "Grudger",
    "easy-go": "EasyGo",
    "fool-me-once": "FoolMeOnce",
    "aggravater": "Aggravater",
    "soft-grudger": "SoftGrudger",
    "cycler-ccd": "CyclerCCD",
    "cycler-ddc": "CyclerDDC",
    "cycler-dc": "CyclerDC",
    "cycler-cccd": "CyclerCCCD",
    "cycler-cccccd": "CyclerCCCCCD",
    "cycler-cccdcd": "CyclerCCCDCD",
    "fortress-3": "Fortress3",
    "fortress-4": "Fortress4",
    "predator": "Predator",
    "pun-1": "Pun1",
    "raider": "Raider",
    "ripoff": "Ripoff",
    "usually-cooperates": "UsuallyCooperates",
    "usually-defects": "UsuallyDefects",
    "solution-b1": "SolutionB1",
    "solution-b5": "SolutionB5",
    "thumper": "Thumper",
    "evolved-fsm-4": "EvolvedFSM4",
}


def play(first: Machine, second: Machine, who: int, turns: int, repeat: int, seed: int,
         noise: float) -> list[int]:  # fmt: skip
    """One match in plain Python: counts of CC, CD, DC, DD."""
    counts, states = [0] * 4, [0, 0]
    for turn in range(turns):
        words = philox(seed, repeat, who, turn // 2, 3)[2 * (turn % 2) :]
        actions = []
        for machine, state, word in zip((first, second), states, words, strict=False):
            p = machine.cooperate[state]
            p = p * (1 - noise) + (1 - p) * noise
            actions.append(0 if word >> 8 < round(p * 2**24) else 1)
        a, b = actions
        counts[2 * a + b] += 1
        states = [int(first.transition[states[0], a, b]), int(second.transition[states[1], b, a])]
    return counts


@pytest.mark.parametrize("turns", [1, 2, 7])
def test_equals_plain_python(isa: str, turns: int) -> None:
    names = ["tit-for-tat", "predator", "generous-tit-for-tat", "random", "resurrection"]
    machines = [strategy(name) for name in names]
    repeats = 67  # one full block of lanes and a part
    result = tournament(names, turns, repeats, noise=0.1, seed=11)
    for i in range(len(names)):
        for j in range(i, len(names)):
            for repeat in (0, 1, 63, 64, 66):
                expected = play(machines[i], machines[j], i << 16 | j, turns, repeat, 11, 0.1)
                assert result.outcomes[i, j, repeat].tolist() == expected
    assert np.array_equal(result.outcomes[1, 0], result.outcomes[0, 1][:, [0, 2, 1, 3]])
    alone = tournament(names, turns, repeats, noise=0.1, seed=11, num_threads=1)
    assert np.array_equal(alone.outcomes, result.outcomes)


class InTurn:
    """Does what is asked of Ray at once, in this process, and counts the tasks."""

    def __init__(self, cores: int) -> None:
        self.cores, self.pairs = cores, []

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cores)}

    def remote(self, **_: Any) -> Any:
        def made(function: Any) -> Any:
            def task(matches: Any, pairs: Any, num_threads: int) -> Any:
                self.pairs.append(pairs)
                return function(matches, pairs, num_threads)

            return SimpleNamespace(remote=task)

        return made

    def put(self, value: Any) -> Any:
        return value

    get = put


@pytest.mark.parametrize(("cores", "num_threads"), [(1, None), (3, None), (64, None), (1, 4)])
def test_cut_into_tasks(
    monkeypatch: pytest.MonkeyPatch, cores: int, num_threads: int | None
) -> None:
    """Every number is as in one piece, however the pairs are cut; `tests/sweeps/test_ray.py` has Ray."""
    names = ["tit-for-tat", "predator", "generous-tit-for-tat", "random", "evolved-fsm-4"]
    whole = tournament(names, 9, 67, noise=0.1, seed=11)
    ray = InTurn(cores)
    monkeypatch.setattr(tournament_engines, "cluster", lambda: nullcontext(ray))
    cut = tournament(names, 9, 67, noise=0.1, seed=11, num_threads=num_threads, engine="ray")
    assert np.array_equal(cut.outcomes, whole.outcomes)
    assert len(ray.pairs) == min(15, num_threads or cores)  # of 15 pairs
    assert len(np.unique(np.concatenate(ray.pairs), axis=0)) == 15


def test_hand_worked() -> None:
    result = tournament(["tit-for-tat", "always-defect", "always-cooperate"], 10, 1)
    assert result.scores[..., 0].tolist() == [[30, 9, 30], [14, 10, 50], [30, 0, 30]]
    assert result.ranking()[0] == ("always-defect", pytest.approx(3.2))
    assert result.cooperation[0].tolist() == [1.0, 0.1, 1.0]
    assert np.isnan(result.standard_errors).all()


def test_means_agree_with_the_exact_values() -> None:
    pool = random_memory1(8, seed=4)
    result = tournament(pool, 50, 400, noise=0.05, payoff=(-1, -3, 0, -2))
    vectors = np.stack([machine.cooperate for machine in pool])
    exact = discounted_value(vectors[:, None], vectors[None], 1, steps=50, noise=0.05)[..., 0] / 50
    assert (np.abs(result.payoffs - exact) < 5 * result.standard_errors + 1e-12).all()


def test_equals_the_axelrod_package() -> None:
    """200 turns of every pair of deterministic strategies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axelrod = pytest.importorskip("axelrod")
    names = list(AXELROD)
    assert {name for name in NAMED if set(NAMED[name].cooperate) <= {0, 1}} - {"grim"} == set(names)
    result = tournament(names, 200, 1)
    for i, first in enumerate(names):
        for j in range(i, len(names)):
            players = [getattr(axelrod, AXELROD[name])() for name in (first, names[j])]
            match = axelrod.Match(players, turns=200)
            match.play()
            expected = match.final_score()
            got = result.scores[i, j, 0], result.scores[j, i, 0]
            assert got == expected, (first, names[j])
            cooperation = match.cooperation()
            assert 200 * result.cooperation[i, j] == pytest.approx(cooperation[0])


def test_grim_and_grudger_are_one_without_noise() -> None:
    result = tournament(["grim", "grudger", "random", "predator"], 50, 20)
    assert result.cooperation[0, 3] == result.cooperation[1, 3]
    assert len(NAMED) >= 50


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="did you mean 'tit-for-tat'"):
        tournament(["tit-for-tatt"])
    with pytest.raises(ValueError, match="number of strategies"):
        tournament([])
    with pytest.raises(ValueError, match=r"strategy 1 must be \[\.\.\., 5\]"):
        tournament(["random", [0.5] * 4])
    with pytest.raises(ValueError, match="noise"):
        tournament(["random"], noise=1.1)
    with pytest.raises(ValueError, match=r"tit-for-tat would cooperate.*noise 1e-09"):
        tournament(["tit-for-tat"], noise=1e-9)
    with pytest.raises(ValueError, match=r"strategy 1 would cooperate with probability"):
        tournament(["random", [0.5, 1 - 1e-12, 0.5, 0.5, 0.5]])
    assert tournament(["tit-for-tat"], 5, 1, noise=1.0).cooperation[0, 0] == 0.4
    with pytest.raises(ValueError, match="at most"):
        tournament(["random"] * 200, repeats=20_000)
    with pytest.raises(ValueError, match="engine must be one of local, ray, got 'rey'"):
        tournament(["random"], engine="rey")
    with pytest.raises(ValueError, match="num_threads"):
        tournament(["random"], num_threads=0, engine="ray")
    with pytest.raises(ValueError, match="cooperate must be in"):
        Machine("x", np.array([2.0]), np.zeros((1, 2, 2), np.int64))
    with pytest.raises(ValueError, match="transition must be in"):
        Machine("x", np.ones(1), np.ones((1, 2, 2), np.int64))


def test_the_core_reads_and_writes_nothing_but_its_arrays() -> None:
    """Two machines of two states each; every array and number is checked by the core itself."""
    good: dict[str, Any] = {
        "cooperates": np.full(4, 2**23, np.int32),
        "next": np.array([[0, 1, 0, 1], [1, 1, 0, 0], [2, 3, 2, 3], [3, 3, 2, 2]], np.int32),
        "first": np.array([0, 2, 4], np.int32), "pairs": np.array([[0, 1]], np.int32), "turns": 10,
        "seed": 0, "counts": np.zeros((1, 3, 4), np.int32), "num_threads": 1,
    }  # fmt: skip
    core.tournament(**good)
    assert good["counts"].sum(-1).tolist() == [[10, 10, 10]]
    out_of_machine = good["next"].copy()
    out_of_machine[0, 2] = 3
    for name, value, message in [
        ("next", out_of_machine, "next leads out of machine 0"),
        ("next", good["next"][:3], r"next must be \[4, 4\]"),
        ("next", good["next"].ravel(), "contiguous int32 array of 2 dim"),
        ("next", good["next"].astype(np.int64), "int32"),
        ("next", good["next"].T, "contiguous"),
        ("next", good["next"][::-1], "contiguous"),
        ("cooperates", good["cooperates"].view(np.uint32), "int32"),
        ("cooperates", good["cooperates"].astype(">i4"), "int32"),
        ("first", np.array([0, 2, 5], np.int32), "from 0 to the number of rows"),
        ("first", np.array([0, 4, 4], np.int32), "must grow"),
        ("first", np.array([0, -1, 4], np.int32), "must grow"),
        ("first", np.zeros(0, np.int32), "machines"),
        ("pairs", np.array([[0, 2]], np.int32), "machine 2 of 2"),
        ("pairs", np.array([[-1, 0]], np.int32), "machine -1 of 2"),
        ("pairs", np.zeros((1, 3), np.int32), "pairs must be"),
        ("counts", np.zeros((2, 3, 4), np.int32), "counts"),
        ("counts", np.zeros((1, 3, 3), np.int32), "counts"),
        ("turns", -1, "turns must be"), ("turns", 2**31, "turns must be"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            core.tournament(**{**good, name: value})
    frozen = np.zeros((1, 3, 4), np.int32)
    frozen.flags.writeable = False
    with pytest.raises((ValueError, BufferError, TypeError)):
        core.tournament(**{**good, "counts": frozen})
