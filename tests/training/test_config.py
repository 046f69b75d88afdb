"""Configurations: presets, parsing, and errors that name what was expected."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from loqa import CoinConfig, IPDConfig
from loqa.training.config import RESUMABLE


def test_presets_differ_where_code_and_paper_do():
    paper = IPDConfig.of_preset("paper")
    assert (paper.batch_size, paper.actor_lr, paper.critic_lr) == (2048, 1e-3, 1e-2)
    assert (paper.gamma, paper.dice_discount, paper.exploration) == (0.96, 0.9, 0.2)
    assert paper.advantage_gradient
    assert paper.advantage_baseline == "none"
    assert IPDConfig.of_preset("default") == IPDConfig()
    assert not paper.actor_table
    assert not paper.actor_one_hot


def test_defaults_of_a_recurrent_actor():
    config = IPDConfig.of_preset("default", actor="gru")
    assert (config.iterations, config.batch_size) == (400, 128)
    assert IPDConfig.of_preset("default", actor="gru", batch_size=7).batch_size == 7
    assert IPDConfig.of_preset("default", actor="mlp") == IPDConfig(actor="mlp")
    assert IPDConfig.of_preset("paper", actor="gru").batch_size == 2048
    assert config.of_own_preset() == config.replace(actor="logits")
    assert CoinConfig.of_preset("paper", seed=3).of_own_preset() == CoinConfig.of_preset("paper")


def test_survives_json():
    config = IPDConfig.of_preset("paper", seed=7, payoff=(3, 0, 5, 1), time_limit=2.5)
    assert IPDConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_agents_of_runs_before_a_setting_existed_know_nothing_of_it() -> None:
    known = CoinConfig.of_preset().to_dict()
    assert CoinConfig.of_file({k: v for k, v in known.items() if k != "game"}).egocentric
    old = {k: v for k, v in known.items() if k not in ("game", "egocentric")}
    assert not CoinConfig.of_file(old).egocentric


def test_parses_the_text_of_a_command_line():
    config = IPDConfig.from_dict(
        {"seed": "3", "gamma": "0.5", "advantage_gradient": "true", "payoff": "1,2,3,4.5",
         "clip_norm": "none", "time_limit": "7"}
    )  # fmt: skip
    assert (config.seed, config.gamma, config.advantage_gradient) == (3, 0.5, True)
    assert config.payoff == (1.0, 2.0, 3.0, 4.5)
    assert (config.clip_norm, config.time_limit) == (None, 7.0)


def test_what_a_run_may_change_when_it_goes_on():
    config = IPDConfig.of_preset("paper", seed=7, time_limit=5)
    changed = config.resumed(time_limit="none", num_threads="2", log_every=1, iterations=9)
    assert (changed.time_limit, changed.num_threads, changed.log_every) == (None, 2, 1)
    back = changed.replace(time_limit=5.0, num_threads=1, log_every=10, iterations=25_000)
    assert back == config
    for name in IPDConfig.field_types().keys() - RESUMABLE:
        with pytest.raises(ValueError, match=f"a run keeps its {name} to the end"):
            config.resumed(**{name: getattr(config, name)})
    with pytest.raises(ValueError, match="no field 'time_limt'; did you mean 'time_limit'"):
        config.resumed(time_limt=3)


def test_a_configuration_does_not_change():
    config = IPDConfig()
    with pytest.raises(dataclasses.FrozenInstanceError, match=r"use replace\(gamma=\)"):
        config.gamma = 0.5
    assert config.replace(gamma=0.5).gamma == 0.5
    assert config == IPDConfig() != config.replace(gamma=0.5)
    assert hash(config) == hash(IPDConfig())
    assert config != CoinConfig()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gama": 0.9}, "no field 'gama'; did you mean 'gamma'?"),
        ({"gamma": 1.5}, r"gamma must be a finite number in \[0, 1\], got 1.5"),
        ({"gamma": float("nan")}, "gamma must be"),
        ({"actor_lr": float("inf")}, "actor_lr must be a finite number"),
        ({"actor": "lstm"}, "actor must be one of logits, mlp, gru, cnn, hats, got 'lstm'"),
        ({"critic_target": "sarsaa"}, "critic_target must be one of"),
        ({"iterations": 0}, "iterations must be an integer in"),
        ({"iterations": "many"}, "iterations must be int, got 'many'"),
        ({"iterations": 1.5}, "iterations must be int, got 1.5"),
        ({"shared_reward": "perhaps"}, "shared_reward must be bool, got 'perhaps'"),
        ({"payoff": (1, 2, 3)}, "payoff must be 4 numbers"),
        ({"payoff": (1, 2, 3, float("nan"))}, "payoff must be a finite number"),
        ({"exploration": 2}, "exploration must be a finite number in"),
        ({"device": "tpu"}, "device must be 'cpu', 'cuda'"),
    ],
)
def test_bad_values_name_expected_and_got(fields, message):
    with pytest.raises(ValueError, match=message):
        IPDConfig.from_dict(fields)


def test_plain_values_whatever_they_were_given_as():
    given = IPDConfig(
        seed=np.int64(3), iterations=torch.tensor(5), gamma=np.float64(0.5), shared_reward=np.True_,
        payoff=np.array([3, 0, 5, 1]), actor_lr=1, time_limit=np.float32(2), meets="fixed",
        fixed=["tit-for-tat"],
    )  # fmt: skip
    plain = IPDConfig(
        seed=3, iterations=5, gamma=0.5, shared_reward=True, payoff=(3.0, 0.0, 5.0, 1.0), actor_lr=1.0,
        time_limit=2.0, meets="fixed", fixed=("tit-for-tat",),
    )  # fmt: skip
    assert given == plain
    assert hash(given) == hash(plain)
    assert json.dumps(given.to_dict()) == json.dumps(plain.to_dict())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shared_reward": "false"}, "shared_reward must be True or False, got 'false'"),
        ({"shared_reward": 1}, "shared_reward must be True or False, got 1"),
        ({"device": None}, "device must be text, got NoneType None"),
        ({"wandb": 3}, "wandb must be text, got int 3"),
        ({"payoff": "3,0,5,1"}, "payoff must be a tuple, got str"),
        ({"payoff": None}, "payoff must be a tuple, got NoneType"),
        ({"payoff": (1, 2, 3, "4")}, "payoff must be a number, got str '4'"),
        ({"meets": "fixed", "fixed": "tft"}, "fixed must be a tuple, got str 'tft'"),
    ],
)
def test_values_of_another_type(fields, message):
    with pytest.raises(TypeError, match=message):
        IPDConfig(**fields)


def test_unknown_preset_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'paper'"):
        IPDConfig.of_preset("papers")


@pytest.mark.parametrize("command", ["info", "train coin --help", "{train}"])
def test_commands_work_without_docstrings(command, tmp_path):
    command = command.format(
        train=f"train ipd --iterations 2 --batch-size 4 --out {tmp_path / 'run'}"
    )
    done = subprocess.run(
        [sys.executable, "-m", "loqa", *command.split()],
        env={**os.environ, "PYTHONOPTIMIZE": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if "--help" in command:
        assert "--gamma" in done.stdout
        assert "None\n" not in done.stdout  # a class without a docstring
        assert "=" not in done.stdout  # what a dataclass says in place of a docstring
