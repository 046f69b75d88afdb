"""Everything that decides what an environment does next, taken out of it and put back."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from loqa import _checks
from loqa.envs.actions import array_of, described

if TYPE_CHECKING:
    from loqa.envs.native import VectorEnv


MAX_T = 2**31 - 1
"""Steps that an episode may have."""


def set_state(env: VectorEnv, state: dict[str, Any]) -> None:
    """See `VectorEnv.set_state`: all is checked before anything changes."""
    current = env._state()
    if state.keys() != current.keys():
        wanted, came = ", ".join(sorted(current)), ", ".join(sorted(state))
        raise ValueError(f"set_state needs exactly {wanted}, got {came or 'nothing'}")
    new = {name: numbers(name, value, current[name]) for name, value in state.items()}
    if bool((new["t"] < 0).any()) or bool((new["t"] > MAX_T).any()):
        raise ValueError("t must be in 0..2**31-1")
    env._check_state(new)
    for name, tensor in new.items():
        current[name].copy_(tensor)
    env._terminated.zero_()
    env._truncated.copy_(env._t >= env.episode_length)
    env._over.copy_(env._truncated)
    env._fresh = False
    env._native.observe()


def state_dict(env: VectorEnv) -> dict[str, Any]:
    """See `VectorEnv.state_dict`. Episodes are numbered modulo 2**32."""
    spec = env.spec
    terminated = env._terminated.to("cpu", copy=True)
    if env.autoreset == "next_step" and not env.on_device:
        # What `step` returned may have been written to: what counts is whose episode is over.
        terminated = env._over & (terminated | (env._t < env.episode_length))
    return {
        "spec": f"{spec.name}/{spec.preset}-v{spec.version} obs={spec.obs} {list(spec.obs_shape)}",
        "rules": env._rules(),
        "seed": env.seed,
        "first_env": env.first_env,
        "fresh": env._fresh,
        "episode": env._episode.to("cpu", torch.int64) & (2**32 - 1),
        "terminated": terminated,
        "state": {name: value.cpu() for name, value in env.get_state().items()},
    }


def load_state_dict(env: VectorEnv, state: Any) -> None:
    """See `VectorEnv.load_state_dict`: all is checked before anything changes."""
    expected = env.state_dict()
    if not isinstance(state, dict) or state.keys() != expected.keys():
        came = sorted(state) if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"state_dict must have the keys {sorted(expected)}, got {came}")
    if state["spec"] != expected["spec"]:
        raise ValueError(
            f"state_dict is of {state['spec']}, this environment is {expected['spec']}"
        )
    _check_rules(state["rules"], expected["rules"])
    first_env = _checks.integer("first_env", state["first_env"], 0, 2**32 - 1 - env.num_envs)
    if first_env != env.first_env:
        raise ValueError(f"state_dict has first_env {first_env}, this environment {env.first_env}")
    seed = _checks.integer("seed", state["seed"], 0, 2**64 - 1)
    episode = numbers("episode", state["episode"], env._episode)
    if bool(((episode < 0) | (episode >= 2**32)).any()):
        raise ValueError("episode must be in 0..2**32-1")
    terminated = numbers("terminated", state["terminated"], env._terminated)
    if bool(((terminated != 0) & (terminated != 1)).any()):
        raise ValueError("terminated must be bool")
    if not isinstance(state["state"], dict):
        raise ValueError(f"state must be a dict, got {type(state['state']).__name__}")
    env.set_state(**state["state"])
    env._set_seed(seed)
    env._episode.copy_(torch.where(episode < 2**31, episode, episode - 2**32))
    env._terminated.copy_(terminated)
    env._over |= env._terminated
    env._fresh = bool(state["fresh"])


def _check_rules(theirs: Any, mine: dict[str, Any]) -> None:
    if not isinstance(theirs, dict):
        raise ValueError(f"rules must be a dict, got {type(theirs).__name__}")
    differing = [name for name in mine if theirs.get(name) != mine[name]]
    if differing:
        of, here = (
            ", ".join(f"{name} {reprlib.repr(rules.get(name))}" for name in differing)
            for rules in (theirs, mine)
        )
        raise ValueError(f"state_dict is of {of}, this environment is of {here}")


def numbers(name: str, value: Any, like: Tensor) -> Tensor:
    """A part of a state in the shape of `like`, on the CPU: float32 where `like` is of floats, else int64.

    Raises:
        ValueError: another shape, or no such numbers.
        TypeError: no array.
    """
    floats = like.is_floating_point()
    kinds, wanted = ("fbiu", "floats") if floats else ("biu", "an integer type")
    wanted = f"{name} must be {list(like.shape)} of {wanted}"
    on_cpu = value.cpu() if isinstance(value, Tensor) and value.is_cuda else value
    array = array_of(on_cpu, wanted)
    if array.shape != tuple(like.shape) or array.dtype.kind not in kinds:
        raise ValueError(f"{wanted}, got {described(value, array)}")
    if array.dtype.kind == "u":  # what int64 cannot hold is out of every range
        array = np.minimum(array, array.dtype.type(min(2**63 - 1, np.iinfo(array.dtype).max)))
    return torch.from_numpy(array.astype(np.float32 if floats else np.int64))


def made_again(
    cls: type[VectorEnv],
    args: tuple[Any, ...],
    settings: dict[str, Any],
    state: dict[str, Any],
    seen: dict[str, Tensor],
) -> VectorEnv:
    """An environment as it was when it was copied."""
    env = cls(*args, **settings)
    env.load_state_dict(state)
    for name, value in seen.items():
        buffer = env._final if name == "final_obs" else env._buffers[name]
        assert buffer is not None
        buffer.tensor.copy_(value)
    return env
