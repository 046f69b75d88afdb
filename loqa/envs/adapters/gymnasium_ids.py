"""Ids of Gymnasium's registry for the games; imports Gymnasium, but not what it registers."""

from __future__ import annotations

import gymnasium

from loqa.envs.registry import names


def register_ids() -> None:
    """`loqa/CoinGame-v0` and its like, and `loqa/coin_game`, for `gymnasium.make_vec`."""
    for game in names():
        parts = game.split("-")  # a short one is an abbreviation
        name = "".join(part.upper() if len(part) < 4 else part.capitalize() for part in parts)
        for identity in (f"loqa/{name}-v0", f"loqa/{game}", f"loqa/{game.replace('-', '_')}"):
            if identity not in gymnasium.registry:
                gymnasium.register(
                    identity,
                    vector_entry_point="loqa.envs.gymnasium:VectorEnv",
                    kwargs={"game": game},
                )
