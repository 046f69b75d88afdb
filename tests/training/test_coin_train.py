"""Training on the Coin Game: rollouts, the run directory, resumption, killed processes, failure."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from kernel_cases import DEVICES
from rollouts import actor, evaluate_sets, rollout

from loqa.agents.actor_critic import Agent
from loqa.agents.sets import AgentSets
from loqa.cli.main import main
from loqa.envs import make
from loqa.envs.coin_game.env import CoinGame
from loqa.games.coin_view import CoinView, outcome
from loqa.training.checkpoint import load_checkpoint
from loqa.training.config import CoinConfig
from loqa.training.train import TrainingError, load_agent, resume, train
from loqa.training.trainer import Trainer, make_agent

TINY = {
    "batch_size": 8,
    "opponents": 4,
    "episode_length": 6,
    "actor_hidden": 8,
    "critic_hidden": 8,
    "iterations": 7,
    "evaluate_every": 3,
    "evaluation_episodes": 8,
    "checkpoint_every": 2,
    "replay_every": 1,
    "log_every": 1,
}


def _config(**fields) -> CoinConfig:
    return CoinConfig.of_preset("default", **{**TINY, **fields})


def _stack(agents: list[Agent]) -> dict[str, torch.Tensor]:
    named = [dict(agent.named_parameters()) for agent in agents]
    return {name: torch.stack([each[name].detach() for each in named]) for name in named[0]}


def _run(config: CoinConfig, tmp_path: Path, name: str = "run") -> dict:
    return train(config, tmp_path / name)


def _parameters(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)["trainer"]["learner"]["agent"]


def test_rollout_is_on_policy_and_records_the_opponents() -> None:
    config = _config(height=4)
    agent = make_agent(config)
    others = [make_agent(_config(height=4, seed=seed)) for seed in (1, 2)]
    env = make("coin_game", num_envs=6, height=4, width=3, episode_length=9)
    assert isinstance(env, CoinGame)
    draws = torch.rand(9, 2, 6, generator=torch.Generator().manual_seed(3))
    opponents = actor(_stack(others), records=True)
    trajectory, recorded = rollout(env, (AgentSets.of(agent), opponents), draws, seed=5)
    with torch.no_grad():
        own = agent.log_probs(trajectory.obs[:, :, 0])
    expected = evaluate_sets(
        agent, _stack(others), trajectory.obs[:, :, 1], trajectory.actions[:, :, 1]
    )
    assert recorded is not None
    torch.testing.assert_close(recorded.log_prob_table, expected.log_prob_table)
    torch.testing.assert_close(recorded.q_table, expected.q_table)
    assert torch.equal(recorded.actions, trajectory.actions[:, :, 1].long())
    for seat, log_probs in enumerate((own, expected.log_prob_table)):
        edges = log_probs[:-1].exp().cumsum(-1)[..., :-1]
        chosen = (draws[:, seat, :, None] >= edges).sum(-1)
        assert torch.equal(chosen, trajectory.actions[:, :, seat].long())
    replayed = make("coin_game", num_envs=6, height=4, width=3, episode_length=9)
    replayed.reset(seed=5)
    obs, rewards = replayed.rollout(trajectory.actions)
    assert torch.equal(obs, trajectory.obs)
    assert torch.equal(rewards, trajectory.rewards)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_cells_play_the_episodes_of_planes(layers: int) -> None:
    config = _config(height=5, width=6, layers_before_gru=layers)
    parameters = _stack([make_agent(_config(height=5, width=6, layers_before_gru=layers, seed=seed))
                         for seed in (1, 2)])  # fmt: skip
    players = AgentSets.of(make_agent(config)), actor(parameters, records=True)
    draws = torch.rand(9, 2, 6, generator=torch.Generator().manual_seed(3))
    played = []
    for obs in ("planes", "cells"):
        env = make("coin_game", num_envs=6, height=5, width=6, episode_length=9, obs=obs)
        assert isinstance(env, CoinGame)
        played.append(rollout(env, players, draws, seed=5))
    (by_planes, first), (by_cells, second) = played
    for name in ("obs", "actions", "rewards"):
        assert torch.equal(getattr(by_planes, name), getattr(by_cells, name))
    assert first is not None
    assert second is not None
    torch.testing.assert_close(first.q_table, second.q_table)
    torch.testing.assert_close(first.log_prob_table, second.log_prob_table)


def test_rollout_against_a_scripted_player() -> None:
    env = make("coin_game", num_envs=4, episode_length=5)
    assert isinstance(env, CoinGame)
    draws = torch.rand(5, 2, 4)
    trajectory, recorded = rollout(
        env, (AgentSets.of(make_agent(_config())), "always-defect"), draws, seed=1
    )
    assert recorded is None
    replayed = make("coin_game", num_envs=4, episode_length=5)
    assert isinstance(replayed, CoinGame)
    replayed.reset(seed=1)
    for actions in trajectory.actions:
        assert torch.equal(replayed.scripted_actions([None, "always-defect"])[:, 1], actions[:, 1])
        replayed.step(actions)


def test_run_directory_and_summary(tmp_path: Path) -> None:
    config = _config()
    summary = _run(config, tmp_path)
    assert summary["status"] == "finished"
    assert summary["env_steps"] == 7 * 8 * 6
    assert set(summary["seconds_to_threshold"]) == {"weak", "medium", "strong"}
    for name in ("self_play", "vs_always_cooperate", "vs_always_defect"):
        assert len(summary[name]) == 2
    run = tmp_path / "run"
    written = json.loads((run / "summary.json").read_text())
    assert {**written, "out": str(run)} == summary
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == list(range(1, 8))
    assert ["self_play" in line for line in lines] == [False, False, True] * 2 + [True]
    assert {"rollout", "update"} <= set(lines[0]["phase_seconds"])
    agent = load_agent(run)
    latest = _parameters(run / "checkpoints" / "iteration_00000007.safetensors")
    for name, value in agent.state_dict().items():
        assert torch.equal(value, latest[name])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("fields", [{}, {"algo": "naive"}, {"anneal": 4, "anneal_after": 2},
                                    {"height": 4, "width": 5, "replay_capacity": 3}])  # fmt: skip
def test_resuming_gives_the_same_bits(tmp_path: Path, fields: dict, device: str) -> None:
    fields = {**fields, "device": device}
    config = _config(**fields)
    _run(config, tmp_path, "whole")
    _run(_config(**{**fields, "iterations": 3}), tmp_path, "parts")
    resume(tmp_path / "parts", iterations=5)
    resume(tmp_path / "parts", iterations=7)
    name = "checkpoints/iteration_00000007.safetensors"
    whole, parts = (load_checkpoint(tmp_path / each / name) for each in ("whole", "parts"))
    for part in ("agent", "target"):
        for key, value in whole["trainer"]["learner"][part].items():
            assert torch.equal(value, parts["trainer"]["learner"][part][key]), key


def test_a_seed_is_a_run(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        _run(_config(seed=seed), tmp_path, name)
    name = "checkpoints/iteration_00000007.safetensors"
    a, b, c = (_parameters(tmp_path / each / name) for each in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_the_annealed_bonus_and_learning_rates() -> None:
    config = _config(anneal=4, anneal_after=1, anneal_once="at_once", entropy_bonus=0.1,
                     entropy_final=0.02, actor_lr=1e-3, actor_lr_final=5e-4, critic_lr=1e-2,
                     critic_lr_final=2e-3, iterations=6)  # fmt: skip
    trainer = Trainer(config)
    seen = []
    for _ in range(6):
        trainer.iterate()
        (actor,) = trainer.algorithm.learner.actor_optimizer.param_groups
        (critic,) = trainer.algorithm.learner.critic_optimizer.param_groups
        seen.append((trainer.algorithm.learner.settings.entropy_bonus, actor["lr"], critic["lr"]))
    assert seen == [
        pytest.approx(each)
        for each in [(0.1, 1e-3, 1e-2), (0.08, 8.75e-4, 8e-3), (0.06, 7.5e-4, 6e-3),
                     (0.04, 6.25e-4, 4e-3), (0.02, 5e-4, 2e-3), (0.02, 5e-4, 2e-3)]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "weights"),
    [(0.5, [2.0, 2 * math.exp(0.05 * 3 * 0.4), 5.0]), (-9.9, [2.0, 0.8, 0.8])],
)
def test_the_weight_follows_self_play(
    target: float, weights: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(shaping_weight=2.0, self_play_target=target, steering_rate=0.05,
                     anneal_once="at_once", anneal_after=2, iterations=9)  # fmt: skip
    trainer = Trainer(config)
    # Self-play pays 0.1 at the first evaluation and -9.9 at the second.
    paid = iter([[0.05, 0.15], [0.0], [0.0], [-9.9, -9.9], [0.0], [0.0]])
    seen = []
    for iteration in range(1, 10):
        trainer.iterate()
        if iteration % 3 == 1:
            seen.append(trainer.algorithm.learner.settings.shaping_weight)
        with monkeypatch.context() as patch:
            patch.setattr(
                "loqa.training.monitor.fetch",
                lambda tensors: (
                    [next(paid, [0.0]) for _ in range(3)]
                    + [each.flatten().tolist() for each in tensors[3:]]
                ),
            )
            trainer.evaluate(0.0)
    assert seen == pytest.approx(weights)


def test_annealing_waits_for_the_answer_to_always_defect(tmp_path: Path) -> None:
    """Against always-defect -0.2 / 2 a step is asked for on 3 x 3, as by the threshold strong."""
    config = _config(
        anneal=4, anneal_after=2, evaluate_every=1, entropy_bonus=0.1, entropy_final=0.02
    )
    trainer = Trainer(config)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        for reward in (-0.05, -0.11, -0.09, -0.5, -0.5):
            trainer.iterate()
            seen.append(trainer.algorithm.learner.settings.entropy_bonus)
            patch.setattr("loqa.training.monitor.fetch", lambda tensors, r=reward: [
                [0.1, 0.1], [0.3, 0.0], [r, 0.0], *([0.5] for _ in tensors[3:])
            ])  # fmt: skip
            trainer.evaluate(0.0)
    assert trainer.monitor.began == 3  # not 1, which is before anneal_after
    assert seen == pytest.approx([0.1, 0.1, 0.1, 0.08, 0.06])
    again = Trainer(config)
    again.monitor.load_state_dict(trainer.monitor.state_dict())
    assert again.monitor.began == 3
    assert Trainer(_config(evaluate_every=0)).monitor.began == 0
    assert Trainer(_config()).monitor.began is None


def test_early_opponents_are_met_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    config = _config(anneal_once="at_once", anneal_after=4, replay_every=2, early_opponents=1.0)
    trainer = Trainer(config)
    drawn = []
    draw = trainer.opponents.pool.draw
    monkeypatch.setattr(
        trainer.opponents.pool,
        "draw",
        lambda *args, **more: drawn.append(draw(*args, **more)) or drawn[-1],
    )
    for _ in range(30):
        trainer.iterate()
    # The untrained agent, and those of iterations 2 and 4; that of 6 is first drawn from after it.
    assert max(int(index.max()) for index in drawn) == 2


@pytest.mark.parametrize("fields", [{"algo": "naive"}, {"shaping_weight": 0.0}])
def test_no_shaping_stays_no_shaping(fields: dict[str, object]) -> None:
    trainer = Trainer(_config(anneal_once="at_once", evaluate_every=1, **fields))
    for _ in range(3):
        trainer.iterate()
        trainer.evaluate(0.0)
        assert trainer.algorithm.learner.settings.shaping_weight == 0
        assert "opponent" not in trainer.metrics()["loss"]


def test_stop_at_a_threshold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loqa.games.coin_game.reached", lambda *_: ("weak",))
    summary = _run(_config(stop_at="weak"), tmp_path)
    assert summary["iterations"] == 3
    assert summary["seconds_to_threshold"]["weak"] == pytest.approx(summary["seconds"], abs=1)
    assert summary["seconds_to_threshold"]["medium"] is None


def test_a_threshold_holds_from_the_first_of_the_last_that_met_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = iter([("weak",), (), ("weak",), ("weak", "medium"), ("weak",)])
    monkeypatch.setattr("loqa.games.coin_game.reached", lambda *_: next(met))
    summary = _run(_config(evaluate_every=1, iterations=5), tmp_path)
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    seconds = [json.loads(line)["seconds"] for line in text.splitlines()]
    first, held = summary["seconds_to_threshold"], summary["seconds_to_threshold_for_good"]
    assert first["weak"] <= seconds[0] < held["weak"] <= seconds[2]
    assert (held["medium"], held["strong"], first["strong"]) == (None, None, None)
    said = outcome(summary)
    assert f"weak {first['weak']:.0f} s, for good {held['weak']:.0f} s" in said
    assert f"medium {first['medium']:.0f} s, lost again" in said
    assert "strong not reached" in said


def test_a_threshold_keeps_its_time_when_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loqa.games.coin_game.reached", lambda *_: ("weak",))
    met = _run(_config(iterations=3), tmp_path)["seconds_to_threshold"]
    resume(tmp_path / "run", iterations=7)
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert met["weak"] > 0
    assert [line["seconds_to_threshold"] for line in lines if "self_play" in line] == [met] * 3
    view = CoinView()
    none = view({**lines[-1], "seconds_to_threshold": {**met, "weak": None}})
    assert "no threshold yet" in [part.text for part in none]
    late = view({**lines[-1], "seconds_to_threshold": {**met, "weak": 12.0}})
    assert "[green]weak 12 s[/]" in [part.text for part in late]


def test_the_thresholds_are_of_two_players(tmp_path: Path) -> None:
    """Three who all defect, or who play by rules with more coins, earn what the thresholds ask for."""
    summary = _run(_config(num_players=3, iterations=3), tmp_path)
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert not {"seconds_to_threshold", "seconds_to_threshold_for_good"} & {*summary, *line}
    assert not [part for part in CoinView()(line) if "threshold" in part.text]
    said = outcome(summary)
    assert "threshold" not in said
    assert said.count("each of them: ") == 2
    for reward in summary["self_play"]:
        assert f"{reward:+.3f}" in said


def test_a_run_that_explodes_stops_and_says_where(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"is (nan|inf) at iteration \d+; the last checkpoint is"
    ):
        _run(_config(actor_lr=1e38, critic_lr=1e38, iterations=50), tmp_path)
    assert not (tmp_path / "run" / "summary.json").exists()


def test_settings_that_cannot_be() -> None:
    for fields, message in [
        ({"opponents": 3}, "opponents must divide batch_size 8, got 3"),
        ({"height": 1, "width": 2}, "3 cells or more, got 1 x 2"),
        ({"stop_at": "solid"}, "stop_at must be one of"),
        ({"stop_at": "weak", "rules": "mfos22"}, "must be never, got weak: .* of rules loqa24"),
        ({"stop_at": "weak", "num_players": 3}, "must be never, got weak: .* of two players"),
        ({"matmul": "int4"}, "matmul must be one of"),
        ({"actor_hidden": 0}, "actor_hidden must be"),
        ({"critic_lambda": 1.5}, r"critic_lambda must be a finite number in \[0, 1\], got 1.5"),
        ({"advantage_scale": "max"}, "advantage_scale must be one of"),
        ({"heigth": 5}, "no field 'heigth'.*height"),
    ]:
        with pytest.raises(ValueError, match=message):
            _config(**fields)


def _command(out: Path, *more: str) -> list[str]:
    fields = [part for name, value in TINY.items() if name != "iterations"
              for part in (f"--{name.replace('_', '-')}", str(value))]  # fmt: skip
    return [sys.executable, "-m", "loqa", "train", "coin", "--out", str(out), *fields, *more]


def test_the_command_says_what_came_out(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code = main(_command(tmp_path / "run", "--iterations", "7")[3:])
    out = capsys.readouterr().out
    assert code == 0
    assert "reward per step: self-play" in out
    assert "thresholds: weak" in out
    assert main(["resume", str(tmp_path / "run"), "--iterations", "9"]) == 0
    assert "9 iterations" in capsys.readouterr().out


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """Each plays half of the episodes that one would play, and gradients are averaged.

    With learning rates of next to nothing all iterations play the same agent, so that the episodes,
    and Adam's running mean of the gradients, are those of one process up to rounding.
    """
    still = {"iterations": 6, "actor_lr": 1e-30, "critic_lr": 1e-30,
             "advantage_baseline": "none", "matmul": "float32"}  # fmt: skip
    options = [part for name, value in still.items()
               for part in (f"--{name.replace('_', '-')}", str(value))]  # fmt: skip
    arguments = _command(tmp_path / "two", *options)[3:]
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone",
         "-m", "loqa", *arguments],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    _run(_config(**still), tmp_path, "one")
    name = "checkpoints/iteration_00000006.safetensors"
    one, two = (
        load_checkpoint(tmp_path / each / name)["trainer"]["learner"] for each in ("one", "two")
    )
    for optimizer in ("actor_optimizer", "critic_optimizer"):
        pairs = zip(one[optimizer]["state"].values(), two[optimizer]["state"].values(), strict=True)
        for alone, shared in pairs:
            scale = float(alone["exp_avg"].abs().max())
            torch.testing.assert_close(
                alone["exp_avg"], shared["exp_avg"], rtol=1e-4, atol=1e-4 * scale
            )
    lines = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == list(range(1, 7))
    alone, shared = (
        json.loads((tmp_path / each / "summary.json").read_text()) for each in ("one", "two")
    )
    for played in ("self_play", "vs_always_cooperate", "vs_always_defect"):
        assert shared[played] == pytest.approx(alone[played], abs=1e-6)
