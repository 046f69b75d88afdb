"""LOQA beside players whose values, and maybe rewards, it does not know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import loqa
from loqa import CoinConfig, IPDConfig, PublicGoodsConfig
from loqa.agents.actor_critic import Agent, build_agent
from loqa.algos.base import Context
from loqa.algos.loqa import LOQASettings
from loqa.algos.opponent_model import OpponentModel
from loqa.algos.trajectory import Trajectory
from loqa.training.collect import collect
from loqa.training.trainer import Trainer

SMALL: dict[str, Any] = {"meets": "learners", "batch_size": 32, "iterations": 6, "critic_warmup": 2}


def agent(seed: int = 0, players: int = 2) -> Agent:
    draw = torch.Generator().manual_seed(seed)
    made = build_agent("logits", "mlp", 2 + players, 2, observes="states", generator=draw)
    with torch.no_grad():
        made.actor.logits.copy_(torch.randn(made.actor.logits.shape, generator=draw))
    return made


def episodes(players: int = 2, batch: int = 4000, first: int = 0) -> Trajectory:
    game = "ipd" if players == 2 else "n-ipd"
    rules = {} if players == 2 else {"num_players": players}
    env = loqa.make(game, batch, obs="index", episode_length=10, **rules)
    sitting = [agent(first + seat, players) for seat in range(players)]
    draw = torch.Generator().manual_seed(7)
    return collect(env, sitting, lambda: torch.rand((10, players, batch), generator=draw), 3)[0]


def model(kind: str = "learned", players: int = 2, **settings: Any) -> OpponentModel:
    chosen = LOQASettings(opponent_model=kind, **settings)  # type: ignore[arg-type]
    return OpponentModel(agent(5, players), chosen, Context(exploration=0.2))


@pytest.mark.parametrize("players", [2, 3])
def test_policies_are_counted(players: int) -> None:
    """Each other seat's probabilities come out, within what so many actions tell."""
    _, said = model(players=players).view(episodes(players), 0)
    assert said[0] is None
    for seat in range(1, players):
        found = said[seat]
        assert found is not None
        expected = agent(seat, players).memory1()
        torch.testing.assert_close(found.log_prob_table[0].exp(), expected, atol=0.03, rtol=0)
        assert not found.log_prob_table.requires_grad


def test_nobody_was_there() -> None:
    """A state that never came has a uniform policy, and nothing is impossible."""
    trajectory = episodes(batch=1)
    _, said = model().view(trajectory, 0)
    assert said[1] is not None
    table = said[1].log_prob_table[0].exp()
    assert bool((table > 0).all())
    never = [s for s in range(5) if not bool((trajectory.obs[:-1, :, 1] == s).any())]
    assert never
    torch.testing.assert_close(table[never], torch.full((len(never), 2), 0.5))


def test_values_are_learned_from_its_rewards() -> None:
    """After many steps they are its mean returns from each step, state and action on."""
    trajectory = episodes()
    one = model(critic_lr=0.02)
    for _ in range(400):
        known, said = one.view(trajectory, 0)
        one.learn(known, 0)
    assert said[1] is not None
    returns = loqa.ops.discounted_returns(trajectory.rewards[..., 1], 0.96)
    pairs = []
    for t in range(10):
        for state in range(5):
            for action in (0, 1):
                there = (trajectory.obs[t, :, 1] == state) & (trajectory.actions[t, :, 1] == action)
                if int(there.sum()) > 30:
                    learned = said[1].taken_q_values[t][there][0]
                    pairs.append(torch.stack([learned, returns[t, there].mean()]))
    learned, sampled = torch.stack(pairs).T
    assert len(pairs) > 60
    assert torch.corrcoef(torch.stack([learned, sampled]))[0, 1] > 0.99
    assert (learned - sampled).abs().mean() < 0.3


@pytest.mark.parametrize("players", [2, 3])
def test_mirrored_rewards_are_mine_in_its_place(players: int) -> None:
    """In a symmetric game they are the true ones; and the true ones are not read."""
    trajectory = episodes(players)
    hidden = trajectory.rewards.clone()
    hidden[..., 1:] = float("nan")
    known, said = model("mirrored", players).view(replace(trajectory, rewards=hidden), 0)
    torch.testing.assert_close(known.rewards, trajectory.rewards, atol=1e-5, rtol=0)
    assert len(said) == players
    cut = replace(trajectory, terminated=torch.zeros(10, 4000, dtype=torch.bool))
    with pytest.raises(ValueError, match="mirrored is of games whose episodes all have T steps"):
        model("mirrored", players).view(cut, 0)


def test_inferred_rewards_are_not_those_that_were_paid() -> None:
    """Nothing is known at first; what was paid to others is not read."""
    one = model("inferred")
    found = []
    for window in range(7):
        trajectory = episodes(batch=500, first=3 * min(window, 5))
        hidden = trajectory.rewards.clone()
        hidden[..., 1] = float("nan")
        hidden_too = replace(trajectory, rewards=hidden)
        for _ in range(10):
            known, _ = one.view(hidden_too, 0)
            one.learn(known, 0)
        assert torch.equal(known.rewards[..., 0], trajectory.rewards[..., 0])
        found.append(known.rewards[..., 1])
    assert not found[0].any()
    assert found[-1].any()
    assert bool(found[-1].isfinite().all())


@pytest.mark.parametrize(
    ("kind", "game"),
    [
        ("learned", IPDConfig),
        ("learned", PublicGoodsConfig),
        ("mirrored", IPDConfig),
        ("mirrored", PublicGoodsConfig),
        ("inferred", IPDConfig),
    ],
)
def test_a_run_goes_on_bit_for_bit(tmp_path: Path, kind: str, game: Any) -> None:
    length = {"iterations": 48} if kind == "inferred" else {}
    config = game.of_preset("default", opponent_model=kind, **{**SMALL, **length})
    whole = loqa.train(config, tmp_path / "whole")
    loqa.train(config.replace(iterations=config.iterations // 2), tmp_path / "part")
    resumed = loqa.resume(tmp_path / "part", iterations=config.iterations)
    answers = [name for name in whole if name.startswith("p_cooperate")]
    assert len(answers) >= 2
    for name in answers:
        assert whole[name] == resumed[name]


def parameters(trainer: Trainer) -> list[Tensor]:
    return [one.detach().clone() for one in trainer.agent.parameters()]


def test_what_others_think_does_not_matter() -> None:
    """Another critic of the other player changes what "shared" learns, not what "learned" does."""
    moved = {}
    for kind in ("shared", "learned"):
        ends = []
        for other in (0.0, 1.0):
            config = IPDConfig.of_preset("default", opponent_model=kind, **SMALL)
            trainer = Trainer(config.replace(critic_warmup=0))
            critic = trainer.opponents.algorithms[0].agent.critic
            with torch.no_grad():
                critic.linear_end.weight *= 1 + 3 * other
            trainer.iterate()
            ends.append(parameters(trainer))
        moved[kind] = any(not torch.equal(a, b) for a, b in zip(*ends, strict=True))
    assert moved == {"shared": True, "learned": False}


def test_a_naive_other_stays_naive() -> None:
    """Its update is that of a run of naive learners, from the same episodes."""
    fields = {**SMALL, "critic_warmup": 0}
    ends = []
    for algo, beside in (("loqa", {"other_algo": "naive"}), ("naive", {})):
        trainer = Trainer(IPDConfig.of_preset("default", algo=algo, **fields, **beside))
        trainer.iterate()
        ends.append([p.detach() for p in trainer.opponents.algorithms[0].agent.parameters()])
    for ours, theirs in zip(*ends, strict=True):
        assert torch.equal(ours, theirs)


def test_who_shapes_beside_a_naive_agent_goes_on_to() -> None:
    """The agent's weight of 0 is not the other's."""
    trainer = Trainer(
        IPDConfig.of_preset("default", algo="naive", other_algo="loqa", shaping_weight=2.5, **SMALL)
    )
    trainer.iterate()
    own, other = trainer.algorithm, trainer.opponents.algorithms[0]
    weights = [one.learner.settings.shaping_weight for one in (own, other)]  # type: ignore[attr-defined]
    assert weights == [0.0, 2.5]


def test_what_is_refused() -> None:
    for name in ("gamma", "exploration"):
        with pytest.raises(ValueError, match=f"opponent_model inferred needs {name} below 1"):
            Trainer(
                IPDConfig.of_preset("default", opponent_model="inferred", **SMALL, **{name: 1.0})
            )
    for kind in ("mirrored", "inferred"):
        with pytest.raises(
            ValueError,
            match=rf"opponent_model {kind} finds rewards in a table of states: it needs a game that "
            r"shows an index, and critic mlp; learned works without",
        ):
            Trainer(CoinConfig.of_preset("default", opponent_model=kind, batch_size=32))
    with pytest.raises(ValueError, match="inferred is of two players and two actions, got 2 own"):
        Trainer(PublicGoodsConfig.of_preset("default", opponent_model="inferred", **SMALL))
    with pytest.raises(ValueError, match="opponent_model must be"):
        LOQASettings(opponent_model="guessed")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="other_algo needs meets learners"):
        IPDConfig.of_preset("default", other_algo="naive")
    with pytest.raises(ValueError, match="other_algo lola has other settings than loqa"):
        IPDConfig.of_preset("default", other_algo="lola", meets="learners")
