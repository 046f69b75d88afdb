"""The options of `loqa train`: every field is explained, and what `--help` shows can be typed back."""

import dataclasses
import re

import pytest

from loqa.cli.options import parsed
from loqa.training.config import CoinConfig, IPDConfig, MatrixConfig

CONFIGS = [IPDConfig, CoinConfig, MatrixConfig]


def config_of(kind, *given):
    return parsed(kind, given, "loqa train")[0]


def entries(kind, capsys, *given):
    """What `--help` says of each option, in one line."""
    with pytest.raises(SystemExit) as stop:
        parsed(kind, [*given, "--help"], "loqa train")
    assert stop.value.code == 0
    found, name = {}, ""
    for line in capsys.readouterr().out.splitlines():
        text = line.strip("│ ")
        if option := re.match(r"(?:-h, )?--([a-z][a-z-]*)", text):
            name = option[1].replace("-", "_")
            text = re.sub(r"^(?:-h, )?--.*?(?:  +|$)", "", text)
        elif not text.strip("╭╮╰╯─-") or text.endswith(" options"):
            name = ""  # the end of a box, or the head of another
        if name:
            found[name] = f"{found.get(name, '')} {text}".strip()
    return found


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_field_is_explained(kind, capsys):
    found = entries(kind, capsys)
    assert found.keys() == kind.field_types().keys() | {"help", "out"}
    for name, said in found.items():
        explained = said.partition("(default:")[0]
        assert re.search(r"\w\w", explained), name


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_what_help_shows_can_be_typed_back(kind, preset, capsys):
    if preset not in kind.presets():
        return
    given = ["--preset", preset]
    typed = list(given)
    for name, said in entries(kind, capsys, *given).items():
        if name not in ("help", "out", "preset"):
            default = re.search(r"\(default: ([^()]*|\(.*\))\)$", said)
            assert default is not None, (name, said)
            typed += [f"--{name.replace('_', '-')}", *default[1].split()]
    typed = [one for at, one in enumerate(typed) if one != "--fixed" or typed[at + 1 : at + 2]]
    assert config_of(kind, *typed) == kind.of_preset(preset)


@pytest.mark.parametrize(
    "typed",
    [
        ["--payoff", "-1,-3,0,-2"],
        ["--payoff=-1,-3,0,-2"],
        ["--payoff", "-1", "-3", "0", "-2"],
        ["--payoff", "-1.0", "-3.0", "0.0", "-2.0", "--seed", "0"],
    ],
)
def test_payoffs_are_typed_with_spaces_or_commas(typed):
    assert config_of(IPDConfig, "--payoff", "3,0,5,1").payoff == (3, 0, 5, 1)
    assert config_of(IPDConfig, *typed).payoff == (-1, -3, 0, -2)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        (["--shared-reward"], True),
        (["--shared-reward", "true"], True),
        (["--shared-reward=True"], True),
        (["--shared-reward", "False"], False),
        (["--no-shared-reward"], False),
        (["--shared-reward", "--no-shared-reward"], False),
    ],
)
def test_booleans(typed, value):
    assert config_of(IPDConfig, *typed).shared_reward is value


@pytest.mark.parametrize("none", ["none", "None"])
def test_nothing_is_none(none):
    config = config_of(IPDConfig, "--time-limit", none, "--clip-norm", none, f"--wandb={none}")
    assert (config.time_limit, config.clip_norm, config.wandb) == (None, None, None)
    assert config_of(CoinConfig, "--self-play-target", none).self_play_target is None


def test_given_options_change_a_preset_and_nothing_else():
    config = config_of(CoinConfig, "--preset", "paper", "--seed", "4", "--gamma", "0.5")
    assert config == CoinConfig.of_preset("paper", seed=4, gamma=0.5)
    # A value that the preset's variant has otherwise, even if the default preset has it.
    plain = IPDConfig()
    assert config_of(IPDConfig, "--actor", "gru").batch_size == 128
    given = config_of(IPDConfig, "--actor", "gru", "--batch-size", str(plain.batch_size))
    assert given.batch_size == plain.batch_size
    assert dataclasses.asdict(given.loop)["iterations"] == 400
