"""Named strategies of the iterated prisoner's dilemma, as finite-state machines.

A machine cooperates in state s with probability `cooperate[s]` and goes on to
`transition[s, own, other]` (0 cooperated, 1 defected, as played). A memory-1 strategy is a machine
of five states. Names and behaviour are those of the Axelrod literature: Axelrod 1984; Nowak and
Sigmund 1992, 1993; Press and Dyson 2012; Stewart and Plotkin 2012; Ashlock et al. 2006 to 2015; Li,
Hingston and Kendall 2011; Hilbe et al. 2017.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loqa import _checks
from loqa.agents.memory1 import as_strategy

_MAX_STATES = 4096


@dataclass(frozen=True)
class Machine:
    """A finite-state machine that plays a game of two actions; it starts in state 0.

    Attributes:
        name: what tables call it.
        cooperate: P(C) in each state, `[S]`.
        transition: next state after [state, own action, other's action], `[S, 2, 2]`.
    """

    name: str
    cooperate: NDArray[np.float64]
    transition: NDArray[np.int64]

    def __post_init__(self) -> None:
        states = self.cooperate.shape[0] if self.cooperate.ndim == 1 else 0
        if states == 0 or self.transition.shape != (states, 2, 2):
            raise ValueError(
                f"machine {self.name!r} needs cooperate [S] and transition [S, 2, 2], got "
                f"{list(self.cooperate.shape)} and {list(self.transition.shape)}"
            )
        if not bool(((self.cooperate >= 0) & (self.cooperate <= 1)).all()):
            raise ValueError(f"machine {self.name!r}: cooperate must be in [0, 1]")
        if not bool(((self.transition >= 0) & (self.transition < states)).all()):
            raise ValueError(f"machine {self.name!r}: transition must be in 0..{states - 1}")


def memory1_machine(name: str, probabilities: ArrayLike) -> Machine:
    """P(C) at the start and after CC, CD, DC, DD (own action first), `[5]`, as a machine."""
    strategy = as_strategy(name, probabilities)
    if strategy.ndim != 1:
        raise ValueError(f"{name} must be [5], got {list(strategy.shape)}")
    return Machine(name, strategy, np.broadcast_to(np.arange(1, 5).reshape(2, 2), (5, 2, 2)))


def machine_of_rule(
    name: str,
    start: Hashable,
    cooperate: Callable[[Any], float],
    remember: Callable[[Any, str, str], Hashable],
) -> Machine:
    """The machine of a player with finite memory.

    Args:
        name: of the strategy.
        start: its memory before the first move.
        cooperate: memory -> P(C).
        remember: (memory, own action, other's action), actions "C" or "D" -> memory.

    Raises:
        ValueError: more than 4096 states can be reached.
    """
    numbers = {start: 0}
    memories, rows = [start], []
    for memory in memories:  # grows while it is walked
        row = [remember(memory, own, other) for own in "CD" for other in "CD"]
        for after in row:
            if after not in numbers:
                numbers[after] = len(memories)
                memories.append(after)
        rows.append([numbers[after] for after in row])
        if len(memories) > _MAX_STATES:
            raise ValueError(f"strategy {name!r} has more than {_MAX_STATES} states")
    probabilities = np.array([float(cooperate(memory)) for memory in memories])
    return Machine(name, probabilities, np.array(rows).reshape(-1, 2, 2))


def _mealy(name: str, first: str, table: str) -> Machine:
    """A machine whose answer hangs on its transition.

    `table` lists "state: state-and-action after C, state-and-action after D; ...", the initial state first.
    """
    rules: dict[tuple[str, str], tuple[str, str]] = {}
    for state, *after in re.findall(r"(\d): (\d)(\w), (\d)(\w)", table):
        rules |= {(state, "C"): (after[0], after[1]), (state, "D"): (after[2], after[3])}
    return machine_of_rule(
        name,
        (table[0], first),
        lambda memory: memory[1] == "C",
        lambda memory, own, other: rules[memory[0], other],
    )


def _by_history(name: str, length: int, cooperate: Callable[[str, str], bool]) -> Machine:
    """A player that looks at both players' last `length` actions, given as strings, oldest first."""
    return machine_of_rule(
        name,
        ("", ""),
        lambda memory: cooperate(*memory),
        lambda memory, own, other: ((memory[0] + own)[-length:], (memory[1] + other)[-length:]),
    )


def _by_defections(name: str, most: int, cooperate: Callable[[int, int], bool]) -> Machine:
    """A player that counts turns and the other's defections, both up to `most`."""
    return machine_of_rule(
        name,
        (0, 0),
        lambda memory: cooperate(*memory),
        lambda memory, own, other: (
            min(memory[0] + 1, most),
            min(memory[1] + (other == "D"), most),
        ),
    )


def _cycler(cycle: str) -> Machine:
    return machine_of_rule(
        f"cycler-{cycle.lower()}",
        0,
        lambda turn: cycle[turn] == "C",
        lambda turn, own, other: (turn + 1) % len(cycle),
    )


def _memory_two(name: str, vector: str) -> Machine:
    """First two moves C; then by the last two actions, own then other's, in the order CC, CD, DC, DD
    of each."""
    actions = ["CC", "CD", "DC", "DD"]

    def cooperate(own: str, other: str) -> bool:
        return len(own) < 2 or vector[4 * actions.index(own) + actions.index(other)] == "C"

    return _by_history(name, 2, cooperate)


_MEMORY1 = {
    "always-cooperate": (1, 1, 1, 1, 1),
    "always-defect": (0, 0, 0, 0, 0),
    "tit-for-tat": (1, 1, 0, 1, 0),
    "suspicious-tit-for-tat": (0, 1, 0, 1, 0),
    "anti-tit-for-tat": (1, 0, 1, 0, 1),
    "bully": (0, 0, 1, 0, 1),
    "win-stay-lose-shift": (1, 1, 0, 0, 1),
    "win-shift-lose-stay": (0, 0, 1, 1, 0),
    "grim": (1, 1, 0, 0, 0),
    "alternator": (1, 0, 0, 1, 1),
    "random": (0.5, 0.5, 0.5, 0.5, 0.5),
    "generous-tit-for-tat": (1, 1, 1 / 3, 1, 1 / 3),
    "joss": (1, 0.9, 0, 0.9, 0),
    "soft-joss": (1, 1, 0.1, 1, 0.1),
    "firm-but-fair": (1, 1, 0, 1, 2 / 3),
    "stochastic-win-stay-lose-shift": (1, 0.95, 0.05, 0.05, 0.95),
    "stochastic-cooperator": (1, 0.935, 0.229, 0.266, 0.42),
    "zd-extort-2": (1, 8 / 9, 1 / 2, 1 / 3, 0),
    "zd-extort-4": (1, 11 / 17, 0, 8 / 17, 0),
    "zd-generous-tit-for-tat-2": (1, 1, 1 / 8, 1, 1 / 4),
    "zd-set-2": (1, 3 / 4, 1 / 4, 1 / 2, 1 / 4),
}


def _named() -> list[Machine]:
    return [
        *(memory1_machine(name, vector) for name, vector in _MEMORY1.items()),
        _by_history("tit-for-2-tats", 2, lambda own, other: other != "DD"),
        _by_history("two-tits-for-tat", 2, lambda own, other: "D" not in other),
        _by_history("hard-tit-for-tat", 3, lambda own, other: "D" not in other),
        _by_history("hard-tit-for-2-tats", 3, lambda own, other: "DD" not in other),
        _by_history(
            "slow-tit-for-two-tats",
            2,
            lambda own, other: (
                len(own) < 2 or (other[1] if other[0] == other[1] else own[1]) == "C"
            ),
        ),
        _by_history("resurrection", 5, lambda own, other: own != "DDDDD" and other[-1:] != "D"),
        _memory_two("aon2", "CDDDDCDDDDCDDDDC"),
        _memory_two("delayed-aon1", "CDDDDCDCDDCDDCDC"),
        _by_defections("grudger", 1, lambda turn, defections: defections == 0),
        _by_defections("easy-go", 1, lambda turn, defections: defections > 0),
        _by_defections("fool-me-once", 2, lambda turn, defections: defections < 2),
        _by_defections("aggravater", 3, lambda turn, defections: turn >= 3 and defections == 0),
        _mealy(  # answers a defection by D, D, D, D, C, C, whatever happens meanwhile
            "soft-grudger",
            "C",
            "0: 0C, 1D; 1: 2D, 2D; 2: 3D, 3D; 3: 4D, 4D; 4: 5C, 5C; 5: 6C, 6C; 6: 0C, 1D",
        ),
        *map(_cycler, ("CCD", "DDC", "DC", "CCCD", "CCCCCD", "CCCDCD")),
        _mealy("fortress-3", "D", "1: 1D, 2D; 2: 1D, 3C; 3: 3C, 1D"),
        _mealy("fortress-4", "D", "1: 1D, 2D; 2: 1D, 3D; 3: 1D, 4C; 4: 4C, 1D"),
        _mealy(
            "predator",
            "C",
            "0: 0D, 1D; 1: 2D, 3D; 2: 4C, 3D; 3: 5D, 4C; 4: 2C, 6D; 5: 7D, 3D; 6: 7C, 7D; "
            "7: 8D, 7D; 8: 8D, 6D",
        ),
        _mealy("pun-1", "D", "1: 2C, 2C; 2: 1C, 1D"),
        _mealy("raider", "D", "0: 2D, 2D; 1: 1C, 1D; 2: 0D, 3C; 3: 0D, 1C"),
        _mealy("ripoff", "D", "1: 2C, 3C; 2: 1D, 3C; 3: 3C, 3D"),
        _mealy("usually-cooperates", "C", "1: 1C, 2C; 2: 1D, 1C"),
        _mealy("usually-defects", "D", "1: 2D, 1D; 2: 1D, 1C"),
        _mealy("solution-b1", "D", "1: 2D, 1D; 2: 2C, 3C; 3: 3C, 3C"),
        _mealy(
            "solution-b5",
            "D",
            "1: 2C, 6D; 2: 2C, 3D; 3: 6C, 1D; 4: 3C, 6D; 5: 5D, 4D; 6: 3C, 5D",
        ),
        _mealy("thumper", "C", "1: 1C, 2D; 2: 1D, 1D"),
        _mealy("evolved-fsm-4", "C", "0: 0C, 2D; 1: 3D, 0C; 2: 2D, 1C; 3: 3D, 1D"),
    ]


NAMED: dict[str, Machine] = {machine.name: machine for machine in _named()}
"""Every named strategy."""
SHORT_NAMES = {
    "ac": "always-cooperate",
    "ad": "always-defect",
    "tft": "tit-for-tat",
    "wsls": "win-stay-lose-shift",
}


def strategy(name: str) -> Machine:
    """A named strategy; ValueError with the nearest name if there is none."""
    return NAMED[_checks.one_of("strategy", name, NAMED)]
