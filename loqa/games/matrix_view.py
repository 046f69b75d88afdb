"""What is seen of a run of a matrix game."""

from __future__ import annotations

from typing import Any

from loqa.games.view import Part, mean, speed

_RANKS = {"start": 5, "CC": 0, "CD": 1, "DC": 4, "DD": 3}


def view(line: dict[str, Any]) -> list[Part]:
    """The five cooperation probabilities, rewards without and with exploration, and speed."""
    parts = [Part("P(C)", 0)]
    for state, p in line["p_cooperate"].items():
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
    answers = ", ".join(f"{state} {p:.2f}" for state, p in summary["p_cooperate"].items())
    reward = sum(summary["self_play"]) / 2
    return (
        f"P(cooperate): {answers}\nreward per step in self-play, without exploration: {reward:.3f}"
    )
