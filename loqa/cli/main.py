"""The command `loqa`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from rich.text import Text

import loqa
from loqa import _checks
from loqa._files import WriteError
from loqa._native import core
from loqa._reading import out_of_memory
from loqa.cli import evaluate as cli_eval
from loqa.cli.terminal import Terminal, lasting_output
from loqa.evaluation.match_settings import settings_of
from loqa.evaluation.matches import actor
from loqa.evaluation.players import as_player
from loqa.games.registry import game, played
from loqa.training.config import GAMES, RESUMABLE, TrainConfig, docstring
from loqa.training.run_directory import RunDirectory
from loqa.training.run_names import describe
from loqa.training.train import TrainingError, export_agent, resume, train

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
_FLAGS = ("preset", "shared_reward")  # options with a form of their own
_FIELDS = "In brackets: the value of the default preset."


class _Parser(argparse.ArgumentParser):
    """Names the nearest valid option for one that is unknown."""

    def error(self, message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2].split(" ")[0].split("=")[0]
        hint = _checks.nearest(unknown, self._option_string_actions) if unknown else ""
        super().error(message + hint)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0 done, 1 failed, 2 wrong usage, 130 interrupted (after saving).

    A command whose output is closed (`| head`) goes on to its end, so that its files are complete.
    """
    with lasting_output():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    parser, train_parsers = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        which = train_parsers.get(getattr(options, "game", ""), parser)
        which.error(f"unrecognized arguments: {' '.join(unknown)}")
    # One of several processes of a run speaks (torchrun numbers them).
    console = Terminal(quiet=os.environ.get("RANK", "0") != "0")
    try:
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
    except KeyboardInterrupt:
        print("loqa: interrupted", file=sys.stderr)
        return INTERRUPTED


def _complain(sentence: str) -> None:
    """Says what went wrong, once; torchrun shows what each process left in its file at the end."""
    if os.environ.get("RANK", "0") == "0":
        print(sentence, file=sys.stderr)
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        said = {"message": sentence, "timestamp": int(time.time())}
        Path(file).write_text(json.dumps(said), encoding="utf-8")


def _parser() -> tuple[argparse.ArgumentParser, dict[str, _Parser]]:
    parser = _Parser(prog="loqa", description="Opponent shaping at hardware speed.")
    parser.add_argument("--version", action="version", version=f"loqa {loqa.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    training = commands.add_parser("train", help="train an agent in a new run directory")
    games = training.add_subparsers(required=True, metavar="GAME", dest="game")
    train_parsers = {}
    for name, kind in GAMES.items():
        summary, _, rest = docstring(kind).partition("\n\n")
        one = games.add_parser(
            name, help=summary, description=rest.partition("Attributes:")[0], epilog=_FIELDS
        )
        train_parsers[name] = one
        one.add_argument("--out", metavar="DIR", help="run directory (default: a new one in runs/)")
        one.add_argument("--preset", default="default", help=f"{' or '.join(kind.presets)}")
        _add_fields(one, kind)
        one.set_defaults(run=_train)

    resuming = commands.add_parser("resume", help="go on with a run, bit for bit")
    resuming.add_argument("directory", metavar="DIR")
    resuming.add_argument("--iterations", type=int, help="a new total")
    resuming.add_argument("--device", help="another one: then not bit for bit")
    for name, said in (
        ("time_limit", "seconds from now on; none for no limit"),
        ("num_threads", "another number rounds sums differently: then not bit for bit"),
        ("log_every", "iterations between two lines of metrics.jsonl"),
        ("checkpoint_every", "iterations between two checkpoints"),
        ("wandb", "project of Weights & Biases; none for none"),
    ):
        resuming.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=said)
    fields = {name for kind in GAMES.values() for name in kind.field_types()}
    for name in sorted(fields - RESUMABLE):  # understood, to be refused by name
        resuming.add_argument(f"--{name.replace('_', '-')}", nargs="?", const="true",
                              help=argparse.SUPPRESS)  # fmt: skip
    resuming.set_defaults(run=_resume)

    exporting = commands.add_parser("export", help="write the agent of a run alone, to share it")
    exporting.add_argument("run_or_checkpoint", metavar="DIR")
    exporting.add_argument("file", metavar="FILE.safetensors")
    exporting.add_argument("--note", default="", help="kept in the file")
    exporting.set_defaults(run=_export)

    plotting = commands.add_parser(
        "plot", help="draw the figures of a run or a league, or runs side by side, seeds together"
    )
    plotting.add_argument("directories", nargs="+", metavar="DIR")
    plotting.add_argument("--wall-clock", action="store_true",
                          help="time to the thresholds by board, beside published times")  # fmt: skip
    plotting.add_argument(
        "--out",
        metavar="FILE",
        help="one figure, in the format its suffix names [comparison.png or wall_clock.png; one run: "
        "several, in its figures/]",
    )
    plotting.add_argument("--label", action="append", metavar="NAME",
                          help="of a configuration in the figure; once for each, in order")  # fmt: skip
    plotting.set_defaults(run=_plot)

    cli_eval.add_commands(commands)

    watching = commands.add_parser("watch", help="show a game between agents")
    watching.add_argument(
        "players", nargs="+", metavar="PLAYER", help=f"one a seat: {cli_eval.WHO}"
    )
    watching.add_argument(
        "--gif", metavar="FILE", help="write a film (gif, png, webp) instead of showing it here"
    )
    watching.add_argument("--game", help="[the first that can be shown]")
    watching.add_argument("--preset", help="whose rules [the agents', or loqa24]")
    for name in ("height", "width"):
        watching.add_argument(f"--{name}", type=int, help="[the agents', or 3]")
    watching.add_argument("--steps", type=int, help="[the agents' episode length, or 50]")
    watching.add_argument("--seed", type=int, default=0, help="[0]")
    watching.add_argument("--speed", type=float, default=4.0, help="frames a second [4]")
    watching.set_defaults(run=_watch)

    benching = commands.add_parser("bench", help="env steps a second here, beside plain Python")
    benching.add_argument("--num-envs", type=int, default=8192, help="[8192]")
    benching.add_argument("--num-threads", type=int, help="[all cores]")
    benching.set_defaults(run=_bench)

    info = commands.add_parser("info", help="versions, instruction set, devices")
    info.set_defaults(run=_info)
    return parser, train_parsers


def _add_fields(parser: argparse.ArgumentParser, kind: type[TrainConfig]) -> None:
    docs = kind.field_docs()
    parser.add_argument(
        "--shared-reward", action="store_const", const=True, help=docs.get("shared_reward")
    )
    defaults = kind().to_dict()
    for name in kind.field_types():
        if name not in _FLAGS:
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                metavar="VALUE",
                help=f"{docs.get(name, '')} [{defaults[name]}]".replace("%", "%%"),
            )


def _train(options: argparse.Namespace, console: Terminal) -> int:
    kind = GAMES[options.game]
    given = {
        name: value
        for name, value in vars(options).items()
        if name in kind.field_types() and name != "preset" and value is not None
    }
    config = kind.of_preset(options.preset, **given)
    out = Path(options.out) if options.out else None
    _say_what_runs(
        console, f"loqa train {options.game}", config, out or RunDirectory.unused(config)
    )
    return _follow(console, config, (0, 0.0), lambda report: train(config, out, report))


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
    known = run.config().field_types()
    fields = {
        name: value for name, value in vars(options).items() if name in known and value is not None
    }
    config = run.config().resumed(**fields)
    lines = run.metrics()
    done = (lines[-1]["iteration"], lines[-1]["seconds"]) if lines else (0, 0.0)
    _say_what_runs(console, f"loqa resume {config.game}", config, run.path)
    return _follow(
        console,
        config,
        done,
        lambda report: resume(run.path, report=report, **fields),
    )


def _export(options: argparse.Namespace, console: Terminal) -> int:
    export_agent(options.run_or_checkpoint, options.file, options.note)
    console.say(options.file)
    return DONE


def _follow(console: Terminal, config: TrainConfig, done: tuple[int, float], work: Any) -> int:
    """Runs `work(report)` under a progress display, draws the figures and says what came out.

    `done` are the iterations and the seconds of training before this session.
    """
    from loqa.cli.progress import Pace, training_progress
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


def _plot(options: argparse.Namespace, console: Terminal) -> int:
    from loqa.plotting.plot import plot_comparison, plot_run, plot_wall_clock

    if options.wall_clock:
        if options.label:
            raise ValueError("--label names runs, --wall-clock draws boards")
        files = [plot_wall_clock(options.directories, Path(options.out or "wall_clock.png"))]
    elif len(options.directories) == 1:
        out = Path(options.out) if options.out else None
        files = plot_run(options.directories[0], out, options.label)
    else:
        out = Path(options.out or "comparison.png")
        files = [plot_comparison(options.directories, out, options.label)]
    for file in files:
        console.say(str(file))
    return DONE


def _watch(options: argparse.Namespace, console: Terminal) -> int:
    speed = _checks.real("speed", options.speed, 0.1, 50)
    players = [as_player(name) for name in options.players]
    asked = {
        "preset": options.preset,
        "height": options.height,
        "width": options.width,
        "episode_length": options.steps,
    }
    films = {one.env_name: one.film for one, _ in played() if one.film}
    shown = settings_of(players, options.game or next(iter(films)), asked, None, options.seed)
    if shown.game not in films:
        raise ValueError(f"{shown.game} cannot be shown, {' and '.join(films)} can")
    film = import_module(films[shown.game])
    env = shown.matches.make(
        1, num_players=len(players), seed=options.seed, num_threads=1, **shown.make
    )
    names = [player.name for player in players]
    act = actor(env, players, options.seed)
    frames = film.frames_of(env, act, env.episode_length, names=names)
    if options.gif:
        console.say(str(film.save_gif(options.gif, frames, speed)))
        return DONE
    coloured = console.color_system is not None and not console.no_color
    for frame in frames:
        if console.unheard:
            break
        if console.is_terminal:
            console.clear()
        print(film.text_frame(frame, coloured), flush=True)
        if console.is_terminal:
            time.sleep(1 / speed)
    return DONE


def _bench(options: argparse.Namespace, console: Terminal) -> int:
    from loqa.cli.bench import GAMES, bench

    def row(name: str, *cells: str) -> None:
        text = f"{name:>19}" + "".join(f"{cell:>20}" for cell in cells)
        console.say(text)

    row("million env steps/s", "step", "rollout", "plain Python", "step / plain Python")
    for name in GAMES:
        speed = bench(name, options.num_envs, options.num_threads)
        rates = (rate / 1e6 for rate in (speed.step, speed.rollout, speed.python))
        row(name, *(f"{rate:.3f}" for rate in rates), f"{speed.step / speed.python:,.0f}")
    return DONE


def _info(options: argparse.Namespace, console: Terminal) -> int:
    import numpy
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none that torch can use"
    cpus = os.cpu_count() or 1
    rows = {
        "loqa": loqa.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "machine": f"{platform.machine()}, {cpus} {_checks.plural(cpus, 'CPU')}",
        "instruction set": f"{core.isa()} (of {', '.join(core.supported_isas())})",
        "threads": core.default_num_threads(),
        "CUDA in the core": "yes" if core.has_cuda else "no",
        "GPU": gpu,
    }
    for name, value in rows.items():
        console.say(f"{name:>16}  {value}")
    return DONE
