"""What a page says of a run and of a league."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from loqa.evaluation.films import film_of
from loqa.evaluation.players import as_player
from loqa.games.registry import game
from loqa.plotting.runs import Group, Run, figures_of, read_run
from loqa.storage.reading import read_object, reading
from loqa.training.run_directory import RunDirectory
from loqa.training.run_names import changes, describe, value_text

_FILM_SIZE = 32  # pixels of a cell, or of a player's row
# What figures of runs and sweeps show, by their names.
_CAPTIONS = {
    "cooperation": "Probability of cooperating at the start and after each pair of actions, during training",
    "strategy": "Probability of cooperating at the start and after each pair of actions, at the end",
    "reward": "Mean reward per step, during training",
    "learning": "Mean reward per step, and who takes which coins, during training",
    "answers": "What the agent does in each state, and what it is worth, during training",
    "curves": "Learning curves: interquartile mean over seeds, in bands of 95% bootstrap intervals",
    "comparison": "The settings beside each other: interquartile mean and 95% bootstrap interval",
}


@dataclass(frozen=True)
class Picture:
    """A figure or a film.

    Attributes:
        caption: what it shows.
        data: the picture itself, as a data URI.
    """

    caption: str
    data: str


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        caption: what it says.
        head: names of its columns.
        rows: of it.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: of it.
        lines: of text below.
        tables: that are seen at once.
        pictures: figures and films.
        folded: tables that are opened by a click.
    """

    title: str
    lines: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    folded: Sequence[Table] = ()


def run_section(path: Path) -> Section:
    """A run: what it is, what was learned, curves, films if its game has any, and its configuration.

    Raises:
        FileNotFoundError: the directory holds no run.
        ValueError: its files are damaged, or it has no metrics yet.
    """
    run = read_run(path)
    config, summary = run.settings, run.summary
    learned = []  # first: what a reader looks for
    if "strategy" in summary:
        learned.append(f"Strategy learned: {summary['strategy']}")
    if summary:
        learned += game(run.game).outcome(summary).splitlines()
    ended = f"Training {summary.get('status', 'ended')}" if summary else "Training has not ended"
    lines = [*learned, f"{ended}: {', '.join(describe(config))}", f"Directory: {path}"]
    drawn = figures_of(run.game).draw_run(Group(run.title, (run,)), together=False)
    pictures = [drawing(name, figure) for name, figure in drawn.items()]
    changed = {one.partition(" ")[0] for one in changes(config)}
    settings = Table(
        f"Configuration ({len(changed)} of its fields differ from the preset)",
        ("field", "value", ""),
        [
            (name, value_text(value), "changed" if name in changed else "")
            for name, value in config.to_dict().items()
        ],
    )
    folded = [Table("Summary", ("", ""), list(flat(summary))), settings]
    leagues = [league_table(path)] if (path / "league.json").is_file() else []
    return Section(run.title, lines, leagues, [*pictures, *_films(run)], folded)


def league_section(path: Path) -> Section:
    """A league: what each agent earns against each other."""
    return Section(f"League {path.name}", [f"directory: {path}"], [league_table(path)])


def league_table(path: Path) -> Table:
    """The mean rewards of league.json.

    Raises:
        FileError: it is damaged.
    """
    with reading(path / "league.json"):
        found = read_object(path / "league.json")
        names = [str(one) for one in found["names"]]
        cells = [["" if one is None else f"{one:.3f}" for one in row] for row in found["matrix"]]
        rows = [[name, *row] for name, row in zip(names, cells, strict=True)]
    return Table("League: mean reward per step of the row's agent against the column's",
                 ["", *names], rows)  # fmt: skip


def drawing(name: str, figure: Figure) -> Picture:
    """A figure that stays sharp at every size, with a caption."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return Picture(
        _CAPTIONS.get(name, name.replace("_", " ")), _uri("image/svg+xml", file.getvalue())
    )


def flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """A summary as rows of texts."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name} ")
        else:
            numbers = value if isinstance(value, list) else [value]
            said = (f"{one:.6g}" if isinstance(one, float) else value_text(one) for one in numbers)
            yield before + name, ", ".join(said)


def _films(run: Run) -> Iterator[Picture]:
    """The newest agent with itself, and with those whom evaluations play, where the game can be shown."""
    record = game(run.game)
    if not record.film or RunDirectory(run.path).latest_checkpoint() is None:
        return
    agent = as_player(str(run.path))
    players = getattr(run.settings.env, "num_players", 2)
    for other in (None, *record.against.values()):
        seats = [agent] if other is None else [agent, *[as_player(other)] * (players - 1)]
        film, frames = film_of(seats, record.env_name)
        with tempfile.TemporaryDirectory() as folder:
            file = film.save_gif(Path(folder) / "film.gif", frames, size=_FILM_SIZE)
            data = file.read_bytes()
        yield Picture(f"agent against {other or 'itself'}", _uri("image/gif", data))


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
