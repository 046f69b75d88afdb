"""Random sequences of every operation: the native game and the reference never differ."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sim_devices
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

import loqa
import loqa.reference
from loqa.envs.coin_game.presets import COIN_PRESETS

NUM_ENVS = 3
STEPS = 30  # operations of an example, at most: hypothesis ends some early
OPERATIONS = int(os.environ.get("LOQA_MACHINE_OPERATIONS", "4500"))  # that must be carried out
DONE: Counter[str] = Counter()


def operation(**given: Any) -> Callable[[Callable[..., None]], Any]:
    """A rule that counts its calls that came to their end."""

    def decorate(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def counted(self: CoinMachine, **drawn: Any) -> None:
            function(self, **drawn)
            DONE[function.__name__] += 1

        return rule(**given)(counted)

    return decorate


class CoinMachine(RuleBasedStateMachine):
    make = staticmethod(loqa.make)

    @initialize(
        preset=st.sampled_from(sorted(COIN_PRESETS)),
        height=st.integers(1, 5),
        width=st.integers(3, 5),
        num_players=st.integers(2, 8),
        obs=st.sampled_from(["planes", "cells"]),
        seed=st.integers(0, 2**64 - 1),
        first_env=st.integers(0, 2**32 - 10),
    )
    def begin(self, preset: str, height: int, width: int, num_players: int, **more: Any) -> None:
        players = min(num_players, COIN_PRESETS[preset].max_players, height * width - 1)
        self.settings = {
            "preset": preset, "height": height, "width": width, "num_players": players,
            "episode_length": 3, "num_envs": NUM_ENVS, **more,
        }  # fmt: skip
        self.native = self.make("coin_game", **self.settings)
        self.slow = loqa.reference.make("coin_game", **self.settings)

    def actions(self, entropy: int, *shape: int) -> np.ndarray:
        shape = (*shape, NUM_ENVS, self.native.num_players)
        return np.random.default_rng(entropy).integers(0, self.native.num_actions, shape)

    def same(self, ours: Any, theirs: Any) -> None:
        np.testing.assert_array_equal(ours.numpy(), theirs)

    @operation(entropy=st.integers(0, 2**32))
    def step(self, entropy: int) -> None:
        actions = self.actions(entropy)
        for one, other in zip(self.native.step(actions), self.slow.step(actions), strict=True):
            self.same(one, other)

    @operation(entropy=st.integers(0, 2**32), steps=st.integers(0, 6))
    def rollout(self, entropy: int, steps: int) -> None:
        actions = self.actions(entropy, steps)
        ours, theirs = self.native.rollout(actions), self.slow.rollout(actions)
        for one, other in zip(ours, theirs, strict=True):
            self.same(one, other)

    @operation(seed=st.none() | st.integers(0, 2**64 - 1))
    def reset(self, seed: int | None) -> None:
        self.same(self.native.reset(seed=seed), self.slow.reset(seed=seed))

    @operation(mask=st.lists(st.booleans(), min_size=NUM_ENVS, max_size=NUM_ENVS))
    def reset_some(self, mask: list[bool]) -> None:
        self.same(self.native.reset(mask=np.array(mask)), self.slow.reset(mask=mask))

    @operation(entropy=st.integers(0, 2**32))
    def set_state(self, entropy: int) -> None:
        random = np.random.default_rng(entropy)
        state = {name: value.numpy() for name, value in self.native.get_state().items()}
        sides = [self.native.height, self.native.width]
        for name in ("players_pos", "coin_pos"):
            state[name] = random.integers(0, sides, state[name].shape)
        state["t"] = random.integers(0, 9, NUM_ENVS)
        if "coin_owner" in state:
            state["coin_owner"] = random.integers(0, self.native.num_players, NUM_ENVS)
        self.native.set_state(**state)
        self.slow.set_state(**state)

    @operation()
    def save_and_load(self) -> None:
        saved = self.native.state_dict()
        self.native = self.make("coin_game", **{**self.settings, "seed": 1})
        self.native.load_state_dict(saved)

    @operation(actions=st.integers(5, 2**63 - 1))
    def refused(self, actions: int) -> None:
        try:
            self.native.step(torch.full((NUM_ENVS, self.native.num_players), actions))
        except ValueError:
            return
        raise AssertionError("an action out of range was taken")

    def teardown(self) -> None:
        if hasattr(self, "native"):
            ours, theirs = self.native.get_state(), self.slow.get_state()
            for name, value in theirs.items():
                self.same(ours[name], value)


class DeviceMachine(CoinMachine):
    """The same by what the threads of a GPU do, run on the host; there actions are checked later."""

    make = staticmethod(functools.partial(sim_devices.make, "cuda-on-host"))
    refused = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("machine", "operations"),
    [(CoinMachine, OPERATIONS), (DeviceMachine, OPERATIONS // 2)],
    ids=["cpu", "cuda-on-host"],
)
def test_random_operations(machine: Any, operations: int) -> None:
    DONE.clear()
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=-(-operations * 4 // (3 * STEPS)),
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    print(f"{DONE.total()} operations: {dict(DONE)}")
    assert DONE.total() >= operations
