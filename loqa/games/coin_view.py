"""What is seen of a run of the Coin Game."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loqa.games.view import Part, mean, reward_outcome, speed


class CoinView:
    """The newest evaluation, thresholds met, speed, and where the time goes."""

    def __init__(self) -> None:
        self._evaluation = [Part("not evaluated yet", 0)]
        self._met: list[Part] = []

    def __call__(self, line: dict[str, Any]) -> list[Part]:
        if "self_play" in line:
            share = line["own_coin_share"]
            self._evaluation = [
                Part(f"self-play {mean(line['self_play']):+.3f}", 0),
                Part(f"vs AC {line['vs_always_cooperate'][0]:+.3f}", 3),
                Part(f"vs AD {line['vs_always_defect'][0]:+.3f}", 1),
                Part(f"own coins {'-' if share is None else f'{share:.0%}'}", 2),
            ]
            met = [
                f"[green]{name} {seconds:.0f} s[/]"
                for name, seconds in line.get("seconds_to_threshold", {}).items()
                if seconds is not None
            ]
            if "seconds_to_threshold" in line:
                self._met = [Part(" ".join(met) or "no threshold yet", 4)]
        phases = line["phase_seconds"]
        spent = sum(phases.values()) or 1.0
        times = " ".join(f"{name} {seconds / spent:.0%}" for name, seconds in phases.items())
        return [*self._evaluation, *self._met, Part(speed(line), 5), Part(times, 6)]


def outcome(summary: dict[str, Any]) -> str:
    """The last evaluation, and when thresholds were met."""
    said = reward_outcome(summary)
    if "self_play" not in summary:
        return said
    for player in ("always_cooperate", "always_defect"):
        said += f", against {player.replace('_', '-')} {_against(summary[f'vs_{player}'])}"
    met = ", ".join(
        f"{name} {_met(seconds, summary['seconds_to_threshold_for_good'][name])}"
        for name, seconds in summary.get("seconds_to_threshold", {}).items()
    )
    return f"{said}\nthresholds: {met}" if met else said


def _against(rewards: Sequence[float]) -> str:
    """The agent's, and those of the player or players that it meets."""
    agent, *others = rewards
    return f"{agent:+.3f} ({'it' if len(others) == 1 else 'each of them'}: {mean(others):+.3f})"


def _met(first: float | None, since: float | None) -> str:
    """When a threshold was met, and from when on it holds."""
    if first is None:
        return "not reached"
    if since is None:
        return f"{first:.0f} s, lost again"
    return f"{first:.0f} s" if since == first else f"{first:.0f} s, for good {since:.0f} s"
