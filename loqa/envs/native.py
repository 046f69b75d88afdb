"""The vectorised environment: argument checks, buffers and bookkeeping for every game."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loqa import _checks
from loqa._native import core, threads
from loqa.envs import actions as given
from loqa.envs import device as devices
from loqa.envs import saved
from loqa.envs.autoreset import Rollout, checked_autoreset
from loqa.envs.base import EnvSpec
from loqa.envs.buffers import Lent, borrow
from loqa.envs.spaces import Spaces

# Codes of the C++ enum StepOutcome.
_DONE, _UNREAD, _OUT_OF_RANGE, _NO_ROOM, _MOVED = range(5)
_MAX_ENVS = 2**31 - 1
_MAX_SEED = 2**64 - 1

# The core reads a tensor by torch's DLPack exchange table where it has one (2.10); elsewhere actions
# go through `Tensor.numpy`.
core.set_tensor_type(Tensor, True)


class VectorEnv(Spaces, ABC):
    """B independent copies of a game that step together, with A players and K actions each.

    Randomness is a pure function of (seed, environment number, episode number, step): results do not
    depend on the number of threads, on the batch an environment is in, or on the order of calls.
    Episodes are numbered modulo 2**32. An episode may have up to 2**31 - 1 steps; stepping on then
    raises OverflowError (on a GPU t stays there).

    An episode is truncated after `episode_length` steps; unless `autoreset` says otherwise nothing
    resets by itself, and stepping on is allowed. With autoreset `same_step` the step that ends an
    episode returns the first observation of the next one, and `final_obs` holds the last one of the
    episode that ended; with `next_step` the step after it ignores the action, starts the next
    episode and pays 0.

    `step` returns views of buffers that the next `step` or `reset` overwrites; `rollout` returns
    memory of its own. The buffers stay where they are: a tensor that was taken elsewhere (by
    `share_memory_`, a multiprocessing queue, `resize_`, `.data =`) keeps what it had, and `step`
    returns new ones from then on. Actions may lie in a buffer: they are read before it is written.
    Of a tensor of actions below 64 KiB `step` does not look whether its storage was cut under it
    (`untyped_storage().resize_`), as torch itself does not: it reads what now lies there.

    Ctrl-C ends a long rollout within a tenth of a second: the environment is then as it was before
    the call. A `step` always comes to its end first.

    With device "cuda" everything is in the GPU's memory and gives the CPU's numbers bit for bit.
    Calls are enqueued on torch's current stream of that device and do not wait for it; `step`,
    `rollout` and `reset` can be captured in a CUDA graph, and a replay goes on with new random
    numbers (all counters are on the device). Actions are tensors on the device: NumPy arrays, and
    NumPy views of results, are for the CPU. An action out of range cannot raise there: see `check`.

    Copies (`copy.copy`, `copy.deepcopy`, `pickle`) are independent and go on from the same state.
    """

    scripted_players: tuple[str, ...] = ()
    """Names that `scripted_actions` knows, where the game has it."""

    _native: Any
    _fields: dict[str, Tensor]  # the state, [B, ...] each
    _bad_action_was = "taken for action 0"  # one out of range, by a device
    _checks_actions: bool  # whether an action out of range raises
    _recipe: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **settings: Any) -> Any:
        made = super().__new__(cls)
        made._recipe = (args, settings)
        return made

    def __init__(
        self,
        spec: EnvSpec,
        num_envs: int,
        seed: int = 0,
        device: str | torch.device = "cpu",
        num_threads: int | None = None,
        first_env: int = 0,
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
        self.on_device = self.device.type == "cuda" or devices.device_code_on_host
        self._memory = devices.DeviceMemory(self.device)
        self.num_threads = threads(num_threads)
        self.first_env = _checks.integer("first_env", first_env, 0, 2**32 - 1 - self.num_envs)
        self.autoreset = checked_autoreset(autoreset)
        with torch.inference_mode(False):  # else its tensors could never be written to outside
            self._make_buffers()
            self._native = self._make_native()
            self._show()
        self.reset(seed=_checks.integer("seed", seed, 0, _MAX_SEED))  # None is no seed here
        self._fresh = True  # the first reset() is the episode that is already there

    def _make_buffers(self) -> None:
        memory, spec = self._memory, self.spec
        batch = (self.num_envs, self.num_players)
        self._action_shape = torch.Size(batch)
        flags = ((self.num_envs,), torch.bool)
        self._buffers = {
            "obs": memory.zeros((*batch, *spec.obs_shape), spec.obs_dtype),
            "rewards": memory.zeros(batch, torch.float32),
            "terminated": memory.zeros(*flags),
            "truncated": memory.zeros(*flags),
        }
        self._obs, self._rewards, self._terminated, self._truncated = (
            buffer.tensor for buffer in self._buffers.values()
        )
        self._final = (
            memory.zeros((*batch, *spec.obs_shape), spec.obs_dtype)
            if self.autoreset == "same_step"
            else None
        )
        self._t_buffer = memory.zeros((self.num_envs,), torch.int32)
        self._episode_buffer = memory.zeros((self.num_envs,), torch.int32)
        self._t, self._episode = self._t_buffer.tensor, self._episode_buffer.tensor
        # Whose next step starts an episode, with autoreset next_step on the CPU.
        self._over = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        # Read by a device when its turn comes.
        self._seed_buffer = memory.zeros((1,), torch.int64)
        self._bad_buffer = memory.zeros((1,), torch.int32)

    def _show(self) -> None:
        """Makes the tensors that `step` returns: at first, and when somebody has moved one."""
        with torch.inference_mode(False):
            obs, rewards, terminated, truncated = (b.view() for b in self._buffers.values())
        self._results = (obs, rewards, terminated, truncated)
        self._native.show(self._results)

    def _shown(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if not self._native.intact():
            self._show()
        return self._results

    @property
    def final_obs(self) -> Tensor | None:
        """[B, A, *obs_shape], the last observation of each environment's last episode that ended;
        None unless autoreset is `same_step`."""
        return None if self._final is None else self._final.view()

    # --- what a game supplies

    @abstractmethod
    def _make_native(self) -> Any:
        """The object of `loqa._core` that works on this environment's buffers and `_fields`, made too."""

    @abstractmethod
    def _check_state(self, state: dict[str, Tensor]) -> None:
        """Raises ValueError unless these values (shapes and types are right) are a legal state."""

    @abstractmethod
    def _rules(self) -> dict[str, Any]:
        """What a state must be of, beside the spec, for this environment to go on from it."""

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
            self._set_seed(_checks.integer("seed", seed, 0, _MAX_SEED))
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
        self._over.masked_fill_(which, False)
        self._native.observe()
        return self._shown()[0]

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
        if self.on_device:
            return self._step_on_device(actions)
        # Of a small batch all that is done here is most of the time: one call, if it goes well.
        results: Any = self._native.step(actions)
        if type(results) is not tuple:
            results = self._step_again(actions, results)
        self._fresh = False
        if self.autoreset:
            self._restart_ended()
        return results  # type: ignore[no-any-return]

    def _restart_ended(self) -> None:
        if self.autoreset == "next_step":
            self._restart(self._over)
        self._over = self._terminated | self._truncated
        if self.autoreset == "same_step":
            self._restart(self._over)

    def _step_again(self, actions: Any, outcome: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Does what is missing, until the core has stepped."""
        as_given = actions
        while type(outcome) is not tuple:
            if outcome == _MOVED:
                self._show()
            elif outcome == _UNREAD:
                actions = given.copied_actions(as_given, self._action_shape, self.device)
            elif outcome == _OUT_OF_RANGE:
                self._raise_range(as_given)
            else:
                self._make_room()
            outcome = self._native.step(actions)
        return outcome

    def _step_on_device(self, actions: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        moves = given.device_actions(actions, self._action_shape, self.device)
        kind = given.ACTION_TYPES[moves.dtype]
        if self._native.step(borrow(moves), kind) == _UNREAD:  # they lie in a buffer
            self._native.step(borrow(moves.clone()), kind)
        self._fresh = False
        return self._shown()

    def step_into(self, actions: Tensor, obs: Tensor, rewards: Tensor) -> None:
        """One step of a device, written where it is wanted; the buffers that `step` returns stay as they are.

        Args:
            actions: [1, B, A] uint8, each legal or taken for another (see `check`).
            obs: [2, B, A, *obs_shape], gets the observation before the step and the one after it.
            rewards: [1, B, A] float32.
        """
        kind = given.ACTION_TYPES[actions.dtype]
        self._native.rollout(borrow(actions), kind, 1, borrow(obs), borrow(rewards))
        self._fresh = False

    def _make_room(self) -> None:
        """Raises OverflowError if a step counter is at its end; one that restarts is put to 0."""
        full = self._t == saved.MAX_T
        if self.autoreset == "next_step":
            self._t[full & self._over] = 0
            full &= ~self._over
        if bool(full.any()):
            env = int(full.nonzero()[0])
            raise OverflowError(
                f"environment {env} has made {saved.MAX_T} steps in this episode, which is the limit: "
                "reset it; no environment was stepped"
            )

    def check(self) -> None:
        """Waits for the device and raises if an action since the last check was out of range.

        On the CPU `step` and `rollout` raise at once. A device cannot: there such an action, or NaN, has
        been taken for staying put (Coin Game) or for action 0 (other games), and this, `get_state` and
        `state_dict` tell; with check_actions=False nobody does.

        Raises:
            ValueError: there was one.
        """
        if self.on_device and bool(self._bad_buffer.tensor.item()):
            self._bad_buffer.tensor.zero_()
            raise ValueError(
                f"actions must be in {self._range()}: since the last check at least one was not, and was "
                f"{self._bad_action_was}"
            )

    def rollout(self, actions: Tensor | np.ndarray) -> Rollout:
        """T steps in one native call, with the numbers of T calls of `step`.

        Args:
            actions: [T, B, A] of any integer type, each in 0..K-1.
        Returns:
            (observations [T+1, B, A, *obs_shape], rewards [T, B, A] float32), in memory of their own. The
            first observation is the one before the first step. With autoreset the result has further
            attributes, see `Rollout`: where episodes ended. Without, the buffers that `step` returned
            stay as they are.
        Raises:
            TypeError, ValueError: wrong type, shape, device or range; nothing has changed then.
            OverflowError: an episode would become longer than 2**31 - 1 steps; likewise.
        """
        if self.autoreset:
            return self._rollout_by_steps(actions)
        shape = (None, *self._action_shape)
        if self.on_device:
            moves = given.device_actions(actions, shape, self.device)
            obs, rewards = self._rollout_buffers(moves.shape[0])
            kind = given.ACTION_TYPES[moves.dtype]
            self._native.rollout(borrow(moves), kind, moves.shape[0], obs.native, rewards.native)
            self._after_rollout(_DONE, moves.shape[0])
        else:
            obs, rewards = self._rollout_on_host(actions, shape)
        return Rollout((obs.tensor, rewards.tensor))

    def _rollout_on_host(self, actions: Any, shape: given.Shape) -> tuple[Lent, Lent]:
        moves = actions
        is_plain = type(moves) is np.ndarray or (type(moves) is Tensor and not moves.is_nested)
        if not (is_plain and moves.ndim == 3):
            moves = given.copied_actions(actions, shape, self.device)
        steps = moves.shape[0]
        obs, rewards = self._rollout_buffers(steps)
        outcome = self._native.rollout(moves, steps, obs.native, rewards.native)
        if outcome == _UNREAD:
            moves = given.copied_actions(actions, shape, self.device)
            outcome = self._native.rollout(moves, steps, obs.native, rewards.native)
        if outcome == _OUT_OF_RANGE:
            self._raise_range(actions)
        self._after_rollout(outcome, steps)
        return obs, rewards

    def _rollout_by_steps(self, actions: Any) -> Rollout:
        """T calls of `step` and what they returned, where episodes start by themselves."""
        shape = (None, *self._action_shape)
        if self.on_device:
            moves = given.device_actions(actions, shape, self.device)
        else:
            moves = torch.from_numpy(given.copied_actions(actions, shape, self.device))
            if self._checks_actions:
                self._raise_range(moves)
        steps = moves.shape[0]
        obs, rewards = (lent.tensor for lent in self._rollout_buffers(steps))
        result = Rollout((obs, rewards))
        terminated, truncated = torch.zeros(
            (2, steps, self.num_envs), dtype=torch.bool, device=self.device
        )
        result.terminated, result.truncated = terminated, truncated
        result.final_obs = None if self._final is None else torch.zeros_like(obs[1:])
        obs[0] = self._obs
        for t in range(steps):
            VectorEnv.step(self, moves[t])
            obs[t + 1], rewards[t] = self._obs, self._rewards
            terminated[t], truncated[t] = self._terminated, self._truncated
            if self._final is not None and result.final_obs is not None:
                ended = (self._terminated | self._truncated).reshape(-1, *[1] * (obs.ndim - 2))
                result.final_obs[t] = torch.where(ended, self._final.tensor, 0)
        return result

    def _after_rollout(self, outcome: int, steps: int) -> None:
        """Of a call of the core: raises OverflowError where it could not play on."""
        if outcome == _NO_ROOM:
            raise OverflowError(
                f"{steps} more steps would make an episode longer than {saved.MAX_T}: reset first; "
                "no environment was stepped"
            )
        self._fresh = self._fresh and steps == 0

    def get_state(self) -> dict[str, Tensor]:
        """The state of the game, as copies: see the game's page for names and shapes.

        Raises:
            ValueError: see `check`.
        """
        self.check()
        return {
            name: value.to(value.dtype if value.is_floating_point() else torch.int64, copy=True)
            for name, value in self._state().items()
        }

    def set_state(self, **state: Tensor | np.ndarray) -> None:
        """Puts the environments into a state as `get_state` gives it (any integer types; floats where it
        has floats).

        Raises:
            ValueError: names, shapes or values are wrong; nothing has changed then.
        """
        saved.set_state(self, state)

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides what comes next, random counters included; tensors on the CPU.

        Raises:
            ValueError: see `check`.
        """
        return saved.state_dict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on exactly where `state_dict` was taken, on whatever device.

        Raises:
            ValueError: the state is of another game, preset, board, payoff, episode length or batch size.
        """
        saved.load_state_dict(self, state)

    def close(self) -> None:
        """Does nothing: an environment holds only memory, which goes with it."""

    def __repr__(self) -> str:
        spec = self.spec
        envs = _checks.plural(self.num_envs, "environment")
        steps = _checks.plural(self.episode_length, "step")
        moves = f"{self.num_actions} actions" if spec.num_actions else f"actions in {self._range()}"
        return (
            f"<{type(self).__name__} {spec.name}/{spec.preset}-v{spec.version}: {self.num_envs} "
            f"{envs} of {self.num_players} players with {moves}, observations "
            f"{spec.obs} {list(self.obs_shape)} {spec.obs_dtype}, episodes of {self.episode_length} "
            f"{steps}, on {self.device}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        seen = {name: buffer.tensor.clone() for name, buffer in self._buffers.items()}
        if self._final is not None:
            seen["final_obs"] = self._final.tensor.clone()
        return saved.made_again, (type(self), *self._recipe, self.state_dict(), seen)

    # --- helpers

    def _state(self) -> dict[str, Tensor]:
        """The state's tensors by name; not copies."""
        return {**self._fields, "t": self._t}

    def _start(self, which: Tensor) -> None:
        """Puts environments `which` (bool [B]) at the start of an episode; t and episode are set."""
        self._native.start(borrow(which.contiguous()))

    def _range(self) -> str:
        """Of an action, for messages."""
        box = self.spec.action_box
        return f"0..{self.num_actions - 1}" if box is None else "[{:g}, {:g}]".format(*box)

    def _raise_range(self, actions: Any) -> None:
        """Says which action is out of range, if one is."""
        low, high = self.spec.action_box or (0, self.num_actions - 1)
        given.check_range(actions, low, high, self._range())

    def _set_seed(self, seed: int) -> None:
        self.seed = seed
        if self.on_device:
            self._seed_buffer.tensor.fill_(seed if seed < 2**63 else seed - 2**64)
        else:
            self._native.set_seed(seed)

    def _restart(self, which: Tensor) -> None:
        """Starts the next episode of environments `which` within a step."""
        if not bool(which.any()):
            return
        if self._final is not None:  # same step: rewards and flags are of the old episode
            self._final.tensor[which] = self._obs[which]
        else:
            self._rewards[which] = 0
            self._terminated[which] = False
            self._truncated[which] = False
        self._episode += which
        self._t[which] = 0
        self._start(which)
        self._native.observe()

    def _check_no_autoreset(self, name: str) -> None:
        if self.autoreset:
            raise ValueError(f"{name} needs autoreset=False: it plays on without a reset")

    def _rollout_buffers(self, steps: int) -> tuple[Lent, Lent]:
        batch = (self.num_envs, self.num_players)
        return (
            self._memory.empty((steps + 1, *batch, *self.obs_shape), self.spec.obs_dtype),
            self._memory.empty((steps, *batch), torch.float32),
        )

    def _reset_mask(self, mask: Tensor | np.ndarray | None) -> Tensor:
        if mask is None:
            return torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        if not isinstance(mask, Tensor) or not mask.is_cuda:
            # A copy in any case: it may be what a step returned.
            wanted = f"mask must be [{self.num_envs}] bool"
            mask = torch.from_numpy(np.array(given.array_of(mask, wanted), order="C"))
        if mask.shape != (self.num_envs,) or mask.dtype != torch.bool:
            raise ValueError(
                f"mask must be [{self.num_envs}] bool, got {list(mask.shape)} {mask.dtype}"
            )
        return mask.to(self.device, copy=True)
