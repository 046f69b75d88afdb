"""What an environment is: the protocol that training and evaluation ask for, and its rules as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from loqa import _checks


@dataclass(frozen=True)
class EnvSpec:
    """Everything that defines an environment's rules and observations.

    Two environments of the package with equal specs, seeds and `first_env` give equal numbers.
    """

    name: str
    """Of the game; given to `loqa.make`."""
    num_players: int
    """A."""
    num_actions: int
    """K; 0 where actions are numbers of a box."""
    obs_shape: tuple[int, ...]
    """Shape of one player's observation."""
    obs_dtype: torch.dtype = torch.float32
    episode_length: int = 50
    """T; steps after which an episode is truncated."""
    discount: float = 0.96
    """Discount the literature uses with these rules; the environment itself discounts nothing."""
    obs: str = "features"
    """Observation mode."""
    preset: str = "own"
    """Rule preset: which paper's or code's rules these are."""
    version: int = 1
    """Version of the preset; any change of a rule raises it."""
    source: str = ""
    """Where the rules come from."""
    action_box: tuple[float, float] | None = None
    """The lowest and the highest number of an action, which is D floats, `[B, A, D]` for all; None where
    actions are 0..K-1."""
    action_size: int = 1
    """D, numbers in an action of a box."""


@dataclass(frozen=True)
class Preset:
    """Rules as somebody published them; each game's presets say more."""

    name: str
    version: int
    """Any change of a rule raises it."""
    source: str
    episode_length: int = field(default=50, kw_only=True)
    discount: float = field(default=0.96, kw_only=True)

    def spec(self, game: str, episode_length: int | None, **shown: Any) -> EnvSpec:
        """Of an environment by these rules; `shown` are the other fields."""
        length = self.episode_length if episode_length is None else episode_length
        return EnvSpec(
            name=game,
            preset=self.name,
            version=self.version,
            source=self.source,
            episode_length=_checks.integer("episode_length", length, 1, 2**31 - 1),
            discount=self.discount,
            **shown,
        )


class Env(Protocol):
    """B copies of a game of A players that step together; whatever has this can be trained on.

    `step` may return the same memory every time. An environment resets nothing by itself before
    `spec.episode_length` steps, or starts an episode anew in the step that ends one (`terminated`, or
    `truncated` where it has `final_obs`): the observation is then the first of the next episode.

    Optional: `rollout_policies(seats, draws, seed, exploration)` plays whole episodes natively (see
    `loqa.training.collect`); `state_dict`, `load_state_dict` for runs that are resumed;
    `scripted_actions(names)` for scripted players; `final_obs`, `[B, A, *obs_shape]`, after a step in
    which episodes were truncated what their players saw last: what would have come after is worth the
    value of that.
    """

    @property
    def spec(self) -> EnvSpec: ...
    @property
    def num_envs(self) -> int: ...
    @property
    def device(self) -> torch.device: ...

    def reset(self, seed: int | None = None) -> Tensor:
        """Starts new episodes; observations `[B, A, *obs_shape]`."""

    def step(self, actions: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Observations `[B, A, *obs_shape]`, rewards `[B, A]`, terminated and truncated `[B]` after
        actions `[B, A]`, or `[B, A, D]` of a box, inside it."""


class PlayedEpisodes(NamedTuple):
    """B whole episodes of T steps, played natively."""

    obs: Tensor
    """`[T+1, B, A, ...]`."""
    actions: Tensor
    """`[T, B, A]`."""
    rewards: Tensor
    """`[T, B, A]`."""
    tables: tuple[tuple[Tensor, Tensor] | None, ...]
    """Of each seat the log-probabilities and action values `[T+1, B, K]`, where they were recorded."""
