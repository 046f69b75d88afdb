"""Training runs: what is learned, what is written, and going on bit for bit."""

import json
import math
import os
import signal
import threading

import pytest
import torch

import loqa
from loqa import IPDConfig
from loqa.games.answers import cooperation, cooperation_own_play, strategy_name
from loqa.training import checkpoint
from loqa.training.run_directory import RunDirectory
from loqa.training.train import TrainingError, load_agent
from loqa.training.trainer import Trainer, make_agent

QUICK = {
    "iterations": 12,
    "batch_size": 8,
    "log_every": 3,
    "checkpoint_every": 5,
    "critic_warmup": 2,
}


def quick(**fields):
    return IPDConfig.of_preset("default", **{**QUICK, **fields})


def without_time(lines):
    return [{k: v for k, v in line.items() if "seconds" not in k} for line in lines]


def parameters(path):
    return load_agent(path).state_dict()


def assert_same_run(a, b):
    left, right = RunDirectory(a), RunDirectory(b)
    assert without_time(left.metrics()) == without_time(right.metrics())
    one = checkpoint.load_checkpoint(left.latest_checkpoint())["trainer"]
    two = checkpoint.load_checkpoint(right.latest_checkpoint())["trainer"]
    flat_one, flat_two = dict(flatten(one)), dict(flatten(two))
    assert flat_one.keys() == flat_two.keys()
    for name, value in flat_one.items():
        same = (
            torch.equal(value, flat_two[name])
            if torch.is_tensor(value)
            else value == flat_two[name]
        )
        assert same, name


def flatten(tree, where=""):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from flatten(value, f"{where}/{key}")
    else:
        yield where, tree


@pytest.mark.parametrize("actor", ["logits", "mlp", "gru"])
def test_loqa_learns_tit_for_tat(tmp_path, actor):
    summary = loqa.train(IPDConfig.of_preset("default", actor=actor), tmp_path / "run")
    assert summary["strategy"] == "tit-for-tat"
    assert ("p_cooperate_own_play" in summary) == (actor == "gru")
    for answers in ("p_cooperate", "p_cooperate_own_play"):
        p = summary.get(answers, summary["p_cooperate"])
        assert min(p["start"], p["CC"], p["DC"]) >= 0.9
        assert max(p["CD"], p["DD"]) <= 0.2


@pytest.mark.parametrize(
    ("actor", "shared_reward", "strategy"),
    [
        ("logits", False, "always-defect"),
        ("logits", True, "always-cooperate"),
        ("mlp", False, "always-defect"),
    ],
)
def test_naive_learners(tmp_path, actor, shared_reward, strategy):
    config = IPDConfig.of_preset("default", actor=actor, algo="naive", shared_reward=shared_reward)
    assert loqa.train(config, tmp_path / "run")["strategy"] == strategy


def test_run_directory(tmp_path):
    lines = []
    summary = loqa.train(quick(seed=4), tmp_path / "run", lines.append)
    run = RunDirectory(tmp_path / "run")
    assert run.metrics() == lines
    assert [line["iteration"] for line in lines] == [3, 6, 9, 12]
    assert lines[-1]["env_steps"] == 12 * 8 * 50
    assert {f.name for f in run.checkpoints.iterdir()} == {
        f"iteration_{n:08d}.safetensors" for n in (5, 10, 12)
    }
    written = json.loads(run.summary_file.read_text())
    assert written == {k: v for k, v in summary.items() if k != "out"}
    assert (written["iterations"], written["env_steps"], written["seed"]) == (12, 4800, 4)
    assert written["device"] == "cpu"
    assert list(written["p_cooperate"]) == ["start", "CC", "CD", "DC", "DD"]
    assert run.config() == quick(seed=4)


@pytest.mark.parametrize("actor", ["logits", "mlp", "gru"])
def test_resume_is_bit_for_bit(tmp_path, actor):
    fields = {"actor": actor, "critic": "gru" if actor == "gru" else "mlp", "episode_length": 10,
              "shaping": "n-step" if actor == "mlp" else "loaded-dice", "advantage_gradient": True,
              "critic_target": "sarsa", "anneal_after": 3, "anneal": 6}  # fmt: skip
    loqa.train(quick(**fields), tmp_path / "whole")
    loqa.train(quick(**fields, time_limit=0), tmp_path / "parts")  # stops after each iteration
    assert RunDirectory(tmp_path / "parts").metrics() == []
    for _ in range(11):
        summary = loqa.resume(tmp_path / "parts")
    assert summary["status"] == "finished"
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_run_of_another_version_is_not_resumed(tmp_path):
    loqa.train(quick(), tmp_path / "run")
    file = RunDirectory(tmp_path / "run").config_file
    written = json.loads(file.read_text())
    del written["gamma"]
    file.write_text(json.dumps(written))
    with pytest.raises(ValueError, match=r"config.json lacks gamma: another version of loqa"):
        loqa.resume(tmp_path / "run")
    assert json.loads(file.read_text()) == written


def test_resume_after_a_kill_drops_what_came_after_the_checkpoint(tmp_path):
    loqa.train(quick(), tmp_path / "whole")
    loqa.train(quick(), tmp_path / "killed")
    run = RunDirectory(tmp_path / "killed")
    run.checkpoint_file(12).unlink()
    run.summary_file.unlink()
    with run.metrics_file.open("a") as file:
        file.write('{"iteration": 13, "half a li')
    loqa.resume(tmp_path / "killed")
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_a_run_can_be_made_longer(tmp_path):
    loqa.train(quick(iterations=20), tmp_path / "whole")
    loqa.train(quick(iterations=10), tmp_path / "parts")
    assert loqa.resume(tmp_path / "parts", iterations=20)["iterations"] == 20
    whole, parts = (RunDirectory(tmp_path / name) for name in ("whole", "parts"))
    one, two = parameters(whole.latest_checkpoint()), parameters(parts.latest_checkpoint())
    assert all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(ValueError, match="iterations must not be fewer"):
        loqa.resume(tmp_path / "parts", iterations=5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_saves_and_resumes(tmp_path, number):
    loqa.train(quick(), tmp_path / "whole")

    def interrupt(line):
        if line["iteration"] == 6:
            os.kill(os.getpid(), number)

    handler = signal.getsignal(number)
    summary = loqa.train(quick(), tmp_path / "parts", interrupt)
    assert signal.getsignal(number) is handler
    assert summary["status"] == "interrupted"
    assert 6 <= summary["iterations"] < 12
    assert loqa.resume(tmp_path / "parts")["status"] == "finished"
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_runs_outside_the_main_thread(tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(loqa.train(quick(), tmp_path / "run")))
    thread.start()
    thread.join()
    assert results[0]["status"] == "finished"


def test_threads_change_nothing(tmp_path):
    loqa.train(quick(batch_size=512), tmp_path / "one")
    loqa.train(quick(batch_size=512, num_threads=2), tmp_path / "two")
    one, two = (RunDirectory(tmp_path / name).metrics()[0] for name in ("one", "two"))
    assert one["reward"] == two["reward"]


def test_nan_stops_the_run_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    iterate = Trainer.iterate

    def poisoned(self):
        if self.iteration == 7:
            next(self.agent.critic.parameters()).data.fill_(float("nan"))
        iterate(self)

    monkeypatch.setattr(Trainer, "iterate", poisoned)
    with pytest.raises(TrainingError, match="agent loss is nan at iteration 8"):
        loqa.train(quick(), tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    assert run.latest_checkpoint() == run.checkpoint_file(5)
    assert all(torch.isfinite(v).all() for v in load_agent(tmp_path / "run").state_dict().values())


def test_bad_directories(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run directory"):
        loqa.resume(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load_agent(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        loqa.train(quick(), tmp_path / "file" / "run")
    loqa.train(quick(), tmp_path / "run")
    with pytest.raises(FileExistsError, match="already holds a run"):
        loqa.train(quick(), tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    latest = run.latest_checkpoint()
    latest.write_bytes(latest.read_bytes()[:-10])
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        loqa.resume(tmp_path / "run")
    run.config_file.write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        loqa.resume(tmp_path / "run")


def test_load_agent_refuses_nan_and_strangers(tmp_path):
    loqa.train(quick(), tmp_path / "run")
    path = RunDirectory(tmp_path / "run").latest_checkpoint()
    state = checkpoint.load_checkpoint(path)
    state["trainer"]["learner"]["agent"]["actor.logits"][0, 0] = float("nan")
    checkpoint.save_checkpoint(tmp_path / "nan.safetensors", state)
    with pytest.raises(ValueError, match=r"actor\.logits holds NaN"):
        load_agent(tmp_path / "nan.safetensors")
    checkpoint.save_checkpoint(tmp_path / "other.safetensors", {"a": 1})
    with pytest.raises(ValueError, match="not a checkpoint of a training run"):
        load_agent(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("answers", "name"),
    [
        ([1, 0.9, 0.2, 0.95, 0], "tit-for-tat"),
        ([0, 0.1, 0, 0.2, 0], "always-defect"),
        ([1, 1, 1, 1, 0.9], "always-cooperate"),
        ([1, 1, 0, 0, 1], "win-stay-lose-shift"),
        ([1, 1, 0, 0, 0], "grim"),
        ([0.5, 1, 0, 1, 0], "other"),
    ],
)
def test_strategy_names(answers, name):
    states = ("start", "CC", "CD", "DC", "DD")
    assert strategy_name(dict(zip(states, answers, strict=True))) == name


def test_cooperation_of_a_recurrent_agent_without_memory_in_its_weights():
    agent = make_agent(quick(actor="gru", critic="gru"))
    for value in agent.actor.parameters():
        value.data.zero_()
    agent.actor.table.data = torch.tensor(
        [[2.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.5, 0.0], [0.0, 4.0]]
    )
    expected = agent.actor.table.softmax(-1)[:, 0].tolist()
    assert cooperation(agent, 10) == pytest.approx(expected, abs=1e-6)
    for exploration in (0.0, 0.2):
        answers = cooperation_own_play(agent, 10, exploration)
        assert answers == pytest.approx(expected, abs=1e-6)


def recurrent_tit_for_tat():
    agent = make_agent(quick(actor="gru"))
    for value in agent.actor.parameters():
        value.data.zero_()
    agent.actor.table.data = torch.tensor([[1, 0], [1, 0], [0, 1], [1, 0], [0, 1]]) * 40.0
    return agent


def test_own_play_of_a_recurrent_agent_sees_what_its_copy_does():
    """Two of tit-for-tat cooperate without exploration and see no other state; a half of each action at
    random, all five come. Who remembers its own tremble answers otherwise where it did not tremble."""
    agent = recurrent_tit_for_tat()
    start, after_cooperation, *others = cooperation_own_play(agent, 10)
    assert (start, after_cooperation) == pytest.approx((1, 1))
    assert all(map(math.isnan, others))
    assert cooperation_own_play(agent, 10, exploration=0.5) == pytest.approx([1, 1, 0, 1, 0])
    assert cooperation_own_play(agent, 10, 0.5, seed=1) == pytest.approx([1, 1, 0, 1, 0])
    # It defects from the second step on: after CC and DD at the start of a game that both began so.
    agent.actor.table.data[:] = torch.tensor([[40.0, 0], [0, 40], [0, 40], [0, 40], [0, 40]])
    start, cc, cd, dc, dd = cooperation_own_play(agent, 10)
    assert (start, cc, dd) == pytest.approx((1, 0, 0))
    assert math.isnan(cd)
    assert math.isnan(dc)


def test_own_play_is_seen_from_both_seats():
    """Who opens with C and answers CC by C or D at random: each of the copies that alone defected comes
    to DC, the other one to CD."""
    agent = recurrent_tit_for_tat()
    agent.actor.table.data[:] = torch.tensor([[40.0, 0], [0, 0], [1, 0], [0, 2], [0, 40]])
    expected = agent.actor.table.softmax(-1)[:, 0].tolist()
    assert cooperation_own_play(agent, 3) == pytest.approx(expected, abs=1e-6)
    memoryless = make_agent(quick(actor="mlp"))
    assert cooperation_own_play(memoryless, 3) == cooperation(memoryless, 3)


def test_the_networks_rate_falls_to_zero():
    trainer = Trainer(quick(actor="mlp", network_lr=4e-3, anneal_after=1, anneal=4))
    rates = []
    for _ in range(7):
        trainer.iterate()
        rates.append(
            [group["lr"] for group in trainer.algorithm.learner.actor_optimizer.param_groups]
        )
    assert [rate for _, rate in rates] == pytest.approx([4e-3, 3e-3, 2e-3, 1e-3, 0, 0, 0])
    assert {rate for rate, _ in rates} == {trainer.config.actor_lr}
    kept = Trainer(quick(actor="mlp", network_lr=4e-3, anneal_after=0, anneal=0))
    kept.iterate()
    assert kept.algorithm.learner.actor_optimizer.param_groups[1]["lr"] == 4e-3


@pytest.mark.parametrize("actor", ["logits", "gru"])
def test_the_critic_learns_alone_at_first(actor):
    trainer = Trainer(quick(actor=actor, critic_warmup=2))

    def parameters():
        heads = (trainer.agent.actor, trainer.agent.critic)
        return [torch.cat([p.detach().flatten() for p in head.parameters()]) for head in heads]

    before = parameters()
    for _ in range(2):
        trainer.iterate()
        actor_now, critic_now = parameters()
        assert torch.equal(actor_now, before[0])
        assert not torch.equal(critic_now, before[1])
    assert not trainer.algorithm.learner.actor_optimizer.state
    trainer.iterate()
    assert not torch.equal(parameters()[0], before[0])
    # Adam's first step: both logits of a state that was seen go by the learning rate.
    if actor == "logits":
        moved = (parameters()[0] - before[0]).abs()
        assert moved.max().item() == pytest.approx(trainer.config.actor_lr, rel=1e-3)


def constant_player(trainer, p_cooperate):
    """Sets every answer of the trainer's agent."""
    for head, outputs in ((trainer.agent.actor, (p_cooperate, 1 - p_cooperate)),):
        for name, value in head.named_parameters():
            if not name.endswith("linear_end.bias"):
                value.data.zero_()
        bias = head.logits if hasattr(head, "logits") else head.network.linear_end.bias
        bias.data[...] = torch.tensor(outputs).log()


@pytest.mark.parametrize("actor", ["logits", "mlp", "gru"])
def test_self_play_is_without_exploration(actor):
    """Who cooperates with .9 whatever happens earns -(.81 + 3 * .09 + 2 * .01) = -1.1 a step; with
    exploration .2 it cooperates with .82: -(.82^2 + 3 * .82 * .18 + 2 * .18^2) = -1.18."""
    trainer = Trainer(quick(actor=actor, batch_size=512, actor_lr=1e-9, network_lr=1e-9))
    constant_player(trainer, 0.9)
    trainer.iterate()
    metrics = trainer.metrics()
    exactly = 1e-5 if actor != "gru" else 0.02
    assert metrics["self_play"] == pytest.approx([-1.1, -1.1], abs=exactly)
    assert metrics["reward"] == pytest.approx([-1.18, -1.18], abs=0.02)
    assert trainer.summary()["self_play"] == metrics["self_play"]


def test_self_play_of_tit_for_tat_and_of_other_payoffs():
    trainer = Trainer(quick(payoff=(2.0, 0.0, 3.0, 1.0), episode_length=7))
    answers = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0])
    trainer.agent.actor.logits.data = torch.stack([60 * answers, 60 * (1 - answers)], 1)
    assert trainer.summary()["self_play"] == pytest.approx([2.0, 2.0], abs=1e-6)
    trainer.agent.actor.logits.data[0] = torch.tensor([0.0, 60.0])  # opens with D
    assert trainer.summary()["self_play"] == pytest.approx([1.0, 1.0], abs=1e-6)


def test_looking_at_metrics_changes_nothing(tmp_path):
    """A recurrent agent plays for "self_play", with numbers of its own."""
    fields = {"actor": "gru", "critic": "gru", "episode_length": 6}
    loqa.train(quick(**fields, log_every=1), tmp_path / "often")
    loqa.train(quick(**fields, log_every=12), tmp_path / "once")
    often, once = (RunDirectory(tmp_path / name).metrics()[-1] for name in ("often", "once"))
    assert without_time([often]) == without_time([once])


def test_a_run_is_a_function_of_its_configuration(tmp_path):
    for name in ("a", "b"):
        loqa.train(quick(seed=1), tmp_path / name)
    loqa.train(quick().replace(seed=2), tmp_path / "c")
    assert_same_run(tmp_path / "a", tmp_path / "b")
    a, c = (RunDirectory(tmp_path / name).metrics() for name in "ac")
    assert without_time(a) != without_time(c)


def test_what_is_no_configuration():
    with pytest.raises(TypeError, match=r"config must be a configuration .* got 'ipd'"):
        loqa.train("ipd")
