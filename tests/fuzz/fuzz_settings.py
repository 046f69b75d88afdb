"""Settings of environments, legal ones at random and such as must be refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from fuzz_values import pick
from numpy.random import Generator

from loqa.envs.coin_game.presets import COIN_PRESETS
from loqa.envs.matrix_game.presets import MATRIX_PRESETS
from loqa.envs.public_goods.presets import PUBLIC_GOODS_PRESETS

# Values that a setting must not take; torch's own allocation of what is merely large is not asked for.
BAD_SETTINGS: dict[str, tuple[Any, ...]] = {
    "num_envs": (0, -1, 2**31, 2**64, 1.0, "3", True, None, float("nan"), [3]),
    "seed": (-1, 2**64, 0.5, "0", True, float("inf")),
    "first_env": (-1, 2**32, 1.5, None),
    "episode_length": (0, -1, 2**31, 2.0, "9"),
    "num_threads": (0, -1, 1025, 1.0, "all"),
    "device": ("meta", "tpu", "cuda", torch.device("meta"), None, 3.5),
    "obs": ("plane", "", 3, [], None),
    "obs_dtype": (torch.complex64, torch.bool, "float32", np.float32, 3),
    "autoreset": (True, "never", 1, None, []),
    "preset": ("loqa25", "", 3, []),
    "height": (0, -1, 256, 3.0, "3"),
    "width": (0, 2**40, None),
    "num_players": (0, 1, 9, 2.0),
    "egocentric": (1, "yes", None),
    "payoff": ((1, 2, 3), "CCDD", (float("nan"),) * 4, np.zeros((2, 3, 4)), (), [[1, 2], [3]], {}),
    "noise": (-0.1, 1.5, float("nan"), "0.1", True, [0.1]),
    "end_probability": (-0.1, float("inf"), None, "never"),
    "contribution_factor": (float("nan"), "2"),
    "heigth": (3,),
    "_native": (None,),
}  # fmt: skip


def env_settings(rng: Generator) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Game, settings that decide numbers, and the others."""
    numbers: dict[str, Any] = {
        "num_envs": int(pick(rng, (1, 1, 2, 3, 5, 17, 33, 65))),
        "seed": int(pick(rng, (0, 1, 2**63, 2**64 - 1, int(rng.integers(2**40))))),
        "first_env": int(pick(rng, (0, 0, 7, 2**32 - 1 - 65))),
        "episode_length": int(pick(rng, (1, 2, 3, 50))),
    }
    others: dict[str, Any] = {"num_threads": int(rng.integers(1, 4))}
    if rng.random() < 0.3:
        others["autoreset"] = pick(rng, ("next_step", "same_step"))
    kind = rng.random()
    if kind < 0.2:
        numbers |= {
            "num_players": int(rng.integers(2, 9)),
            "num_levels": int(rng.integers(2, 6)),
        }
        numbers |= {"obs": pick(rng, ("index", "count", "joint"))}
        return pick(rng, PUBLIC_GOODS_PRESETS), numbers, others
    if kind < 0.6:
        preset = pick(rng, COIN_PRESETS)
        height, width = int(rng.integers(1, 6)), int(rng.integers(3, 6))
        most = min(COIN_PRESETS[preset].max_players, height * width - 1)
        numbers |= {"preset": preset, "height": height, "width": width}
        numbers |= {"num_players": int(rng.integers(2, most + 1))}
        numbers |= {"obs": pick(rng, ("planes", "cells"))}
        numbers |= {"egocentric": bool(rng.integers(2))}
        if preset == "pax23":
            numbers |= {"zero_last_reward": bool(rng.integers(2))}
        kinds = {
            "planes": (torch.float32, torch.float16, torch.bfloat16),
            "cells": (torch.int32, torch.int64),
        }[numbers["obs"]]
        others["obs_dtype"] = pick(rng, (None, *kinds))
        return "coin_game", numbers, others
    game = pick(rng, MATRIX_PRESETS)
    numbers |= {"preset": pick(rng, MATRIX_PRESETS[game])}
    if rng.random() < 0.4 or game == "matrix-game":
        actions = int(rng.integers(2, 6))
        numbers["payoff"] = rng.integers(-9, 9, (2, actions, actions)).astype(float)
    numbers["obs"] = pick(rng, ("bits", "index", "onehot", "actions"))
    numbers["noise"] = float(pick(rng, (0, 0, 0.25)))
    numbers["end_probability"] = float(pick(rng, (0, 0, 0.3)))
    if numbers["obs"] == "index":
        others["obs_dtype"] = pick(rng, (None, torch.int8, torch.int64))
    return game, numbers, others
