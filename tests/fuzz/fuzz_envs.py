"""Random calls of an environment, beside the reference."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import torch
from fuzz_settings import BAD_SETTINGS, env_settings
from fuzz_values import REFUSALS, Given, Wrong, array, integers, pick, show
from numpy.random import Generator
from torch import Tensor

import loqa
import loqa.reference


class EnvCase:
    """One environment and its reference, and what was called."""

    def __init__(self, rng: Generator) -> None:
        self.rng = rng
        self.done: list[str] = []
        self.refused = self.carried_out = 0

    # --- settings

    def make(self) -> bool:
        game, numbers, others = env_settings(self.rng)
        settings = {**numbers, **others}
        if self.rng.random() < 0.1:
            self._bad_make(game, settings)
            return False
        self.log(f"make({game!r}, {settings})")
        self.env = loqa.make(game, **settings)
        self.slow: Any = loqa.reference.make(game, **numbers)
        self.over = np.zeros(numbers["num_envs"], bool)
        self.autoreset = others.get("autoreset", False)
        self.shape = (self.env.num_envs, self.env.num_players)
        self.carried_out += 1
        return True

    def _bad_make(self, game: str, settings: dict[str, Any]) -> None:
        name = pick(self.rng, BAD_SETTINGS)
        value = pick(self.rng, BAD_SETTINGS[name])
        self.log(f"make({game!r}, {settings} with {name}={value!r})")
        num_envs = settings.pop("num_envs")
        settings = {"num_envs": num_envs, **settings, name: value}
        try:
            env = loqa.make(game, **settings)
        except (*REFUSALS, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not isinstance(error, REFUSALS):
                if value != "cuda":
                    raise
            elif not str(error):
                raise Wrong("the error says nothing") from error
            self.refused += 1
            return
        if value is not None and name not in settings:
            raise Wrong(f"{name}={value!r} was taken")
        env.step(torch.zeros(env.num_envs, env.num_players, dtype=torch.int64))
        self.carried_out += 1

    # --- bookkeeping

    def log(self, what: str) -> None:
        self.done.append(what)

    def tried(self, given: Given | None, legal: bool, call: Any) -> Any:
        """The result of a call, or None where it was refused; raises Wrong where that is wrong."""
        try:
            out = call()
        except REFUSALS as error:
            if not str(error):
                raise Wrong("the error says nothing") from error
            if legal and (given is None or given.plain):
                raise Wrong(f"refused, but it is legal: {type(error).__name__} {error}") from error
            self.refused += 1
            return None
        if not legal:
            raise Wrong(f"taken: {'' if given is None else show(given.value)}")
        self.carried_out += 1
        return out

    def same(self, what: str, ours: Tensor, theirs: Any) -> None:
        """Bit for bit, and of the shape that was promised."""
        theirs = np.asarray(theirs)
        if tuple(ours.shape) != theirs.shape or not np.array_equal(ours.double().numpy(), theirs):
            raise Wrong(f"{what}: {ours.tolist()}, the reference has {theirs.tolist()}"[:2000])

    def in_range(self, given: Given, shape: tuple[int, ...]) -> bool:
        if given.truth is None or given.truth.shape != shape:
            return False
        return all(0 <= int(a) < self.env.num_actions for a in given.truth.flat)

    # --- operations

    def step(self) -> None:
        given = integers(self.rng, self.shape, self.env.num_actions)
        if self.rng.random() < 0.15:
            given = self._own_buffer() or given
        self.log(f"step({given.what})")
        legal = self.in_range(given, self.shape)
        out = self.tried(given, legal, lambda: self.env.step(given.value))
        if out is not None:
            self._same_step(out, given.truth)

    def _own_buffer(self) -> Given | None:
        """What the environment itself returned, as actions."""
        none = np.zeros(self.shape[0], bool)
        obs = self.env.reset(mask=none)
        self.slow.reset(mask=none)  # after it the next reset() begins another episode
        while obs.ndim > 2:
            obs = obs[..., int(self.rng.integers(obs.shape[-1]))]
        if obs.is_floating_point():
            return None
        return Given("its own observations", obs, obs.numpy().copy())

    def _same_step(self, out: Any, actions: Any) -> None:
        obs, rewards, terminated, truncated = self.slow.step(actions)
        ended = np.asarray(terminated) | np.asarray(truncated)
        restart = {"next_step": self.over, "same_step": ended}.get(self.autoreset)
        if self.autoreset == "same_step" and ended.any():
            self.same("final_obs", self.env.final_obs[torch.from_numpy(ended)], obs[ended])
        if restart is not None and restart.any():
            obs = self.slow.reset(mask=restart)
            if self.autoreset == "next_step":
                rewards, terminated, truncated = (
                    np.array(x) for x in (rewards, terminated, truncated)
                )
                rewards[restart], terminated[restart], truncated[restart] = 0, False, False
        self.over = np.asarray(terminated) | np.asarray(truncated)
        for name, ours, theirs in zip(
            ("obs", "rewards", "terminated", "truncated"), out,
            (obs, rewards, terminated, truncated), strict=True,
        ):  # fmt: skip
            self.same(name, ours, theirs)

    def rollout(self) -> None:
        steps = int(self.rng.integers(0, 5))
        shape = (steps, *self.shape)
        given = integers(self.rng, shape, self.env.num_actions)
        self.log(f"rollout({given.what})")
        truth = given.truth
        legal = (
            truth is not None
            and truth.shape[1:] == self.shape
            and self.in_range(given, truth.shape)
            and not self._refuses_rollouts()
        )
        if self.autoreset:
            return  # what rollouts do then is tested elsewhere
        out = self.tried(given, legal, lambda: self.env.rollout(given.value))
        if out is not None:
            self._same_rollout(out[0], out[1], truth)

    def _refuses_rollouts(self) -> bool:
        return bool(self.autoreset) or getattr(self.env, "end_probability", 0) > 0

    def _same_rollout(self, obs: Tensor, rewards: Tensor, actions: Any) -> None:
        seen, paid = self.slow.rollout(actions)
        self.same("obs", obs, seen)
        self.same("rewards", rewards, paid)
        if len(actions):
            ends = self.env.reset(mask=np.zeros(self.shape[0], bool))
            self.slow.reset(mask=np.zeros(self.shape[0], bool))
            self.same("obs after the rollout", ends, seen[-1])

    def reset(self) -> None:
        kind = self.rng.random()
        if kind < 0.3:
            self.log("reset()")
            self.same("obs", self.env.reset(), self.slow.reset())
            self.over[:] = False
            self.carried_out += 1
            return
        if kind < 0.5:
            seed = pick(self.rng, (0, 5, 2**64 - 1, -1, 2**64, 1.5, "3", True, np.int64(3), [1]))
            self.log(f"reset(seed={seed!r})")
            legal = type(seed) in (int, np.int64) and 0 <= seed < 2**64
            out = self.tried(None, legal, lambda: self.env.reset(seed=seed))
            if out is not None:
                self.same("obs", out, self.slow.reset(seed=int(seed)))
                self.over[:] = False
            return
        given = array(self.rng, self.rng.integers(0, 2, self.shape[0]).astype(bool))
        if self.rng.random() < 0.2:
            given = integers(self.rng, self.shape[:1], 2)
            legal = given.truth is not None and given.truth.dtype == bool
            given.plain = False
        else:
            legal = given.truth is not None
        self.log(f"reset(mask={given.what})")
        if given.value is None:
            return  # no mask at all
        out = self.tried(given, legal and given.truth.shape == self.shape[:1],
                         lambda: self.env.reset(mask=given.value))  # fmt: skip
        if out is not None:
            self.same("obs", out, self.slow.reset(mask=given.truth))
            self.over[given.truth] = False

    def set_state(self) -> None:
        rng, env = self.rng, self.env
        state = {name: value.numpy() for name, value in env.get_state().items()}
        self._same_state()
        hostile = pick(rng, (None, *state)) if rng.random() < 0.6 else None
        given: dict[str, Given] = {}
        for name, value in state.items():
            low, high = self._range(name)
            numbers = rng.integers(low, high, value.shape)
            if name == "last_actions":
                numbers[rng.random(len(numbers)) < 0.3] = -1
            given[name] = Given(name, numbers, numbers, plain=True)
            if name == hostile:
                given[name] = integers(rng, value.shape, high, low)
        legal = all(self._legal(name, one, state[name].shape) for name, one in given.items())
        values = {name: one.value for name, one in given.items()}
        if rng.random() < 0.1:
            values[pick(rng, values)] = pick(rng, (None, "x", {}, 0))
            legal = False
        elif rng.random() < 0.05:
            values["more"] = 3
            legal = False
        self.log(f"set_state({ {name: one.what for name, one in given.items()} })")
        plain = Given("state", None, None, all(one.plain for one in given.values()))
        if self.tried(plain, legal, lambda: env.set_state(**values) or True):
            self._set_slow(**{name: one.truth for name, one in given.items()})
        self._same_state()

    def _range(self, name: str) -> tuple[int, int]:
        if name == "t":
            return 0, self.env.episode_length + 2
        if name == "last_actions":
            return 0, self.env.num_actions
        if name == "coin_owner":
            return 0, self.env.num_players
        if name == "last_rewards":
            return -2, 3
        return 0, min(self.slow.height, self.slow.width)

    def _legal(self, name: str, given: Given, shape: tuple[int, ...]) -> bool:
        truth = given.truth
        if truth is None or truth.shape != shape or truth.dtype == bool:
            given.plain = False
            if truth is None or truth.shape != shape:
                return False
        numbers = [int(number) for number in truth.flat]
        if name == "t":
            return all(0 <= number < 2**31 - 10 for number in numbers)
        if name == "last_actions":
            players, limit = self.shape[1], self.env.num_actions
            each = [numbers[i : i + players] for i in range(0, len(numbers), players)]
            return all({*row} == {-1} or all(0 <= a < limit for a in row) for row in each)
        low, high = self._range(name)
        if name in ("players_pos", "coin_pos"):
            sides = (self.slow.height, self.slow.width)
            return all(0 <= number < sides[i % 2] for i, number in enumerate(numbers))
        return all(low <= number < high for number in numbers)

    def _set_slow(self, t: Any, **state: Any) -> None:
        if hasattr(self.slow, "last_actions"):
            self.slow.t = [int(one) for one in t]
            self.slow.last_actions = state["last_actions"].astype(int).tolist()
            self.slow.terminated = [False] * self.shape[0]  # matrix games may end
            self.slow._fresh = False
        else:
            self.slow.set_state(t=t, **state)
        self.over = np.asarray(t).astype(np.int64) >= self.env.episode_length

    def _same_state(self) -> None:
        for name, theirs in self.slow.get_state().items():
            self.same(f"state {name}", self.env.get_state()[name], theirs)

    def save(self) -> None:
        state = self.env.state_dict()
        if self.rng.random() < 0.5:
            how = pick(self.rng, ("copy", "deepcopy", "pickle", "load"))
            self.log(f"goes on with a {how}")
            if how == "load":
                self.env.step(np.zeros(self.shape, np.int64))
                self.env.load_state_dict(state)
            elif how == "pickle":
                self.env = pickle.loads(pickle.dumps(self.env))
            else:
                self.env = getattr(copy, how)(self.env)
            self.carried_out += 1
            self._same_state()
            return
        path = pick(self.rng, state)
        bad = pick(self.rng, (None, "x", -1, [], {}, 2**70, 1.5, torch.zeros(3, 3), float("nan")))
        if path == "fresh" or (path == "seed" and isinstance(bad, float)):
            return
        broken = {**state, path: bad}
        if self.rng.random() < 0.3:
            del broken[path]
        self.log(f"load_state_dict with {path}={show(bad)}")
        self.tried(None, False, lambda: self.env.load_state_dict(broken))
        self._same_state()

    def damage(self) -> None:
        """Does to what was returned what its owner may do; the next calls are as ever."""
        what = pick(self.rng, ("obs", "rewards", "terminated", "truncated"))
        if what == "obs":
            tensor = self.env.reset(mask=np.zeros(self.shape[0], bool))
            self.slow.reset(mask=np.zeros(self.shape[0], bool))
        else:
            actions = self.rng.integers(0, self.env.num_actions, self.shape)
            out = self.env.step(actions)
            self._same_step(out, actions)
            tensor = out[("obs", "rewards", "terminated", "truncated").index(what)]
        ways = {
            "resize_": lambda: tensor.resize_(100_000),
            "resize_ to nothing": lambda: tensor.resize_(0),
            "storage resized": lambda: tensor.untyped_storage().resize_(0),
            "storage grown": lambda: tensor.untyped_storage().resize_(1_000_000),
            "data": lambda: setattr(tensor, "data", torch.zeros(3)),
            "set_": lambda: tensor.set_(torch.zeros(2, dtype=tensor.dtype)),
            "shared": lambda: tensor.share_memory_(),
            "transposed": lambda: tensor.t_() if tensor.ndim < 3 else tensor.transpose_(0, 1),
            "unsqueezed": lambda: tensor.unsqueeze_(0),
            "strided": lambda: tensor.as_strided_((1,), (1,), 0),
            "filled": lambda: tensor.fill_(1),
            "numpy": lambda: tensor.numpy().fill(0) if tensor.dtype != torch.bfloat16 else None,
        }
        how = pick(self.rng, ways)
        self.log(f"damages {what}: {how}")
        try:
            ways[how]()
        except RuntimeError:  # torch's own: memory that cannot grow
            self.refused += 1
            return
        self.carried_out += 1

    def players(self) -> None:
        doors = [self._memory1] if self.env.num_states else []
        doors += [self._scripted] if self.env.scripted_players else []
        pick(self.rng, doors)()

    def _memory1(self) -> None:
        own = self.rng.random() < 0.5
        any_levels = bool(self.env.scripted_players)  # of K probabilities, not the first of two
        table = (self.shape[1], self.env.num_states, self.env.num_actions) if any_levels else (2, 5)
        truth = self.rng.random((*self.shape[:1], *table) if own else table)
        truth = (truth * 1.5 - 0.25).clip(0, 1)
        if any_levels:
            truth[..., 0] += 1e-3
            truth /= truth.sum(-1, keepdims=True)
        if self.rng.random() < 0.2:
            truth.flat[0] = pick(self.rng, (-0.1, 1.1, float("nan"), float("inf")))
        given = array(self.rng, truth.astype(pick(self.rng, (np.float32, np.float64, np.float16))))
        steps = pick(self.rng, (0, 1, 3, 3, 3, -1, 2.0, None, True, 2**31))
        e = pick(self.rng, (0.0, 0.25, 1, -0.1, float("nan"), "0", None))
        self.log(f"rollout_memory1({given.what}, {steps!r}, {e!r})")
        legal = (
            (any_levels or self.env.num_actions == 2)
            and not self._refuses_rollouts()
            and type(steps) is int and 0 <= steps < 2**31
            and type(e) in (int, float) and 0 <= e <= 1
            and given.truth is not None and bool(((given.truth >= 0) & (given.truth <= 1)).all())
        )  # fmt: skip
        out = self.tried(given, legal, lambda: self.env.rollout_memory1(given.value, steps, e))
        if out is not None:
            seen, chosen, paid = self.slow.rollout_memory1(given.truth.astype(np.float32), steps, e)
            self.same("actions", out[1], chosen)
            self.same("obs", out[0], seen)
            self.same("rewards", out[2], paid)

    def _scripted(self) -> None:
        known = (*self.env.scripted_players, None)
        names = [pick(self.rng, known) for _ in range(self.shape[1])]
        ties = [pick(self.rng, ("step", "episode"))] if hasattr(self.env, "height") else []
        legal = True
        if self.rng.random() < 0.2:
            names = pick(
                self.rng, ([], None, "random", ["nobody"] * self.shape[1], [3] * self.shape[1], 5)
            )
            legal = False
        self.log(f"scripted {names} {ties}")
        out = self.tried(None, legal, lambda: self.env.scripted_actions(names, *ties))
        if out is not None:
            self.same("actions", out, self._script(names, ties))
        if not legal or self.autoreset:
            return
        steps = int(self.rng.integers(0, 4))
        moves = integers(self.rng, (steps, *self.shape), self.env.num_actions)
        if None not in names:
            moves = Given("none", None, np.zeros((steps, *self.shape), np.int64))
        self.log(f"rollout_scripted({moves.what})")
        truth = moves.truth
        legal = truth is not None and truth.shape == (steps, *self.shape)
        if legal:
            given = [p for p, name in enumerate(names) if name is None]
            asked = truth[..., given]
            legal = all(0 <= int(a) < self.env.num_actions for a in asked.flat)
        out = self.tried(
            moves, legal, lambda: self.env.rollout_scripted(names, steps, moves.value, *ties)
        )
        if out is None:
            return
        obs, played, rewards = out
        for now in range(steps):
            actions = self._script(names, ties)
            for p, name in enumerate(names):
                if name is None:
                    actions[:, p] = truth[now, :, p]
            self.same("played", played[now], actions)
            self.same("obs", obs[now], self.slow.observe())
            _, paid, _, _ = self.slow.step(actions)
            self.same("rewards", rewards[now], paid)
        self.same("obs", obs[steps], self.slow.observe())

    def _script(self, names: Any, ties: list[str]) -> np.ndarray:
        if not ties:
            return np.array(self.slow.scripted_actions(names))
        return np.array(
            [
                [
                    0 if name is None else self.slow.scripted_action(env, p, name, *ties)
                    for p, name in enumerate(names)
                ]
                for env in range(self.shape[0])
            ]
        )


def run(rng: Generator, case: EnvCase) -> None:
    """One environment and up to ten calls of it."""
    if not case.make():
        return
    operations = (
        case.step, case.step, case.step, case.rollout, case.reset, case.set_state, case.save,
        case.damage, case.players,
    )  # fmt: skip
    for _ in range(int(rng.integers(1, 11))):
        pick(rng, operations)()
