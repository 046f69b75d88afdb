"""The recorded Coin Game numbers: small copies in the repository, or the full files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

BOARDS = ("3x3", "4x4", "5x5", "7x7", "3x4")


def load(name: str) -> dict[str, np.ndarray]:
    """A recorded file by its name; the full one where LOQA_GOLDEN_DIR is set."""
    full = os.environ.get("LOQA_GOLDEN_DIR")
    path = Path(__file__).parents[1] / "golden" / name
    if full:
        path = Path(full) / name.replace("coin_episode", "episode")
    with np.load(path, allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


def board_of(name: str) -> dict[str, int]:
    height, width = name.split("x")
    return {"height": int(height), "width": int(width)}


def chi_square_p(counts: np.ndarray, expected: np.ndarray) -> float:
    """Upper tail of Pearson's statistic by the Wilson-Hilferty approximation (good to 1e-3 here)."""
    counts, expected = np.ravel(counts).astype(float), np.ravel(expected).astype(float)
    counts, expected = counts[expected > 0], expected[expected > 0]
    freedom = counts.size - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    spread = 2 / (9 * freedom)
    z = ((statistic / freedom) ** (1 / 3) - (1 - spread)) / spread**0.5
    return float(0.5 * np.exp(-0.717 * z - 0.416 * z * z)) if z > 0 else 1.0
