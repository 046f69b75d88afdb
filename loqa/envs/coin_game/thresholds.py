"""The thresholds of the scalability figure, on a score that is comparable across boards.

Source: Aghajohari et al. 2024, the figure of wall-clock time against grid size.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# name -> (score in self-play, the agent's score against always-defect), the weakest first
THRESHOLDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"weak": (0.05, -1.2), "medium": (0.1, -0.5), "strong": (0.2, -0.2)}
)


def score(reward: float, height: int, width: int) -> float:
    """Reward per step times the longest way on the board.

        score = reward * (floor(height / 2) + floor(width / 2))

    On a torus no two cells are further apart; on a square board the factor is the published
    2 * floor(size / 2).

    Args:
        reward: mean reward per step of one player.
        height, width: of the board, in cells.
    """
    return reward * (height // 2 + width // 2)


def reached(self_play: float, vs_always_defect: float, height: int, width: int) -> tuple[str, ...]:
    """Names of the thresholds that an agent meets, the weakest first.

    A threshold is met where both scores are at least its two values.

    Args:
        self_play: reward per step of the agent against itself, mean of both players.
        vs_always_defect: reward per step of the agent against always-defect.
        height, width: of the board, in cells.
    """
    own = score(self_play, height, width)
    against = score(vs_always_defect, height, width)
    return tuple(
        name for name, (least, worst) in THRESHOLDS.items() if own >= least and against >= worst
    )
