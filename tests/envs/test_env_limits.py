"""The ends of what environments count: steps, episodes, seeds, and states from outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sim_devices import make

import loqa

LAST = 2**31 - 1
GAMES = ["ipd", "coin_game"]
each_game = pytest.mark.parametrize("game", GAMES)


def at(env: Any, *t: int) -> Any:
    env.set_state(**{**env.get_state(), "t": np.array(t)})
    return env


@each_game
def test_a_step_counter_at_its_end(game: str) -> None:
    """The last step that can be counted is made; the next is refused, and nothing has changed."""
    env = at(loqa.make(game, 2), 0, LAST - 1)
    actions = np.zeros((2, 2), np.int64)
    assert env.step(actions)[3].tolist() == [False, True]
    before = env.state_dict()
    assert before["state"]["t"].tolist() == [1, LAST]
    with pytest.raises(OverflowError, match=r"environment 1 has made 2147483647 steps .* reset it"):
        env.step(actions)
    too_long = pytest.raises(OverflowError, match="1 more steps would make an episode longer than")
    with too_long:
        env.rollout(actions[None])
    with too_long:
        scripted(env, 1)
    after = env.state_dict()
    for name, value in before["state"].items():
        assert torch.equal(value, after["state"][name])
    env.load_state_dict(after)  # its own state is one
    env.reset(mask=np.array([False, True]))
    assert env.step(actions)[3].tolist() == [False, False]
    assert env.get_state()["t"].tolist() == [2, 1]


def scripted(env: Any, steps: int) -> Any:
    if env.spec.name == "coin_game":
        return env.rollout_scripted(["random", "random"], steps)
    return env.rollout_memory1(np.full((2, 5), 0.5), steps)


@each_game
def test_rollouts_up_to_the_end(game: str) -> None:
    env, plain = (at(loqa.make(game, 2, seed=4), LAST - 5, LAST - 7) for _ in range(2))
    actions = np.random.default_rng(0).integers(0, 2, (6, 2, 2))
    with pytest.raises(OverflowError, match="6 more steps"):
        env.rollout(actions)
    obs, rewards = env.rollout(actions[:5])
    for t in range(5):
        now, paid, _, truncated = plain.step(actions[t])
        assert torch.equal(now, obs[t + 1])
        assert torch.equal(paid, rewards[t])
        assert truncated.all()
    assert env.get_state()["t"].tolist() == [LAST, LAST - 2]
    env.rollout(actions[:0])


@each_game
@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_autoreset_at_the_end(game: str, mode: str) -> None:
    env = at(loqa.make(game, 2, autoreset=mode), LAST, 3)
    if mode == "same_step":
        with pytest.raises(OverflowError):
            env.step(np.zeros((2, 2), int))
        return
    env.step(np.zeros((2, 2), int))
    assert env.get_state()["t"].tolist() == [0, 4]


@each_game
def test_a_device_stays_at_the_end(game: str) -> None:
    env = at(make("cuda-on-host", game, 2), LAST, LAST - 1)
    for _ in range(3):
        assert env.step(np.zeros((2, 2), int))[3].tolist() == [True, True]
    assert env.get_state()["t"].tolist() == [LAST, LAST]


@each_game
def test_episodes_are_numbered_modulo_2_32(game: str) -> None:
    env = loqa.make(game, 3, noise=0.5) if game == "ipd" else loqa.make(game, 3)
    state = env.state_dict()
    assert state["episode"].dtype == torch.int64
    state["episode"] = torch.tensor([2**32 - 1, 2**31 - 1, 2**31])
    env.load_state_dict(state)
    assert env.state_dict()["episode"].tolist() == [2**32 - 1, 2**31 - 1, 2**31]
    env.reset(mask=np.ones(3, bool))
    after = env.state_dict()
    assert after["episode"].tolist() == [0, 2**31, 2**31 + 1]
    first = loqa.make(game, 3, noise=0.5) if game == "ipd" else loqa.make(game, 3)
    assert torch.equal(env.reset(mask=np.zeros(3, bool))[0], first.reset()[0])


BAD_STATES: list[tuple[str, Any, str]] = [
    ("t", torch.tensor([0, 2**31]), r"t must be in 0\.\.2\*\*31-1"),
    ("t", torch.tensor([0, -1]), r"t must be in 0\.\.2\*\*31-1"),
    ("t", np.array([0, 2**64 - 1], np.uint64), r"t must be in 0\.\.2\*\*31-1"),
    ("t", torch.zeros(2), r"t must be \[2\] of an integer type, got \[2\] torch.float32"),
    ("t", torch.zeros(3, dtype=torch.int64), r"t must be \[2\] .* got \[3\]"),
]


@each_game
@pytest.mark.parametrize(("name", "value", "message"), BAD_STATES)
def test_bad_states(game: str, name: str, value: Any, message: str) -> None:
    env = loqa.make(game, 2)
    state = env.get_state()
    with pytest.raises(ValueError, match=message):
        env.set_state(**{**state, name: value})
    for key, kept in env.get_state().items():
        assert torch.equal(kept, state[key])


@pytest.mark.parametrize("value", [-2, 2, 127, 128, 255, 256, 2**32, 2**63 - 1, -(2**63)])
def test_extreme_state_values(value: int) -> None:
    ipd = loqa.make("ipd", 2)
    state = ipd.get_state()
    with pytest.raises(ValueError, match=r"last_actions must be in 0\.\.1"):
        ipd.set_state(**{**state, "last_actions": torch.tensor([[0, value], [0, 0]])})
    coin = loqa.make("coin_game", 2, preset="lola18")
    state = coin.get_state()
    bad = {
        "players_pos": torch.tensor([[[0, 0], [0, 3 if value == 2 else value]]] * 2),
        "coin_pos": torch.tensor([[0, 3 if value == 2 else value]] * 2),
        "coin_owner": torch.tensor([0, value]),
    }
    for name, tensor in bad.items():
        with pytest.raises(ValueError, match=name):
            coin.set_state(**{**state, name: tensor})


@each_game
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("episode", torch.tensor([0.5, 0.0])),
        ("episode", torch.tensor([-1, 0])),
        ("episode", torch.tensor([2**32, 0])),
        ("episode", torch.tensor([0])),
        ("terminated", torch.tensor([2, 0])),
        ("terminated", torch.zeros(2)),
        ("seed", -1),
        ("seed", 2**64),
        ("first_env", 1),
        ("state", None),
        ("spec", "no spec"),
    ],
)
def test_bad_state_dicts(game: str, name: str, value: Any) -> None:
    env = loqa.make(game, 2)
    env.step(np.zeros((2, 2), int))
    state = env.state_dict()
    with pytest.raises(ValueError, match=name):
        env.load_state_dict({**state, name: value})
    after = env.state_dict()
    assert torch.equal(after["episode"], state["episode"])
    assert torch.equal(after["state"]["t"], state["state"]["t"])
    with pytest.raises(ValueError, match="state_dict must have the keys"):
        env.load_state_dict({"seed": 0, "rules": state.get("rules", 0)})


@each_game
def test_what_is_no_state_is_named(game: str) -> None:
    env = loqa.make(game, 2)
    with pytest.raises(ValueError, match=r"state_dict must have the keys .* got NoneType"):
        env.load_state_dict(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"t must be \[2\] of an integer type, got str"):
        env.set_state(**{**env.get_state(), "t": "now"})
    with pytest.raises(TypeError, match=r"mask must be \[2\] bool, got str"):
        env.reset(mask="all")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="seed must be an integer, got NoneType None"):
        loqa.make(game, 2, seed=None)
