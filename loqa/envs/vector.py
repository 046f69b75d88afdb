"""The vectorised environment: argument checks, buffers and bookkeeping for every game."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loqa import _checks
from loqa._native import core
from loqa.envs import device as devices
from loqa.envs.spec import EnvSpec

# Codes of the C++ enum ActionType.
_ACTION_TYPES = {torch.uint8: 0, torch.int8: 1, torch.int16: 2, torch.int32: 3, torch.int64: 4}
_NUMPY_ACTION_TYPES = {torch.empty(0, dtype=t).numpy().dtype: n for t, n in _ACTION_TYPES.items()}
_MAX_ENVS = 2**31 - 1
AUTORESET_MODES = ("next_step", "same_step")


class VectorEnv(ABC):
    """B independent copies of a game that step together, with A players and K actions each.

    Randomness is a pure function of (seed, environment number, episode number, step): results do not
    depend on the number of threads, on the batch an environment is in, or on the order of calls.

    An episode is truncated after `episode_length` steps; unless `autoreset` says otherwise nothing
    resets by itself, and stepping on is allowed. With autoreset `same_step` the step that ends an
    episode returns the first observation of the next one, and `final_obs` holds the last one of the
    episode that ended; with `next_step` the step after it ignores the action, starts the next
    episode and pays 0. `step` returns views of buffers that the next `step` or `reset` overwrites;
    `rollout` returns memory of its own.

    Ctrl-C ends a long rollout within a tenth of a second: the environment is then as it was before
    the call. A `step` always comes to its end first.

    With device "cuda" everything is in the GPU's memory and gives the CPU's numbers bit for bit.
    Calls are enqueued on torch's current stream of that device and do not wait for it; `step`,
    `rollout` and `reset` can be captured in a CUDA graph, and a replay goes on with new random
    numbers (all counters are on the device). Actions are tensors on the device: NumPy arrays, and
    NumPy views of results, are for the CPU. An action out of range cannot raise there: see `check`.
    """

    _native: Any
    _bad_action_was: str  # what a device does with an action out of range

    def __init__(
        self,
        spec: EnvSpec,
        num_envs: int,
        seed: int,
        device: str | torch.device,
        num_threads: int | None,
        first_env: int,
        autoreset: str | bool = False,
    ) -> None:
        self.spec = spec
        self.num_envs = _checks.integer("num_envs", num_envs, 1, _MAX_ENVS)
        self.num_players = spec.num_players
        self.num_actions = spec.num_actions
        self.obs_shape = spec.obs_shape
        self.episode_length = spec.episode_length
        self.device = devices.usable_device(device)
        # Whether the core works as threads of a device: resets within a step, and checks later.
        self._on_device = self.device.type == "cuda" or devices.device_code_on_host
        self._memory = devices.DeviceMemory(self.device)
        self.num_threads = (
            core.default_num_threads()
            if num_threads is None
            else _checks.integer("num_threads", num_threads, 1, 1024)
        )
        self.first_env = _checks.integer("first_env", first_env, 0, 2**32 - 1 - self.num_envs)
        if autoreset is not False:
            _checks.one_of("autoreset", str(autoreset), AUTORESET_MODES)
        self.autoreset = autoreset
        memory = self._memory
        batch = (self.num_envs, self.num_players)
        self._action_shape = torch.Size(batch)
        self._t = memory.zeros((self.num_envs,), torch.int32)
        self._episode = memory.zeros((self.num_envs,), torch.int32)
        self._obs = memory.zeros((*batch, *spec.obs_shape), spec.obs_dtype)
        self._rewards = memory.zeros(batch, torch.float32)
        self._terminated = memory.zeros((self.num_envs,), torch.bool)
        self._truncated = memory.zeros((self.num_envs,), torch.bool)
        self.final_obs = (
            memory.zeros(tuple(self._obs.shape), spec.obs_dtype)
            if autoreset == "same_step"
            else None
        )
        self._step_result = (self._obs, self._rewards, self._terminated, self._truncated)
        # Read by a device when its turn comes.
        self._device_seed = memory.zeros((1,), torch.int64)
        self._bad_action = memory.zeros((1,), torch.int32)
        self._native = self._make_native()
        self._step_pointers = tuple(buffer.data_ptr() for buffer in self._step_result)
        self.reset(seed=seed)
        self._fresh = True  # the first reset() is the episode that is already there

    # --- what a game supplies

    @abstractmethod
    def _make_native(self) -> Any:
        """The object of `loqa._core` that works on this environment's state and buffers."""

    @abstractmethod
    def _start(self, which: Tensor) -> None:
        """Puts environments `which` (bool [B]) at the start of an episode; t and episode are set."""

    @abstractmethod
    def _state(self) -> dict[str, Tensor]:
        """The game's own state tensors by name, without `t`; not copies."""

    @abstractmethod
    def _check_state(self, state: dict[str, Tensor]) -> None:
        """Raises ValueError unless these values (shapes and types are right) are a legal state."""

    @abstractmethod
    def render(self, index: int = 0) -> np.ndarray:
        """Environment `index` now, as an RGB array [height, width, 3] of uint8."""

    # --- the public face

    def reset(self, seed: int | None = None, mask: Tensor | np.ndarray | None = None) -> Tensor:
        """Starts new episodes and returns the observations, [B, A, *obs_shape].

        Args:
            seed: starts again from episode 0 of this seed; None goes on to the next episode.
            mask: bool [B], the environments to reset; all by default. Not together with `seed`.
        """
        if seed is not None:
            if mask is not None:
                raise ValueError(
                    "reset takes a seed or a mask, not both: a seed is for all environments"
                )
            self._set_seed(_checks.integer("seed", seed, 0, 2**64 - 1))
            which = self._reset_mask(None)
            self._episode.zero_()
        else:
            which = self._reset_mask(mask)
            if mask is not None or not self._fresh:
                self._episode += which
        self._fresh = False
        self._t.masked_fill_(which, 0)
        self._terminated.masked_fill_(which, False)
        self._truncated.masked_fill_(which, False)
        self._start(which)
        self._native.observe(self._obs.data_ptr())
        return self._obs

    def step(self, actions: Tensor | np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One step of every environment.

        Args:
            actions: [B, A] of any integer type, each in 0..K-1.
        Returns:
            observations [B, A, *obs_shape], rewards [B, A] float32, terminated [B], truncated [B]:
            views of buffers that the next step overwrites.
        Raises:
            TypeError, ValueError: wrong type, shape, device or range (with device "cuda" see `check`);
            nothing has changed then.
        """
        if self._on_device:
            return self._step_on_device(actions)
        # Of a small batch these checks are most of the time, so the usual cases come first.
        if (
            type(actions) is np.ndarray
            and actions.dtype in _NUMPY_ACTION_TYPES
            and actions.shape == self._action_shape
            and actions.flags.c_contiguous
        ):
            address = actions.__array_interface__["data"][0]
            kind = _NUMPY_ACTION_TYPES[actions.dtype]
        else:
            if not (
                type(actions) is Tensor
                and actions.dtype in _ACTION_TYPES
                and actions.shape == self._action_shape
                and actions.is_cpu
                and actions.is_contiguous()
            ):
                actions = self._as_actions(actions, self._action_shape)
            address = actions.data_ptr()
            kind = _ACTION_TYPES[actions.dtype]
        if self.autoreset == "next_step":
            ended = self._terminated | self._truncated
        if not self._native.step(address, kind, *self._step_pointers):
            self._raise_range(actions)
        self._fresh = False
        if self.autoreset == "next_step":
            self._restart(ended)
        elif self.autoreset == "same_step":
            self._restart(self._terminated | self._truncated)
        return self._step_result

    def _step_on_device(self, actions: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if not (
            type(actions) is Tensor
            and actions.dtype in _ACTION_TYPES
            and actions.shape == self._action_shape
            and actions.device == self.device
            and actions.is_contiguous()
        ):
            actions = self._as_actions(actions, self._action_shape)
        self._native.step(actions.data_ptr(), _ACTION_TYPES[actions.dtype], *self._step_pointers)
        self._fresh = False
        return self._step_result

    def check(self) -> None:
        """Waits for the device and raises if an action since the last check was out of range.

        On the CPU `step` and `rollout` raise at once. A device cannot: there such an action has
        been taken for staying put (Coin Game) or for action 0 (matrix games), and this, `get_state` and
        `state_dict` tell; with check_actions=False nobody does.

        Raises:
            ValueError: there was one.
        """
        if self._on_device and bool(self._bad_action.item()):
            self._bad_action.zero_()
            raise ValueError(
                f"actions must be in 0..{self.num_actions - 1}: since the last check at least one was "
                f"not, and was {self._bad_action_was}"
            )

    def rollout(self, actions: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
        """T steps in one native call, with the numbers of T calls of `step`.

        Args:
            actions: [T, B, A] of any integer type, each in 0..K-1.
        Returns:
            observations [T+1, B, A, *obs_shape] (the first is the one before the first step) and rewards
            [T, B, A] float32, in memory of their own; the buffers that `step` returned stay as they are.
        Raises:
            TypeError, ValueError: wrong type, shape, device or range; nothing has changed then.
        """
        self._check_no_autoreset("rollout")
        actions = self._as_actions(actions, (None, *self._action_shape))
        steps = actions.shape[0]
        obs, rewards = self._rollout_buffers(steps)
        if not self._native.rollout(
            actions.data_ptr(),
            _ACTION_TYPES[actions.dtype],
            steps,
            obs.data_ptr(),
            rewards.data_ptr(),
        ):
            self._raise_range(actions)
        self._fresh = self._fresh and steps == 0
        return obs, rewards

    def get_state(self) -> dict[str, Tensor]:
        """The state of the game, as copies: see the game's page for names and shapes.

        Raises:
            ValueError: see `check`.
        """
        self.check()
        state = {**self._state(), "t": self._t}
        return {name: value.to(torch.int64, copy=True) for name, value in state.items()}

    def set_state(self, **state: Tensor | np.ndarray) -> None:
        """Puts the environments into a state as `get_state` gives it (any integer types).

        Raises:
            ValueError: names, shapes or values are wrong; nothing has changed then.
        """
        current = {**self._state(), "t": self._t}
        if state.keys() != current.keys():
            wanted, came = ", ".join(sorted(current)), ", ".join(sorted(state))
            raise ValueError(f"set_state needs exactly {wanted}, got {came or 'nothing'}")
        given = {}
        for name, value in state.items():
            tensor = torch.as_tensor(value)
            expected = current[name]
            if tensor.shape != expected.shape or tensor.is_floating_point() or tensor.is_complex():
                raise ValueError(
                    f"{name} must be {list(expected.shape)} of an integer type, "
                    f"got {list(tensor.shape)} {tensor.dtype}"
                )
            given[name] = tensor.to("cpu", torch.int64)
        if bool((given["t"] < 0).any()) or bool((given["t"] >= 2**31).any()):
            raise ValueError("t must be in 0..2**31-1")
        self._check_state(given)
        for name, tensor in given.items():
            current[name].copy_(tensor)
        self._terminated.zero_()
        torch.ge(self._t, self.episode_length, out=self._truncated)
        self._fresh = False
        self._native.observe(self._obs.data_ptr())

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides what comes next, random counters included; tensors on the CPU.

        Raises:
            ValueError: see `check`.
        """
        return {
            "spec": _spec_key(self.spec),
            "seed": self.seed,
            "first_env": self.first_env,
            "fresh": self._fresh,
            "episode": self._episode.to("cpu", copy=True),
            "terminated": self._terminated.to("cpu", copy=True),
            "state": {name: value.cpu() for name, value in self.get_state().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on exactly where `state_dict` was taken, on whatever device.

        Raises:
            ValueError: the state is of another game, preset, board or batch size.
        """
        expected = self.state_dict()
        if state.keys() != expected.keys():
            raise ValueError(
                f"state_dict must have the keys {sorted(expected)}, got {sorted(state)}"
            )
        if state["spec"] != expected["spec"]:
            raise ValueError(
                f"state_dict is of {state['spec']}, this environment is {expected['spec']}"
            )
        first_env = _checks.integer("first_env", state["first_env"], 0, 2**32 - 1 - self.num_envs)
        if first_env != self.first_env:
            raise ValueError(
                f"state_dict has first_env {first_env}, this environment {self.first_env}"
            )
        seed = _checks.integer("seed", state["seed"], 0, 2**64 - 1)
        for name in ("episode", "terminated"):
            if state[name].shape != (self.num_envs,):
                raise ValueError(f"{name} must be [{self.num_envs}], got {list(state[name].shape)}")
        self.set_state(**state["state"])
        self._set_seed(seed)
        self._episode.copy_(state["episode"])
        self._terminated.copy_(state["terminated"])
        self._fresh = bool(state["fresh"])

    # --- helpers

    def _set_seed(self, seed: int) -> None:
        self.seed = seed
        if self._on_device:
            self._device_seed.fill_(seed if seed < 2**63 else seed - 2**64)
        else:
            self._native.set_seed(seed)

    def _autoreset_code(self) -> int:
        """Code of the C++ enum Autoreset."""
        return 1 + AUTORESET_MODES.index(str(self.autoreset)) if self.autoreset else 0

    def _restart(self, which: Tensor) -> None:
        """Starts the next episode of environments `which` within a step."""
        if not bool(which.any()):
            return
        if self.final_obs is not None:  # same step: rewards and flags are of the old episode
            self.final_obs[which] = self._obs[which]
        else:
            self._rewards[which] = 0
            self._terminated[which] = False
            self._truncated[which] = False
        self._episode += which
        self._t[which] = 0
        self._start(which)
        self._native.observe(self._obs.data_ptr())

    def _check_no_autoreset(self, name: str) -> None:
        if self.autoreset:
            raise ValueError(f"{name} needs autoreset=False: it plays on without a reset")

    def _rollout_buffers(self, steps: int) -> tuple[Tensor, Tensor]:
        batch = (self.num_envs, self.num_players)
        return (
            self._memory.empty((steps + 1, *batch, *self.obs_shape), self.spec.obs_dtype),
            self._memory.empty((steps, *batch), torch.float32),
        )

    def _reset_mask(self, mask: Tensor | np.ndarray | None) -> Tensor:
        if mask is None:
            return torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        which = torch.as_tensor(mask)
        if which.shape != (self.num_envs,) or which.dtype != torch.bool:
            raise ValueError(
                f"mask must be [{self.num_envs}] bool, got {list(which.shape)} {which.dtype}"
            )
        return which.to(self.device, copy=True)  # it may be what a step returned

    def _as_actions(self, actions: Any, shape: tuple[int | None, ...]) -> Tensor:
        """`actions` as a contiguous tensor of a type the core reads, or an error."""

        def wanted() -> str:
            letters = ", ".join("T" if size is None else str(size) for size in shape)
            return f"actions must be [{letters}] of an integer type on {self.device}"

        if isinstance(actions, np.ndarray):
            if self.device.type != "cpu":
                raise TypeError(
                    f"{wanted()}, got a NumPy array, which is in the CPU's memory: "
                    f"torch.as_tensor(actions, device={str(self.device)!r}) copies it"
                )
            if not actions.flags.writeable:
                actions = actions.copy()  # torch warns of a tensor that could write to it
        try:
            tensor = torch.as_tensor(actions)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"{wanted()}, got {type(actions).__name__} ({error})") from None
        came = tensor.shape if shape[0] is not None else (None, *tensor.shape[1:])
        fits = came == shape and tensor.ndim == len(shape) and tensor.device == self.device
        is_integer = tensor.dtype in _ACTION_TYPES or not (
            tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool
        )
        if not (fits and is_integer):
            got = f"got {list(tensor.shape)} {tensor.dtype} on {tensor.device}"
            raise (ValueError if is_integer else TypeError)(f"{wanted()}, {got}")
        if tensor.dtype not in _ACTION_TYPES:  # unsigned types of 16 bits and more
            tensor = tensor.to(torch.int64)
        return tensor.contiguous()

    def _raise_range(self, actions: Tensor | np.ndarray) -> None:
        actions = torch.tensor(actions) if isinstance(actions, np.ndarray) else actions
        bad = ((actions < 0) | (actions >= self.num_actions)).nonzero()[0].tolist()
        raise ValueError(
            f"actions must be in 0..{self.num_actions - 1}, "
            f"got {actions[tuple(bad)].item()} at {bad}; no environment was stepped"
        )


def _spec_key(spec: EnvSpec) -> str:
    return f"{spec.game}/{spec.preset}-v{spec.version} obs={spec.obs} {list(spec.obs_shape)}"
