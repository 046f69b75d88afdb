"""Environments of a user's own at the door: what is wrong is named, with what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("pettingzoo")
import pettingzoo
from gymnasium import spaces
from own_envs import CutEnv, EndingEnv, NumpyEnv, TorchEnv

import loqa
from loqa.agents.actor_critic import build_agent
from loqa.agents.sets import AgentSets
from loqa.envs.adapters.own import CheckedEnv, EnvError
from loqa.envs.adapters.parallel import from_parallel_env
from loqa.envs.pettingzoo import parallel_env
from loqa.training.collect import collect

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", [TorchEnv, NumpyEnv])
def test_gives_tensors_as_the_spec_says(kind: Any) -> None:
    env = CheckedEnv(kind(3, 0, CPU))
    obs = env.reset(seed=1)
    assert (obs.shape, obs.dtype) == ((3, 2, 2), torch.float32)
    actions = torch.tensor([[0, 1], [1, 1], [0, 0]], dtype=torch.uint8)
    obs, rewards, terminated, truncated = env.step(actions)
    assert obs[:, :, 1].tolist() == [[0, 1], [1, 1], [0, 0]]
    assert rewards.dtype == torch.float32
    luck = 0.1 * env.own.luck if kind is TorchEnv else 0
    expected = torch.tensor([[-0.5, 1.0], [0.5, 0.5], [0.0, 0.0]])
    torch.testing.assert_close(rewards - luck, expected)
    assert terminated.dtype == truncated.dtype == torch.bool
    assert not terminated.any()
    assert not truncated.any()


def test_actions_are_a_copy() -> None:
    class Writes(TorchEnv):
        def step(self, actions: Any) -> Any:
            assert actions.dtype == torch.int64
            actions.zero_()
            return super().step(actions)

    env = CheckedEnv(Writes(1, 0, CPU))
    env.reset(seed=0)
    actions = torch.ones(1, 2, dtype=torch.int64)
    env.step(actions)
    assert actions.tolist() == [[1, 1]]


def test_other_copies_of_a_batch_have_other_episodes() -> None:
    def lucks(first: int) -> list[float]:
        env = CheckedEnv(TorchEnv(4, 0, CPU), first_env=first)
        env.reset(seed=3)
        return env.own.luck.flatten().tolist()

    assert lucks(0) == lucks(0)
    assert lucks(4) == lucks(4)
    assert lucks(0) != lucks(4)


def _change(index: int, function: Callable[[Any], Any]) -> Any:
    """An environment that returns something else in step 2."""

    class Changed(TorchEnv):
        def step(self, actions: Any) -> Any:
            results = list(super().step(actions))
            if self.t == 2:
                results[index] = function(results[index])
            return tuple(results)

    return Changed


def _raises(*args: Any) -> Any:
    raise KeyError("fish")


def _fewer(self: Any, actions: Any) -> Any:
    return TorchEnv.step(self, actions)[:3]


def _play(env: CheckedEnv, steps: int) -> None:
    env.reset(seed=0)
    for _ in range(steps):
        env.step(torch.zeros(env.num_envs, 2, dtype=torch.uint8))


WRONG: dict[str, tuple[Any, str]] = {
    "NaN": (
        _change(0, lambda obs: obs / 0 * 0),
        r"Changed.step \(step 2\): expected finite observations, got nan at \[0, 0, 0\]",
    ),
    "infinite": (
        _change(1, lambda rewards: rewards.index_fill(0, torch.tensor([1]), torch.inf)),
        r"\(step 2\): expected finite rewards, got inf at \[1, 0\]",
    ),
    "obs shape": (
        _change(0, lambda obs: obs[..., :1]),
        r"\(step 2\): expected observations \[3, 2, 2\], got \[3, 2, 1\]",
    ),
    "batch": (
        _change(1, lambda rewards: rewards[:2]),
        r"\(step 2\): expected rewards \[3, 2\], got \[2, 2\]",
    ),
    "flags shape": (
        _change(2, lambda flags: flags[:, None].expand(-1, 2)),
        r"expected terminated \[3\], got \[3, 2\]",
    ),
    "obs dtype": (
        _change(0, lambda obs: obs.long()),
        r"expected observations of float32, the spec's obs_dtype, got int64",
    ),
    "obs double": (_change(0, lambda obs: obs.double()), r"float32.*got float64"),
    "complex": (_change(1, lambda rewards: rewards + 0j), r"expected rewards as a tensor or array"),
    "bool rewards": (
        _change(1, lambda rewards: rewards > 0),
        r"expected rewards of floats or integers, got bool",
    ),
    "flags dtype": (
        _change(3, lambda flags: flags.float()),
        r"expected truncated of bool, got float32",
    ),
    "no array": (_change(1, lambda rewards: None), r"expected rewards as .*, got NoneType"),
    "objects": (
        _change(0, lambda obs: np.full((3, 2, 2), None)),
        r"expected observations as .*, got NumPy \[3, 2, 2\] object",
    ),
    "truncated": (
        _change(3, lambda flags: ~flags),
        r"expected truncated only in the last step of spec.episode_length 6, or the attribute "
        r"final_obs, got it in copy 0: give episode_length=2",
    ),
    "raises": (_change(0, _raises), r"Changed.step \(step 2\) raised KeyError: 'fish'"),
    "three results": (
        type("Fewer", (TorchEnv,), {"step": _fewer}),
        r"Fewer.step \(step 1\): expected four results, .*, got tuple of 3",
    ),
    "reset raises": (
        type("Broken", (TorchEnv,), {"reset": _raises}),
        r"Broken.reset raised KeyError: 'fish'",
    ),
    "reset shape": (
        type("Broken", (TorchEnv,), {"reset": lambda self, seed: torch.zeros(3, 2)}),
        r"Broken.reset: expected observations \[3, 2, 2\], got \[3, 2\]",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_named(wrong: str) -> None:
    kind, said = WRONG[wrong]
    env = CheckedEnv(kind(3, 0, CPU))
    with pytest.raises(EnvError, match=said):
        _play(env, 3)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("num_actions", 1, r"num_actions in the spec of TorchEnv .* \[2, 256\], got 1"),
        ("num_players", 2.0, r"num_players .* got 2.0"),
        ("episode_length", 0, r"episode_length .* got 0"),
        ("obs_shape", [2], r"obs_shape .* tuple of sizes, got \[2\]"),
        ("obs_dtype", np.float32, r"obs_dtype .* torch dtype .* got <class 'numpy.float32'>"),
        ("discount", 1.5, r"discount .* \[0, 1\], got 1.5"),
    ],
)
def test_a_spec_that_is_none(field: str, value: Any, said: str) -> None:
    env = TorchEnv(2, 0, CPU)
    fields = {**vars(env.spec), field: value}
    env.spec = loqa.EnvSpec(**fields)
    with pytest.raises(EnvError, match=said):
        CheckedEnv(env)


def test_what_is_no_environment() -> None:
    with pytest.raises(EnvError, match="Nothing has no spec, num_envs, device, reset, step"):
        CheckedEnv(type("Nothing", (), {})())
    env = TorchEnv(2, 0, CPU)
    with pytest.raises(EnvError, match=r"episode_length must be in 1..6.* got 7"):
        CheckedEnv(env, episode_length=7)
    with pytest.raises(EnvError, match="no scripted_actions: nobody plays grim"):
        CheckedEnv(env).scripted_actions([None, "grim"])
    env.spec = "small"
    with pytest.raises(EnvError, match=r"must be a loqa.EnvSpec, got str"):
        CheckedEnv(env)


@pytest.mark.parametrize("make", [EndingEnv, CutEnv])
@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_memory_and_the_step_index_begin_anew_with_an_episode(kind: str, make: Any) -> None:
    """What is said on the way is what the whole episodes say afterwards, and what the parts say alone."""
    agent = build_agent(kind, kind, 2, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():  # a step index that tells
        for parameter in agent.parameters():
            parameter.mul_(2)
    env = CheckedEnv(make(5, 0, CPU))
    sets = AgentSets.of(agent, records=True)
    played, said = collect(env, [sets, sets], lambda: torch.rand(6, 2, 5), seed=0)
    at_four = [False] * 3 + [True] + [False] * 2
    if make is EndingEnv:
        assert played.terminated is not None
        assert played.terminated[:, 0].tolist() == at_four
        assert (played.truncated, played.final_obs) == (None, None)
    else:
        assert played.truncated is not None
        assert played.final_obs is not None
        assert played.truncated[:, 0].tolist() == [*at_four[:-1], True]
        assert played.final_obs.shape == (5, 2, 2)
        assert (played.final_obs[..., 0] == 4).all()
        assert torch.equal(played.final_obs[..., 1], played.actions[3].float())
    assert (played.obs[4, ..., 0] == 0).all()
    for seat in range(2):
        own = played.seat(seat)
        whole = agent.evaluate(own.obs, own.actions, ends=own.ends)
        recorded = said[seat]
        assert recorded is not None
        for one in (recorded, recorded.played(0.0)):
            torch.testing.assert_close(one.log_prob_table, whole.log_prob_table)
            torch.testing.assert_close(one.q_table, whole.q_table)
            torch.testing.assert_close(one.next_values, whole.next_values)
            torch.testing.assert_close(one.next_max_q_values, whole.next_max_q_values)
        second = agent.evaluate(own.obs[4:], own.actions[4:])
        torch.testing.assert_close(whole.values[4:], second.values)
        if own.ends is not None and own.ends.final_obs is not None:
            obs = torch.cat([own.obs[:4], own.ends.final_obs[None]])
            first = agent.evaluate(obs, own.actions[:4])
            torch.testing.assert_close(whole.next_values[:4], first.values[1:])
            torch.testing.assert_close(whole.next_max_q_values[3], first.max_q_values[4])
            torch.testing.assert_close(whole.next_values[4:], second.values[1:])


def test_an_episode_cut_at_the_end_of_the_batch_is_followed_by_its_last_observation() -> None:
    class AtTheEnd(CutEnv):
        ends = 6

    env = CheckedEnv(AtTheEnd(3, 0, CPU))
    agent = build_agent("mlp", "mlp", 2, 2)
    played, _ = collect(env, [agent, agent], lambda: torch.rand(6, 2, 3), seed=0)
    assert (played.terminated, played.truncated, played.final_obs) == (None, None, None)
    assert (played.obs[6, ..., 0] == 6).all()


def test_what_is_wrong_with_final_observations_is_named() -> None:
    class Wrong(CutEnv):
        def step(self, actions: Any) -> Any:
            results = super().step(actions)
            self.final_obs = self.final_obs * torch.nan
            return results

    with pytest.raises(EnvError, match=r"\(step 4\): expected finite final_obs, got nan"):
        _play(CheckedEnv(Wrong(3, 0, CPU)), 5)


# --- PettingZoo


class Rounds(pettingzoo.ParallelEnv):
    """Two agents choose among three from 1 on and see the other's choice; ends after `length` rounds."""

    metadata = {"name": "rounds"}  # noqa: RUF012
    possible_agents = ["a", "b"]  # noqa: RUF012
    length = 4
    terminates = False
    space: Any = spaces.Discrete(4)
    moves: Any = spaces.Discrete(3, start=1)

    def observation_space(self, agent: str) -> Any:
        return self.space

    def action_space(self, agent: str) -> Any:
        return self.moves

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.seed, self.t, self.agents = seed, 0, ["a", "b"]
        return {"a": 0, "b": 0}, {"a": {}, "b": {}}

    def step(self, actions: dict[str, int]) -> Any:
        assert all(1 <= action <= 3 for action in actions.values())
        self.t += 1
        over = self.t == self.length
        seen = {"a": actions["b"], "b": actions["a"]}
        paid = {"a": float(actions["a"]), "b": -float(actions["a"])}
        ends = dict.fromkeys("ab", over and self.terminates)
        cuts = dict.fromkeys("ab", over and not self.terminates)
        return seen, paid, ends, cuts, {"a": {}, "b": {}}


class Ends(Rounds):
    terminates = True


def test_copies_of_a_parallel_environment() -> None:
    env = CheckedEnv(from_parallel_env(Rounds, 2))
    spec = env.spec
    assert (spec.name, spec.num_players, spec.num_actions) == ("rounds", 2, 3)
    assert (spec.obs_shape, spec.obs_dtype, spec.episode_length) == ((4,), torch.float32, 4)
    assert env.reset(seed=5)[:, :, 0].tolist() == [[1, 1], [1, 1]]
    seeds = [copy.seed for copy in env.own._copies]
    assert len(set(seeds)) == 2
    obs, rewards, terminated, truncated = env.step(torch.tensor([[0, 2], [1, 0]]))
    assert obs.argmax(-1).tolist() == [[3, 1], [1, 2]]
    assert rewards.tolist() == [[1, -1], [2, -2]]
    for _ in range(3):
        assert not truncated.any()
        *_, terminated, truncated = env.step(torch.zeros(2, 2, dtype=torch.int64))
    assert truncated.all()
    assert not terminated.any()
    env.reset(seed=5)
    assert [copy.seed for copy in env.own._copies] == seeds


def test_a_copy_that_terminated_begins_anew() -> None:
    env = CheckedEnv(from_parallel_env(Ends, 1, episode_length=9))
    env.reset(seed=0)
    first = env.own._copies[0].seed
    ended, starts = [], []
    for _ in range(9):
        obs, _, terminated, _ = env.step(torch.ones(1, 2, dtype=torch.int64))
        ended.append(bool(terminated[0]))
        starts.append(obs[0, 0, 0].item() == 1)
    assert ended == starts == [False, False, False, True] * 2 + [False]
    assert env.own._copies[0].seed != first
    assert from_parallel_env(Ends, 1).spec.episode_length == 4


def test_our_own_parallel_environment_comes_back() -> None:
    env = from_parallel_env(lambda: parallel_env("coin_game", episode_length=7), 3)
    assert (env.spec.obs_shape, env.spec.episode_length) == ((4, 3, 3), 7)
    assert env.reset(seed=1).shape == (3, 2, 4, 3, 3)


def _with(**fields: Any) -> Callable[[], Any]:
    return type("Rounds", (Rounds,), fields)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            _with(moves=spaces.MultiBinary(2)),
            r"actions of rounds must be a Discrete or Box space, got MultiBinary",
        ),
        (
            _with(moves=spaces.Box(np.zeros(2, np.float32), np.array([1, 2], np.float32))),
            r"must hold floats in one finite range, the same for all numbers, got Box",
        ),
        (_with(moves=spaces.Box(0, np.inf, (2,))), r"must hold floats in one finite range"),
        (_with(space=spaces.Text(3)), r"must be a Box, Discrete or MultiBinary space, got Text"),
        (
            _with(action_space=lambda self, agent: spaces.Discrete(2 + (agent == "b"))),
            r"agents of rounds need action spaces of one size, got 2 \(a\), 3 \(b\)",
        ),
        (
            _with(observation_space=lambda self, agent: spaces.Discrete(2 + (agent == "b"))),
            r"agents of rounds need observation spaces of one shape",
        ),
        (_with(length=2000), r"no episode of rounds ended in 1000 steps .* give episode_length"),
        (dict, r"expected a PettingZoo ParallelEnv, got dict"),
    ],
)
def test_parallel_environments_that_do_not_fit(make: Any, said: str) -> None:
    with pytest.raises(EnvError, match=said):
        from_parallel_env(make, 1)


def test_agents_that_end_apart_or_say_nothing() -> None:
    def alone(self: Any, actions: Any) -> Any:
        seen, paid, _, cuts, infos = Rounds.step(self, actions)
        return seen, paid, {"a": True, "b": False}, cuts, infos

    def silent(self: Any, actions: Any) -> Any:
        seen, *rest = Rounds.step(self, actions)
        return {"a": seen["a"]}, *rest

    actions = torch.zeros(1, 2, dtype=torch.int64)
    env = CheckedEnv(from_parallel_env(_with(step=alone), 1, episode_length=4))
    env.reset(seed=0)
    with pytest.raises(EnvError, match=r"\(step 1\): all agents must end together"):
        env.step(actions)
    env = CheckedEnv(from_parallel_env(_with(step=silent), 1, episode_length=4))
    env.reset(seed=0)
    with pytest.raises(EnvError, match=r"its observation in every step, b has none: got a"):
        env.step(actions)


def test_a_copy_that_was_truncated_begins_anew() -> None:
    env = CheckedEnv(from_parallel_env(Rounds, 1, episode_length=9))
    env.reset(seed=0)
    first = env.own._copies[0].seed
    for t in range(1, 10):
        obs, _, terminated, truncated = env.step(torch.ones(1, 2, dtype=torch.int64))
        assert truncated.item() == (t % 4 == 0)
        assert not terminated.any()
        assert (obs[0, 0, 0].item() == 1) == truncated.item()  # of a first observation
        assert (env.final_obs is not None) == truncated.item()
        if env.final_obs is not None:
            assert env.final_obs[0, 0].tolist() == [0, 0, 1, 0]
    assert env.own._copies[0].seed != first
