"""Both versions of the Coin Game against the recorded transitions of the official LOQA code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coin_golden import BOARDS, board_of, load

import loqa.reference

MAKERS = {"reference": loqa.reference.make}
maker_of = pytest.mark.parametrize("maker", MAKERS)
boards = pytest.mark.parametrize("board", BOARDS)


def make(maker: str, board: str, num_envs: int, **settings: Any) -> Any:
    return MAKERS[maker]("coin_game", num_envs=num_envs, **board_of(board), **settings)


def numbers(values: Any) -> np.ndarray:
    return np.asarray(values)


@maker_of
@boards
def test_transitions(maker: str, board: str) -> None:
    golden = load(f"coin_env_{board}.npz")
    count = len(golden["kind"])
    env = make(maker, board, count)
    state = {key: golden[key] for key in ("players_pos", "coin_pos", "coin_owner")}
    env.set_state(**state, t=np.arange(count) % 50)
    seen, rewards, terminated, _ = env.step(golden["actions"])
    after = env.get_state()
    np.testing.assert_array_equal(after["players_pos"], golden["next_players_pos"])
    np.testing.assert_array_equal(after["coin_owner"], golden["next_coin_owner"])
    np.testing.assert_array_equal(rewards, golden["rewards"])
    np.testing.assert_array_equal(after["t"], np.arange(count) % 50 + 1)
    assert not numbers(terminated).any()
    taken = golden["taken"]
    assert taken.sum() > 40
    np.testing.assert_array_equal(after["coin_pos"][~taken], golden["next_coin_pos"][~taken])
    seen = numbers(seen)
    np.testing.assert_array_equal(seen[~taken], golden["next_obs"][~taken])
    np.testing.assert_array_equal(seen[:, :, :2], golden["next_obs"][:, :, :2])
    # A coin that was taken is on no player's cell now.
    on = (numbers(after["players_pos"]) == numbers(after["coin_pos"])[:, None]).all(-1)
    assert not on[taken].any()


@maker_of
@boards
def test_observations(maker: str, board: str) -> None:
    golden = load(f"coin_env_{board}.npz")
    count = len(golden["kind"])
    state = {key: golden[key] for key in ("players_pos", "coin_pos", "coin_owner")}
    env = make(maker, board, count)
    env.set_state(**state, t=np.zeros(count, int))
    assert env.get_state().keys() == {*state, "t"}
    actions = np.zeros((0, count, 2), int)
    np.testing.assert_array_equal(numbers(env.rollout(actions)[0])[0], golden["obs"])
    cells = make(maker, board, count, obs="cells")
    cells.set_state(**state, t=np.zeros(count, int))
    places = numbers(cells.rollout(actions)[0])[0]
    height, width = golden["obs"].shape[-2:]
    planes = np.zeros((count, 2, 4 * height * width))
    np.put_along_axis(planes, places.astype(int), 1, -1)
    np.testing.assert_array_equal(planes.reshape(golden["obs"].shape), golden["obs"])


@maker_of
@boards
def test_trajectories(maker: str, board: str) -> None:
    """Whole episodes; the coin is put where it re-appeared in the recorded one."""
    golden = load(f"coin_env_{board}.npz")
    steps = golden["traj_actions"].shape[1]
    count = len(golden["traj_actions"])
    env = make(maker, board, count, episode_length=steps)
    for t in range(steps):
        now = {
            key: golden[f"traj_{key}"][:, t] for key in ("players_pos", "coin_pos", "coin_owner")
        }
        env.set_state(**now, t=np.full(count, t))
        actions = golden["traj_actions"][:, t]
        before = numbers(env.rollout(np.zeros((0, count, 2), int))[0])[0]
        np.testing.assert_array_equal(before, golden["traj_obs"][:, t])
        _, rewards, _, truncated = env.step(actions)
        np.testing.assert_array_equal(rewards, golden["traj_rewards"][:, t])
        after = env.get_state()
        np.testing.assert_array_equal(after["players_pos"], golden["traj_players_pos"][:, t + 1])
        np.testing.assert_array_equal(after["coin_owner"], golden["traj_coin_owner"][:, t + 1])
        assert numbers(truncated).all() == (t == steps - 1)


@boards
def test_scripted_choices(board: str) -> None:
    golden = load(f"coin_env_{board}.npz")
    count = len(golden["kind"])
    env = make("reference", board, count)
    state = {key: golden[key] for key in ("players_pos", "coin_pos", "coin_owner")}
    env.set_state(**state, t=np.zeros(count, int))
    for name, key in (("always-defect", "defect"), ("always-cooperate", "cooperate")):
        for index in range(count):
            recorded = np.flatnonzero(golden[f"scripted_{key}_actions_seen"][index]).tolist()
            assert env.scripted_choices(index, 1, name) == recorded
