"""Hand-worked traces of every rule that tells the presets apart, and what the environment refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from coin_golden import chi_square_p

import loqa
import loqa.reference
from loqa.envs.coin_game.presets import COIN_PRESETS

MAKERS = {"native": loqa.make, "reference": loqa.reference.make}
makers = pytest.mark.parametrize("maker", MAKERS)
ONE_COIN = ("loqa24", "pola22", "lola-dice18", "lola18")
TWO_COINS = ("mfos22", "pax23")
LEFT, RIGHT, UP, DOWN = range(4)  # loqa24


def placed(
    maker: str,
    preset: str,
    players: list[tuple[int, int]],
    coin: Any,
    owner: int | None = None,
    num_envs: int = 1,
    t: int = 0,
    **settings: Any,
) -> Any:
    """An environment of identical copies of one position."""
    env = MAKERS[maker]("coin_game", num_envs=num_envs, preset=preset, **settings)
    state: dict[str, Any] = {"players_pos": players, "coin_pos": coin}
    if owner is not None:
        state["coin_owner"] = owner
    if preset == "mfos22":
        state["last_rewards"] = [0, 0]
    state["t"] = t
    env.set_state(
        **{name: np.repeat(np.array(value)[None], num_envs, 0) for name, value in state.items()}
    )
    return env


def after(env: Any, actions: list[int]) -> tuple[list[float], dict[str, Any]]:
    rewards = env.step(np.array([actions] * env.num_envs))[1]
    state = {name: np.asarray(value) for name, value in env.get_state().items()}
    return np.asarray(rewards)[0].tolist(), state


@makers
@pytest.mark.parametrize("preset", COIN_PRESETS)
def test_action_codes(maker: str, preset: str) -> None:
    """From (1, 1): where each code leads."""
    left, right, up, down = (1, 0), (1, 2), (0, 1), (2, 1)
    ways = [left, right, up, down] if preset == "loqa24" else [right, left, down, up]
    if preset == "pax23":
        ways.append((1, 1))
    coin = [(2, 2), (2, 2)] if preset in TWO_COINS else (2, 2)
    owner = None if preset in TWO_COINS else 0
    for code, way in enumerate(ways):
        env = placed(maker, preset, [(1, 1), (1, 1)], coin, owner)
        assert env.num_actions == len(ways)
        _, state = after(env, [code, code])
        assert state["players_pos"][0].tolist() == [list(way)] * 2


@makers
def test_the_board_wraps_and_players_pass_through_each_other(maker: str) -> None:
    env = placed(maker, "loqa24", [(0, 0), (0, 2)], (2, 2), 0, height=4, width=3)
    assert after(env, [LEFT, RIGHT])[1]["players_pos"].tolist() == [[[0, 2], [0, 0]]]
    assert after(env, [UP, UP])[1]["players_pos"].tolist() == [[[3, 2], [3, 0]]]
    assert after(env, [DOWN, DOWN])[1]["players_pos"].tolist() == [[[0, 2], [0, 0]]]


@makers
@pytest.mark.parametrize("preset", ONE_COIN)
@pytest.mark.parametrize("owner", [0, 1])
@pytest.mark.parametrize("taker", [0, 1])
def test_one_taker(maker: str, preset: str, owner: int, taker: int) -> None:
    """The coin at (0, 0) is reached from (0, 1); the other player goes (2, 1) -> (2, 0)."""
    players = [(0, 1), (2, 1)] if taker == 0 else [(2, 1), (0, 1)]
    env = placed(maker, preset, players, (0, 0), owner)
    left = LEFT if preset == "loqa24" else 1
    rewards, state = after(env, [left, left])
    expected = [0.0, 0.0]
    expected[taker] = 1
    if owner != taker:
        expected[owner] = -2
    assert rewards == expected
    assert state["coin_owner"].tolist() == [1 - owner]
    assert state["t"].tolist() == [1]


@makers
@pytest.mark.parametrize("preset", ONE_COIN)
@pytest.mark.parametrize("owner", [0, 1])
def test_both_step_on_the_coin(maker: str, preset: str, owner: int) -> None:
    env = placed(maker, preset, [(0, 1), (0, 1)], (0, 0), owner)
    left = LEFT if preset == "loqa24" else 1
    rewards, state = after(env, [left, left])
    if preset == "lola18":  # player 0 alone takes it
        assert rewards == ([1, 0] if owner == 0 else [1, -2])
    else:
        assert rewards == ([-1, 1] if owner == 0 else [1, -1])
    assert state["coin_owner"].tolist() == [1 - owner]


@makers
def test_nothing_but_players_moves_without_a_pick_up(maker: str) -> None:
    env = placed(maker, "loqa24", [(0, 1), (2, 1)], (1, 1), 1)
    rewards, state = after(env, [LEFT, LEFT])
    assert rewards == [0, 0]
    assert state["coin_pos"].tolist() == [[1, 1]]
    assert state["coin_owner"].tolist() == [1]


@pytest.mark.parametrize("preset", COIN_PRESETS)
def test_where_a_coin_comes_back(preset: str) -> None:
    """Players end at (0, 0), where the coin was, and (2, 0)."""
    draws = 50_000
    coin = [(0, 0), (1, 1)] if preset in TWO_COINS else (0, 0)
    owner = None if preset in TWO_COINS else 0
    env = placed("native", preset, [(0, 1), (2, 1)], coin, owner, num_envs=draws)
    left = LEFT if preset == "loqa24" else 1
    _, state = after(env, [left, left])
    counts = np.zeros((3, 3))
    first = state["coin_pos"][:, 0] if preset in TWO_COINS else state["coin_pos"]
    np.add.at(counts, tuple(first.T), 1)
    if preset in TWO_COINS:  # any cell: onto players and the other coin too
        assert (state["coin_pos"][:, 1] == [1, 1]).all()
        allowed = np.ones((3, 3), bool)
    else:
        allowed = np.array([[0, 1, 1], [1, 1, 1], [0, 1, 1]], bool)
    assert not counts[~allowed].any()
    assert chi_square_p(counts[allowed], np.full(allowed.sum(), draws / allowed.sum())) > 1e-4


@pytest.mark.parametrize("preset", COIN_PRESETS)
@pytest.mark.parametrize("num_players", [2, 3, 8])
def test_start(preset: str, num_players: int) -> None:
    if num_players > COIN_PRESETS[preset].max_players:
        with pytest.raises(ValueError, match=f"num_players must be 2 for preset '{preset}'"):
            loqa.make("coin_game", preset=preset, num_players=num_players)
        return
    draws = 40_000
    env = loqa.make("coin_game", draws, preset=preset, num_players=num_players, seed=3, width=4)
    state = {name: value.numpy() for name, value in env.get_state().items()}
    cells = state["players_pos"] @ [4, 1]
    for player in range(num_players):
        assert (
            chi_square_p(np.bincount(cells[:, player], minlength=12), np.full(12, draws / 12))
            > 1e-4
        )
    together = (cells[:, :1] == cells[:, 1:2]).mean()
    if COIN_PRESETS[preset].distinct_start:
        assert all(len(set(row)) == num_players for row in cells[:2000].tolist())
    else:
        assert together == pytest.approx(1 / 12, abs=0.01)
    coin = state["coin_pos"] @ [4, 1]
    if preset in TWO_COINS:
        pairs = np.bincount(coin[:, 0] * 12 + coin[:, 1], minlength=144)
        assert chi_square_p(pairs, np.full(144, draws / 144)) > 1e-4
        assert (coin[:, 0] == cells[:, 0]).mean() == pytest.approx(1 / 12, abs=0.01)
    else:
        assert not (coin[:, None] == cells).any()
        assert chi_square_p(np.bincount(coin, minlength=12), np.full(12, draws / 12)) > 1e-4
        owners = np.bincount(state["coin_owner"], minlength=num_players)
        assert chi_square_p(owners, np.full(num_players, draws / num_players)) > 1e-4


@makers
@pytest.mark.parametrize("preset", TWO_COINS)
def test_two_coins_keep_their_colours(maker: str, preset: str) -> None:
    left, down = 1, 2
    coins = [(0, 0), (1, 1)]  # colour 0, colour 1
    cases = [
        ([(0, 1), (1, 2)], [left, left], [1, 1]),  # each its own
        ([(1, 2), (0, 1)], [left, left], [-1, -1]),  # each the other's
        ([(0, 1), (0, 1)], [left, left], [-1, 1]),  # both on colour 0
        ([(0, 1), (0, 1)], [left, down], [1, 1]),
        ([(0, 1), (2, 2)], [left, left], [1, 0]),
        ([(2, 2), (0, 1)], [left, left], [-2, 1]),
    ]
    for players, actions, expected in cases:
        env = placed(maker, preset, players, coins)
        assert after(env, actions)[0] == expected
        assert "coin_owner" not in env.get_state()
    # Two coins on one cell: both are taken.
    env = placed(maker, preset, [(0, 1), (2, 2)], [(0, 0), (0, 0)])
    assert after(env, [left, left])[0] == [2, -2]


def plane_cells(planes: Any) -> list[list[int]]:
    """For each plane the cells of its ones, row * 3 + column."""
    return [np.flatnonzero(np.asarray(plane)).tolist() for plane in planes]


@makers
def test_observation_planes(maker: str) -> None:
    """Players at cells 1 and 5, the coin of player 1 (or coins of 0 and 1) at 6 (and 8)."""
    players, cells = [(0, 1), (1, 2)], {"coin": (2, 0), "other": (2, 2)}
    seen = {}
    for preset in COIN_PRESETS:
        two = preset in TWO_COINS
        coin = list(cells.values()) if two else cells["coin"]
        env = placed(maker, preset, players, coin, None if two else 1)
        seen[preset] = np.asarray(env.rollout(np.zeros((0, 1, 2), int))[0])[0, 0]
    assert seen["loqa24"].shape == (2, 4, 3, 3)
    assert plane_cells(seen["loqa24"][0]) == [[1], [5], [], [6]]
    assert plane_cells(seen["loqa24"][1]) == [[5], [1], [6], []]
    for preset in ("pola22", "lola-dice18"):
        assert seen[preset].shape == (2, 36)
        for view in seen[preset].reshape(2, 4, 3, 3):
            assert plane_cells(view) == [[1], [5], [], [6]]
    assert seen["lola18"].shape == (2, 4, 3, 3)
    assert plane_cells(seen["lola18"][1]) == [[1], [5], [], [6]]
    assert seen["mfos22"].shape == (2, 7, 3, 3)
    assert plane_cells(seen["mfos22"][0]) == [[1], [5], [6], [8], [], [], []]
    assert plane_cells(seen["mfos22"][1]) == [[5], [1], [8], [6], [], [], []]
    assert seen["pax23"].shape == (2, 3, 3, 4)
    assert plane_cells(seen["pax23"][0].transpose(2, 0, 1)) == [[1], [5], [6], [8]]
    assert plane_cells(seen["pax23"][1].transpose(2, 0, 1)) == [[5], [1], [8], [6]]


@makers
def test_mfos_planes_of_rewards_and_end(maker: str) -> None:
    env = placed(maker, "mfos22", [(2, 2), (0, 1)], [(0, 0), (1, 1)], t=1, episode_length=2)
    obs, rewards, _, truncated = env.step(np.array([[1, 1]]))
    assert np.asarray(rewards).tolist() == [[-2, 1]]
    assert np.asarray(truncated).all()
    constants = np.asarray(obs)[0, :, 4:]
    assert (constants[0] == np.array([-2, 1, 1])[:, None, None]).all()
    assert (constants[1] == np.array([1, -2, 1])[:, None, None]).all()
    assert not np.asarray(env.reset())[0, :, 4:].any()


@makers
def test_pax_switches(maker: str) -> None:
    players, coins = [(0, 1), (1, 2)], [(2, 0), (2, 2)]
    env = placed(maker, "pax23", players, coins, egocentric=True)
    seen = np.asarray(env.rollout(np.zeros((0, 1, 2), int))[0])[0, 0].transpose(0, 3, 1, 2)
    # Player 0 is moved by (+1, 0), player 1 by (0, -1).
    assert plane_cells(seen[0]) == [[4], [8], [0], [2]]
    assert plane_cells(seen[1]) == [[4], [0], [7], [8]]
    for switch, expected in ((False, [1, 0]), (True, [0, 0])):
        env = placed(
            maker,
            "pax23",
            [(0, 1), (2, 2)],
            [(0, 0), (1, 1)],
            t=4,
            episode_length=5,
            zero_last_reward=switch,
        )
        assert after(env, [1, 4])[0] == expected
        env = placed(
            maker,
            "pax23",
            [(0, 1), (2, 2)],
            [(0, 0), (1, 1)],
            t=3,
            episode_length=5,
            zero_last_reward=switch,
        )
        assert after(env, [1, 4])[0] == [1, 0]


@makers
def test_three_players(maker: str) -> None:
    """Round robin; every taker +1; the owner -2 once; planes rotated so that self is first."""
    start = [(0, 1), (0, 1), (2, 1)]
    env = placed(maker, "loqa24", start, (0, 0), 2, num_players=3)
    obs, rewards, _, _ = env.step(np.array([[LEFT, LEFT, LEFT]]))
    assert np.asarray(rewards).tolist() == [[1, 1, -2]]
    state = env.get_state()
    assert np.asarray(state["coin_owner"]).tolist() == [0]
    cell = int(np.asarray(state["coin_pos"])[0] @ [3, 1])
    assert cell not in (0, 6)
    planes = np.asarray(obs)[0]
    assert plane_cells(planes[0]) == [[0], [0], [6], [cell], [], []]
    assert plane_cells(planes[1]) == [[0], [6], [0], [], [], [cell]]
    assert plane_cells(planes[2]) == [[6], [0], [0], [], [cell], []]
    env = placed(maker, "loqa24", [(0, 1)] * 3, (0, 0), 1, num_players=3)
    assert after(env, [LEFT] * 3)[0] == [1, -1, 1]
    env = placed(maker, "lola18", [(2, 2), (0, 1), (0, 1)], (0, 0), 2, num_players=3)
    assert after(env, [1] * 3)[0] == [0, 1, -2]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"preset": "loqa"}, ValueError, "did you mean 'loqa24'"),
        ({"height": 1, "width": 2}, ValueError, "height \\* width must be more than the 2 players"),
        ({"num_players": 8, "height": 2, "width": 4}, ValueError, "room for the coin"),
        ({"num_players": 1}, ValueError, r"num_players must be an integer in \[2, 8\], got 1"),
        ({"num_players": 9}, ValueError, r"num_players must be an integer in \[2, 8\], got 9"),
        ({"height": 0}, ValueError, "height"),
        ({"width": 256}, ValueError, "width"),
        ({"width": 3.0}, TypeError, "width must be an integer"),
        ({"num_envs": 0}, ValueError, "num_envs"),
        ({"obs": "pixels"}, ValueError, "obs must be one of planes, cells"),
        ({"obs_dtype": torch.float64}, ValueError, "obs_dtype must be one of"),
        ({"obs": "cells", "obs_dtype": torch.float32}, ValueError, "obs_dtype must be one of"),
        ({"obs": "cells", "obs_dtype": torch.uint8, "width": 30}, ValueError, "torch.int16"),
        ({"egocentric": 1}, TypeError, "egocentric must be True or False, got 1"),
        ({"zero_last_reward": True}, ValueError, "switch of preset 'pax23'"),
        ({"zero_last_reward": 1}, TypeError, "zero_last_reward must be True or False"),
        ({"autoreset": "always"}, ValueError, "autoreset must be False, .next_step."),
        ({"heigth": 3}, TypeError, "no setting 'heigth'; did you mean 'height'"),
        ({"device": "meta"}, ValueError, "device must be 'cpu', 'cuda' or 'cuda:N', got 'meta'"),
    ],
)
def test_bad_settings(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        loqa.make("coin_game", **settings)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("bad", [4, 100, -1, 127])
def test_bad_actions_change_nothing(dtype: type, bad: int) -> None:
    if dtype is np.uint8 and bad < 0:
        bad = 255
    env = loqa.make("coin_game", num_envs=300)
    actions = np.zeros((5, 300, 2), dtype)
    env.step(actions[0])
    saved, obs = env.state_dict(), env.reset(mask=np.zeros(300, bool)).clone()
    actions[3, 299, 1] = bad
    with pytest.raises(ValueError, match=rf"actions must be in 0..3, got {bad} at \[3, 299, 1\]"):
        env.rollout(actions)
    with pytest.raises(ValueError, match=rf"actions must be in 0..3, got {bad} at \[299, 1\]"):
        env.step(actions[3])
    again = env.state_dict()
    assert all(torch.equal(again["state"][name], value) for name, value in saved["state"].items())
    assert torch.equal(env.rollout(actions[:0])[0][0], obs)


def test_unchecked_actions_out_of_range_stay_put() -> None:
    env = loqa.make("coin_game", num_envs=70, check_actions=False)
    before = env.get_state()["players_pos"]
    env.step(np.full((70, 2), 200, np.uint8))
    env.rollout(np.full((3, 70, 2), -5))
    assert torch.equal(env.get_state()["players_pos"], before)
    assert env.get_state()["t"].tolist() == [4] * 70


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"players_pos": [[[0, 0], [3, 0]]]}, "players_pos must be"),
        ({"coin_pos": [[0, -1]]}, "coin_pos must be"),
        ({"coin_owner": [2]}, "coin_owner must be in 0..1"),
        ({"t": [-1]}, "t must be"),
        ({"coin_pos": [[0.0, 1.0]]}, "integer type"),
        ({"players_pos": [[0, 0]]}, "players_pos must be"),
        ({"owner": [0]}, "set_state needs exactly"),
    ],
)
def test_bad_states(change: dict[str, Any], message: str) -> None:
    env = loqa.make("coin_game")
    state = env.get_state()
    with pytest.raises(ValueError, match=message):
        env.set_state(**{**state, **{name: torch.tensor(v) for name, v in change.items()}})
    assert all(torch.equal(env.get_state()[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda env: env.scripted_actions(["random"]), "players must be 2 names"),
        (lambda env: env.scripted_actions(["random", "tit-for-tat"]), "player must be one of"),
        (lambda env: env.rollout_scripted(["random", None], 3), "actions must be given"),
        (
            lambda env: env.rollout_scripted(["random"] * 2, 3, np.zeros((3, 1, 2), int)),
            "actions must be None",
        ),
        (
            lambda env: env.rollout_scripted(["random", None], 3, np.full((3, 1, 2), 4)),
            "actions must be in 0..3",
        ),
        (lambda env: env.scripted_actions(["random"] * 2, "never"), "tie_order must be one of"),
    ],
)
def test_bad_scripted_players(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(loqa.make("coin_game"))


@pytest.mark.parametrize(("side", "players", "cooperate", "defect"), [
    (3, 2, 0.349, 0.003), (3, 3, 0.232, 0.207), (3, 4, 0.172, 0.309), (5, 3, 0.133, 0.091)
])  # fmt: skip
def test_many_defectors_end_on_one_cell(side, players, cooperate, defect):
    """They take each coin together, n - 2 for all of them: of four, more than cooperation pays."""
    env = loqa.make("coin_game", num_envs=2000, num_players=players, height=side, width=side)
    env.reset(seed=1)
    for name, expected in (("always-cooperate", cooperate), ("always-defect", defect)):
        rewards = env.rollout_scripted([name] * players, 50)[2]
        assert rewards.mean().item() == pytest.approx(expected, abs=0.006)
