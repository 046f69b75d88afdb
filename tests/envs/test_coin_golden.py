"""Both versions of the Coin Game against the recorded transitions of the official LOQA code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coin_golden import BOARDS, board_of, chi_square_p, load

import loqa
import loqa.reference

MAKERS = {"reference": loqa.reference.make, "native": loqa.make}
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


@boards
@pytest.mark.parametrize(
    ("name", "key"), [("always-defect", "defect"), ("always-cooperate", "cooperate")]
)
def test_native_scripted_choices(board: str, name: str, key: str) -> None:
    """Over many episodes (which number the draws) exactly the recorded actions are chosen."""
    golden = load(f"coin_env_{board}.npz")
    count = len(golden["kind"])
    env = make("native", board, count)
    state = {key: golden[key] for key in ("players_pos", "coin_pos", "coin_owner")}
    seen = np.zeros((count, 4), bool)
    for t in range(60):
        env.set_state(**state, t=np.full(count, t))
        actions = env.scripted_actions([None, name])[:, 1].numpy()
        seen[np.arange(count), actions] = True
    np.testing.assert_array_equal(seen, golden[f"scripted_{key}_actions_seen"])


@boards
def test_reset_and_respawn_distributions(board: str) -> None:
    """The recorded counts and ours are draws from the stated distributions."""
    golden = load(f"coin_env_{board}.npz")
    sizes = board_of(board)
    cells = sizes["height"] * sizes["width"]
    draws = 200_000
    env = make("native", board, draws, obs="cells", seed=5)
    state = {key: value.numpy() for key, value in env.get_state().items()}
    places = state["players_pos"] @ [sizes["width"], 1]
    coin = state["coin_pos"] @ [sizes["width"], 1]
    joint = np.bincount(places[:, 0] * cells + places[:, 1], minlength=cells**2)
    assert not (places == coin[:, None]).any()
    assert golden["reset_coin_on_player"] == 0
    for counts, recorded in (
        (joint, golden["reset_joint_player_counts"]),
        (np.bincount(coin, minlength=cells), golden["reset_coin_counts"]),
        (np.bincount(state["coin_owner"], minlength=2), golden["reset_owner_counts"]),
    ):
        for sample in (counts, recorded.ravel()):
            uniform = np.full(sample.size, sample.sum() / sample.size)
            assert chi_square_p(sample, uniform) > 1e-4
    # Players end at (0, 1) and (1, 1); player 0 takes the coin.
    env.set_state(
        players_pos=np.tile([[0, 0], [1, 0]], (draws, 1, 1)),
        coin_pos=np.tile([0, 1], (draws, 1)),
        coin_owner=np.zeros(draws, int),
        t=np.arange(draws) % 4,
    )
    env.step(np.ones((draws, 2), np.uint8))
    after = env.get_state()["coin_pos"].numpy() @ [sizes["width"], 1]
    respawn = np.bincount(after, minlength=cells)
    recorded = golden["respawn_counts_players_at_01_11"]
    np.testing.assert_array_equal(respawn == 0, recorded == 0)
    for sample in (respawn, recorded):
        free = sample[recorded > 0]
        assert chi_square_p(free, np.full(free.size, free.sum() / free.size)) > 1e-4
