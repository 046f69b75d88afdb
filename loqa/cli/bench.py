"""How fast the simulators are on this machine, beside the same games in plain Python."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.benchmark import Timer

import loqa
import loqa.reference
from loqa import _checks
from loqa.cli.terminal import DONE, Terminal
from loqa.envs.registry import names
from loqa.games.registry import played

_PLAYED = dict.fromkeys(one.env_name for one, _ in played())
GAMES = [name for name in _PLAYED if name.replace("_", "-") in names()]
PYTHON_ENVS = 64
"""Environments of the plain Python games, whose steps take long."""


@dataclass(frozen=True)
class Speed:
    """Environment steps a second: `step` and `rollout` of ours, `step` of the plain Python game."""

    step: float
    rollout: float
    python: float


def bench(
    game: str,
    num_envs: int = 8192,
    num_threads: int | None = None,
    seconds: float = 0.3,
    steps: int = 20,
) -> Speed:
    """Measures a game with its default settings and random actions.

    Observations and rewards are compared with the plain Python game before anything is timed.

    Args:
        game: one of `GAMES`.
        num_envs: B, environments of ours.
        num_threads: of ours; by default all that the machine gives.
        seconds: that every measurement lasts at least; its median call counts.
        steps: T, length of a rollout.

    Returns:
        Rates, environment steps per second.

    Raises:
        ValueError: an argument out of range.
        RuntimeError: the two games differ.
    """
    _checks.one_of("game", game, GAMES)
    _checks.integer("num_envs", num_envs, 1, 2**24)
    _checks.integer("steps", steps, 1, 2**16)
    _checks.real("seconds", seconds, 0.0)
    env = loqa.make(game, num_envs, num_threads=num_threads)
    python = loqa.reference.make(game, few := min(num_envs, PYTHON_ENVS))
    actions = _random_actions(env, steps)
    some, first = actions[:, :few].numpy(), actions[0]
    env.reset(seed=0)
    for ours, expected in zip(env.rollout(actions), python.rollout(some), strict=True):
        if not np.array_equal(ours[:, :few].numpy(), expected):
            raise RuntimeError(f"{game}: the native game differs from the plain Python one")
    return Speed(
        step=num_envs / _seconds(lambda: env.step(first), seconds),
        rollout=num_envs * steps / _seconds(lambda: env.rollout(actions), seconds),
        python=few / _seconds(lambda: python.step(some[0]), seconds),
    )


def _random_actions(env: Any, steps: int) -> torch.Tensor:
    spec, generator = env.spec, torch.Generator().manual_seed(0)
    shape = (steps, env.num_envs, spec.num_players)
    if spec.action_box is None:
        return torch.randint(spec.num_actions, shape, dtype=torch.uint8, generator=generator)
    return torch.empty(*shape, spec.action_size).uniform_(*spec.action_box, generator=generator)


def _seconds(call: Callable[[], Any], at_least: float) -> float:
    """The median time of a call."""
    return Timer("call()", globals={"call": call}).blocked_autorange(min_run_time=at_least).median


def add_bench(one: argparse.ArgumentParser) -> None:
    one.add_argument("--num-envs", type=int, default=8192, help="[8192]")
    one.add_argument("--num-threads", type=int, help="[all cores]")
    one.set_defaults(run=_bench)


def _bench(options: argparse.Namespace, console: Terminal) -> int:
    def row(name: str, *cells: str) -> None:
        text = f"{name:>19}" + "".join(f"{cell:>20}" for cell in cells)
        console.say(text)

    row("million env steps/s", "step", "rollout", "plain Python", "step / plain Python")
    for name in GAMES:
        speed = bench(name, options.num_envs, options.num_threads)
        rates = (rate / 1e6 for rate in (speed.step, speed.rollout, speed.python))
        row(name, *(f"{rate:.3f}" for rate in rates), f"{speed.step / speed.python:,.0f}")
    return DONE
