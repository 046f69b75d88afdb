"""Ids of Gymnasium's registry for the games; imports Gymnasium, but not what it registers."""

from __future__ import annotations

import gymnasium

# Name in the registry, and name of `loqa.make`.
IDS = {
    "CoinGame": "coin_game",
    "IPD": "ipd",
    "MatchingPennies": "matching-pennies",
    "Chicken": "chicken",
    "StagHunt": "stag-hunt",
    "MatrixGame": "matrix-game",
}


def register_ids() -> None:
    """`loqa/CoinGame-v0` and its like, and `loqa/coin_game`, for `gymnasium.make_vec`."""
    for name, game in IDS.items():
        for identity in (f"loqa/{name}-v0", f"loqa/{game}"):
            if identity not in gymnasium.registry:
                gymnasium.register(
                    identity,
                    vector_entry_point="loqa.envs.gymnasium:VectorEnv",
                    kwargs={"game": game},
                )
