"""Tables of `loqa eval`, `loqa league` and `loqa exploit`."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from loqa._checks import plural
from loqa.evaluation.evaluate import Estimate, MatchResult, Score
from loqa.evaluation.exploit import Exploitation
from loqa.evaluation.league import INTERVALS, League
from loqa.training.run_names import value_text

_NARROWEST = 8  # columns of a name
_PAIR = "-0.0000 / -0.0000"  # the widest pair of statistics


def reward_table(results: Sequence[MatchResult], who: str, console: Console) -> Table:
    """What an agent and its opponents earned: both seats together, then each seat or seed."""
    first = results[0]
    over = "seeds (bootstrap) for all seeds together, else episodes" if first.seeds else "episodes"

    def build(name: Callable[[str], str]) -> Table:
        table = _table(
            f"{who}: {game_text(first)}",
            "mean reward per step, and the agent's discounted return, with half of the 95% interval "
            f"over {over}",
            texts=("against", "seat", "episodes"),
            numbers=("reward", "opponent's", "return"),
        )
        for result in results:
            scores: list[tuple[str, Score]] = [("both", result.total)]
            scores += [(str(score.seat), score) for score in result.seats]
            scores += [(name(one.agent), one.total) for one in result.seeds]
            for number, (seat, score) in enumerate(scores):
                table.add_row(
                    name(result.opponent) if number == 0 else "",
                    seat,
                    f"{score.episodes:,}",
                    *(_cell(one, 4) for one in score.reward),
                    _cell(score.discounted_return[0], 2),
                    style="bold" if number == 0 else "dim",
                )
        return table

    return _fitted(build, 2 if first.seeds else 1, console)


def statistics_tables(
    results: Sequence[MatchResult], who: str, console: Console
) -> Iterator[Table]:
    """Statistics of an agent and its opponents; as many opponents in a table as have room."""
    names = list(results[0].total.statistics)
    label = max(len(name) for name in names)
    if console.is_terminal:
        wide, room = len(_PAIR), max(1, (console.width - label - 2) // (len(_PAIR) + 2))
    else:
        wide, room = console.width, len(results)
    for start in range(0, len(results), room):
        some = results[start : start + room]
        numbers = [textwrap.fill(result.opponent, wide) for result in some]
        table = _table(f"{who}: statistics, agent / opponent, both seats", None, ("",), numbers)
        for name in names:
            pairs = [result.total.statistics[name] for result in some]
            table.add_row(name.replace("_", " "), *(f"{a:.4f} / {b:.4f}" for a, b in pairs))
        yield table


def league_table(result: League, console: Console) -> Table:
    """What each algorithm earns against each other."""
    length = result.settings["episode_length"]

    def build(name: Callable[[str], str]) -> Table:
        table = _table(
            f"{len(result.names)} agents, {result.game}, preset {result.settings['preset']}, "
            f"{length} {plural(length, 'step')}: mean reward per step",
            f"with half of the 95% interval ({INTERVALS}); an agent meets itself too",
            texts=("algorithm", "one among" if result.standings else "against"),
            numbers=("pairs", "reward", "the others'" if result.standings else "opponent's"),
        )
        for pair in result.group_pairs:
            mark = "*" if pair.interval == "episodes" else ""
            cells = [f"{_cell(one, 4)}{mark}" for one in pair.reward]
            table.add_row(name(pair.first), name(pair.second), str(pair.pairs), *cells)
        return table

    return _fitted(build, 2, console)


def standings_table(result: League, console: Console) -> Table:
    """What each agent of a game of more than two players earns in all line-ups."""
    drawn, total = result.settings["seatings"], result.settings["seatings_in_all"]
    which = f"all {total} seatings" if drawn == total else (
        f"{drawn} of {total} seatings, drawn with seed {result.settings['seed']}"
    )  # fmt: skip

    def build(name: Callable[[str], str]) -> Table:
        table = _table(
            f"all line-ups: {which}",
            "mean reward per step in all seats, with half of the 95% interval: over episodes, and "
            "over seatings where they are drawn",
            texts=("agent",),
            numbers=("seatings", "reward"),
        )
        for one in result.standings:
            table.add_row(name(one.name), str(one.seatings), _cell(one.reward, 4))
        return table

    return _fitted(build, 1, console)


def exploit_table(found: Sequence[Exploitation]) -> Table:
    """What best responses to a player earn."""
    first = found[0].response
    table = _table(
        f"{first.opponent}: {game_text(first)}",
        "mean reward per step, with half of the 95% interval; exploitability: what the "
        "response earns more than the player against itself",
        texts=("response",),
        numbers=("its reward", "the player's", "self-play", "exploitability"),
    )
    for each in found:
        mine, others = each.response.total.reward
        own = sum(one.mean for one in each.self_play.total.reward) / 2
        cells = [_cell(mine, 4), _cell(others, 4), f"{own:.4f}", _cell(each.exploitability, 4)]
        table.add_row(each.method, *cells)
    return table


def game_text(result: MatchResult) -> str:
    """What was played."""
    text = f"{result.game}, preset {result.preset}"
    if "payoff" in result.rules:
        mine, other = result.rules["payoff"]
        sides = [mine] if mine == other else [mine, other]
        text += f", payoff {' and '.join(value_text(np.ravel(side).tolist()) for side in sides)}"
    if "height" in result.rules:
        text += f", board {result.rules['height']} x {result.rules['width']}"
    return f"{text}, {result.episode_length} {plural(result.episode_length, 'step')}"


def _table(title: str, caption: str | None, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, pad_edge=False,
                  collapse_padding=True)  # fmt: skip
    for column in texts:
        table.add_column(column, overflow="fold")
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _fitted(
    build: Callable[[Callable[[str], str]], Table], columns: int, console: Console
) -> Table:
    """The table of `build(name)`, where `name` breaks names over lines if the terminal is narrow.

    Args:
        build: makes the table with names as `name` writes them.
        columns: that hold names.
    """
    if not console.is_terminal:
        return build(str)
    options = console.options.update(width=1000)
    empty = build(lambda name: "-" * _NARROWEST)
    empty.title = empty.caption = None
    spare = console.width - console.measure(empty, options=options).maximum
    return build(lambda name: textwrap.fill(name, max(_NARROWEST, _NARROWEST + spare // columns)))


def _cell(estimate: Estimate, digits: int) -> str:
    return f"{estimate.mean:.{digits}f}\N{PLUS-MINUS SIGN}{estimate.half:.{digits}f}"
