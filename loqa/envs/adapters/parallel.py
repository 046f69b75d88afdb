"""PettingZoo's parallel environments as environments of ours: B copies, one after the other in Python."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from loqa.envs.adapters.own import EnvError
from loqa.envs.base import EnvSpec
from loqa.runtime.random import stream_seed

_TRIAL = 1000  # steps of random play that look for the length of an episode


def is_parallel_env(env: object) -> bool:
    """Whether it has the interface of `pettingzoo.ParallelEnv`."""
    names = ("possible_agents", "observation_space", "action_space", "reset", "step")
    return all(hasattr(env, name) for name in names)


class ParallelEnvs:
    """B copies of a PettingZoo ParallelEnv in NumPy; use `from_parallel_env`.

    A copy whose episode ended is reset in the same step. All agents stay until all end together.

    Args:
        copies: B of them, equal.
        episode_length: T.
        seed: of the first episodes, if `reset` is given none.

    Attributes:
        final_obs: `[B, A, *obs_shape]`, the last observations of the episodes truncated in a step.
    """

    device = torch.device("cpu")

    def __init__(self, copies: list[Any], episode_length: int, seed: int = 0) -> None:
        self._copies = copies
        self._agents = list(copies[0].possible_agents)
        self.num_envs = len(copies)
        self._seed = seed
        self._episodes = [0] * len(copies)
        name = _name(copies[0])
        spaces = [_observations_of(name, copies[0].observation_space(one)) for one in self._agents]
        actions = [_actions_of(name, copies[0].action_space(one)) for one in self._agents]
        self._acts = [read for _, read in actions]
        kinds_of_actions = [known for known, _ in actions]
        for what, kinds in (
            ("observation spaces of one shape", [(shape, kind) for shape, kind, _ in spaces]),
            ("action spaces of one size", kinds_of_actions),
        ):
            if len(set(kinds)) > 1:
                said = ", ".join(
                    f"{kind} ({one})" for one, kind in zip(self._agents, kinds, strict=True)
                )
                raise EnvError(f"the agents of {name} need {what}, got {said}")
        self._read = [read for _, _, read in spaces]
        shape, kind, _ = spaces[0]
        box = kinds_of_actions[0] if isinstance(kinds_of_actions[0], tuple) else None
        self.spec = EnvSpec(
            name=name,
            num_players=len(self._agents),
            num_actions=0 if isinstance(kinds_of_actions[0], tuple) else kinds_of_actions[0],
            action_box=None if box is None else box[:2],
            action_size=1 if box is None else box[2],
            obs_shape=shape,
            obs_dtype=torch.uint8 if kind == "uint8" else torch.float32,
            episode_length=episode_length,
        )
        self._dtype = np.dtype(kind)
        self.final_obs: NDArray[Any] | None = None

    def reset(self, seed: int | None = None) -> NDArray[Any]:
        """New episodes of all copies; observations `[B, A, *obs_shape]`."""
        self._seed = self._seed if seed is None else seed
        self._episodes = [0] * self.num_envs
        return np.stack([self._begin(index) for index in range(self.num_envs)])

    def step(self, actions: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """One step of all copies, with actions `[B, A]`, or `[B, A, D]` of a box."""
        obs, last = [], []
        rewards = np.zeros(actions.shape[:2], np.float32)
        terminated, truncated = np.zeros((2, self.num_envs), bool)
        for index, copy in enumerate(self._copies):
            chosen = {
                agent: act(action)
                for agent, action, act in zip(self._agents, actions[index], self._acts, strict=True)
            }
            seen, paid, ends, cuts, _ = copy.step(chosen)
            rewards[index] = [self._of(paid, agent, "reward") for agent in self._agents]
            over = [bool(self._of(ends, agent, "termination")) for agent in self._agents]
            cut = [bool(self._of(cuts, agent, "truncation")) for agent in self._agents]
            done = [one or other for one, other in zip(over, cut, strict=True)]
            if any(done) and not (all(over) or (all(cut) and not any(over))):
                raise EnvError(
                    f"all agents must end together, terminated or truncated; got terminations {ends} "
                    f"and truncations {cuts}"
                )
            terminated[index], truncated[index] = all(over), all(cut)
            now = self._begin(index) if all(over) else self._seen(seen)
            last.append(now)
            obs.append(self._begin(index) if all(cut) and not all(over) else now)
        self.final_obs = np.stack(last)
        return np.stack(obs), rewards, terminated, truncated

    def _begin(self, index: int) -> NDArray[Any]:
        """A new episode of a copy: its observations are a function of the seed, the copy and its number."""
        number = self._episodes[index]
        self._episodes[index] += 1
        seed = stream_seed(self._seed, "episodes of a copy", index, number)
        # Some environments seed NumPy's old generator, which takes 32 bits.
        return self._seen(self._copies[index].reset(seed=seed % 2**31)[0])

    def _seen(self, obs: dict[str, Any]) -> NDArray[Any]:
        seen = [
            read(self._of(obs, agent, "observation"))
            for agent, read in zip(self._agents, self._read, strict=True)
        ]
        shapes = {one.shape for one in seen}
        if shapes != {self.spec.obs_shape}:
            raise EnvError(
                f"expected observations {list(self.spec.obs_shape)} as the space says, "
                f"got {[list(one.shape) for one in seen]}"
            )
        return np.stack(seen).astype(self._dtype)

    def _of(self, values: Any, agent: str, what: str) -> Any:
        if not isinstance(values, dict) or agent not in values:
            came = ", ".join(map(str, values)) if isinstance(values, dict) else repr(values)
            raise EnvError(
                f"every agent needs its {what} in every step, {agent} has none: got {came}"
            )
        return values[agent]


def from_parallel_env(
    make: Callable[[], Any], num_envs: int, seed: int = 0, episode_length: int | None = None
) -> ParallelEnvs:
    """B copies of a PettingZoo ParallelEnv that step together.

    Args:
        make: makes one copy.
        num_envs: B.
        seed: of the first episodes.
        episode_length: T. By default it is found by random play of the first copy: the length of the
            first episode that is truncated, else of the longest that terminated.

    Raises:
        EnvError: it is none; spaces other than Box, Discrete and MultiBinary of one shape for all agents;
            actions other than Discrete of one size, or a Box with one finite range of all numbers; no
            episode ended in random play.
    """
    copies = [make() for _ in range(num_envs)]
    for copy in copies:
        if not is_parallel_env(copy):
            raise EnvError(f"expected a PettingZoo ParallelEnv, got {type(copy).__name__}")
    if episode_length is None:
        episode_length = _length(ParallelEnvs(copies[:1], 2**31 - 1, seed))
    return ParallelEnvs(copies, episode_length, seed)


def _length(env: ParallelEnvs) -> int:
    draw = np.random.default_rng(0)
    env.reset()
    longest = steps = 0
    for _ in range(_TRIAL):
        steps += 1
        spec = env.spec
        actions: NDArray[Any] = draw.integers(spec.num_actions or 1, size=(1, spec.num_players))
        if spec.action_box is not None:
            actions = draw.uniform(*spec.action_box, (1, spec.num_players, spec.action_size))
        _, _, terminated, truncated = env.step(actions)
        if truncated[0]:
            return steps
        if terminated[0]:
            longest, steps = max(longest, steps), 0
    if not longest:
        raise EnvError(
            f"no episode of {env.spec.name} ended in {_TRIAL} steps of random play: give episode_length"
        )
    return longest


def _name(env: Any) -> str:
    metadata = getattr(env, "metadata", None)
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return str(name or type(env).__name__)


Read = Callable[[Any], NDArray[Any]]


def _observations_of(name: str, space: Any) -> tuple[tuple[int, ...], str, Read]:
    """Shape, dtype and reader of an observation space. The classes are told by name: a space exists only
    where Gymnasium does."""
    kind = type(space).__name__
    if kind == "Box":
        dtype = "uint8" if space.dtype == np.uint8 else "float32"
        return tuple(map(int, space.shape)), dtype, np.asarray
    if kind == "MultiBinary":
        return tuple(map(int, space.shape)), "float32", np.asarray
    if kind == "Discrete":
        count = int(space.n)
        return (count,), "float32", partial(_one_hot, count, int(space.start))
    raise EnvError(
        f"observations of {name} must be a Box, Discrete or MultiBinary space, got {space}"
    )


def _one_hot(count: int, start: int, value: Any) -> NDArray[Any]:
    place = int(value) - start
    if not 0 <= place < count:
        raise EnvError(f"expected an observation in {start}..{start + count - 1}, got {value}")
    one_hot = np.zeros(count, np.float32)
    one_hot[place] = 1
    return one_hot


def _actions_of(
    name: str, space: Any
) -> tuple[int | tuple[float, float, int], Callable[[Any], Any]]:
    """K, or (low, high, D) of a box; and what makes the space's action of ours."""
    if type(space).__name__ == "Discrete":
        start = int(space.start)
        return int(space.n), lambda action: int(action) + start
    if type(space).__name__ != "Box":
        raise EnvError(f"actions of {name} must be a Discrete or Box space, got {space}")
    ends = np.unique(np.asarray(space.low, np.float64)), np.unique(space.high)
    if any(len(one) != 1 or not np.isfinite(one[0]) for one in ends) or space.dtype.kind != "f":
        raise EnvError(
            f"a Box of actions of {name} must hold floats in one finite range, the same for all numbers, "
            f"got {space}"
        )
    low, high = (float(one[0]) for one in ends)
    shape, dtype = space.shape, space.dtype
    known = (low, high, int(np.prod(shape)))
    return known, lambda action: np.asarray(action, dtype).reshape(shape).clip(low, high)
