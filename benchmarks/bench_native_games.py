"""Games of the generic driver: environment steps per second.

    pytest benchmarks/bench_native_games.py --benchmark-json=FILE    then benchmarks/report.py FILE
    pytest benchmarks/bench_native_games.py --benchmark-disable      checks the results only

`step` gives actions to one step of B environments and reads its views; `rollout` is one call of 50
steps; `rollout_memory1` draws the players' actions too. Baselines: the pure-Python reference, and NumPy
vectorised over B. Every contender's result is compared with the reference before it is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from compared import CHECKED, check

import loqa
import loqa.reference

STEPS = 50
BATCHES = (512, 8192, 65536)
PURE_PYTHON_BATCH = 512  # it takes the same time for each environment
GAMES: dict[str, dict[str, Any]] = {
    "n-ipd, 2 players": {"num_players": 2, "obs": "index", "obs_dtype": torch.int8},
    "n-ipd, 3 players": {"num_players": 3, "obs": "index", "obs_dtype": torch.int8},
    "n-ipd, 5 players": {"num_players": 5, "obs": "index", "obs_dtype": torch.int8},
    "n-ipd, 3 players, counts": {"num_players": 3, "obs": "count"},
    "continuous-ipd, 2 players": {},
    "cournot, 2 players": {},
}

Results = tuple[np.ndarray, np.ndarray]


class NumPyPublicGoods:
    """The n-player dilemma vectorised over environments, as one would write it in NumPy."""

    def __init__(self, num_envs: int, num_players: int, obs: str) -> None:
        self.num_players, self.obs = num_players, obs
        base, gain, own = loqa.make("n-ipd", 1, num_players=num_players).payoff
        self.base, self.gain, self.own = (np.float32(v) for v in (base, gain, own))
        shape = (num_envs, num_players)
        if obs == "index":
            self.start: np.ndarray = np.zeros(shape, np.int8)
        else:
            self.start = np.zeros((*shape, 2 + num_players), np.float32)
            self.bits = np.eye(2 + num_players, dtype=np.float32)

    def step(self, actions: np.ndarray) -> Results:
        others = actions.sum(1, keepdims=True, dtype=np.int8) - actions
        paid = self.base + self.gain * others.astype(np.float32)
        paid += self.own * actions.astype(np.float32)
        if self.obs == "index":
            return 1 + actions * np.int8(self.num_players) + others, paid
        return self.bits[actions] + self.bits[2 + others], paid

    def rollout(self, actions: np.ndarray) -> Results:
        obs, rewards = [self.start], []
        for now in actions:
            seen, paid = self.step(now)
            obs.append(seen)
            rewards.append(paid)
        return np.stack(obs), np.stack(rewards)


class NumPyContinuous(NumPyPublicGoods):
    """A continuous game of two players."""

    def __init__(self, num_envs: int, game: str) -> None:
        self.payoff = [np.float32(v) for v in loqa.make(game, 1).payoff]
        self.start = np.zeros((num_envs, 2, 3), np.float32)

    def step(self, actions: np.ndarray) -> Results:
        base, own, others, square, cross = self.payoff
        mine, theirs = actions[..., 0], actions[:, ::-1, 0]
        paid = (
            base + own * mine + others * theirs + square * (mine * mine) + cross * (mine * theirs)
        )
        return np.stack([np.ones_like(mine), mine, theirs], -1), paid


def contender(
    name: str, game: str, rules: dict[str, Any], num_envs: int
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """step and rollout of one implementation; the first two results are obs and rewards."""
    env: Any
    if name == "numpy":
        env = (
            NumPyPublicGoods(num_envs, rules["num_players"], rules["obs"])
            if rules
            else NumPyContinuous(num_envs, game)
        )
    elif name == "python":
        env = loqa.reference.make(game, num_envs, **of_reference(rules))
    else:
        env = loqa.make(game, num_envs, num_threads=int(name.removeprefix("loqa-")), **rules)
    return env.step, env.rollout


def of_reference(rules: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in rules.items() if key != "obs_dtype"}


@pytest.mark.parametrize("num_envs", BATCHES)
@pytest.mark.parametrize("title", GAMES)
@pytest.mark.parametrize("call", ["rollout", "step"])
@pytest.mark.parametrize("name", ["loqa-2", "loqa-1", "numpy", "python"])
def test_native_game(
    timed: Callable[..., None], quick: bool, name: str, call: str, title: str, num_envs: int
) -> None:
    if name == "python" and num_envs > PURE_PYTHON_BATCH:
        pytest.skip(f"pure Python is timed up to B = {PURE_PYTHON_BATCH}")
    game, rules = title.partition(",")[0], GAMES[title]
    players = rules.get("num_players", 2)
    steps, draw = 3 if quick else STEPS, np.random.default_rng(0)
    actions: np.ndarray = draw.integers(0, 2, (steps, num_envs, players)).astype(np.uint8)
    if not rules:
        actions = draw.random((steps, num_envs, players, 1), dtype=np.float32)
    step, rollout = contender(name, game, rules, num_envs)
    check(step, rollout, actions, partial(loqa.reference.make, game, **of_reference(rules)))
    given: Any = torch.from_numpy(actions) if name.startswith("loqa") else actions
    now, obs = given[0], rules.get("obs", "actions")
    about = {"game": title, "contender": name, "call": call, "obs": obs, "num_envs": num_envs}
    if call == "rollout":
        timed(lambda: rollout(given), steps * num_envs, **about)
    else:
        timed(lambda: step(now), num_envs, **about)


@pytest.mark.parametrize("num_envs", BATCHES)
@pytest.mark.parametrize("players", [2, 3, 5])
@pytest.mark.parametrize("name", ["loqa-2", "loqa-1"])
def test_memory1(
    timed: Callable[..., None], quick: bool, name: str, players: int, num_envs: int
) -> None:
    """All players' actions sampled too: rollout_memory1 of 50 steps."""
    title = f"n-ipd, {players} players"
    rules, steps = GAMES[title], 3 if quick else STEPS
    few = min(num_envs, CHECKED)
    env = loqa.make("n-ipd", num_envs, num_threads=int(name.removeprefix("loqa-")), **rules)
    give = np.linspace(0.1, 0.9, env.num_states, dtype=np.float32)
    policy = np.stack([np.stack([1 - give, give], -1)] * players)
    reference = loqa.reference.make("n-ipd", few, **of_reference(rules))
    ours, theirs = env.rollout_memory1(policy, 3, 0.2), reference.rollout_memory1(policy, 3, 0.2)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine[:, :few], other)
    about = {"contender": name, "call": "rollout_memory1", "obs": "index", "num_envs": num_envs}
    timed(lambda: env.rollout_memory1(policy, steps, 0.2), steps * num_envs, game=title, **about)
