"""`loqa train`, `loqa resume` and `loqa export`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from loqa import _checks
from loqa._checks import nearest
from loqa._native import core
from loqa.cli.options import last_given, parsed
from loqa.cli.progress import Pace, training_progress
from loqa.cli.terminal import DONE, INTERRUPTED, USAGE, Terminal
from loqa.games.registry import game, names
from loqa.training.config import GAMES, RESUMABLE, TrainConfig, config_class
from loqa.training.own import own_config
from loqa.training.run_directory import RunDirectory
from loqa.training.run_names import describe, run_name
from loqa.training.train import export_agent, resume, train

_OF_MANY = ("public-goods", "n-ipd")
"""Of `--game`, what `loqa train public-goods` calls payoffs."""


def add_resume(one: argparse.ArgumentParser) -> None:
    one.add_argument("directory", metavar="DIR")
    one.add_argument("--iterations", type=int, help="a new total")
    one.add_argument("--device", help="another one: then not bit for bit")
    for name, said in (
        ("time_limit", "seconds from now on; none for no limit"),
        ("num_threads", "another number rounds sums differently: then not bit for bit"),
        ("log_every", "iterations between two lines of metrics.jsonl"),
        ("checkpoint_every", "iterations between two checkpoints"),
        ("wandb", "project of Weights & Biases; none for none"),
    ):
        one.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=said)
    fields = {name for kind in GAMES.values() for name in kind.field_types()}
    for name in sorted(fields - RESUMABLE):  # understood, to be refused by name
        one.add_argument(
            f"--{name.replace('_', '-')}", nargs="?", const="true", help=argparse.SUPPRESS
        )
    one.set_defaults(run=_resume)


def add_export(one: argparse.ArgumentParser) -> None:
    one.add_argument("run_or_checkpoint", metavar="DIR")
    one.add_argument("file", metavar="FILE.safetensors")
    one.add_argument("--note", default="", help="kept in the file")
    one.add_argument("--half", action="store_true", help="parameters in 16 bits: half the size")
    one.set_defaults(run=_export)


def run_train(given: Sequence[str], console: Terminal) -> int:
    """`loqa train`: what follows is the game, or whose environment, and the fields of its configuration."""
    name = given[0] if given else "--help"
    if name in ("-h", "--help"):
        console.say(_games())
        return DONE if given else USAGE
    if (
        name == "ipd" and last_given(given, "algo") == "mfos"
    ):  # which knows exact returns alone there
        exact = [re.sub("^--iterations(?==|$)", "--updates", one) for one in given[1:]]
        name, given = "matrix", ["matrix", "--exact", *exact]
    if "--exact" in given:
        if name != "matrix":
            raise ValueError(f"--exact is of matrix games: loqa train matrix --exact, got {name}")
        from loqa.cli.exact import run_exact

        return run_exact([one for one in given[1:] if one != "--exact"], console)
    if name == "matrix" and last_given(given, "game") in _OF_MANY:
        name = "public-goods"
        given = [re.sub("^--game(?==|$)", "--payoffs", one) for one in given]
    known: dict[str, Any] = {}
    kind = config_class("own")
    if ":" in name:  # what makes an environment of the user's own
        plain = own_config(name)
        known = {**vars(plain.env), "gamma": plain.gamma}
    elif name in trained():
        kind = config_class(name)
    else:
        hint = nearest(name, trained())
        raise ValueError(
            f"there is no game {name!r}{hint} ({', '.join(trained())}, or package.module:make_env of "
            "your own environment)"
        )
    config, out = parsed(kind, given[1:], f"loqa train {name}", known)
    path = RunDirectory.unused(run_name(config)) if out is None else out
    _say_what_runs(console, f"loqa train {name}", config, path)
    return _follow(console, config, (0, 0.0), lambda report: train(config, out, report))


def _games() -> str:
    rows = [(name, (config_class(name).__doc__ or "").partition("\n")[0]) for name in trained()]
    rows.append(("package.module:make_env", "Training on your own environment."))
    width = max(len(name) for name, _ in rows)
    listed = "\n".join(f"  {name:<{width}}  {said}" for name, said in rows)
    return (
        f"usage: loqa train GAME [OPTIONS]\n\n{listed}\n\n"
        "`loqa train GAME --help` lists its options."
    )


def trained() -> list[str]:
    """The games of `loqa train`."""
    return [name for name in names() if name != "own"]


def _say_what_runs(console: Terminal, command: str, config: TrainConfig, out: Path) -> None:
    """A header: what is trained, how, and where its files go."""
    first, *more = describe(config)
    console.say(Text.assemble((command, "bold"), f"  {first}"))
    cores = core.default_num_threads()
    if (
        game(config.game).gains_from_threads
        and config.device == "cpu"
        and config.num_threads == 1 < cores
    ):
        more.append(
            f"{cores} cores here: --num-threads 2 is faster if they are free, and rounds differently"
        )
    for line in (*more, f"-> {out}"):
        console.say(f"  {line}")


def _resume(options: argparse.Namespace, console: Terminal) -> int:
    run = RunDirectory(Path(options.directory))
    known = run.config().to_dict()
    fields = {
        name: value for name, value in vars(options).items() if name in known and value is not None
    }
    config = run.config().resumed(**fields)
    lines = run.metrics()
    done = (lines[-1]["iteration"], lines[-1]["seconds"]) if lines else (0, 0.0)
    _say_what_runs(console, f"loqa resume {config.game}", config, run.path)
    return _follow(console, config, done, lambda report: resume(run.path, report=report, **fields))


def _export(options: argparse.Namespace, console: Terminal) -> int:
    export_agent(options.run_or_checkpoint, options.file, options.note, options.half)
    console.say(options.file)
    return DONE


def _follow(console: Terminal, config: TrainConfig, done: tuple[int, float], work: Any) -> int:
    """Runs `work(report)` under a progress display, draws the figures and says what came out.

    `done` are the iterations and the seconds of training before this session.
    """
    from loqa.plotting.plot import plot_run

    pace = Pace(config.iterations, *done, config.time_limit)
    with training_progress(console, game(config.game).view(), pace) as report, console.not_needed():
        summary = work(report)
    out = summary["out"]

    if summary["status"] == "interrupted":  # whoever interrupts may not wait for the figures
        console.say(f"Interrupted and saved. Go on with: loqa resume {out}")
    figures = [] if console.quiet or not RunDirectory(Path(out)).metrics() else plot_run(out)
    console.say(game(config.game).outcome(summary))
    console.say(
        f"{summary['iterations']:,} {_checks.plural(summary['iterations'], 'iteration')}, "
        f"{summary['env_steps']:,} env steps in {summary['seconds']:.1f} s"
    )
    files = ["summary.json", "metrics.jsonl", *(f"figures/{figure.name}" for figure in figures)]
    console.say(f"{out}: {', '.join(files)}")
    if summary["status"] == "interrupted":
        return INTERRUPTED
    if summary["status"] == "time limit":
        console.say(f"Time limit reached. Go on with: loqa resume {out}")
    if "strategy" in summary:
        console.say("Strategy learned: ", Text(summary["strategy"], "bold"))
    return DONE
