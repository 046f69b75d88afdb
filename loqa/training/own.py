"""Runs on an environment of a user's own."""

from __future__ import annotations

from typing import Any

import torch

from loqa import _checks
from loqa.games.base import Making
from loqa.games.own import MakeEnv, OwnSettings, build, imported, name_of, settings_of
from loqa.training.config import TrainConfig, config_class


def own_config(make: MakeEnv | str, preset: str = "default", **fields: Any) -> TrainConfig:
    """The configuration of a run on an environment of one's own.

    One copy of the environment is made, to see its spec.

    Args:
        make: make_env(num_envs, seed, device) -> Env, make_env() -> PettingZoo ParallelEnv; or
            "package.module:function".
        preset: of the game "own".
        fields: of the run, as those of any game; `episode_length` may shorten the environment's; `gamma` is
            the spec's discount by default.

    Raises:
        TypeError, ValueError: it is no such function; what it makes is no environment, or a bad field.
    """
    for name in vars(OwnSettings()):
        if name in fields and name != "episode_length":
            raise ValueError(f"{name} is the environment's, it cannot be given")
    length = fields.pop("episode_length", None)
    if length is not None:
        length = _checks.integer("episode_length", length, 1, 2**31 - 1)
    name, function = (make, imported(make)) if isinstance(make, str) else (name_of(make), make)
    making = Making(1, device=torch.device(fields.get("device", "cpu")))
    spec = build(function, making, length).spec
    known = {"gamma": spec.discount, **fields, **settings_of(spec, name)}
    return config_class("own").of_preset(preset, **known)
