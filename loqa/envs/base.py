"""What an environment is, as data."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class EnvSpec:
    """Everything that defines an environment's rules and observations.

    Two environments with equal specs, seeds and `first_env` give equal numbers.
    """

    game: str
    """Name given to `loqa.make`."""
    preset: str
    """Rule preset: which paper's or code's rules these are."""
    version: int
    """Version of the preset; any change of a rule raises it."""
    source: str
    """Where the rules come from."""
    num_players: int
    num_actions: int
    obs: str
    """Observation mode."""
    obs_shape: tuple[int, ...]
    """Shape of one player's observation."""
    obs_dtype: torch.dtype
    episode_length: int
    """Steps after which an episode is truncated."""
    discount: float
    """Discount the literature uses with this preset; the environment itself discounts nothing."""
