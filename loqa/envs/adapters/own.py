"""The door for environments of a user's own: what comes through it is checked, and is torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loqa.envs.base import EnvSpec
from loqa.runtime.random import stream_seed
from loqa.storage.reading import out_of_memory

_NEEDS = ("spec", "num_envs", "device", "reset", "step")
_KINDS = "floats, integers or bool"


class EnvError(ValueError):
    """A user's environment did not do what `loqa.envs.base.Env` asks for: what was expected, what came."""


class CheckedEnv:
    """An environment of a user's own, in torch or NumPy, as training wants it.

    Whatever it returns is checked in every step: four results, shapes `[B, A, *obs_shape]`, `[B, A]`,
    `[B]`, `[B]`, dtypes, finite numbers. An environment that returns NumPy arrays from `reset` is given
    NumPy actions, any other one tensors; int64 `[B, A]`, or float32 `[B, A, D]` inside the box, a copy.

    Observations must have `spec.obs_dtype`; NumPy's float64 is taken for float32, since it is what NumPy
    makes of everything. Rewards are floats or integers and become float32. Flags are bool.

    `terminated` in the middle: the environment began a new episode in that step, and the observation is
    its first. `truncated` in the middle: the same, and the environment's `final_obs` holds the last
    observation of the episode that was cut; without it that is refused: what would have come after is
    worth something, and nothing is seen of it. In the last step `final_obs` is read where there is one;
    else the observation is taken for the last one of its episode.

    Attributes:
        final_obs: `[B, A, *obs_shape]` after a step in which something was cut, if the environment says
            it; rows of other copies mean nothing. Else None.

    Args:
        env: anything with `spec`, `num_envs`, `device`, `reset(seed)` and `step(actions)`.
        device: that tensors are put on; the environment's by default.
        episode_length: T, if the trainer is to begin anew before `spec.episode_length` steps.
        first_env: number of the first copy in the batch: other numbers draw other episodes.

    Raises:
        EnvError: it is no environment, or its spec is none.
    """

    recordable = False
    """Whether a GPU may record steps as a graph: Python code in between would be left out."""

    def __init__(
        self,
        env: Any,
        device: torch.device | str | None = None,
        episode_length: int | None = None,
        first_env: int = 0,
    ) -> None:
        self.name = type(env).__name__
        lacking = [name for name in _NEEDS if not hasattr(env, name)]
        if lacking:
            raise EnvError(
                f"an environment has {', '.join(_NEEDS)}; {self.name} has no {', '.join(lacking)}"
            )
        self.own = env
        self.spec = _checked_spec(self.name, env.spec)
        steps = self.spec.episode_length
        if episode_length is not None and episode_length != steps:
            if not 1 <= episode_length <= steps:
                raise EnvError(
                    f"episode_length must be in 1..{steps}, which is the spec's of {self.name}, "
                    f"got {episode_length}"
                )
            self.spec = dataclasses.replace(self.spec, episode_length=episode_length)
        count = env.num_envs
        if type(count) is not int or count < 1:
            raise EnvError(f"num_envs of {self.name} must be an integer >= 1, got {count!r}")
        self.num_envs = count
        self.device = torch.device(env.device if device is None else device)
        self._first_env = first_env
        self._numpy = False
        self._t = 0
        self.final_obs: Tensor | None = None
        for name in ("state_dict", "load_state_dict"):
            if all(hasattr(env, one) for one in ("state_dict", "load_state_dict")):
                setattr(self, name, getattr(env, name))

    def reset(self, seed: int | None = None) -> Tensor:
        """New episodes; observations `[B, A, *obs_shape]`. Other copies of a batch get another seed."""
        if seed is not None and self._first_env:
            seed = stream_seed(seed, "copies of an environment", self._first_env)
        self._t, self.final_obs = 0, None
        obs = self._called("reset", self.own.reset, seed)
        self._numpy = isinstance(obs, np.ndarray)
        return self._observations(obs)

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Observations, rewards `[B, A]` float32, terminated and truncated `[B]` bool."""
        self._t += 1
        kind = torch.int64 if self.spec.action_box is None else torch.float32
        given: Any = torch.as_tensor(actions).to(kind, copy=True)
        given = given.cpu().numpy() if self._numpy else given.to(self.own.device)
        results = self._called("step", self.own.step, given)
        if not isinstance(results, tuple | list) or len(results) != 4:
            count = f" of {len(results)}" if isinstance(results, tuple | list) else ""
            raise self._error(
                "four results, (observations, rewards, terminated, truncated)",
                f"{type(results).__name__}{count}",
            )
        rewards = self._tensor("rewards", results[1], (self.num_envs, self.spec.num_players))
        if rewards.dtype == torch.bool:
            raise self._error("rewards of floats or integers", "bool")
        terminated = self._flags("terminated", results[2])
        truncated = self._flags("truncated", results[3])
        cut = truncated & ~terminated
        self.final_obs = None
        if cut.any():
            final = getattr(self.own, "final_obs", None)
            if final is None and self._t < self.spec.episode_length:
                raise self._error(
                    f"truncated only in the last step of spec.episode_length "
                    f"{self.spec.episode_length}, or the attribute final_obs",
                    f"it in copy {int(cut.int().argmax())}: give episode_length={self._t} if episodes "
                    f"are so long, return terminated if nothing comes after, or keep the last "
                    f"observations of what was cut in final_obs",
                )
            if final is not None:
                self.final_obs = self._observations(final, "final_obs", cut)
        return (
            self._observations(results[0]),
            self._finite("rewards", rewards.to(torch.float32)),
            terminated,
            truncated,
        )

    def scripted_actions(self, names: Sequence[str | None]) -> Tensor:
        """Actions `[B, A]` (or `[B, A, D]`) of the environment's own scripted players, by name.

        Raises:
            EnvError: it has none.
        """
        script: Callable[..., Any] | None = getattr(self.own, "scripted_actions", None)
        if script is None:
            wanted = ", ".join(name for name in names if name)
            raise EnvError(f"{self.name} has no scripted_actions: nobody plays {wanted}")
        actions = self._called("scripted_actions", script, names)
        each = () if self.spec.action_box is None else (self.spec.action_size,)
        return self._tensor("actions", actions, (self.num_envs, self.spec.num_players, *each))

    def _called(self, what: str, function: Callable[..., Any], argument: Any) -> Any:
        try:
            return function(argument)
        except EnvError as error:  # of an adapter
            raise EnvError(f"{self._where(what)}: {error}") from error
        except Exception as error:
            if out_of_memory(error):
                raise
            raise EnvError(f"{self._where(what)} raised {type(error).__name__}: {error}") from error

    def _observations(
        self, obs: Any, name: str = "observations", rows: Tensor | None = None
    ) -> Tensor:
        """Checked; of `rows` alone if they are given, `[B]` bool."""
        spec = self.spec
        shape = (self.num_envs, spec.num_players, *spec.obs_shape)
        seen = self._tensor(name, obs, shape)
        if isinstance(obs, np.ndarray) and spec.obs_dtype == torch.float32:
            seen = seen.float() if seen.dtype == torch.float64 else seen
        if seen.dtype != spec.obs_dtype:
            raise self._error(
                f"{name} of {_short(spec.obs_dtype)}, the spec's obs_dtype", _short(seen.dtype)
            )
        self._finite(name, seen if rows is None else seen[rows])
        return seen

    def _flags(self, name: str, value: Any) -> Tensor:
        flags = self._tensor(name, value, (self.num_envs,))
        if flags.dtype != torch.bool:
            raise self._error(f"{name} of bool", _short(flags.dtype))
        return flags

    def _tensor(self, name: str, value: Any, shape: tuple[int, ...]) -> Tensor:
        """As a tensor of our device and of that shape, of any real dtype."""
        came = type(value).__name__
        if isinstance(value, np.ndarray):
            came = f"NumPy {list(value.shape)} {value.dtype}"
            if value.dtype.kind in "fiub":
                # Tensors must be of the machine's byte order, writable, and not run backwards.
                native = value.dtype.newbyteorder("=")
                value = torch.from_numpy(np.array(value, dtype=native, order="C"))
        if not isinstance(value, Tensor) or value.is_complex():
            raise self._error(f"{name} as a tensor or array of {_KINDS}", came)
        if value.shape != shape:
            raise self._error(f"{name} {list(shape)}", f"{list(value.shape)}")
        return value.detach().to(self.device)

    def _finite(self, name: str, value: Tensor) -> Tensor:
        if value.is_floating_point() and not bool(value.isfinite().all()):
            place = (~value.isfinite()).nonzero()[0].tolist()
            raise self._error(f"finite {name}", f"{value[tuple(place)].item()} at {place}")
        return value

    def _where(self, what: str) -> str:
        return f"{self.name}.{what}" + (f" (step {self._t})" if self._t else "")

    def _error(self, expected: str, got: str) -> EnvError:
        what = "step" if self._t else "reset"
        return EnvError(f"{self._where(what)}: expected {expected}, got {got}")


def _checked_spec(name: str, spec: Any) -> EnvSpec:
    if not isinstance(spec, EnvSpec):
        raise EnvError(f"spec of {name} must be a loqa.EnvSpec, got {type(spec).__name__}")
    # Actions are kept in a byte.
    limits = {"num_players": (1, 64), "num_actions": (2, 256), "episode_length": (1, 2**31 - 1)}
    if spec.action_box is not None:
        check_box(f"action_box in the spec of {name}", spec.action_box)
        limits |= {"num_actions": (0, 0), "action_size": (1, 2**16)}
    for field, (low, high) in limits.items():
        value = getattr(spec, field)
        if type(value) is not int or not low <= value <= high:
            raise EnvError(
                f"{field} in the spec of {name} must be an integer in [{low}, {high}], got {value!r}"
            )
    shape = spec.obs_shape
    if not isinstance(shape, tuple) or any(type(size) is not int or size < 1 for size in shape):
        raise EnvError(f"obs_shape in the spec of {name} must be a tuple of sizes, got {shape!r}")
    if not isinstance(spec.obs_dtype, torch.dtype) or spec.obs_dtype.is_complex:
        raise EnvError(
            f"obs_dtype in the spec of {name} must be a torch dtype of {_KINDS}, "
            f"got {spec.obs_dtype!r}"
        )
    if not 0 <= spec.discount <= 1:
        raise EnvError(f"discount in the spec of {name} must be in [0, 1], got {spec.discount!r}")
    return spec


def check_box(name: str, box: Any) -> None:
    """Raises EnvError unless it is two finite numbers, the lower first."""
    try:
        low, high = (float(number) for number in box)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise EnvError(f"{name} must be two finite numbers, the lower first, got {box!r}")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
