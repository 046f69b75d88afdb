"""`loqa eval`, `loqa league` and `loqa import`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from loqa.agents.published.arrays import import_pickle
from loqa.cli.players import WHO, add_settings, settings_of
from loqa.cli.tables import league_table, reward_table, standings_table, statistics_tables
from loqa.cli.terminal import Terminal
from loqa.evaluation.evaluate import MatchResult, evaluate, to_csv
from loqa.evaluation.groups import distinct, group_names, grouped, named_apart
from loqa.evaluation.league import league
from loqa.evaluation.players import as_player
from loqa.runtime.cluster import ENGINES
from loqa.storage.files import output_directory, write_json, write_text


def add_eval(one: argparse.ArgumentParser) -> None:
    one.add_argument("agents", nargs="+", metavar="AGENT", help=f"{WHO}; several are seeds")
    one.add_argument("--against", nargs="+", required=True, metavar="OPPONENT")
    one.add_argument(
        "--standard-error",
        type=float,
        metavar="E",
        help="of the mean reward per step: episodes are added until then [0.005]",
    )
    one.add_argument("--episodes", type=int, metavar="N", help="in each seat, instead of a bound")
    one.add_argument(
        "--discount", type=float, help="of the return [the runs' own, or the preset's]"
    )
    one.add_argument("--out", metavar="DIR", help="also write DIR/evaluation.json and .csv")
    one.add_argument("--json", action="store_true", help="print JSON instead of tables")
    one.set_defaults(run=_evaluate)
    add_settings(one)


def add_league(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "agents", nargs="+", metavar="PATH", help=f"{WHO}; a directory stands for the agents in it"
    )
    one.add_argument(
        "--episodes",
        type=int,
        default=1000,
        metavar="N",
        help="of each pair, half in each seat; 4 or more. Of more than two players: of one among others, "
        "an equal part in each seat [1000]",
    )
    one.add_argument(
        "--max-seatings",
        type=int,
        default=1000,
        metavar="N",
        help="of more than two players: where there are more seatings, so many are drawn with --seed "
        "[1000]",
    )
    one.add_argument(
        "--out",
        metavar="DIR",
        default="league",
        help="results and figures; what is there is not played again [league]",
    )
    one.add_argument("--engine", choices=ENGINES, default="local", help="[local]")
    one.set_defaults(run=_league)
    add_settings(one)


def add_import(one: argparse.ArgumentParser) -> None:
    one.add_argument("source", metavar="FILE.pkl")
    one.add_argument("target", metavar="OUT.safetensors")
    one.add_argument("--algorithm", metavar="NAME", help="[told from the architecture]")
    for name in ("height", "width"):
        one.add_argument(f"--{name}", type=int, help="of its board [square]")
    one.set_defaults(run=_import)


def _evaluate(options: argparse.Namespace, console: Terminal) -> int:
    if options.episodes is not None and options.standard_error is not None:
        raise ValueError("give --episodes or --standard-error, not both")
    error = 0.005 if options.standard_error is None else options.standard_error
    agents = named_apart(distinct([as_player(one) for one in options.agents]))
    opponents = named_apart([as_player(one) for one in options.against])
    groups = grouped(agents)
    names = group_names([group[0] for group in groups])
    found: list[list[MatchResult]] = [[] for _ in groups]
    with output_directory(options.out or None, "evaluation") as directory:
        for place, group in enumerate(groups):
            for opponent in opponents:
                with console.busy(f"against {opponent.name}"):
                    one = evaluate(
                        group,
                        opponent,
                        episodes=options.episodes,
                        standard_error=error,
                        discount=options.discount,
                        **settings_of(options),
                    )
                found[place].append(one)
        results = [result for each in found for result in each]
        plain = [result.to_dict() for result in results]
        if directory is not None:  # before anything is printed, which may fail
            write_json(directory / "evaluation.json", plain)
            write_text(directory / "evaluation.csv", to_csv(results))
    if options.json:
        console.print_json(data=plain, ensure_ascii=True)
        return 0
    for group, name, each in zip(groups, names, found, strict=True):
        title = f"{name}, {len(group)} seeds" if len(group) > 1 else group[0].name
        if len(group) == 1 and len(groups) > 1 and group[0].config is not None:
            title = f"{title} ({name})"
        console.print(reward_table(each, title, console))
        if each[0].total.statistics:
            for table in statistics_tables(each, title, console):
                console.print(table)
    if options.out:
        console.say(f"{options.out}: evaluation.json, evaluation.csv")
    return 0


def _import(options: argparse.Namespace, console: Terminal) -> int:
    if (options.height is None) != (options.width is None):
        raise ValueError("--height and --width must be given together")
    meta: dict[str, Any] = {"source": Path(options.source).name}
    if options.algorithm is not None:
        meta["algorithm"] = options.algorithm
    if options.height is not None:
        meta["grid"] = [options.height, options.width]
    agent = import_pickle(options.source, options.target, meta)
    height, width = agent.grid
    console.say(f"{options.target}: {agent.algorithm} agent for a board of {height} x {width}")
    return 0


def _league(options: argparse.Namespace, console: Terminal) -> int:
    columns = (TextColumn("pairs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with console.progress(*columns) as progress:
        task = progress.add_task("pairs", total=None)
        result = league(
            options.agents,
            episodes=options.episodes,
            out=options.out,
            engine=options.engine,
            report=lambda done, total: progress.update(task, completed=done, total=total),
            max_seatings=options.max_seatings,
            **settings_of(options),
        )
    console.print(league_table(result, console))
    if result.standings:
        console.print(standings_table(result, console))
    names = ("league.json", "league.csv", "league.tex")
    figures = ("agents.png", "agents.svg", "algorithms.png", "algorithms.svg")
    console.say(f"{options.out}: {', '.join((*names, *figures))}")
    return 0
