"""The Coin Game of a CUDA device, and its code run on the host, against the CPU: bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sim_devices import DEVICES, assert_same, make, on_each_device, random_actions
from test_coin_game import CASES, cases

import loqa
from loqa.envs.coin_game.presets import COIN_PRESETS

OBS: list[dict[str, Any]] = [
    *({"obs_dtype": dtype} for dtype in (torch.float32, torch.float16, torch.bfloat16)),
    {"obs_dtype": torch.uint8},
    *(
        {"obs": "cells", "obs_dtype": dtype}
        for dtype in (torch.uint8, torch.int16, torch.int32, torch.int64)
    ),
]
MODES = (False, "next_step", "same_step")
SCRIPTED = ["always-defect", None, "always-cooperate", "random", None, "random", None, None]


def both(device: str, num_envs: int, **settings: Any) -> tuple[Any, Any]:
    """The environment on the device and on the CPU; skips what the game does not have."""
    try:
        plain = loqa.make("coin_game", num_envs, **settings)
    except ValueError as error:
        if "obs_dtype must be one of" in str(error):
            pytest.skip("this observation does not fit that type")
        raise
    return make(device, "coin_game", num_envs, **settings), plain


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
@pytest.mark.parametrize("obs", OBS, ids=lambda obs: str(obs["obs_dtype"]) + obs.get("obs", ""))
@cases
def test_batches_equal_cpu(device: str, case: dict[str, Any], obs: dict[str, Any]) -> None:
    for index, autoreset in enumerate(MODES):
        settings = {"episode_length": 4, "seed": 2**63 + index, "first_env": 3, **case, **obs}
        env, plain = both(device, (1, 67, 130)[index], autoreset=autoreset, **settings)
        assert_same(env.reset(), plain.reset())
        play(env, plain, 11, seed=index)
        if autoreset:
            continue
        actions = random_actions(env, 5)
        assert_same(env.rollout(actions.to(env.device)), plain.rollout(actions))
        names = SCRIPTED[: env.num_players]
        for tie_order in ("step", "episode"):
            assert_same(
                env.rollout_scripted(names, 5, actions.to(env.device), tie_order),
                plain.rollout_scripted(names, 5, actions, tie_order),
            )
            assert_same(
                env.scripted_actions(names, tie_order), plain.scripted_actions(names, tie_order)
            )
        assert_same(env.get_state(), plain.get_state())


@on_each_device
@pytest.mark.parametrize(
    "case",
    [
        {},
        {"preset": "mfos22"},
        {"obs": "cells"},
        {"num_players": 5, "height": 4, "obs_dtype": torch.bfloat16},
        {"height": 20, "width": 17, "obs_dtype": torch.uint8},
    ],
    ids=str,
)
def test_small_batch_in_every_way(device: str, case: dict[str, Any]) -> None:
    """Every kernel once, for tools that watch memory and races."""
    env, plain = both(device, 67, autoreset="same_step", episode_length=3, **case)
    play(env, plain, 4, seed=0)
    env, plain = both(device, 67, **case)
    names = SCRIPTED[: env.num_players]
    actions = random_actions(env, 3)
    assert_same(env.scripted_actions(names), plain.scripted_actions(names))
    assert_same(env.rollout(actions.to(env.device)), plain.rollout(actions))
    given = actions.to(env.device)
    assert_same(env.rollout_scripted(names, 3, given), plain.rollout_scripted(names, 3, actions))


@on_each_device
@pytest.mark.parametrize("preset", COIN_PRESETS)
@pytest.mark.parametrize("obs", ["planes", "cells"])
def test_many_steps_equal_cpu(device: str, preset: str, obs: str) -> None:
    """10^4 steps of an odd batch, in rollouts that end amid episodes and amid random blocks."""
    env, plain = both(device, 33, preset=preset, obs=obs, seed=5)
    for part in range(100):
        actions = random_actions(env, 100, seed=part)
        assert_same(env.rollout(actions.to(env.device)), plain.rollout(actions))
        if part % 7 == 0:
            assert_same(env.reset(), plain.reset())
    assert_same(env.get_state(), plain.get_state())


@on_each_device
@pytest.mark.parametrize("autoreset", MODES)
@pytest.mark.parametrize("preset", COIN_PRESETS)
def test_autoreset_of_many_steps_equals_cpu(device: str, preset: str, autoreset: Any) -> None:
    env, plain = both(device, 65, preset=preset, autoreset=autoreset, episode_length=7, seed=1)
    play(env, plain, 200, seed=9)


@on_each_device
@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str
)
def test_action_types(device: str, dtype: torch.dtype) -> None:
    env, plain = both(device, 70)
    actions = random_actions(env, 4, dtype=dtype).to(env.device)
    assert_same(env.step(actions[0]), plain.step(actions[0].cpu()))
    scattered = torch.stack([actions, actions], -1)[..., 0]
    assert_same(env.rollout(scattered), plain.rollout(actions.cpu()))


@on_each_device
@pytest.mark.parametrize("num_envs", [4096, 10_007])
def test_part_of_a_large_batch(device: str, num_envs: int) -> None:
    """Environments of a batch are those of any other with the same numbers."""
    env = make(device, "coin_game", num_envs, seed=3)
    obs, _, rewards = env.rollout_scripted(["random", "always-defect"], 9)
    plain = loqa.make("coin_game", 50, seed=3, first_env=num_envs - 50)
    seen, _, paid = plain.rollout_scripted(["random", "always-defect"], 9)
    assert_same((obs[:, -50:], rewards[:, -50:]), (seen, paid))


@on_each_device
@pytest.mark.parametrize("case", [CASES[0], CASES[4], {"num_players": 5}], ids=str)
def test_state_dict_goes_on_across_devices(device: str, case: dict[str, Any]) -> None:
    """Saved on one and loaded on the other, both ways."""
    settings = {"episode_length": 4, "autoreset": "same_step", **case}
    env, plain = both(device, 70, seed=2**64 - 1, **settings)
    play(env, plain, 9, seed=0)
    saved, saved_plain = env.state_dict(), plain.state_dict()
    other, other_plain = both(device, 70, seed=1, **settings)
    other.load_state_dict(saved_plain)
    other_plain.load_state_dict(saved)
    assert all(value.is_cpu for value in saved["state"].values())
    play(other, plain, 9, seed=5)
    plain.load_state_dict(saved_plain)
    play(other_plain, plain, 9, seed=6)


@on_each_device
def test_set_state(device: str) -> None:
    env, plain = both(device, 5, height=4)
    play(env, plain, 5, seed=2)
    state = plain.get_state()
    state["t"] += torch.arange(5)
    state["players_pos"] = (state["players_pos"] + 1) % 3
    for one in (env, plain):
        one.set_state(**state)
    play(env, plain, 5, seed=3)
    with pytest.raises(
        ValueError, match=r"players_pos must be \(row, column\) on a board of 4 x 3"
    ):
        env.set_state(**{**state, "players_pos": state["players_pos"] + 9})


@on_each_device
def test_action_out_of_range_is_told_later(device: str) -> None:
    """It stays put, as on the CPU without check_actions, and the next check says so, once."""
    env = make(device, "coin_game", 70)
    plain = loqa.make("coin_game", 70, check_actions=False)
    actions = random_actions(env, dtype=torch.int64)
    actions[3, 0], actions[69, 1], actions[5, 1] = 4, -1, 2**40
    assert_same(env.step(actions.to(env.device)), plain.step(actions))
    for look in (env.check, env.get_state, env.state_dict):
        with pytest.raises(ValueError, match=r"actions must be in 0\.\.3: since the last check"):
            look()
        look()
        env.step(actions.to(env.device))
        plain.step(actions)
    env._bad_buffer.tensor.zero_()
    assert_same(env.get_state(), plain.get_state())

    given = random_actions(env, 3, dtype=torch.int64)
    given[1, 9, 0] = 256  # 0 in a byte
    out = env.rollout_scripted([None, "random"], 3, given.to(env.device))
    assert out[1][1, 9, 0] == 255
    with pytest.raises(ValueError, match="taken for staying put"):
        env.check()

    unchecked = make(device, "coin_game", 70, check_actions=False)
    unchecked.step(actions.to(env.device))
    unchecked.check()


def test_every_device_is_listed() -> None:
    """The code of the device runs here, whether or not there is one."""
    assert DEVICES[0] == "cuda-on-host"
    env = make("cuda-on-host", "coin_game", 2)
    assert env.on_device
    assert env.device == torch.device("cpu")
    assert not loqa.make("coin_game", 2).on_device
