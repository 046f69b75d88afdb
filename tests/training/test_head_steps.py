"""Steps of recurrent heads as a GPU's threads make them, against the same agents step by step in torch.

"threads" runs the code of the GPU's threads on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from kernel_cases import DEVICES
from rollouts import spread_out
from torch import Tensor

import loqa.envs.device
from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.sets import AgentSets
from loqa.envs import make
from loqa.envs.buffers import borrow
from loqa.envs.native import VectorEnv
from loqa.training import collect
from loqa.training.head_steps import HeadSteps
from loqa.training.replay import ReplayPool

T = 8
WHERE = [*DEVICES[1:], "threads"]


@pytest.fixture(params=WHERE)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "threads":
        monkeypatch.setattr(loqa.envs.device, "device_code_on_host", True)
        return "cpu"
    return str(request.param)


def _coin(device: str, games: int, side: int = 3, **settings: Any) -> VectorEnv:
    settings = {"obs": "cells", "episode_length": T, "device": device, **settings}
    return make("coin_game", games, height=side, width=side, **settings)


def _agent(env: VectorEnv, features: int, seed: int, *, sizes: tuple[int, int] = (16, 8),
           layers: int = 2) -> Agent:  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    agent = build_agent(
        "gru", "gru", features, env.num_actions, actor_hidden=sizes[0], critic_hidden=sizes[1],
        layers_before_gru=layers, observes="features", generator=generator,
    )  # fmt: skip
    return spread_out(agent, generator).to(env.device)


def _stacked(agents: Sequence[Agent], records: bool = False) -> AgentSets:
    named = [dict(agent.named_parameters()) for agent in agents]
    sets = {name: torch.stack([each[name].detach() for each in named]) for name in named[0]}
    return AgentSets(agents[0], sets, records)


def _check(
    env: VectorEnv,
    seats: Sequence[AgentSets | str],
    monkeypatch: pytest.MonkeyPatch,
    e: float = 0.0,
) -> None:
    """Episodes are the same up to the first draw that rounding decides."""
    generator = torch.Generator().manual_seed(3)
    draws = torch.rand(T, env.num_players, env.num_envs, generator=generator).to(env.device)
    made: list[HeadSteps | None] = []
    of = HeadSteps.of

    def noted(*arguments: Any) -> HeadSteps | None:
        made.append(of(*arguments))
        return made[-1]

    monkeypatch.setattr(collect.HeadSteps, "of", noted)
    played, said = collect.collect_by_steps(env, seats, draws, env.reset(seed=5), e)
    assert made[0] is not None
    monkeypatch.setattr(collect.HeadSteps, "of", lambda *_: None)
    expected, told = collect.collect_by_steps(env, seats, draws, env.reset(seed=5), e)
    alike = (played.actions == expected.actions).all(0).all(-1)
    assert alike.float().mean() > 0.95
    assert len(played.actions.unique()) == env.num_actions or env.num_envs < 16
    for name in ("obs", "actions", "rewards"):
        ours, theirs = getattr(played, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours[:, alike], theirs[:, alike]), name
    assert [one is None for one in said] == [one is None for one in told]
    for one, other in zip(said, told, strict=True):
        if one is None or other is None:
            continue
        for name in ("log_prob_table", "q_table", "actions"):
            torch.testing.assert_close(
                getattr(one, name)[:, alike], getattr(other, name)[:, alike], rtol=2e-5, atol=5e-5
            )


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("sizes", [(16, 8), (8, 24), (128, 64), (40, 104)])
def test_small_batch_of_all_sizes(
    device: str, layers: int, sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    env = _coin(device, 21)
    agents = [_agent(env, 36, seed, sizes=sizes, layers=layers) for seed in range(4)]
    _check(env, (AgentSets.of(agents[0]), _stacked(agents[1:], records=True)), monkeypatch)


@pytest.mark.parametrize(("games", "sets"), [(4, 1), (32, 1), (33, 1), (40, 10), (102, 3)])
def test_small_batch_of_all_numbers_of_games_and_sets(
    device: str, games: int, sets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = _coin(device, games)
    agents = [_agent(env, 36, seed) for seed in range(sets + 1)]
    both = _stacked(agents[1:] if sets > 1 else [agents[1]], records=True)
    _check(env, (AgentSets.of(agents[0], records=True), both), monkeypatch)


@pytest.mark.parametrize(
    "seen",
    [{"side": 5}, {"side": 9, "obs_dtype": torch.int16}, {"obs_dtype": torch.int32},
     {"obs": "planes"}, {"obs": "planes", "side": 4, "egocentric": True}],
)  # fmt: skip
def test_small_batch_of_boards(
    device: str, seen: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    env = _coin(device, 20, **seen)
    agents = [_agent(env, 4 * seen.get("side", 3) ** 2, seed) for seed in range(3)]
    _check(env, (AgentSets.of(agents[0]), _stacked(agents[1:], records=True)), monkeypatch, e=0.2)


def test_small_batch_of_an_agent_in_every_seat(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = _coin(device, 18, num_players=3)
    agent = AgentSets.of(_agent(env, 54, 0))
    _check(env, (agent, agent, agent), monkeypatch)


@pytest.mark.parametrize("script", ["always-defect", "random"])
def test_small_batch_of_scripted_players(
    device: str, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = _coin(device, 18)
    _check(env, (script, AgentSets.of(_agent(env, 36, 0), records=True)), monkeypatch)


def test_small_batch_of_another_game(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features that are numbers, two levels of three players."""
    env = make(
        "public-goods", 24, obs="count", obs_dtype=torch.float32, episode_length=T, device=device
    )
    (features,) = env.obs_shape
    seats = [AgentSets.of(_agent(env, features, seed), records=seed == 1) for seed in range(3)]
    _check(env, seats, monkeypatch)


def test_small_batch_of_past_agents(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept in half precision, drawn by number."""
    env = _coin(device, 36)
    agents = [_agent(env, 36, seed) for seed in range(4)]
    pool = ReplayPool(agents[0], 100)
    for agent in agents:
        pool.push(agent)
    index = torch.tensor([3, 0, 2, 2], device=pool.device)
    past = AgentSets(agents[0], pool.stored(), True, index)
    _check(env, (AgentSets.of(agents[0]), past), monkeypatch)


def test_small_batch_of_parameters_at_any_address(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Views of one flat array, as `torch.nn.utils.vector_to_parameters` makes them."""
    env = _coin(device, 16)
    agent = _agent(env, 36, 0, sizes=(24, 8))
    for parameter in agent.parameters():
        flat = torch.empty(parameter.numel() + 1, device=env.device)
        parameter.data = flat[1:].view_as(parameter).copy_(parameter.data)
    _check(env, (AgentSets.of(agent), AgentSets.of(agent, records=True)), monkeypatch)


def _of(env: VectorEnv, seats: Sequence[Any]) -> HeadSteps | None:
    shape = (env.num_envs, env.num_players)
    obs = torch.zeros((T + 1, *shape, *env.obs_shape), dtype=env.spec.obs_dtype, device=env.device)
    actions = torch.zeros((T, *shape), dtype=torch.uint8, device=env.device)
    draws = torch.zeros((T, shape[1], shape[0]), device=env.device)
    return HeadSteps.of(env, seats, obs, actions, draws)


def test_what_the_core_has_no_step_for_is_left_to_torch(device: str) -> None:
    env = _coin(device, 6)
    fine = AgentSets.of(_agent(env, 36, 0))
    assert _of(env, (fine, fine)) is not None
    bytes_of_planes = _coin(device, 6, obs="planes", obs_dtype=torch.uint8)
    assert _of(bytes_of_planes, (fine, fine)) is None
    mlp = build_agent("mlp", "mlp", 36, 4, observes="features").to(env.device)
    assert _of(env, ("random", "always-defect")) is None
    for other in (
        _agent(env, 36, 0),
        AgentSets.of(_agent(env, 36, 0).double()),
        AgentSets.of(_agent(env, 36, 0, sizes=(20, 8))),
        AgentSets.of(_agent(env, 36, 0, sizes=(8, 20)), records=True),
        AgentSets.of(_agent(env, 36, 0, sizes=(136, 8))),
        AgentSets.of(_agent(env, 36, 0, layers=0)),
        AgentSets.of(mlp),
        _stacked([_agent(env, 36, seed) for seed in range(2)]),
    ):
        assert _of(env, (fine, other)) is None


def test_on_the_cpu_torch_steps() -> None:
    env = _coin("cpu", 6)
    fine = AgentSets.of(_agent(env, 36, 0))
    assert _of(env, (fine, fine)) is None


def test_what_does_not_fit_together_is_refused(device: str) -> None:
    from loqa._native import core

    env = _coin(device, 6)

    def floats(*shape: int) -> Any:
        return borrow(torch.zeros(shape, device=env.device))

    head: dict[str, Any] = {
        "first": floats(36, 8), "first_bias": floats(8), "gates": floats(8, 24),
        "gates_bias": floats(24), "memory": floats(8, 24), "memory_bias": floats(8),
        "end": floats(8, 4), "end_bias": floats(4), "sets": 1, "features": 36, "hidden": 8,
        "outputs": 4, "seat": 0, "reads_time": False, "acts": True, "state": floats(6, 8),
        "said": None,
    }  # fmt: skip
    steps: dict[str, Any] = {
        "obs": borrow(torch.zeros((T + 1, 6, 2, 3), dtype=torch.uint8, device=env.device)),
        "type": 0, "width": 3, "draws": floats(T, 2, 6),
        "actions": borrow(torch.zeros((T, 6, 2), dtype=torch.uint8, device=env.device)),
        "steps": T, "games": 6, "players": 2, "exploration": 0.0, "on_host": device == "cpu",
    }  # fmt: skip

    def make_steps(of_head: dict[str, Any], **changed: Any) -> Any:
        heads = [core.StepHead(**{**head, **of_head})]
        return core.HeadSteps(**{**steps, "heads": heads, **changed})

    known = make_steps({})
    known.step(0, 0)
    known.step(T, 0)  # nothing is said of the last observation
    for t in (-1, T + 1):
        with pytest.raises(ValueError, match="no such step"):
            known.step(t, 0)
    odd: Tensor = torch.zeros(8 * 24 + 1, device=env.device)[1:]
    for of_head, message in [
        ({"hidden": 4}, "multiple of 8"), ({"hidden": 136}, "up to 128"),
        ({"outputs": 9}, "outputs up to"), ({"sets": 4}, "divide the games"),
        ({"seat": 2}, "no such seat"), ({"first": floats(35, 8)}, "first"),
        ({"memory": borrow(odd)}, "aligned to 16"), ({"state": floats(5, 8)}, "state"),
        ({"said": floats(T, 6, 4)}, "said"), ({"reads_time": True, "features": 3}, "features"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            make_steps(of_head)
    for changed, message in [
        ({"heads": []}, "1 to 16 heads"), ({"type": 4}, "out of range"),
        ({"type": 3, "obs": floats(T + 1, 6, 2, 3)}, "features of a head"), ({"steps": 0}, "out of range"),
        ({"draws": floats(T, 2, 5)}, "draws"), ({"games": 5}, "obs"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            make_steps({}, **changed)
