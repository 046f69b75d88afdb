"""The record of a user's own environment."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from math import prod
from typing import Annotated, Any

import torch

from loqa import _checks
from loqa._checks import Count, Range, Share
from loqa.envs.adapters.own import CheckedEnv, EnvError, check_box
from loqa.envs.adapters.parallel import from_parallel_env, is_parallel_env
from loqa.envs.base import Env, EnvSpec
from loqa.games.base import SHAPED, Game, Inputs, Making
from loqa.games.registry import register

MakeEnv = Callable[..., Any]
"""make_env(num_envs, seed, device) -> Env, or make_env() -> PettingZoo ParallelEnv."""
_GIVEN: ContextVar[MakeEnv | None] = ContextVar("make_env", default=None)
_WANTED = (
    "env must be make_env(num_envs, seed, device) -> Env, or make_env() -> PettingZoo ParallelEnv"
)


@dataclass(frozen=True)
class OwnSettings:
    """An environment of one's own: how it is made, and what an agent needs to know of it.

    Attributes:
        make: "package.module:function" that makes it; "" if it cannot be imported again, then whoever
            goes on with the run gives it.
        num_players: A.
        num_actions: K; 0 where actions are numbers of a box.
        action_box: its lowest and its highest number; None where there are K actions.
        action_size: numbers in an action of a box.
        obs_shape: shape of one player's observation.
        obs_dtype: its dtype.
        episode_length: T, steps in an episode.
        discount: of the environment's spec; `gamma` is this by default.
    """

    make: str = ""
    num_players: Annotated[int, Range(1, 64)] = 2
    num_actions: int = 2
    action_box: tuple[float, ...] | None = None
    action_size: Annotated[int, Range(1, 2**16)] = 1
    obs_shape: tuple[int, ...] = (1,)
    obs_dtype: str = "float32"
    episode_length: Count = 50
    discount: Share = 0.96

    def __post_init__(self) -> None:
        _checks.check_fields(self)
        least, most = (2, 256) if self.action_box is None else (0, 0)
        _checks.integer("num_actions", self.num_actions, least, most)
        if self.action_box is not None:
            check_box("action_box", self.action_box)
        for size in self.obs_shape:
            _checks.integer("obs_shape", size, 1, 2**31 - 1)
        if not isinstance(getattr(torch, self.obs_dtype, None), torch.dtype):
            raise ValueError(f"obs_dtype must be the name of a torch dtype, got {self.obs_dtype!r}")


@contextmanager
def made_by(make: MakeEnv | str | None) -> Iterator[None]:
    """Inside, environments are made by this function, and not by the one that the settings name."""
    token = _GIVEN.set(imported(make) if isinstance(make, str) else make)
    try:
        yield
    finally:
        _GIVEN.reset(token)


def imported(name: str) -> MakeEnv:
    """The function "package.module:function"; ValueError where there is none."""
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise ValueError(f"an environment is named package.module:function, got {name!r}")
    if find_spec(module.partition(".")[0]) is None:
        sys.path.append(os.getcwd())  # a command's path has not the folder that it is run in
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # it is the module itself that lacks something
        raise ValueError(f"{name}: there is no module {error.name!r}") from error
    for part in function.split("."):
        if not hasattr(found, part):
            public = [one for one in vars(found) if not one.startswith("_")]
            hint = _checks.nearest(part, public)
            raise ValueError(f"{name}: {module} has no {function!r}{hint}")
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"{name} must be a function, got {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def name_of(make: MakeEnv) -> str:
    """ "package.module:function", or "" if that does not lead to it in another process."""
    module, name = getattr(make, "__module__", None), getattr(make, "__qualname__", "")
    if not module or module == "__main__" or "<" in name:
        return ""
    try:
        return f"{module}:{name}" if imported(f"{module}:{name}") is make else ""
    except (ValueError, ImportError):
        return ""


def build(make: MakeEnv, making: Making, episode_length: int | None = None) -> CheckedEnv:
    """The environment that a user's function makes, checked; TypeError or EnvError where it makes none."""
    call = _maker(make)
    if call is not None:
        made = call(making)
        if is_parallel_env(made):
            raise EnvError(
                f"make_env with parameters gives B copies, got one ParallelEnv; {_WANTED}"
            )
        env = CheckedEnv(made, making.device, episode_length, making.first_env)
    else:
        made = from_parallel_env(make, making.num_envs, making.seed, episode_length)
        env = CheckedEnv(made, making.device, None, making.first_env)
    if env.num_envs != making.num_envs:
        raise EnvError(f"make_env({making.num_envs}, ...) must give {making.num_envs} copies, "
                       f"got num_envs {env.num_envs}")  # fmt: skip
    return env


def settings_of(spec: EnvSpec, make: str) -> dict[str, Any]:
    """Fields of `OwnSettings`."""
    dtype = str(spec.obs_dtype).removeprefix("torch.")
    known = {**vars(spec), "make": make, "obs_dtype": dtype}
    return {name: known[name] for name in vars(OwnSettings())}


def _maker(make: MakeEnv) -> Callable[[Making], Any] | None:
    """Calls make_env(num_envs, seed, device); None where it is make_env()."""
    if not callable(make):
        raise TypeError(f"{_WANTED}, got {type(make).__name__}")
    parameters = inspect.signature(make).parameters
    if parameters.keys() >= {"num_envs", "seed", "device"}:
        return lambda how: make(num_envs=how.num_envs, seed=how.seed, device=how.device)
    required = [
        one
        for one in parameters.values()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if required and (len(required) != 3 or any(one.kind is one.KEYWORD_ONLY for one in required)):
        raise TypeError(f"{_WANTED}, got parameters ({', '.join(parameters)})")
    return (lambda how: make(how.num_envs, how.seed, how.device)) if required else None


def _make_env(settings: OwnSettings, making: Making) -> Env:
    make = _GIVEN.get()
    if make is None:
        if not settings.make:
            raise ValueError(
                "this run's environment cannot be imported again: give it, as in "
                "loqa.resume(out, env=make_env)"
            )
        make = imported(settings.make)
    env = build(make, making, settings.episode_length)
    now = settings_of(env.spec, settings.make)
    differing = [
        f"{name} {now[name]} (the run's: {getattr(settings, name)})"
        for name in now
        if name != "discount" and now[name] != getattr(settings, name)
    ]
    if differing:
        raise EnvError(f"the environment is not that of the run: {', '.join(differing)}")
    return env


def _inputs(settings: OwnSettings) -> Inputs:
    shape = settings.obs_shape
    box: Any = settings.action_box  # two numbers, or None
    return Inputs(
        "features", prod(shape), settings.num_actions, shape, "", box, settings.action_size
    )


OWN = register(
    Game(
        name="own",
        env_name="own",
        settings=OwnSettings,
        make_env=_make_env,
        inputs=_inputs,
        summary=lambda run: {"self_play": run.self_play()},
        defaults={
            "iterations": 300,
            "actor": "mlp",
            "actor_hidden": 32,
            "critic_hidden": 32,
            "actor_lr": 5e-3,
            "critic_lr": 1e-2,
            "clip_norm": 1.0,
            **SHAPED,
            "critic_target": "lambda",
            "critic_warmup": 20,
            "exploration": 0.2,
            "played_policy": True,
            "evaluate_every": 10,
        },
    )
)
