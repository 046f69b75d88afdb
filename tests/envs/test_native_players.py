"""Players whom the generic driver plays itself: bit for bit as the reference, on every device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sim_devices import assert_same, make, on_each_device, random_actions

import loqa
import loqa.reference
from loqa._native import core

GAMES: list[tuple[str, dict[str, Any]]] = [
    ("public-goods", {"num_players": 3, "num_levels": 4, "obs": "index"}),
    ("n-ipd", {"num_players": 8}),
    ("n-ipd", {"num_players": 2, "obs": "index"}),
    ("continuous-ipd", {"num_players": 5}),
    ("cournot", {}),
]


def seats(env: Any, shift: int) -> list[str | None]:
    """Of each player another name; None too."""
    known = [None, *env.scripted_players]
    return [known[(p + shift) % len(known)] for p in range(env.num_players)]


def given(env: Any, steps: int) -> torch.Tensor:
    if env.spec.action_box is None:
        return random_actions(env, steps)
    draw = torch.Generator().manual_seed(steps)
    return torch.rand((steps, env.num_envs, env.num_players, 1), generator=draw)


def random_table(shape: tuple[int, ...]) -> np.ndarray:
    table = np.random.default_rng(0).random(shape)
    return (table / table.sum(-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("game", "rules"), GAMES)
def test_scripted_players_equal_reference(isa: str, game: str, rules: dict[str, Any]) -> None:
    env = loqa.make(game, 9, seed=5, first_env=3, **rules)
    reference = loqa.reference.make(game, 9, seed=5, first_env=3, **rules)
    for shift in range(len(env.scripted_players) + 1):
        names = seats(env, shift)
        for _ in range(3):
            actions = env.scripted_actions(names)
            np.testing.assert_array_equal(actions, reference.scripted_actions(names))
            paid = env.step(actions)[1]
            np.testing.assert_array_equal(paid, reference.step(actions.numpy())[1])
        env.reset()
        reference.reset()


@pytest.mark.parametrize(("game", "rules"), GAMES)
def test_scripted_rollout_is_steps(game: str, rules: dict[str, Any]) -> None:
    env, stepped = (loqa.make(game, 40_000, seed=1, **rules) for _ in range(2))
    stepped.num_threads = 1
    names = seats(env, 0)
    moves = given(env, 4)
    obs, played, rewards = env.rollout_scripted(names, 4, moves)
    open_seats = [p for p, name in enumerate(names) if name is None]
    assert torch.equal(played[:, :, open_seats].double(), moves[:, :, open_seats].double())
    assert_same(obs[0], stepped.reset())
    for t in range(4):
        actions = stepped.scripted_actions(names)
        actions[:, open_seats] = moves[t][:, open_seats].to(actions.dtype)
        assert torch.equal(actions, played[t])
        seen, paid, _, _ = stepped.step(actions)
        assert_same((obs[t + 1], rewards[t]), (seen, paid))
    assert_same(env.get_state(), stepped.get_state())


def test_what_scripted_players_do() -> None:
    """Three levels, four players: 2, 2, 2, 1 and then everybody's answer."""
    env = loqa.make("public-goods", num_players=4, num_levels=3)
    names = ["always-cooperate", "always-defect", "conditional-cooperator", "grim"]
    assert env.scripted_actions(names).tolist() == [[2, 0, 2, 2]]
    env.step([[2, 2, 2, 1]])
    assert env.scripted_actions(names).tolist() == [[2, 0, 1, 0]]  # floor(5 / 3)
    env.step([[2, 2, 2, 2]])
    assert env.scripted_actions(names).tolist() == [[2, 0, 2, 2]]


@pytest.mark.parametrize(
    ("game", "players", "cooperate", "defect"),
    [
        ("cournot", 2, 1 / 4, 1 / 3),  # the cartel, and Nash
        ("cournot", 4, 1 / 8, 1 / 5),
        ("continuous-ipd", 2, 1.0, 0.0),
        ("continuous-ipd", 5, 1.0, 0.0),
    ],
)
def test_what_continuous_players_do(
    game: str, players: int, cooperate: float, defect: float
) -> None:
    env = loqa.make(game, num_players=players)
    names = ["always-cooperate", "always-defect", *["tit-for-tat"] * (players - 2)]
    expected = [cooperate, defect] + [cooperate] * (players - 2)
    np.testing.assert_allclose(env.scripted_actions(names)[0, :, 0], expected, rtol=1e-6)
    env.step(np.linspace(0, 1, players)[None, :, None])
    answer = env.scripted_actions(["tit-for-tat"] * players)[0, :, 0]
    others = [np.delete(np.linspace(0, 1, players), p).mean() for p in range(players)]
    np.testing.assert_allclose(answer, others, rtol=1e-6)
    # From the equilibrium nobody gains alone; from the best for all, nobody gains if all move.
    tries = np.linspace(0, 1, 101)
    alone, together = (np.full((101, players, 1), at) for at in (defect, cooperate))
    alone[:, 0, 0] = tries
    together[:] = tries[:, None, None]
    many = loqa.make(game, 101, num_players=players)
    at = loqa.make(game, 1, num_players=players)
    for actions, now in ((alone, defect), (together, cooperate)):
        best = many.step(actions)[1][:, 0].max()
        assert best <= at.step(np.full((1, players, 1), now))[1][0, 0] + 1e-6


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize(("game", "rules"), GAMES[:3])
def test_memory1_equals_reference(isa: str, game: str, rules: dict[str, Any], each: bool) -> None:
    env = loqa.make(game, 9, seed=5, first_env=3, **rules)
    reference = loqa.reference.make(game, 9, seed=5, first_env=3, **rules)
    shape = (env.num_players, env.num_states, env.num_actions)
    table = random_table((9, *shape) if each else shape)
    for exploration in (0.0, 0.3):
        ours = env.rollout_memory1(table, 3, exploration)
        theirs = reference.rollout_memory1(table, 3, exploration)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
        env.reset()
        reference.reset()


def test_memory1_frequencies() -> None:
    """Actions come as often as their probabilities say, with exploration mixed in."""
    env = loqa.make("public-goods", 20_000, num_players=5, num_levels=3)
    table = np.broadcast_to([0.1, 0.2, 0.7], (5, env.num_states, 3))
    _, actions, _ = env.rollout_memory1(table, 5, exploration=0.3)
    expected = np.array([0.1, 0.2, 0.7]) * 0.7 + 0.1
    for player in range(5):
        came = np.bincount(actions[..., player].flatten(), minlength=3) / 100_000
        np.testing.assert_allclose(came, expected, atol=5 * 0.5 / 100_000**0.5)


def test_memory1_strategy_is_the_scripted_player() -> None:
    """A conditional cooperator as a table."""
    env = loqa.make("n-ipd", 50, num_players=4, obs="index")
    table = np.zeros((4, env.num_states, 2))
    table[..., 0] = 1
    for seen in (0, 4, 8):  # the start; the three others gave, oneself not, and too
        table[:, seen] = (0, 1)
    first = torch.randint(0, 2, (50, 4), generator=torch.Generator().manual_seed(0))
    env.step(first)
    obs, actions, rewards = env.rollout_memory1(table, 6)
    env.reset()
    env.step(first)
    assert_same(env.rollout_scripted(["conditional-cooperator"] * 4, 6), (obs, actions, rewards))


@on_each_device
@pytest.mark.parametrize(("game", "rules"), GAMES)
def test_device_equals_cpu(device: str, game: str, rules: dict[str, Any]) -> None:
    env, plain = make(device, game, 67, **rules), loqa.make(game, 67, **rules)
    names = seats(env, 0)
    moves = given(plain, 4)
    for _ in range(2):
        assert_same(env.scripted_actions(names), plain.scripted_actions(names))
        there = moves.to(env.device)
        assert_same(env.rollout_scripted(names, 4, there), plain.rollout_scripted(names, 4, moves))
    if plain.spec.action_box is None:
        table = random_table((67, plain.num_players, plain.num_states, plain.num_actions))
        there = torch.from_numpy(table).to(env.device)
        assert_same(env.rollout_memory1(there, 4, 0.1), plain.rollout_memory1(table, 4, 0.1))
    assert_same(env.get_state(), plain.get_state())


@on_each_device
def test_device_tells_of_bad_given_actions(device: str) -> None:
    env = make(device, "n-ipd", 2, num_players=2)
    bad = torch.full((1, 2, 2), 7, device=env.device)
    played = env.rollout_scripted(["always-cooperate", None], 1, bad)
    plain = loqa.make("n-ipd", 2, num_players=2)
    expected = plain.rollout_scripted(["always-cooperate", None], 1, torch.zeros(1, 2, 2).long())
    assert_same(played[2], expected[2])
    with pytest.raises(ValueError, match="at least one was not"):
        env.check()


@pytest.mark.parametrize(
    ("game", "call", "says"),
    [
        ("n-ipd", lambda env: env.scripted_actions(["grim"]), "players must be 3 names"),
        ("n-ipd", lambda env: env.scripted_actions(["grimm"] * 3), "did you mean 'grim'"),
        ("n-ipd", lambda env: env.rollout_scripted(["grim", None, None], 2), "must be given for .*1, 2"),
        ("n-ipd", lambda env: env.rollout_scripted(["grim"] * 3, 1, [[[0] * 3]]), "must be None"),
        ("n-ipd", lambda env: env.rollout_scripted(["grim", None, "grim"], 1, [[[0, 2, 0]]]),
         r"must be in 0..1 for player 1"),
        ("cournot", lambda env: env.rollout_scripted(["tit-for-tat", None], 1, [[[[0.5], [2.0]]]]),
         r"must be in \[0, 1\] for player 1"),
        ("cournot", lambda env: env.rollout_memory1([[0.5]], 1), "cournot has a box"),
        ("coin_game", lambda env: env.rollout_memory1([[0.5]], 1), "coin_game does not"),
        ("n-ipd", lambda env: env.rollout_memory1(np.zeros((3, 7, 2)), 1), "must sum to 1"),
        ("n-ipd", lambda env: env.rollout_memory1(np.zeros((3, 6, 2)), 1), r"must be \[3, 7, 2\]"),
        ("n-ipd", lambda env: env.rollout_memory1(np.full((3, 7, 2), 0.5), 1, 1.5), "exploration"),
        ("n-ipd", lambda env: env.rollout_memory1(np.full((3, 7, 2), 0.5), -1), "steps must be"),
    ],
)  # fmt: skip
def test_wrong_players(game: str, call: Any, says: str) -> None:
    env = loqa.make(game, 1)
    before = env.get_state()
    with pytest.raises(ValueError, match=says):
        call(env)
    assert_same(env.get_state(), before)


def test_autoreset_is_refused() -> None:
    env = loqa.make("n-ipd", autoreset="same_step")
    for call in (lambda: env.rollout_scripted(["grim"] * 3, 1),
                 lambda: env.rollout_memory1(np.full((3, 7, 2), 0.5), 1)):  # fmt: skip
        with pytest.raises(ValueError, match="needs autoreset=False"):
            call()


def test_the_core_refuses_wrong_players() -> None:
    env = loqa.make("n-ipd", 2, num_players=2)
    chosen = core.Memory(4)
    for kinds in ([0], [0, 5], [0, -3]):
        with pytest.raises(ValueError):  # noqa: PT011
            env._native.choose(core.GamePlayers(kinds=kinds), chosen)
    for wrong in ({"kinds": [-2, -2], "probabilities": core.Memory(8)}, {"kinds": [-2, 0]}):
        with pytest.raises(ValueError):  # noqa: PT011
            env._native.choose(core.GamePlayers(**wrong), chosen)
    with pytest.raises(ValueError, match="chosen"):
        env._native.choose(core.GamePlayers(kinds=[0, 0]), core.Memory(3))
