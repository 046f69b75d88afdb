"""The native Coin Game against the reference, and the promises of its vectorised environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import loqa
import loqa.reference
from loqa._native import core
from loqa.envs.coin_game.presets import COIN_PRESETS, SCRIPTED_COIN_PLAYERS

CASES: list[dict[str, Any]] = [
    *({"preset": name} for name in COIN_PRESETS),
    *({"preset": name, "height": 4, "width": 3} for name in COIN_PRESETS),
    *({"num_players": n, "height": 3, "width": 5} for n in range(2, 9)),
    {"preset": "lola18", "num_players": 3},
    {"preset": "lola-dice18", "num_players": 8},
    {"preset": "pola22", "num_players": 5, "height": 7, "width": 2},
    {"height": 1, "width": 3},
    {"height": 3, "width": 1},
    {"height": 2, "width": 2, "num_players": 3},
    {"height": 9, "width": 1, "num_players": 8},
    {"height": 20, "width": 17},
    *({"preset": name, "egocentric": True, "height": 4, "width": 5} for name in COIN_PRESETS),
    {"num_players": 5, "egocentric": True, "height": 2, "width": 6},
    {"preset": "pax23", "egocentric": True, "zero_last_reward": True, "height": 4, "width": 5},
    {"preset": "mfos22", "height": 2, "width": 5},
]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))


def actions_for(env: Any, *shape: int, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(0, env.num_actions, (*shape, env.num_envs, env.num_players), np.uint8)


def assert_same_state(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(other[name]), err_msg=name)


@cases
@pytest.mark.parametrize("obs", ["planes", "cells"])
def test_rollout_equals_reference(case: dict[str, Any], obs: str) -> None:
    settings = {**case, "obs": obs, "seed": 2**40 + 3, "first_env": 11, "episode_length": 9}
    native = loqa.make("coin_game", num_envs=67, **settings)
    slow = loqa.reference.make("coin_game", num_envs=67, **settings)
    assert_same_state(native.get_state(), slow.get_state())
    actions = actions_for(native, 13)
    for _ in range(2):  # the second time from a state amid four steps of one random block
        seen, rewards = native.rollout(actions)
        slow_seen, slow_rewards = slow.rollout(actions)
        np.testing.assert_array_equal(seen.numpy(), slow_seen)
        np.testing.assert_array_equal(rewards.numpy(), slow_rewards)
        assert_same_state(native.get_state(), slow.get_state())
        assert native.obs_shape == slow_seen.shape[3:]


@cases
def test_step_equals_rollout(case: dict[str, Any]) -> None:
    one = loqa.make("coin_game", num_envs=130, **case, episode_length=4)
    other = loqa.make("coin_game", num_envs=130, **case, episode_length=4)
    actions = actions_for(one, 6)
    seen, rewards = one.rollout(actions)
    np.testing.assert_array_equal(other.reset().numpy(), seen[0].numpy())
    for t in range(6):
        obs, reward, terminated, truncated = other.step(actions[t])
        np.testing.assert_array_equal(obs.numpy(), seen[t + 1].numpy())
        np.testing.assert_array_equal(reward.numpy(), rewards[t].numpy())
        assert not terminated.any()
        assert truncated.all() == truncated.any() == (t + 1 >= 4)
    assert_same_state(one.get_state(), other.get_state())


@pytest.mark.parametrize("preset", COIN_PRESETS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8])
def test_plane_types(preset: str, dtype: torch.dtype) -> None:
    plain = loqa.make("coin_game", num_envs=70, preset=preset)
    actions = actions_for(plain, 5)
    if preset == "mfos22" and dtype == torch.uint8:
        with pytest.raises(ValueError, match="obs_dtype must be one of"):
            loqa.make("coin_game", preset=preset, obs_dtype=dtype)
        return
    other = loqa.make("coin_game", num_envs=70, preset=preset, obs_dtype=dtype)
    expected, seen = plain.rollout(actions)[0], other.rollout(actions)[0]
    assert seen.dtype == dtype
    assert torch.equal(seen.float(), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_cells_embed_as_planes(dtype: torch.dtype) -> None:
    planes = loqa.make("coin_game", num_envs=70, height=4, width=5)
    cells = loqa.make("coin_game", num_envs=70, height=4, width=5, obs="cells", obs_dtype=dtype)
    actions = actions_for(planes, 3)
    layer = torch.nn.Linear(80, 16)
    wide = layer(planes.rollout(actions)[0].flatten(3))
    places = cells.rollout(actions)[0]
    assert places.dtype == dtype
    bags = places.to(torch.int64).flatten(0, 2)
    summed = torch.nn.functional.embedding_bag(bags, layer.weight.t(), mode="sum") + layer.bias
    torch.testing.assert_close(summed.view_as(wide), wide)


def everything(env: Any, actions: np.ndarray) -> list[np.ndarray]:
    seen, rewards = env.rollout(actions)
    state = env.get_state()
    return [seen.numpy(), rewards.numpy(), *(state[name].numpy() for name in sorted(state))]


@pytest.mark.parametrize("case", [{}, {"num_players": 3}, {"preset": "mfos22"}], ids=str)
def test_independent_of_threads_and_instruction_set(case: dict[str, Any]) -> None:
    actions = actions_for(loqa.make("coin_game", num_envs=9000, **case), 10)
    expected = everything(loqa.make("coin_game", num_envs=9000, num_threads=1, **case), actions)
    before = core.isa()
    try:
        for isa in core.supported_isas():
            core.set_isa(isa)
            for threads in (1, 2, 3):
                env = loqa.make("coin_game", num_envs=9000, num_threads=threads, **case)
                for one, other in zip(everything(env, actions), expected, strict=True):
                    np.testing.assert_array_equal(one, other)
    finally:
        core.set_isa(before)


@pytest.mark.parametrize("case", [{}, {"num_players": 5}, {"preset": "pax23"}], ids=str)
def test_independent_of_the_batch(case: dict[str, Any]) -> None:
    whole = loqa.make("coin_game", num_envs=200, **case, seed=3)
    actions = actions_for(whole, 9)
    expected = everything(whole, actions)
    part = loqa.make("coin_game", num_envs=37, first_env=111, **case, seed=3)
    for one, all_of_it in zip(everything(part, actions[:, 111:148]), expected, strict=True):
        axis = 0 if all_of_it.shape[0] == 200 else 1
        np.testing.assert_array_equal(one, np.take(all_of_it, range(111, 148), axis))


def test_partial_reset_and_call_order() -> None:
    """What an environment does is a function of (seed, its number, episode, t) alone."""
    env = loqa.make("coin_game", num_envs=150, seed=4)
    slow = loqa.reference.make("coin_game", num_envs=150, seed=4)
    random = np.random.default_rng(0)
    for _ in range(12):
        mask = random.random(150) < 0.3
        np.testing.assert_array_equal(env.reset(mask=mask).numpy(), slow.reset(mask=mask))
        actions = actions_for(env)
        for one, other in zip(env.step(actions), slow.step(actions), strict=True):
            np.testing.assert_array_equal(one.numpy(), other)
    assert_same_state(env.get_state(), slow.get_state())


def test_reset_by_what_a_step_returned() -> None:
    env = loqa.make("coin_game", num_envs=9, episode_length=2)
    slow = loqa.reference.make("coin_game", num_envs=9, episode_length=2)
    for mask in (None, np.arange(9) % 2 == 0):
        for one in (env, slow):
            one.step(actions_for(env))
            if mask is not None:
                one.reset(mask=mask)
    truncated = env.step(actions_for(env))[3]
    assert truncated.tolist() == [False, True] * 4 + [False]
    ended = truncated.numpy().copy()
    slow.step(actions_for(env))
    np.testing.assert_array_equal(env.reset(mask=truncated).numpy(), slow.reset(mask=ended))
    assert_same_state(env.get_state(), slow.get_state())


@pytest.mark.parametrize("preset", COIN_PRESETS)
def test_state_dict_goes_on_bit_for_bit(preset: str) -> None:
    env = loqa.make("coin_game", num_envs=70, preset=preset, seed=8)
    actions = actions_for(env, 7)
    env.rollout(actions)
    env.reset(mask=np.arange(70) % 3 == 0)
    saved = env.state_dict()
    expected = everything(env, actions)
    after_reset = env.reset().clone()
    other = loqa.make("coin_game", num_envs=70, preset=preset, seed=1)
    other.load_state_dict(saved)
    for one, two in zip(everything(other, actions), expected, strict=True):
        np.testing.assert_array_equal(one, two)
    assert torch.equal(other.reset(), after_reset)


def test_state_dict_of_another_board_is_refused() -> None:
    saved = loqa.make("coin_game", obs="cells").state_dict()
    for settings in (
        {"height": 4},
        {"preset": "lola18"},
        {"num_players": 3},
        {"episode_length": 7},
    ):
        with pytest.raises(ValueError, match=r"state_dict is of .*, this environment is"):
            loqa.make("coin_game", obs="cells", **settings).load_state_dict(saved)


@pytest.mark.parametrize("preset", COIN_PRESETS)
@pytest.mark.parametrize("tie_order", ["step", "episode"])
def test_scripted_rollout_equals_reference(preset: str, tie_order: str) -> None:
    settings: dict[str, Any] = {"num_envs": 66, "preset": preset, "height": 4, "width": 5}
    env = loqa.make("coin_game", **settings)
    slow = loqa.reference.make("coin_game", **settings)
    for names in [("always-cooperate", "random"), ("always-defect", "always-cooperate")]:
        seen, played, rewards = env.rollout_scripted(names, 7, tie_order=tie_order)
        for t in range(7):
            chosen = np.array(
                [
                    [slow.scripted_action(e, p, names[p], tie_order) for p in (0, 1)]
                    for e in range(66)
                ]
            )
            np.testing.assert_array_equal(played[t].numpy(), chosen)
            obs, reward, _, _ = slow.step(chosen)
            np.testing.assert_array_equal(seen[t + 1].numpy(), obs)
            np.testing.assert_array_equal(rewards[t].numpy(), reward)


@pytest.mark.parametrize("num_players", [2, 4])
def test_scripted_player_against_given_moves(num_players: int) -> None:
    env = loqa.make("coin_game", num_envs=66, num_players=num_players)
    other = loqa.make("coin_game", num_envs=66, num_players=num_players)
    names = [None, "always-defect", "random", None][:num_players]
    actions = actions_for(env, 8)
    seen, played, rewards = env.rollout_scripted(names, 8, actions)
    for t in range(8):
        chosen = other.scripted_actions(names)
        for player, name in enumerate(names):
            if name is None:
                chosen[:, player] = torch.from_numpy(actions[t, :, player])
        assert torch.equal(chosen, played[t])
        obs, reward, _, _ = other.step(chosen)
        assert torch.equal(obs, seen[t + 1])
        assert torch.equal(reward, rewards[t])


ORACLES = [
    ("always-cooperate", "always-cooperate", 0.348, 0.348),
    ("always-cooperate", "always-defect", -0.267, 0.6335),
    ("always-defect", "always-defect", 0.0, 0.0),
    ("always-defect", "random", 0.526, -0.534),
    ("always-cooperate", "random", 0.053, 0.106),
    ("random", "random", 0.0, 0.0),
]


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: f"{oracle[0]}-{oracle[1]}")
def test_oracle_table(oracle: tuple[str, str, float, float]) -> None:
    """Mean rewards per step over 10^6 steps; either player may sit first."""
    row, column, row_mean, column_mean = oracle
    env = loqa.make("coin_game", num_envs=20_000, obs="cells", seed=1)
    _, _, rewards = env.rollout_scripted((row, column), 50)
    means = rewards.double().mean((0, 1))
    assert means.tolist() == pytest.approx([row_mean, column_mean], abs=0.01)
    env.reset()
    _, _, rewards = env.rollout_scripted((column, row), 50)
    assert rewards.double().mean((0, 1)).tolist() == pytest.approx(
        [column_mean, row_mean], abs=0.01
    )
    assert set(SCRIPTED_COIN_PLAYERS) >= {row, column}
