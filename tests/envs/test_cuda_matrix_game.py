"""Matrix games on a CUDA device, and its code run on the host, against the CPU: bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sim_devices import assert_same, make, on_each_device, random_actions
from test_matrix_game import ASYMMETRIC, OBS

import loqa
from loqa.envs.matrix_game.presets import MATRIX_PRESETS

MODES = (False, "next_step", "same_step")
PAYOFFS = {
    "ipd": {},
    "three-actions": {"payoff": ASYMMETRIC},
    "eleven-actions": {"payoff": np.random.default_rng(0).normal(size=(2, 11, 11))},
}


def both(device: str, num_envs: int, game: str = "ipd", **settings: Any) -> tuple[Any, Any]:
    return make(device, game, num_envs, **settings), loqa.make(game, num_envs, **settings)


def play(env: Any, plain: Any, steps: int, seed: int) -> None:
    """Steps with a partial reset, everything compared."""
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        if step == steps // 2:
            mask = torch.rand(env.num_envs, generator=generator) < 0.4
            assert_same(env.reset(mask=mask.to(env.device)), plain.reset(mask=mask))
        actions = random_actions(env, seed=seed + step)
        expected = plain.step(actions)
        assert_same(env.step(actions.to(env.device)), expected)
        if env.final_obs is not None:
            ended = expected[2] | expected[3]
            assert_same(env.final_obs.cpu()[ended], plain.final_obs[ended])
    assert_same(env.get_state(), plain.get_state())


@on_each_device
@pytest.mark.parametrize(("obs", "obs_dtype"), OBS)
@pytest.mark.parametrize("payoff", PAYOFFS)
@pytest.mark.parametrize("noise", [0, 0.3])
def test_batches_equal_cpu(
    device: str, noise: float, payoff: str, obs: str, obs_dtype: torch.dtype
) -> None:
    for index, autoreset in enumerate(MODES):
        settings = {
            "obs": obs, "obs_dtype": obs_dtype, "noise": noise, "episode_length": 4,
            "seed": 2**63 + index, "first_env": 3, **PAYOFFS[payoff],
        }  # fmt: skip
        for end_probability in (0.0, 0.2):
            more = {"autoreset": autoreset, "end_probability": end_probability}
            env, plain = both(device, (1, 67, 130)[index], **settings, **more)
            assert_same(env.reset(), plain.reset())
            play(env, plain, 11, seed=index)
        if autoreset:
            continue
        env, plain = both(device, 67, **settings)
        actions = random_actions(env, 5)
        assert_same(env.rollout(actions.to(env.device)), plain.rollout(actions))
        assert_same(env.get_state(), plain.get_state())


@on_each_device
@pytest.mark.parametrize("obs", ["bits", "index"])
def test_small_batch_in_every_way(device: str, obs: str) -> None:
    """Every kernel once, for tools that watch memory and races."""
    env, plain = both(device, 67, obs=obs, autoreset="same_step", episode_length=3, noise=0.2)
    play(env, plain, 4, seed=0)
    env, plain = both(device, 67, obs=obs)
    actions = random_actions(env, 3)
    assert_same(env.rollout(actions.to(env.device)), plain.rollout(actions))
    table = [[0.5] * 5] * 2
    assert_same(env.rollout_memory1(table, 3), plain.rollout_memory1(table, 3))


@on_each_device
@pytest.mark.parametrize(
    ("game", "preset"), [(game, preset) for game, all_ in MATRIX_PRESETS.items() for preset in all_]
)
def test_many_steps_equal_cpu(device: str, game: str, preset: str) -> None:
    """10^4 steps of an odd batch."""
    own: dict[str, Any] = {"payoff": [[1, 5], [0, 2]]} if preset == "custom" else {}
    env, plain = both(device, 33, game, preset=preset, **own, noise=0.1, seed=5)
    for part in range(20):
        actions = random_actions(env, 500, seed=part)
        assert_same(env.rollout(actions.to(env.device)), plain.rollout(actions))
        if part % 7 == 0:
            assert_same(env.reset(), plain.reset())
    assert_same(env.get_state(), plain.get_state())


@on_each_device
@pytest.mark.parametrize("shape", [(2, 5), (130, 2, 5)])
def test_memory1_players_equal_cpu(device: str, shape: tuple[int, ...]) -> None:
    table = np.random.default_rng(4).random(shape).astype(np.float32)
    env, plain = both(device, 130, noise=0.2, obs="index", seed=8)
    for given in (table, torch.from_numpy(table).to(env.device)):
        assert_same(
            env.rollout_memory1(given, 40, 0.1),
            plain.rollout_memory1(torch.as_tensor(table), 40, 0.1),
        )
    assert_same(env.get_state(), plain.get_state())
    with pytest.raises(ValueError, match=r"probabilities must be in \[0, 1\], got 2.0"):
        env.rollout_memory1([[2.0] * 5] * 2, 3)


@on_each_device
def test_state_dict_goes_on_across_devices(device: str) -> None:
    settings = {"noise": 0.2, "end_probability": 0.3, "autoreset": "next_step"}
    env, plain = both(device, 70, seed=2**64 - 1, **settings)
    play(env, plain, 9, seed=0)
    saved = plain.state_dict()
    plain.load_state_dict(env.state_dict())
    other = make(device, "ipd", 70, **settings)
    other.load_state_dict(saved)
    play(other, plain, 9, seed=5)


@on_each_device
def test_action_out_of_range_is_told_later(device: str) -> None:
    env, plain = both(device, 70, obs="index")
    actions = random_actions(env, dtype=torch.int64)
    actions[3, 0], actions[69, 1] = 2, -1
    legal = actions.where((actions >= 0) & (actions < 2), 0)
    assert_same(env.step(actions.to(env.device)), plain.step(legal))
    with pytest.raises(ValueError, match=r"in 0\.\.1: .* at least one was not, and was taken for"):
        env.get_state()
    assert_same(env.get_state(), plain.get_state())
