"""Native rollouts of networks against the same played step by step in torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from rollouts import actor, play, rollout, rollout_by_steps, spread_out
from torch import Tensor

from loqa._native import core
from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.native import StackedHead
from loqa.agents.outputs import SeatOutputs
from loqa.agents.sets import AgentSets
from loqa.algos.trajectory import Trajectory
from loqa.envs import make
from loqa.envs.coin_game.env import CoinGame
from loqa.training.collect import collect_natively
from loqa.training.replay import ReplayPool

STEPS = 12


def _env(episodes: int, *, side: int = 3, **settings: Any) -> CoinGame:
    settings = {"episode_length": STEPS, "num_threads": 1, **settings}
    env = make("coin_game", num_envs=episodes, height=side, width=side, **settings)
    assert isinstance(env, CoinGame)
    return env


def _agent(seed: int, *, side: int = 3, sizes: tuple[int, int] = (16, 8), layers: int = 2) -> Agent:
    generator = torch.Generator().manual_seed(seed)
    agent = build_agent(
        "gru", "gru", 4 * side**2, 4, actor_hidden=sizes[0], critic_hidden=sizes[1],
        layers_before_gru=layers, generator=generator,
    )  # fmt: skip
    return spread_out(agent, generator)


def _stack(count: int, **settings: Any) -> dict[str, Tensor]:
    named = [dict(_agent(seed, **settings).named_parameters()) for seed in range(1, count + 1)]
    return {name: torch.stack([each[name].detach() for each in named]) for name in named[0]}


def _draws(episodes: int, seed: int = 3) -> Tensor:
    return torch.rand(STEPS, 2, episodes, generator=torch.Generator().manual_seed(seed))


def _near_an_edge(log_probs: Tensor, draws: Tensor) -> Tensor:
    """Whether a draw is so near to the edge of an action's interval that rounding decides."""
    edges = log_probs.exp().cumsum(-1)[..., :-1]
    return ((draws.unsqueeze(-1) - edges).abs() < 1e-5).any(-1)


def _check(
    env: CoinGame, players: tuple[AgentSets, AgentSets | str], draws: Tensor
) -> tuple[Trajectory, SeatOutputs | None]:
    """The native rollout equals the one in torch up to the first draw that rounding decides."""
    played, said = rollout(env, players, draws, seed=5)
    expected, told = rollout_by_steps(env, players, draws, seed=5)
    alike = torch.ones(env.num_envs, dtype=torch.bool)
    for seat, player in enumerate(players):
        if isinstance(player, str):
            continue
        state = player._actor.initial_state(env.num_envs)
        for t in range(STEPS):
            logits, state = player._actor.step(expected.obs[t, :, seat].flatten(1), state)
            alike &= ~_near_an_edge(logits.log_softmax(-1), draws[t, seat])
    assert alike.float().mean() > 0.9
    assert played.obs.shape == expected.obs.shape
    for name in ("obs", "actions", "rewards"):
        ours, theirs = getattr(played, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours[:, alike], theirs[:, alike]), name
    assert (said is None) == (told is None)
    if said is not None and told is not None:
        for name in ("log_prob_table", "q_table", "actions"):
            torch.testing.assert_close(
                getattr(said, name)[:, alike], getattr(told, name)[:, alike], rtol=1e-5, atol=1e-5
            )
    return played, said


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("sizes", [(16, 8), (19, 33), (5, 1), (64, 48)])
def test_all_sizes(isa, layers: int, sizes: tuple[int, int]) -> None:
    settings: dict[str, Any] = {"layers": layers, "sizes": sizes}
    players = AgentSets.of(_agent(0, **settings)), actor(_stack(3, **settings), records=True)
    played, _ = _check(_env(21), players, _draws(21))
    assert len(played.actions.unique()) == 4


@pytest.mark.parametrize(("episodes", "sets"),
                         [(1, 1), (2, 1), (7, 7), (40, 40), (77, 1), (77, 7), (77, 11), (130, 26),
                          (130, 2)])  # fmt: skip
def test_all_numbers_of_episodes_and_sets(isa, episodes: int, sets: int) -> None:
    settings: dict[str, Any] = {"sizes": (40, 24)}
    stacked = actor(_stack(sets, **settings), records=True)
    _check(_env(episodes), (AgentSets.of(_agent(0, **settings)), stacked), _draws(episodes))
    both = actor(_stack(sets, **settings)), stacked
    _check(_env(episodes), both, _draws(episodes))


@pytest.mark.parametrize("obs", ["planes", "cells"])
@pytest.mark.parametrize("side", [3, 5, 9])
def test_boards(isa, obs: str, side: int) -> None:
    env = _env(10, side=side, obs=obs)
    players = (AgentSets.of(_agent(0, side=side)), actor(_stack(2, side=side), records=True))
    _check(env, players, _draws(10))


@pytest.mark.parametrize("script", ["always-cooperate", "always-defect", "random"])
def test_scripted_players(script: str) -> None:
    played, said = _check(_env(70), (AgentSets.of(_agent(0)), script), _draws(70))
    assert said is None
    env = _env(70)
    env.reset(seed=5)
    for actions in played.actions:
        assert torch.equal(env.scripted_actions([None, script])[:, 1], actions[:, 1])
        env.step(actions)


def test_the_agent_against_itself() -> None:
    agent = AgentSets.of(_agent(0))
    _check(_env(33), (agent, agent), _draws(33))


def test_past_agents_in_half_precision(isa) -> None:
    """Drawn from the pool by number; the same as their copies in full precision."""
    agents = [_agent(seed, sizes=(19, 8)) for seed in range(5)]
    pool = ReplayPool(agents[0], 100)
    for agent in agents:
        pool.push(agent)
    index = torch.tensor([4, 0, 2, 2, 1, 3])
    past = actor(pool.stored(), records=True, index=index)
    me = AgentSets.of(agents[0])
    played, said = _check(_env(18), (me, past), _draws(18))
    copies = {name: value[index].float() for name, value in pool.stored().items()}
    again, told = rollout(_env(18), (me, actor(copies, records=True)), _draws(18), seed=5)
    assert torch.equal(played.actions, again.actions)
    assert said is not None
    assert told is not None
    assert torch.equal(said.q_table, told.q_table)
    assert torch.equal(said.log_prob_table, told.log_prob_table)


@pytest.mark.parametrize("value", [65504.0, 6e-8, -3.1e-5, float("inf"), float("nan")])
def test_every_half_is_read_right(isa, value: float) -> None:
    """The largest, the smallest, one below the normal ones, and what is no number."""
    agent = _agent(0, sizes=(3, 3))
    with torch.no_grad():
        agent.critic.get_submodule("linear_end").bias.fill_(value)
    pool = ReplayPool(agent, 1)
    pool.push(agent)
    past = actor(pool.stored(), records=True, index=torch.tensor([0]))
    players = AgentSets.of(agent), past
    _, said = rollout(_env(2), players, _draws(2), seed=5)
    _, told = rollout_by_steps(_env(2), players, _draws(2), seed=5)
    assert said is not None
    assert told is not None
    torch.testing.assert_close(said.q_table, told.q_table, equal_nan=True)


def test_threads_and_parts_do_not_matter(isa) -> None:
    players = AgentSets.of(_agent(0, sizes=(24, 8))), _stack(24, sizes=(24, 8))
    draws = _draws(96)

    def run(first: int, count: int, threads: int) -> tuple[Tensor, ...]:
        sets = slice(first // 4, (first + count) // 4)
        past = actor({name: value[sets] for name, value in players[1].items()}, records=True)
        env = _env(count, first_env=first, num_threads=threads)
        part, said = rollout(env, (players[0], past), draws[:, :, first : first + count], seed=5)
        assert said is not None
        return part.obs, part.actions, part.rewards, said.log_prob_table, said.q_table

    whole = run(0, 96, 1)
    for other in (run(0, 96, 2), run(0, 96, 5)):
        assert all(torch.equal(a, b) for a, b in zip(whole, other, strict=True))
    parts = [run(0, 36, 2), run(36, 60, 1)]
    joined = [torch.cat(pair, 1) for pair in zip(*parts, strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(whole, joined, strict=True))


def test_an_agent_that_is_not_a_number_still_ends(isa) -> None:
    agent = _agent(0)
    with torch.no_grad():
        agent.actor.get_submodule("linear_end").bias.fill_(float("nan"))
    played, _ = rollout(_env(3), (AgentSets.of(agent), "random"), _draws(3), seed=5)
    assert torch.equal(played.actions[:, :, 0], torch.zeros(STEPS, 3, dtype=torch.uint8))


def test_in_double_precision_torch_plays() -> None:
    agent = _agent(0).double()
    players = AgentSets.of(agent), AgentSets.of(_agent(1))
    played, _ = rollout(_env(3, obs="cells"), players, _draws(3), seed=5)
    expected, _ = rollout_by_steps(_env(3, obs="cells"), players, _draws(3), seed=5)
    assert torch.equal(played.obs, expected.obs)


def test_what_does_not_fit_is_refused() -> None:
    me = StackedHead(_stack(1), "actor.")
    stacked = _stack(3)
    others, critics = (StackedHead(stacked, name, None, time)
                       for name, time in (("actor.", False), ("critic.", True)))  # fmt: skip

    def refused(message: str, env: CoinGame, actors: Any, critic: Any, draws: Tensor) -> None:
        with pytest.raises(ValueError, match=message):
            play(env, actors, critic, draws, seed=5)

    refused("3 parameter sets do not divide 8", _env(8), (me, others), critics, _draws(8))
    refused("does not fit the game's 64", _env(9, side=4), (me, others), critics, _draws(9))
    timeless = StackedHead(stacked, "critic.")
    refused("37 features", _env(9), (me, timeless), None, _draws(9))
    refused(r"draws must be \[12, 2, 9\]", _env(9), (me, others), critics, _draws(8))
    refused("float32", _env(9), (me, others), critics, _draws(9).double())
    with_history = _env(9, preset="mfos22")  # played by steps
    assert collect_natively(with_history, [me, others], lambda: _draws(9), 5) is None
    for index, message in [
        (torch.tensor([0, 3]), r"in 0\.\.2"), (torch.tensor([-1]), r"in 0\.\.2"),
        (torch.tensor([0], dtype=torch.int32), "int64"), (torch.tensor([], dtype=torch.int64), "G"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            StackedHead(stacked, "actor.", index)
    with pytest.raises(ValueError, match=r"actor.weight_hh must be \[3, 48, 16\]"):
        StackedHead({**stacked, "actor.weight_hh": stacked["actor.weight_hh"].mT}, "actor.")


def test_the_core_refuses_sets_that_cannot_be() -> None:
    here = torch.zeros(64).data_ptr()
    fields: dict[str, Any] = {
        "arrays": [here] * 10, "elements": [8] * 10, "strides": [0] * 10, "index": 0,
        "half": False, "reads_time": False, "sets": 1, "features": 1, "hidden": 1, "outputs": 1,
    }  # fmt: skip
    core.GruSets(**fields)
    two, negative = torch.tensor([0, 2]), torch.tensor([-1])
    for changed, message in [
        ({"sets": 0}, "out of range"), ({"hidden": 0}, "out of range"),
        ({"strides": [0]}, "out of range"), ({"elements": [8]}, "out of range"),
        ({"hidden": 2**40}, "out of range"), ({"arrays": [here] * 9 + [0]}, "missing"),
        ({"arrays": [0, 0, *[here] * 8]}, "without a first"),
        ({"arrays": [0, *[here] * 9]}, "without a bias or without a weight"),
        ({"arrays": [here + 1, *[here] * 9]}, "aligned"),
        ({"hidden": 2}, "array 4 of 8 elements ends before set 0"),
        ({"sets": 2, "strides": [8] * 10}, "array 0 of 8 elements ends before set 1"),
        ({"sets": 2, "strides": [2**62] * 10, "index": two.data_ptr()}, "ends before set 2"),
        ({"strides": [-1] * 10}, "ends before set 0"),
        ({"index": negative.data_ptr()}, "negative"),
        ({"sets": 2, "index": two.data_ptr(), "strides": [4] * 10}, "ends before set 2"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            core.GruSets(**{**fields, **changed})


def test_parameters_that_the_core_cannot_read_are_refused() -> None:
    stacked = _stack(3)
    for changed, message in [
        ({"actor.bias_hn": stacked["actor.bias_hn"].double()}, "float32 or float16 on cpu"),
        ({name: value.double() for name, value in stacked.items()}, "float32 or float16 on cpu"),
        ({name: value.to("meta") for name, value in stacked.items()}, "on cpu"),
        ({"actor.linear1.bias": stacked["actor.linear1.bias"][:2]}, r"must be \[3, 16\]"),
        ({"actor.extra": stacked["actor.bias_hn"]}, "must be .*got"),
    ]:
        with pytest.raises(ValueError, match=message):
            StackedHead({**stacked, **changed}, "actor.")
    less = {name: value for name, value in stacked.items() if name != "actor.linear1.bias"}
    with pytest.raises(ValueError, match=r"actor.\* must be"):
        StackedHead(less, "actor.")


def test_parameters_that_lost_their_memory_are_not_read() -> None:
    """Addresses are taken anew in each call."""
    stacked = {name: value.clone() for name, value in _stack(3).items()}
    head = StackedHead(stacked, "actor.")
    stacked["actor.weight_hh"].untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="needs a storage of"):
        play(_env(9), (head, "random"), None, _draws(9), seed=5)
