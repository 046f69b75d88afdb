"""LOQA in games without states beside players whose values it does not know: networks clone them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch
from torch import Tensor

import loqa
from loqa import CoinConfig, IPDConfig
from loqa.agents.actor_critic import Agent, build_agent
from loqa.agents.policy import Policy
from loqa.agents.sets import AgentSets
from loqa.algos.base import Context
from loqa.algos.loqa import LOQASettings
from loqa.algos.opponent_model import OpponentModel
from loqa.algos.trajectory import Trajectory
from loqa.runtime.distributed import ProcessGroup
from loqa.training.checkpoint import load_checkpoint
from loqa.training.collect import collect
from loqa.training.opponents import Past
from loqa.training.trainer import Trainer

STEPS = 8
TINY: dict[str, Any] = {
    "opponent_model": "learned", "batch_size": 8, "opponents": 4, "episode_length": 6,
    "actor_hidden": 8, "critic_hidden": 8, "iterations": 6, "evaluate_every": 3,
    "evaluation_episodes": 8, "checkpoint_every": 2, "replay_every": 1,
}  # fmt: skip


def agent(seed: int, certainty: float = 1.0) -> Agent:
    draw = torch.Generator().manual_seed(seed)
    made = build_agent("gru", "gru", 36, 4, generator=draw)
    with torch.no_grad():
        made.actor.linear_end.weight *= certainty
    return made


def episodes(other: Policy | str, seed: int, batch: int = 256) -> Trajectory:
    """A random network plays with the other player, who sits in seat 1."""
    env = loqa.make("coin-game", batch, obs="cells", episode_length=STEPS, egocentric=True)
    draw = torch.Generator().manual_seed(seed)
    seats = [AgentSets.of(agent(1)), other]
    return collect(env, seats, lambda: torch.rand((STEPS, 2, batch), generator=draw), seed)[0]


def model(gamma: float = 0.9, processes: ProcessGroup | None = None) -> OpponentModel:
    settings = LOQASettings(opponent_model="learned", actor_lr=1e-2, critic_lr=1e-2, gamma=gamma)
    return OpponentModel(agent(5), settings, Context(processes or ProcessGroup()))


@pytest.mark.parametrize("kind", ["a network", "always-defect"])
def test_a_policy_and_its_values_are_learned(kind: str) -> None:
    """In episodes that were not learned from: the policy that played, and what it earns on average from
    each of the 128 starts on."""
    network = agent(2, certainty=6.0)
    other = AgentSets.of(network) if kind == "a network" else kind
    fresh = episodes(other, 10_000, batch=20_000)
    seen = fresh.seat(1)
    returns = loqa.ops.discounted_returns(seen.rewards, 0.9)[0]
    _, start = seen.obs[0].long().unique(dim=0, return_inverse=True)
    true = network.evaluate(seen.obs, seen.actions).detach()

    def of_starts(numbers: Tensor) -> Tensor:
        count = torch.bincount(start)
        return torch.zeros(len(count)).index_add_(0, start, numbers) / count

    def compared(one: OpponentModel) -> dict[str, float]:
        said = one.view(fresh, 0)[1][1]
        assert said is not None
        values = torch.stack([of_starts(said.values[0]), of_starts(returns)])
        return {
            "likelihood": float(said.taken_log_probs.mean()),
            "kl": float(said.kl_of(true).mean()),
            "correlation": float(torch.corrcoef(values)[0, 1]),
            "error": float((values[0] - values[1]).abs().mean()),
        }

    one = model()
    first = compared(one)
    for iteration in range(150):
        known, _ = one.view(episodes(other, iteration), 0)
        numbers = one.learn(known, 0)
    last = compared(one)
    assert last["correlation"] > 0.8 > first["correlation"] + 0.6
    assert last["error"] < 0.2
    assert abs(float(numbers["loss/model_policy"]) + last["likelihood"]) < 0.05
    if kind == "a network":
        assert last["kl"] < 0.012 < 0.1 < first["kl"]
        assert last["likelihood"] > float(true.taken_log_probs.mean()) - 0.012
    else:  # it goes to the coin, with a choice where two ways are short
        assert last["likelihood"] > -0.27
        assert first["likelihood"] < -1.3


def test_where_episodes_are_cut_a_value_stands_for_the_rest() -> None:
    """One a step for ever is worth 2 if half counts a step later, in episodes of two steps too. Without what
    comes after a cut it would be 1.25 on average."""
    batch = 4
    draw = torch.Generator().manual_seed(0)
    cells = torch.randint(0, 9, (6, batch, 2, 4), generator=draw)
    cut = torch.tensor([False, True, False, True])[:, None].expand(4, batch)
    trajectory = Trajectory(
        cells[:5],
        torch.randint(0, 4, (4, batch, 2), generator=draw),
        torch.ones(4, batch, 2),
        truncated=cut,
        final_obs=cells[5],
    )
    one, seen = model(gamma=0.5), trajectory.seat(1)
    said = one.view(trajectory, 0)[1]
    assert said[1] is not None
    first = agent(5).evaluate(seen.obs, seen.actions, ends=seen.ends)
    torch.testing.assert_close(said[1].next_values, first.next_values.detach())
    for _ in range(60):
        known, said = one.view(trajectory, 0)
        one.learn(known, 0)
    assert said[1] is not None
    assert abs(float(said[1].taken_q_values.mean()) - 2) < 0.2


@pytest.mark.parametrize("meets", ["past", "learners", "self"])
def test_a_run_goes_on_bit_for_bit(tmp_path: Path, meets: str) -> None:
    config = CoinConfig.of_preset("default", meets=meets, **TINY)
    loqa.train(config, tmp_path / "whole")
    loqa.train(config.replace(iterations=3), tmp_path / "part")
    loqa.resume(tmp_path / "part", iterations=6)
    whole, part = (
        load_checkpoint(tmp_path / name / "checkpoints" / "iteration_00000006.safetensors")[
            "trainer"
        ]
        for name in ("whole", "part")
    )
    assert set(whole["learner"]["opponent_model"]["models"]) == {"1"}
    for name in ("learner", *(["others"] if meets == "learners" else [])):
        torch.testing.assert_close(part[name], whole[name], rtol=0, atol=0)


class Side(ProcessGroup):
    """One of two processes, which are threads here."""

    def __init__(self, rank: int, barrier: Barrier, given: list[list[Tensor]]) -> None:
        super().__init__(rank, 2)
        self.barrier, self.given = barrier, given

    def mean_(self, tensors: Sequence[Tensor]) -> None:
        self.given[self.rank] = [one.clone() for one in tensors]
        self.barrier.wait()
        for tensor, *both in zip(tensors, *self.given, strict=True):
            tensor.copy_(sum(both) / 2)
        self.barrier.wait()


def test_two_processes_learn_what_one_learns_of_both_batches() -> None:
    parts = [episodes("always-defect", seed, batch=32) for seed in (1, 2)]
    whole = Trajectory(
        *(
            torch.cat([getattr(part, name) for part in parts], 1)
            for name in ("obs", "actions", "rewards")
        )
    )
    barrier, given = Barrier(2, timeout=60), [[], []]
    models = [model(processes=Side(rank, barrier, given)) for rank in (0, 1)]

    def learned(one: OpponentModel, trajectory: Trajectory) -> dict[str, Any]:
        for _ in range(3):
            known, _ = one.view(trajectory, 0)
            one.learn(known, 0)
        return one.state_dict()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(learned, models, parts)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, learned(model(), whole), rtol=1e-3, atol=1e-5)
    alone = learned(model(), parts[0])
    assert not torch.allclose(
        first["models"]["1"]["actor"]["linear_end.weight"],
        alone["models"]["1"]["actor"]["linear_end.weight"],
        rtol=1e-3,
        atol=1e-5,
    )


def parameters(one: Agent) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in one.parameters()]


@pytest.mark.parametrize("kind", ["shared", "learned"])
@pytest.mark.parametrize("meets", ["past", "learners"])
def test_critics_of_others_are_not_read(meets: str, kind: str) -> None:
    """Other critics of the others change what "shared" learns, not what "learned" does."""
    ends = []
    for scale in (1.0, 4.0):
        config = CoinConfig.of_preset("default", meets=meets, **{**TINY, "opponent_model": kind})
        trainer = Trainer(config)
        others = trainer.opponents
        if isinstance(others, Past):
            critic = others.pool.stored()["critic.linear_end.weight"]
            assert others.seats(1)[0].records == (kind == "shared")  # type: ignore[union-attr]
        else:
            critic = others.algorithms[0].agent.critic.linear_end.weight.detach()
        critic *= scale
        trainer.iterate()
        ends.append(parameters(trainer.agent))
    moved = any(not torch.equal(a, b) for a, b in zip(*ends, strict=True))
    assert moved == (kind == "shared")


@pytest.mark.parametrize(
    "config",
    [
        CoinConfig.of_preset("default", **{**TINY, "num_players": 3}),
        CoinConfig.of_preset("default", **{**TINY, "actor": "cnn", "critic": "cnn"}),
        IPDConfig.of_preset("default", opponent_model="learned", critic="gru", batch_size=8),
    ],
    ids=["three players", "convolutions", "states, and a critic that remembers"],
)
def test_of_any_kind_of_network(config: Any) -> None:
    """Each model learns: its actor and its critic move in the first iteration."""
    trainer = Trainer(config.replace(meets="learners"))
    before = {name: one.clone() for name, one in trainer.agent.state_dict().items()}
    trainer.iterate()
    models = trainer.algorithm.state_dict()["opponent_model"]["models"]
    assert len(models) == trainer.env.spec.num_players - 1
    for one in models.values():
        for role in ("actor", "critic"):
            moved = [
                not torch.equal(now, before[f"{role}.{name}"]) for name, now in one[role].items()
            ]
            assert any(moved)
