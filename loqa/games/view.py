"""What a person sees of a line of metrics while a run trains, and of its summary at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Part:
    """A number of a line of metrics.

    Attributes:
        text: with its name, in rich's markup.
        rank: where it comes when columns are short; 0 is dropped last.
    """

    text: str
    rank: int


View = Callable[[dict[str, Any]], Sequence[Part]]
"""Says a line of metrics, in the order in which the parts are shown."""


def reward_view(line: dict[str, Any]) -> list[Part]:
    """Of any game: the reward of each player, and speed."""
    rewards = " ".join(f"{reward:+.3f}" for reward in line["reward"])
    return [Part(f"reward {rewards}", 0), Part(speed(line), 1)]


def reward_outcome(summary: dict[str, Any]) -> str:
    """Of any game: what its players earn where the agent meets itself."""
    if "self_play" not in summary:
        return "Stopped before the first evaluation"
    rewards = " ".join(f"{reward:+.3f}" for reward in summary["self_play"])
    return f"reward per step: self-play {rewards}"


def mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def speed(line: dict[str, Any]) -> str:
    """Environment steps a second since training began."""
    rate = line["env_steps"] / max(line["seconds"], 1e-9)
    return f"{rate / 1e6:.1f}M steps/s" if rate >= 1e6 else f"{rate / 1e3:.0f}k steps/s"
