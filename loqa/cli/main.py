"""The command `loqa`."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import loqa
from loqa import _checks
from loqa.cli.terminal import FAILED, INTERRUPTED, USAGE, Terminal, lasting_output
from loqa.storage.files import WriteError
from loqa.storage.reading import out_of_memory
from loqa.training.stopping import TrainingError

# What each command does, and the module whose `add_...` gives it its options. Only the command that is
# asked for is loaded: `loqa --help` needs no torch.
COMMANDS = {
    "train": ("train", "train an agent in a new run directory"),
    "resume": ("train", "continue a run, bit for bit as if it had never stopped"),
    "sweep": ("sweep", "train many seeds and settings side by side, and compare them"),
    "export": ("train", "write the trained agent of a run to one small file"),
    "plot": ("plot", "draw the figures of a run or a league, or runs side by side, seeds together"),
    "report": ("plot", "write one HTML page about runs, sweeps or leagues"),
    "eval": ("evaluate", "play an agent against others, in both seats"),
    "league": ("evaluate", "play all pairs of agents, in both seats"),
    "import": ("evaluate", "turn a published pickle into safetensors, without running it"),
    "exploit": ("exploit", "train or search a best response to a player, and say what it earns"),
    "watch": ("watch", "show a game between agents in the terminal, or write a film"),
    "bench": ("bench", "measure environment steps per second, native and plain Python"),
    "info": ("info", "list versions, instruction set, devices"),
    "completion": (
        "completion",
        'print a script for shell completion in bash or zsh: eval "$(loqa completion bash)"',
    ),
}


class _Parser(argparse.ArgumentParser):
    """Names the nearest valid option or command for one that is unknown."""

    def error(self, message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2].split(" ")[0].split("=")[0]
        hint = _checks.nearest(unknown, self._option_string_actions) if unknown else ""
        if choice := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            hint = _checks.nearest(choice[1], re.findall(r"[\w-]+", choice[2]))
        super().error(message + hint)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0 done, 1 failed, 2 wrong usage, 130 interrupted (after saving).

    A command whose output is closed (`| head`) goes on to its end, so that its files are complete.
    """
    with lasting_output():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    # One of several processes of a run speaks (torchrun numbers them).
    console = Terminal(quiet=os.environ.get("RANK", "0") != "0")
    try:
        if given[:1] == ["train"]:  # a run's options are the fields of its configuration
            return int(import_module("loqa.cli.train").run_train(given[1:], console))
        options, unknown = _parser(given).parse_known_args(given)
        if unknown:
            instead = getattr(options, "instead", "")
            options.parser.error(f"unrecognized arguments: {' '.join(unknown)}{instead}")
        return int(options.run(options, console))
    except WriteError as error:
        _complain(f"loqa: {error}")
        return FAILED
    except (ValueError, TypeError, OSError) as error:
        _complain(f"loqa: error: {error}")
        return USAGE
    except TrainingError as error:
        _complain(f"loqa: the run failed: {error}")
        return FAILED
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        _complain(f"loqa: out of memory: {str(error).partition('. ')[0][:200]}")
        return FAILED
    except SystemExit as ended:  # of a parser, which has said why
        if ended.code:
            _tell_torchrun(f"loqa: wrong usage: {' '.join(['loqa', *given])}")
        raise
    except KeyboardInterrupt:
        print("loqa: interrupted", file=sys.stderr)
        return INTERRUPTED


def _complain(sentence: str) -> None:
    """Says what went wrong, once; torchrun shows what each process left in its file at the end."""
    if os.environ.get("RANK", "0") == "0":
        print(sentence, file=sys.stderr)
    _tell_torchrun(sentence)


def _tell_torchrun(sentence: str) -> None:
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        said = {"message": sentence, "timestamp": int(time.time())}
        Path(file).write_text(json.dumps(said), encoding="utf-8")


def _parser(given: Sequence[str]) -> _Parser:
    """Of all commands, with the options of the one that is given."""
    parser = _Parser(prog="loqa", description="Opponent shaping at hardware speed.")
    parser.add_argument("--version", action="version", version=f"loqa {loqa.__version__}")
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    asked = next((one for one in given if not one.startswith("-")), "")
    for name, (module, said) in COMMANDS.items():
        one = commands.add_parser(name, help=said, description=said)
        one.set_defaults(parser=one)
        if name == asked and name != "train":
            getattr(import_module(f"loqa.cli.{module}"), f"add_{name}")(one)
    return parser
