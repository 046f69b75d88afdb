"""Make the small copies of the recorded Coin Game numbers from the full files in LOQA_GOLDEN_DIR.

Of the transitions the first 40 of each kind are kept, of the episodes four; observations as bytes.
`episode_stats_3x3.npz` is kept whole.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
BOARDS = ("3x3", "4x4", "5x5", "7x7", "3x4")
PER_KIND = 40
EPISODES = 4


def cut(data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    count = len(data["kind"])
    rows = np.concatenate([np.flatnonzero(data["kind"] == k)[:PER_KIND] for k in range(5)])
    small = {}
    for key, array in data.items():
        if array.dtype.kind == "U":
            continue
        if "obs" in key:
            array = array.astype(np.uint8)
        if key.startswith("traj_"):
            array = array[:EPISODES]
        elif array.ndim and array.shape[0] == count:
            array = array[rows]
        small[key] = array
    return small


def main() -> None:
    source = Path(os.environ["LOQA_GOLDEN_DIR"])
    for board in BOARDS:
        with np.load(source / f"coin_env_{board}.npz", allow_pickle=False) as data:
            np.savez_compressed(HERE / f"coin_env_{board}.npz", **cut(dict(data)))
    with np.load(source / "episode_stats_3x3.npz", allow_pickle=False) as data:
        np.savez_compressed(HERE / "coin_episode_stats_3x3.npz", **data)


if __name__ == "__main__":
    main()
