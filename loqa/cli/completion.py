"""`loqa completion`: a script that completes commands, games and options in bash or zsh."""

from __future__ import annotations

import argparse
import typing
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Literal

from loqa.algos import registry as algorithms
from loqa.cli.terminal import DONE, Terminal
from loqa.cli.train import trained
from loqa.training.config import TrainConfig, config_class

_BASH = """# Completion of loqa. In bash: eval "$(loqa completion bash)"
{zsh}_loqa() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} key=${{COMP_WORDS[1]}} words=""
  [ "$COMP_CWORD" -eq 1 ] && key=""
  [ "$key" = train ] && [ "$COMP_CWORD" -gt 2 ] && key="train ${{COMP_WORDS[2]}}"
  case "$key|${{COMP_WORDS[COMP_CWORD-1]}}" in
{choices}
  *) case "$key" in
{words}
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _loqa loqa
"""
_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


def add_completion(one: argparse.ArgumentParser) -> None:
    one.add_argument("shell", choices=("bash", "zsh"))
    one.set_defaults(run=_completion)


def _completion(options: argparse.Namespace, console: Terminal) -> int:
    console.print(script(options.shell), soft_wrap=True, end="")
    return DONE


def script(shell: str) -> str:
    """The script: what may follow each command, and each of its options that has choices."""
    from loqa.cli.main import COMMANDS  # which loads this module

    follow: dict[str, Sequence[str]] = {"": list(COMMANDS)}
    choices: dict[str, Sequence[str]] = {}
    for command, (module, _) in COMMANDS.items():
        if command != "train":
            parser = argparse.ArgumentParser()
            getattr(import_module(f"loqa.cli.{module}"), f"add_{command}")(parser)
            shown = [one for one in parser._actions if one.help != argparse.SUPPRESS]
            options = [name for one in shown for name in one.option_strings if name[:2] == "--"]
            first = [
                str(said) for one in shown if not one.option_strings for said in one.choices or ()
            ]
            follow[command] = [*first, *options]
            for one in shown:
                for name in one.option_strings if one.choices else ():
                    choices[f"{command}|{name}"] = list(map(str, one.choices or ()))
    follow["train"] = [*trained(), "--help"]
    for game in trained():
        found = _choices(config_class(game))
        follow[f"train {game}"] = [*found, "--help"]
        choices |= {f"train {game}|{name}": said for name, said in found.items() if said}
    return _BASH.format(
        zsh=_ZSH if shell == "zsh" else "",
        choices=_cases(choices, "  "),
        words=_cases(follow, "    "),
    )


def _choices(kind: type[TrainConfig]) -> dict[str, Sequence[str]]:
    """The options of `loqa train` in a game, with every algorithm, and what each may be, if that is known."""
    known = {"preset": kind.presets(), "algo": algorithms.names()}
    found: dict[str, Sequence[str]] = {"--out": ()}
    for algo in algorithms.names():
        for name, said in kind.field_types(algo).items():
            literal = typing.get_args(said) if typing.get_origin(said) is Literal else ()
            found[f"--{name.replace('_', '-')}"] = known.get(name, literal)
    return found


def _cases(said: Mapping[str, Sequence[str]], indent: str) -> str:
    return "\n".join(
        f'{indent}"{key}") words="{" ".join(words)}" ;;' for key, words in said.items()
    )
