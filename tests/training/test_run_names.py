"""Names of runs: unlike configurations never look alike."""

from __future__ import annotations

import itertools
import re
import time
import typing
from pathlib import Path
from typing import Any

import pytest

import loqa
from loqa import CoinConfig, IPDConfig
from loqa.plotting.runs import read_run
from loqa.training.config import NOT_LEARNED, TrainConfig
from loqa.training.run_names import changes, describe, differences, run_name, without_effect

OTHERS: dict[str, Any] = {
    "preset": "paper", "algo": "naive", "time_limit": 5.0, "device": "cuda:1", "wandb": "my-project",
    "payoff": (3.0, 0.0, 5.0, 1.25), "exploration": 0.1, "layers_before_gru": 1, "opponents": 8,
    "stop_at": "weak", "clip_norm": 0.5, "iterations": 7, "seed": 3,
}  # fmt: skip


def another(config: TrainConfig, name: str) -> Any:
    """A legal value of a field that the configuration does not have."""
    value, kind = getattr(config, name), config.field_types(config.algo)[name]
    if name in OTHERS:
        return OTHERS[name]
    if name in ("actor", "critic"):  # of any game
        return "mlp" if value == "gru" else "gru"
    if typing.get_origin(kind) is typing.Literal:
        return next(choice for choice in typing.get_args(kind) if choice != value)
    if value is None:
        return 0.25
    if isinstance(value, bool):
        return not value
    return 2 * value + (value == 0) if isinstance(value, int) else value / 2 + 0.015625


def changed(config: TrainConfig, name: str) -> dict[str, Any]:
    """The field `name` with another value, and what this value needs; empty where it has one only."""
    if name == "stop_at" and not config.record().thresholds:
        return {}
    if name == "fixed":
        return {"meets": "fixed", "fixed": ("always-defect",)}
    if name == "take_turns":
        return {**changed(config, "fixed"), "take_turns": True}
    if name == "other_algo":
        return {"meets": "learners", "other_algo": "naive"}
    if name == "meets":
        return {"meets": "learners"}
    return {name: another(config, name)}


def unlike(kind: type[TrainConfig]) -> list[TrainConfig]:
    """The default, and for each field the default with this field changed."""
    base = kind()
    fields = [changed(base, name) for name in base.field_types(base.algo)]
    return [base, *(base.replace(**others) for others in fields if others)]


@pytest.mark.parametrize("kind", [IPDConfig, CoinConfig])
def test_one_differing_field_gives_another_name(kind: type[TrainConfig]) -> None:
    configs = unlike(kind)
    assert len(configs) > 30
    names = [run_name(config) for config in configs]
    assert len(set(names)) == len(names)
    assert len(set(differences(configs))) == len(configs)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9.,=_+-]{1,100}", name)
        assert not name.endswith(".")
    for one, two in itertools.combinations(configs[:12], 2):
        assert len(set(differences([one, two]))) == 2


def test_a_hundred_runs_are_told_apart_at_once() -> None:
    configs = [IPDConfig.of_preset(gamma=0.9 + i / 2000) for i in range(100)]
    began = time.process_time()
    assert len(set(differences(configs))) == 100
    assert time.process_time() - began < 5


def test_names_of_files() -> None:
    assert run_name(IPDConfig.of_preset("default", seed=3)) == "ipd-default-loqa-seed3"
    assert run_name(IPDConfig.of_preset("paper")) == "ipd-paper-loqa-seed0"
    recurrent = IPDConfig.of_preset(actor="gru")  # whose iterations and batch are others by default
    assert run_name(recurrent) == "ipd-default-loqa-actor=gru-seed0"
    assert run_name(IPDConfig(actor="gru")) != run_name(recurrent)
    assert run_name(IPDConfig(algo="naive", shared_reward=True)) == "ipd-default-naive-shared-seed0"
    assert (
        run_name(IPDConfig.of_preset(actor="gru", payoff=(0, -1, 1, -10), seed=5))
        == "ipd-default-loqa-payoff=0,-1,1,-10-actor=gru-seed5"
    )
    assert run_name(CoinConfig(height=5, width=5, clip_norm=None)) == (
        "coin-default-loqa-board=5x5-clip_norm=none-seed0"
    )


def test_long_and_illegal_names_stay_apart() -> None:
    fields = {name: another(IPDConfig(), name)
              for name in ("gamma", "dice_discount", "n_step", "softmax_temperature", "actor_lr",
                           "critic_lr", "target_ema", "batch_size")}  # fmt: skip
    configs = [IPDConfig(**{**fields, "target_ema": ema}) for ema in (0.5, 0.6)]
    configs += [IPDConfig(wandb=name) for name in ("a/b", "a:b", "x-actor=gru", "é" * 200)]
    configs += [IPDConfig(wandb="x", actor="gru")]
    names = [run_name(config) for config in configs]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9.,=_+-]{1,100}", name)


def test_what_tells_configurations_apart() -> None:
    base = IPDConfig()
    gru = IPDConfig(actor="gru")
    assert differences([base]) == [""]
    assert differences([base, base]) == ["", ""]
    assert differences([base, gru]) == ["actor logits", "actor gru"]
    seeds = [IPDConfig(seed=1), IPDConfig(seed=2, actor="gru")]
    assert differences(seeds) == ["actor logits, seed 1", "actor gru, seed 2"]
    assert differences(seeds, ignore={"seed"}) == ["actor logits", "actor gru"]
    limits = [IPDConfig(time_limit=1, num_threads=2), base]
    assert differences(limits, ignore=NOT_LEARNED) == ["", ""]
    # A preset's name stands for the many fields that it sets.
    paper = IPDConfig.of_preset("paper")
    slow = IPDConfig.of_preset("paper", actor_lr=0.5)
    assert differences([base, paper]) == ["preset default", "preset paper"]
    assert differences([base, paper, slow]) == [
        "preset default",
        "preset paper, actor_lr 0.001",
        "preset paper, actor_lr 0.5",
    ]
    assert differences([base, CoinConfig(), gru]) == [
        "ipd, actor logits",
        "coin",
        "ipd, actor gru",
    ]
    assert differences([CoinConfig(), CoinConfig(height=4, width=4)]) == ["board 3x3", "board 4x4"]


def test_the_header_says_the_game_and_where_it_is_played() -> None:
    config = IPDConfig(payoff=(3, 0, 5, 1.5), actor="gru", num_threads=2, seed=9, gamma=0.5)
    text = "\n".join(describe(config))
    for part in ("LOQA, preset default, seed 9", "CC 3, CD 0, DC 5, DD 1.5", "actor gru",
                 "on cpu, 2 threads", "changed: gamma 0.5"):  # fmt: skip
        assert part in text
    assert "board 4 x 5" in "\n".join(describe(CoinConfig(height=4, width=5)))
    assert changes(CoinConfig()) == []


SMALL = {"iterations": 4, "batch_size": 8, "episode_length": 6, "log_every": 1}
SMALL_IPD = {**SMALL, "critic_warmup": 1}
SMALL_COIN = {**SMALL, "opponents": 4, "actor_hidden": 4, "critic_hidden": 4, "evaluate_every": 1,
              "evaluation_episodes": 8, "anneal_after": 1, "anneal": 2}  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        IPDConfig(**SMALL_IPD),
        IPDConfig(**SMALL_IPD, algo="naive", advantage="mc", actor="mlp"),
        IPDConfig(**SMALL_IPD, shaping="n-step", critic_target="sarsa", critic="gru"),
        IPDConfig(**SMALL_IPD, shaping_weight=0.0, advantage="gae", critic_target="lambda"),
        IPDConfig(**SMALL_IPD, advantage="td0", exploration=0.0),
        CoinConfig(**SMALL_COIN, algo="naive"),
        CoinConfig(**SMALL_COIN, shaping="n-step", advantage="td0", critic_target="argmax"),
        CoinConfig(**{**SMALL_COIN, "anneal": 0}),
    ],
)
def test_a_field_without_effect_changes_no_number(config: TrainConfig, tmp_path: Path) -> None:
    idle = without_effect(config)
    assert idle
    other = config
    for name in idle:
        other = other.replace(**changed(other, name))
    lines = []
    for number, one in enumerate((config, other)):
        loqa.train(one, tmp_path / str(number))
        for line in read_run(tmp_path / str(number)).learned:
            line.pop("shaping_weight", None)  # the steered weight is shown where it has a target
            lines.append(line)
    assert len(lines) == 8
    assert lines[:4] == lines[4:]


def test_the_header_names_options_without_effect() -> None:
    beside = IPDConfig(algo="naive", meets="learners", other_algo="loqa")
    assert "shaping_weight" not in without_effect(beside)  # it is the other's
    config = IPDConfig(algo="naive", n_step=5, actor_hidden=3, gamma=0.5)
    assert (
        describe(config)[-1] == "without effect: n_step (algo naive), actor_hidden (actor logits)"
    )
    assert not any("without effect" in line for line in describe(IPDConfig(gamma=0.5)))
