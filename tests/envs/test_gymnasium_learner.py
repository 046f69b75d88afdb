"""The Gymnasium adapter as learners use it: its actions, opponents, ids, and the library's counts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import loqa

gymnasium = pytest.importorskip("gymnasium")
from gymnasium.wrappers import vector as wrappers  # noqa: E402

from loqa.envs.gymnasium import VectorEnv  # noqa: E402


def cooperate(obs: Tensor) -> Tensor:
    return torch.zeros(len(obs), dtype=torch.long)


def axelrod(opponent: Any = cooperate, count: int = 4, **settings: Any) -> VectorEnv:
    """C pays 3 against C, D pays 5."""
    env = VectorEnv("ipd", count, opponent=opponent, preset="axelrod", **settings)
    env.reset(seed=0)
    return env


BAD_ACTIONS: list[tuple[Any, type[Exception], str]] = [
    (np.full(4, 0.9), TypeError, r"got \[4\] float64"),
    (np.zeros(4), TypeError, "got .* float64"),
    (torch.zeros(4), TypeError, "got .* torch.float32"),
    (np.array(["1"] * 4), TypeError, "must be .* got ndarray"),
    (np.int64(1), ValueError, r"got \[\] int64"),
    (1, ValueError, r"got \[\] int64"),
    (np.array([1]), ValueError, r"got \[1\] int64"),
    (np.ones((1, 4), int), ValueError, r"got \[1, 4\] int64"),
    (np.ones((4, 1), int), ValueError, r"got \[4, 1\] int64"),
    (np.array([0, 1, 2, 0]), ValueError, r"in 0..1, got 2 for environment 2"),
    (np.array([0, 1, 0, -1]), ValueError, r"in 0..1, got -1 for environment 3"),
    (None, TypeError, "got NoneType"),
]


@pytest.mark.parametrize(("actions", "error", "message"), BAD_ACTIONS)
def test_bad_actions(actions: Any, error: type[Exception], message: str) -> None:
    """Of the learner, and of the opponent; nothing is stepped."""
    env = axelrod()
    with pytest.raises(error, match=message):
        env.step(actions)
    assert env.env.get_state()["t"].tolist() == [0] * 4
    env = axelrod(lambda obs: actions)
    with pytest.raises(error, match=f"opponent's actions must be .*{message.split('.*')[-1]}"):
        env.step(np.zeros(4, int))


@pytest.mark.parametrize(
    "actions",
    [
        [1, 0, 1, 0],
        np.array([True, False, True, False]),
        np.array([1, 0, 1, 0], ">i4"),
        np.array([0, 1, 0, 1])[::-1],
        torch.tensor([1, 0, 1, 0], dtype=torch.uint8),
    ],
)
def test_good_actions(actions: Any) -> None:
    assert axelrod().step(actions)[1].tolist() == [5, 3, 5, 3]


def test_step_before_reset() -> None:
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        VectorEnv("ipd", 2).step(np.zeros(2, int))


def payoffs(opponent: Any, moves: str, **settings: Any) -> list[float]:
    env = axelrod(opponent, 1, **settings)
    return [float(env.step(np.array(["CD".index(move)]))[1][0]) for move in moves]


@pytest.mark.parametrize(
    ("opponent", "expected"),
    [
        ("tit-for-tat", [3, 5, 1, 0, 3]),
        ("tft", [3, 5, 1, 0, 3]),
        ("ad", [0, 1, 1, 0, 0]),
        ("always-cooperate", [3, 5, 5, 3, 3]),
        ("grim", [3, 5, 1, 0, 0]),
        ("tit-for-2-tats", [3, 5, 5, 0, 3]),
        ([1, 1, 0, 1, 0], [3, 5, 1, 0, 3]),
        ("0,0,0,0,0", [0, 1, 1, 0, 0]),
    ],
    ids=str,
)
@pytest.mark.parametrize("obs", ["index", "bits", "onehot", "actions"])
def test_named_opponents(opponent: Any, expected: list[float], obs: str) -> None:
    assert payoffs(opponent, "CDDCC", obs=obs) == expected
    assert payoffs(opponent, "CDDCC", obs=obs, seat=1) == expected


def test_an_opponent_that_cooperates_with_the_other_code() -> None:
    """In pola22 action 0 is to defect: DD 0, CC 0.33."""
    env = VectorEnv("ipd", 1, opponent="tit-for-tat", preset="pola22", seat=0)
    env.reset(seed=0)
    rewards = [float(env.step(np.array([action]))[1][0]) for action in (1, 0, 0, 1, 1)]
    assert rewards == pytest.approx([0.33, 0.665, 0, -0.335, 0.33], abs=1e-6)


@pytest.mark.parametrize("mode", ["next_step", "same_step", False])
def test_an_opponent_forgets_at_an_episode_s_end(mode: Any) -> None:
    """Tit-for-2-tats, whose memory is its own, and grim: as at the start in every episode."""
    for name in ("grim", "tit-for-2-tats"):
        env = axelrod(name, 3, autoreset=mode, episode_length=2)
        first = env.step(np.ones(3, int))[1].tolist()
        env.step(np.ones(3, int))
        if mode == "next_step":
            assert env.step(np.ones(3, int))[1].tolist() == [0] * 3
        elif mode is False:
            env.reset()
        assert env.step(np.ones(3, int))[1].tolist() == first == [5] * 3


def test_a_trained_agent_as_opponent(tmp_path: Any) -> None:
    """From the package, its path, or loaded: the same play; with the numbers of the environment."""
    from loqa.training.train import TRAINED

    path = TRAINED["loqa-coin-3x3"]
    seen = []
    for opponent in ("loqa-coin-3x3", path, str(path), loqa.load_agent(path)):
        env = VectorEnv("coin_game", 5, opponent=opponent, episode_length=6)
        env.reset(seed=3)
        rewards = [env.step(np.array([0, 1, 2, 3, 0]))[1].tolist() for _ in range(14)]
        seen.append(rewards)
    assert seen[0] == seen[1] == seen[2] == seen[3]
    assert np.any(seen[0])
    with pytest.raises(ValueError, match="board of 3 x 3, got 4 x 3"):
        VectorEnv("coin_game", opponent=path, height=4)
    with pytest.raises(ValueError, match="plays coin_game, not ipd"):
        VectorEnv("ipd", opponent=path)
    env = VectorEnv("coin_game", 5, opponent=path, episode_length=6, obs="cells")
    env.reset(seed=3)
    rewards = [env.step(np.array([0, 1, 2, 3, 0]))[1].tolist() for _ in range(14)]
    assert rewards == seen[0]


def test_opponents_of_other_games() -> None:
    with pytest.raises(ValueError, match="tit-for-tat"):
        VectorEnv("matrix-game", payoff=np.zeros((3, 3)), opponent="tit-for-tat")
    env = VectorEnv("matrix-game", 2, payoff=np.zeros((3, 3)))
    env.reset(seed=1)
    assert env.step(np.array([2, 0]))[1].tolist() == [0, 0]


def test_random_opponents_follow_the_seed() -> None:
    for name in ("random", [0.5] * 5):
        env = axelrod(name, 50)
        runs = []
        for seed in (1, 1, 2):
            env.reset(seed=seed)
            runs.append([env.step(np.zeros(50, int))[1].tolist() for _ in range(3)])
        assert runs[0] == runs[1] != runs[2]


def test_random_opponents_follow_the_seed_of_the_environment() -> None:
    runs = []
    for seed in (1, 1, 2):
        env = VectorEnv("ipd", 50, seed=seed)
        env.reset()
        runs.append([env.step(np.zeros(50, int))[1].tolist() for _ in range(3)])
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(("mode", "counted"), [("next_step", 20), ("same_step", 24)])
def test_the_library_counts_right(mode: str, counted: int) -> None:
    """Episodes of 4 steps that pay 3 each, 12 calls of step: with next_step each episode costs one more
    call, which is no step."""
    env = wrappers.RecordEpisodeStatistics(axelrod(count=2, episode_length=4, autoreset=mode))
    env.reset(seed=0)
    found = []
    for call in range(12):
        info = env.step(np.zeros(2, int))[4]
        if "episode" in info:
            found.append((call, info["episode"]["r"].tolist(), info["episode"]["l"].tolist()))
    calls = [3, 8] if mode == "next_step" else [3, 7, 11]
    assert found == [(call, [12, 12], [4, 4]) for call in calls]
    env = wrappers.NormalizeReward(axelrod(count=2, episode_length=4, autoreset=mode), gamma=0.5)
    env.reset(seed=0)
    for _ in range(12):
        env.step(np.zeros(2, int))
    assert round(env.return_rms.count) == counted


@pytest.mark.parametrize(
    ("name", "game"),
    [
        ("loqa/CoinGame-v0", "coin_game"),
        ("loqa/coin_game", "coin_game"),
        ("loqa/IPD-v0", "ipd"),
        ("loqa/ipd", "ipd"),
        ("loqa/Chicken-v0", "chicken"),
        ("loqa/StagHunt-v0", "stag-hunt"),
        ("loqa/MatchingPennies-v0", "matching-pennies"),
    ],
)
def test_ids(name: str, game: str) -> None:
    env = gymnasium.make_vec(name, num_envs=3, episode_length=7)
    assert isinstance(env, VectorEnv)
    assert (env.num_envs, env.env.episode_length) == (3, 7)
    assert env.env.spec.name.replace("_", "-") == game.replace("_", "-")
    obs, _ = env.reset(seed=1)
    assert obs in env.observation_space
    assert env.step(env.action_space.sample())[0] in env.observation_space


def test_ids_of_games_with_settings() -> None:
    env = gymnasium.make_vec(
        "loqa/MatrixGame-v0", num_envs=2, payoff=[[1, 2], [3, 4]], opponent="random"
    )
    assert env.env.num_actions == 2
    with pytest.raises(ValueError, match="payoff must be given"):
        gymnasium.make_vec("loqa/MatrixGame-v0", num_envs=2)


@pytest.mark.parametrize(
    "imports", ["import gymnasium, loqa", "import loqa.envs.gymnasium, gymnasium"]
)
def test_ids_are_there_after_import(imports: str) -> None:
    _made(imports, "loqa/CoinGame-v0")


def test_an_id_that_names_its_module_needs_no_import() -> None:
    _made("import gymnasium", "loqa.envs.gymnasium:loqa/CoinGame-v0")


def _made(imports: str, name: str) -> None:
    code = f"{imports}; print(gymnasium.make_vec({name!r}, num_envs=2).reset()[0].shape)"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stdout.strip() == "(2, 4, 3, 3)", result.stderr


def test_spaces_of_the_environment_itself() -> None:
    env = loqa.make("coin_game", 3, obs_dtype=torch.uint8)
    assert env.reset().numpy() in env.observation_space
    assert env.observation_space.shape == (3, 2, 4, 3, 3)
    assert env.single_observation_space.shape == (4, 3, 3)
    assert env.single_action_space == gymnasium.spaces.Discrete(4)
    assert env.step(env.action_space.sample())[0].shape == (3, 2, 4, 3, 3)
    with pytest.raises(ValueError, match="NumPy counterpart"):
        _ = loqa.make("coin_game", obs_dtype=torch.bfloat16).observation_space
