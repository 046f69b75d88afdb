"""What is seen of a run of a matrix game."""

from __future__ import annotations

from typing import Any

from loqa.games.view import Part, mean, speed

_RANKS = {"start": 5, "CC": 0, "CD": 1, "DC": 4, "DD": 3}


def view(line: dict[str, Any]) -> list[Part]:
    """The five cooperation probabilities, rewards without and with exploration, and speed."""
    parts = [Part("P(C)", 0)] if "p_cooperate" in line else []
    for state, p in line.get("p_cooperate", {}).items():
        colour = "dodger_blue1" if p >= 0.5 else "dark_orange"
        parts.append(Part(f"{state} [{colour}]{p:.2f}[/]", _RANKS[state]))
    return [
        *parts,
        Part(f"reward {mean(line['self_play']):+.2f}", 2),
        Part(f"exploring {mean(line['reward']):+.2f}", 7),
        Part(speed(line), 6),
    ]


def outcome(summary: dict[str, Any]) -> str:
    """What was learned, and what it earns."""
    said = []
    for key, name in (("", "P(cooperate)"), ("_other", "P(cooperate) of the other")):
        if f"p_cooperate{key}" in summary:
            found = summary[f"p_cooperate{key}"].items()
            said.append(f"{name}: " + ", ".join(f"{state} {p:.2f}" for state, p in found))
        for state, each in summary.get(f"policy{key}", {}).items():
            said.append(f"P(actions) after {state}: " + ", ".join(f"{p:.2f}" for p in each))
    first, second = summary["self_play"]
    both = (
        f"{(first + second) / 2:.3f}"
        if "p_cooperate_other" not in summary
        else (f"{first:.3f} and {second:.3f}")
    )
    return "\n".join([*said, f"reward per step in self-play, without exploration: {both}"])
