"""Process-wide defaults of torch change neither results nor what works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_settings_changed import default_device, default_dtype, deterministic

import loqa

DEFAULTS: dict[str, Callable[[], Any]] = {
    "device": default_device,
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "deterministic": deterministic,
}
each_default = pytest.mark.parametrize("default", DEFAULTS)

GAMES: list[dict[str, Any]] = [
    {"game": "ipd"},
    {"game": "ipd", "preset": "pola22", "noise": 0.2},
    {"game": "ipd", "obs": "index", "end_probability": 0.3, "autoreset": "same_step"},
    {"game": "chicken", "autoreset": "next_step"},
    {"game": "matrix-game", "payoff": np.arange(9.0)},
    {"game": "coin_game"},
    {"game": "coin_game", "obs": "cells", "num_players": 3},
    {"game": "coin_game", "preset": "mfos22", "autoreset": "same_step"},
    {"game": "coin_game", "preset": "pax23", "obs_dtype": torch.bfloat16, "autoreset": "next_step"},
    {"game": "public-goods", "num_players": 4, "autoreset": "next_step"},
    {"game": "n-ipd", "obs": "index"},
]


def numbers(value: Any) -> list[Any]:
    if isinstance(value, Tensor):
        return [value.dtype, str(value.device), value.double().tolist()]
    if isinstance(value, dict):
        return [part for key in sorted(value) for part in (key, *numbers(value[key]))]
    if isinstance(value, tuple | list):
        return [part for each in value for part in numbers(each)]
    return [value]


def every_call(settings: dict[str, Any]) -> list[Any]:
    rest = {name: value for name, value in settings.items() if name != "game"}
    env = loqa.make(settings["game"], 5, episode_length=3, seed=2, **rest)
    rng = np.random.default_rng(0)
    shape = (5, env.num_players)
    seen = [numbers(env.reset())]
    for _ in range(5):
        seen.append(numbers(env.step(rng.integers(0, 2, shape))))
        seen.append(numbers(env.step(torch.from_numpy(rng.integers(0, 2, shape)))))
        seen.append(numbers(env.step(rng.integers(0, 2, shape).tolist())))
    seen.append(numbers(env.final_obs) if env.final_obs is not None else [])
    seen.append(numbers(env.reset(mask=np.arange(5) % 2 == 0)))
    seen.append(numbers(env.reset(mask=[True, False, True, False, False])))
    seen.append(numbers(env.reset(seed=7)))
    if not getattr(env, "end_probability", 0):
        seen.append(numbers(env.rollout(rng.integers(0, 2, (4, *shape)))))
    if not env.autoreset:
        if env.scripted_players:
            names = [None, *["random"] * (env.num_players - 1)]
            seen.append(numbers(env.scripted_actions(names)))
            given = rng.integers(0, 2, (4, *shape))
            seen.append(numbers(env.rollout_scripted(names, 4, given)))
        if hasattr(env, "rollout_memory1") and env.num_actions == 2:
            states = env.num_states if env.scripted_players else 5
            table = (env.num_players, states, 2) if env.scripted_players else (2, states)
            seen.append(numbers(env.rollout_memory1(np.full(table, 0.5).tolist(), 4)))
            seen.append(numbers(env.rollout_memory1(np.full((5, *table), 0.5), 4)))
    env.set_state(**env.get_state())
    saved = env.state_dict()
    env.load_state_dict(saved)
    seen.append(numbers(saved))
    seen.append([env.render(1).tolist(), repr(env)])
    return seen


@each_default
@pytest.mark.parametrize("settings", GAMES, ids=str)
def test_environments(settings: dict[str, Any], default: str) -> None:
    expected = every_call(settings)
    with DEFAULTS[default]():
        assert every_call(settings) == expected


@each_default
@pytest.mark.parametrize("game", ["ipd", "coin_game"])
def test_made_within_used_without(game: str, default: str) -> None:
    """And the other way round."""
    with DEFAULTS[default]():
        inside = loqa.make(game, 4, episode_length=2, autoreset="same_step")
    outside = loqa.make(game, 4, episode_length=2, autoreset="same_step")
    actions = np.ones((4, 2), int)
    for _ in range(4):
        ours = inside.step(actions)
        with DEFAULTS[default]():
            theirs = outside.step(actions)
        assert numbers(ours) == numbers(theirs)
        assert not any(result.is_inference() for result in ours)
    inside.reset(seed=3)
    inside.set_state(**inside.get_state())
    obs = inside.step(actions)[0]
    weight = torch.ones((), dtype=torch.float32, requires_grad=True)
    (obs.float() * weight).sum().backward()  # a result may be saved for a derivative


@each_default
def test_gymnasium(default: str) -> None:
    pytest.importorskip("gymnasium")
    from loqa.envs.gymnasium import VectorEnv

    def play() -> list[Any]:
        seen: list[Any] = []
        for game, opponent in (
            ("ipd", "tit-for-tat"),
            ("ipd", "random"),
            ("coin_game", "always-defect"),
            ("coin_game", lambda obs: np.zeros(len(obs), int)),
        ):
            env = VectorEnv(game, 3, opponent=opponent, episode_length=3)
            seen.append(env.reset(seed=1)[0].tolist())
            for _ in range(5):
                seen += [value.tolist() for value in env.step(np.array([0, 1, 1]))[:4]]
        return seen

    expected = play()
    with DEFAULTS[default]():
        assert play() == expected


@each_default
def test_pettingzoo(default: str) -> None:
    pytest.importorskip("pettingzoo")
    from loqa.envs.pettingzoo import parallel_env

    def play() -> list[Any]:
        env = parallel_env("coin_game")
        obs, _ = env.reset(seed=3)
        seen = [obs["player_0"].tolist()]
        for action in (0, 3, 2):
            seen.append(str(env.step({"player_0": action, "player_1": 1})))
        return seen

    expected = play()
    with DEFAULTS[default]():
        assert play() == expected


class Leaning(torch.nn.Module):
    """A policy that makes tensors as people do, with the weight on the CPU in float32."""

    def __init__(self) -> None:
        super().__init__()
        logits = torch.tensor([0.3, -0.2], dtype=torch.float32, device="cpu")
        self.logits = torch.nn.Parameter(logits)

    def initial_state(self, batch_size: int) -> Tensor:
        return self.logits.new_zeros(batch_size, 1)

    def step(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.logits.log_softmax(-1).expand(len(obs), 2), state


@each_default
@pytest.mark.parametrize(
    ("game", "players"),
    [
        ("ipd", ("tft", "random")),
        ("ipd", ("tit-for-2-tats", "random")),
        ("coin_game", ("ac", "random")),
        ("coin_game", ("loqa-coin-3x3", "ad")),
    ],
)
def test_evaluate(game: str, players: tuple[str, str], default: str) -> None:
    def play() -> list[float]:
        total = loqa.evaluate(*players, game=game, episodes=4, seed=1).total
        return [part for side in total.reward for part in (side.mean, side.low, side.high)]

    expected = play()
    with DEFAULTS[default]():
        assert play() == pytest.approx(expected, abs=0 if "loqa-coin-3x3" not in players else 1e-6)


@each_default
def test_evaluate_a_policy(default: str) -> None:
    policy = Leaning()

    def play() -> list[float]:
        total = loqa.evaluate(policy, "tft", game="ipd", episodes=4, seed=1).total
        return [side.mean for side in total.reward]

    expected = play()
    with DEFAULTS[default]():
        assert play() == expected


@each_default
def test_league(default: str) -> None:
    def play() -> list[Any]:
        result = loqa.league(["ac", "ad", "tft", "random"], game="ipd", episodes=4, seed=1)
        return str(result)

    expected = play()
    with DEFAULTS[default]():
        assert play() == expected
