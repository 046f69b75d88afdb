"""Runs of M-FOS on the Coin Game, small: meta-episodes on the one trainer."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import loqa
from loqa.agents.mfos import MFOSActor
from loqa.algos import mfos
from loqa.algos.mfos import MetaEpisode, meta_outputs
from loqa.algos.mfos_play import NaiveLearner, NaiveSettings, Steering
from loqa.algos.trajectory import Seat, Trajectory
from loqa.cli.main import main
from loqa.training.run_names import without_effect
from loqa.training.trainer import Trainer

TINY: dict[str, Any] = {
    "algo": "mfos", "batch_size": 4, "episode_length": 4, "inner_episodes": 3, "epochs": 2,
    "inner_epochs": 3, "channels": 3, "hidden": 4, "evaluate_every": 2, "evaluation_episodes": 4,
    "iterations": 4, "checkpoint_every": 1,
}  # fmt: skip
MIXED = {"self_play_decay": 0.3}  # of the first six iterations of seed 0 the agents meet in some


def config(**fields: Any) -> loqa.CoinConfig:
    return loqa.CoinConfig.of_preset("default", **{**TINY, **fields})


def test_the_defaults_are_the_published_ones() -> None:
    found = loqa.CoinConfig.of_preset(algo="mfos")
    assert (found.rules, found.episode_length, found.inner_episodes) == ("mfos22", 15, 16)
    assert found.idle_step  # the sixteenth step
    assert (found.batch_size, found.iterations, found.meets) == (512, 1000, "learners")
    agent = Trainer(found.replace(batch_size=1)).agent
    assert agent.actor.board == (7, 3, 3)
    assert agent.actor.end.weight.shape == (4, 16)


@pytest.mark.parametrize("idle_step", [True, False])
def test_the_step_after_the_last_move(idle_step: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As published the agent acts once more, sees the end and is paid nothing; else every step is a move."""
    learned: list[MetaEpisode] = []
    returns: list[torch.Tensor] = []
    loss, sums = MetaEpisode.loss, mfos.meta_returns

    def watched(self: MetaEpisode, *args: Any) -> torch.Tensor:
        learned.append(self)
        return loss(self, *args)

    def paid(rewards: torch.Tensor, discount: float) -> torch.Tensor:
        returns.append(rewards)
        return sums(rewards, discount)

    monkeypatch.setattr(MetaEpisode, "loss", watched)
    monkeypatch.setattr(mfos, "meta_returns", paid)
    trainer = Trainer(config(meets="naive", batch_size=8, idle_step=idle_step))
    trainer.iterate()
    played, _ = trainer._last  # type: ignore[misc]
    rewards = played.rewards[:, :, 0].unflatten(0, (3, 4))
    assert rewards.any()
    obs, steps = learned[0].obs, 4 + idle_step
    assert obs.shape == (3, steps, 8, 7, 3, 3)
    assert learned[0].actions.shape == learned[0].log_probs.shape == (3, steps, 8)
    assert torch.equal(obs[:, :4], played.obs[:-1, :, 0].unflatten(0, (3, 4)))
    assert torch.equal(returns[0][:, :4], rewards)
    assert not obs[:, :4, :, 6].any()  # no move shows the end
    if idle_step:
        assert obs[:, 4, :, 6].all()
        assert torch.equal(obs[:, 4, :, 4, 0, 0], rewards[:, 3])  # what the last move was paid
        assert not returns[0][:, 4].any()
        assert len(learned[0].actions[:, 4].unique()) > 1


@pytest.mark.parametrize(
    "fields",
    [{"meets": "naive"}, MIXED, {"meets": "naive", "rules": "loqa24", "height": 7, "width": 5,
                                 "egocentric": True}],
)  # fmt: skip
def test_a_run_goes_on_bit_for_bit(fields: dict[str, Any], tmp_path: Path) -> None:
    """Six meta-episodes in one go and in two: the same agents and numbers."""
    whole = loqa.train(config(**fields, iterations=6), tmp_path / "whole")
    loqa.train(config(**fields, iterations=3), tmp_path / "parts")
    parts = loqa.resume(tmp_path / "parts", iterations=6)
    one, two = (loqa.load_agent(each["out"]).state_dict() for each in (whole, parts))
    assert all(torch.equal(one[name], two[name]) for name in one)
    told = [
        [{name: value for name, value in json.loads(line).items() if "second" not in name}
         for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("whole", "parts")
    ]  # fmt: skip
    last = [
        {k: v for k, v in line.items() if k != "seconds_to_threshold_for_good"} for line in told[0]
    ]
    assert [line["loss"] for line in told[0]] == [line["loss"] for line in told[1]]
    assert [line["reward"] for line in told[0]] == [line["reward"] for line in told[1]]
    assert {"first_reward", "last_reward", "grad_norm"} <= last[-1].keys()
    assert whole["self_play"] == parts["self_play"]
    untrained = Trainer(config(**fields)).agent.state_dict()
    changed = [name for name in one if not torch.equal(one[name], untrained[name])]
    assert {name.split(".")[1] for name in changed} == {"trunk", "meta", "end", "meta_end"}


def test_twenty_updates_of_two_agents_are_finite() -> None:
    """Half of the time against naive learners, in the end against each other."""
    trainer = Trainer(config(self_play_decay=0.05, evaluate_every=0))
    (second,) = trainer.opponents.algorithms
    met = []
    for _ in range(20):
        trainer.iterate()
        met.append(trainer.opponents.meet(trainer.iteration))
    assert not met[0]
    assert 3 < sum(met) < 17
    ours, theirs = (list(one.agent.parameters()) for one in (trainer.algorithm, second))
    assert all(one.isfinite().all() for one in (*ours, *theirs))
    assert all(not torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    # 3 inner episodes of 4 steps on 4 boards: twice where each agent plays on its own.
    assert trainer.env_steps == 48 * (20 + met.count(False))


@pytest.mark.parametrize("idle_step", [True, False])
def test_what_was_acted_is_what_the_loss_evaluates(idle_step: bool) -> None:
    """Step by step with a state and a memory, and the whole meta-episode at once."""
    trainer = Trainer(config(meets="naive"))
    actor, critic = trainer.agent.actor, trainer.agent.critic
    acted: list[torch.Tensor] = []

    class Watched(Steering):
        def step(self, obs: Any, state: Any) -> Any:
            said = super().step(obs, state)
            acted.append(said[0])
            return said

    naive = trainer.algorithm.naive_learner(1, 1)
    steering = Watched(actor, idle_step)
    played, _ = trainer._episodes([steering, naive], "test")
    obs = played.obs[:-1, :, 0].unflatten(0, (3, 4))
    if idle_step:
        obs = torch.cat([obs, torch.stack(steering.ended)[:, None]], 1)
    table, _ = meta_outputs(actor, critic, obs)
    table = table[:, :4].flatten(0, 1)
    torch.testing.assert_close(torch.stack(acted), table, rtol=1e-5, atol=1e-6)
    memory = actor.next_memory(obs.transpose(0, 1))
    assert not torch.equal(memory[0], torch.ones_like(memory[0]))
    # The planes of the rules: what one is paid the other sees as the other's.
    mine, other = played.obs[:-1, :, 0], played.obs[:-1, :, 1]
    assert torch.equal(mine[:, :, 4], other[:, :, 5])
    assert torch.equal(mine[1:4, :, 4, 0, 0], played.rewards[:3, :, 0])
    assert played.terminated is not None
    assert played.terminated[:, 0].tolist() == [False, False, False, True] * 3


def test_a_naive_learner_goes_on_learning_and_each_meta_episode_has_a_new_one() -> None:
    trainer = Trainer(config(meets="naive"))
    made = []
    make = trainer.algorithm.naive_learner

    class Watched(NaiveLearner):
        def after(self, played: Seat) -> None:
            super().after(played)
            seen.append(copy.deepcopy(self.actor[-1].weight.detach()))

    def watched(iteration: int, seat: int) -> NaiveLearner:
        made.append(make(iteration, seat))
        made[-1].__class__ = Watched
        return made[-1]

    seen: list[torch.Tensor] = []
    trainer.algorithm.naive_learner = watched  # type: ignore[method-assign]
    trainer.iterate()
    assert (len(made), len(seen)) == (1, 3)
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    naive = [make(*which).critic[-1].weight for which in ((1, 0), (2, 0), (1, 1), (1, 0))]
    assert not torch.equal(naive[0], naive[1])
    assert not torch.equal(naive[0], naive[2])
    assert torch.equal(naive[0], naive[3])


def test_a_naive_learner_learns_what_pays() -> None:
    """Paid for action 2 alone, wherever it is."""
    random = torch.Generator().manual_seed(1)
    naive = NaiveLearner((7, 3, 3), 4, NaiveSettings(inner_discount=0.0), random)
    obs = torch.rand(5, 16, 7, 3, 3, generator=random)
    for _ in range(3):
        with torch.no_grad():
            table = naive.log_probs(obs[:-1].flatten(0, 1))
        actions = torch.multinomial(table.exp(), 1, generator=random).reshape(4, 16)
        naive.after(Seat(obs, actions, (actions == 2).float()))
    likely = naive.log_probs(obs.flatten(0, 1))[:, 2].exp().mean()
    assert likely > 0.5


def test_one_step_of_one_board_says_nothing() -> None:
    naive = NaiveLearner((7, 3, 3), 4, NaiveSettings(), torch.Generator().manual_seed(1))
    seat = Seat(torch.rand(2, 1, 7, 3, 3), torch.zeros(1, 1), torch.ones(1, 1))
    naive.after(seat)
    assert all(bool(one.isfinite().all()) for one in naive.parameters())


def test_its_agent_plays_matches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        loqa.train(config(meets="naive", iterations=1, seed=seed), tmp_path / f"run{seed}")
    agent = loqa.load_agent(tmp_path / "run0")
    assert isinstance(agent.actor, MFOSActor)
    result = loqa.evaluate(tmp_path / "run0", tmp_path / "run1", episodes=8)
    assert (result.preset, result.episode_length) == ("mfos22", 4)
    line = ["league", *(str(tmp_path / f"run{seed}") for seed in (0, 1)), "always-defect"]
    assert main([*line, "--episodes", "4", "--out", str(tmp_path / "league")]) == 0
    assert main(["train", "coin", "--algo", "mfos", "--iterations", "1", "--batch-size", "2",
                 "--episode-length", "3", "--inner-episodes", "2", "--inner-epochs", "1",
                 "--epochs", "1", "--out", str(tmp_path / "typed")]) == 0  # fmt: skip
    capsys.readouterr()


@pytest.mark.parametrize("algo", [["--algo", "mfos"], ["--algo=mfos"]])
def test_in_the_prisoners_dilemma_it_learns_with_exact_returns(
    algo: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    line = ["train", "ipd", *algo, "--iterations", "2", "--runs", "4", "--seed", "3"]
    assert main([*line, "--out", str(out)]) == 0
    assert "mfos, ipd, 4 runs of 2 updates, seed 3" in capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    assert summary["iterations"] == 2


def test_th_is_one_at_first_and_then_what_the_steps_before_make_it() -> None:
    agent = Trainer(config(meets="naive")).agent
    obs = torch.rand(8, 5, 7, 3, 3, generator=torch.Generator().manual_seed(0))
    state, said = agent.initial_state(5), []
    for one in obs:
        log_probs, state = agent.step(one, state)
        said.append(log_probs)
    table, _ = meta_outputs(agent.actor, agent.critic, obs.unflatten(0, (2, 4)))
    torch.testing.assert_close(torch.stack(said), table.flatten(0, 1))
    torch.testing.assert_close(agent.log_probs(obs), table.flatten(0, 1))
    single, first = agent.actor, Steering(agent.actor)
    unlike, _ = first.step(obs[4], first.initial_state(5))
    assert not torch.allclose(unlike, said[4])  # it remembers
    assert single.inner_steps == 4


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (loqa.CoinConfig, {"meets": "self"}, "meets must be naive or learners, got Agent"),
        (loqa.CoinConfig, {"meets": "past", "opponents": 4}, "naive or learners, got AgentSets"),
        (loqa.CoinConfig, {"meets": "fixed", "fixed": ("random",)}, "learners, got 'random'"),
        (loqa.CoinConfig, {"exploration": 0.1}, "exploration must be 0, got 0.1"),
        (loqa.CoinConfig, {"num_players": 3, "rules": "loqa24"}, "two players .* got 3 players"),
        (loqa.IPDConfig, {}, r"--exact --algo mfos\), got 2 players and \[\]"),
        (loqa.MatrixConfig, {}, "observations"),
        (loqa.CoinConfig, {"inner_episodes": 1}, "inner_episodes must be"),
        (loqa.CoinConfig, {"meta_discount": 1.5}, "meta_discount must be"),
        (loqa.CoinConfig, {"inner_lr": -1.0}, "inner_lr must be"),
        (loqa.CoinConfig, {"lr": float("nan")}, "lr must be"),
        (loqa.CoinConfig, {"algo": "loqa", "meets": "naive"}, "several episodes in a row"),
        (loqa.CoinConfig, {"algo": "lola", "meets": "naive"}, "several episodes in a row"),
    ],
)
def test_what_it_cannot(kind: Any, fields: dict[str, Any], said: str) -> None:
    known = kind.field_types(fields.get("algo", "mfos"))
    tiny = {name: value for name, value in TINY.items() if name in known and name != "algo"}
    with pytest.raises(ValueError, match=said):
        Trainer(kind.of_preset("default", **{"algo": "mfos", **tiny, **fields}))


def test_batches_in_a_row_hold_whole_episodes() -> None:
    whole = Trajectory(torch.zeros(3, 1, 2), torch.zeros(2, 1, 2).long(), torch.ones(2, 1, 2))
    joined = Trajectory.in_a_row([whole, whole])
    assert joined.obs.shape == (5, 1, 2)
    assert joined.terminated is not None
    assert joined.terminated.flatten().tolist() == [False, True, False, True]
    with pytest.raises(ValueError, match="end inside"):
        Trajectory.in_a_row([joined, whole])


def test_networks_of_its_own() -> None:
    idle = without_effect(config(meets="naive"))
    assert idle["actor"] == idle["critic_hidden"] == "algo mfos"
    assert idle["self_play_decay"] == "meets naive"
    assert "hidden" not in idle
