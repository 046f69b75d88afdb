"""One page of HTML that needs nothing else: it opens without a server and without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import loqa
from loqa.reports.sections import Section, league_section, run_section
from loqa.reports.sweep_section import sweep_section
from loqa.storage.files import write_text

_TEMPLATE = Path(__file__).with_name("page.html")


def write_report(directories: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Writes a page about runs, sweeps and leagues, each a section; returns the file.

    Figures and films are part of the page, as data. It is written under another name first, so that there is
    never half of it.

    Args:
        directories: of runs, sweeps or leagues.
        out: the file; by default report.html in the directory, or here if there are several.

    Raises:
        FileNotFoundError: a directory holds none of them.
        ValueError: its files are damaged, or a run has no metrics yet.
    """
    paths = [Path(one) for one in directories]
    sections = [_section(one) for one in paths]
    file = Path(out) if out else (paths[0] if len(paths) == 1 else Path()) / "report.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, render(sections))
    return file


def render(sections: Sequence[Section]) -> str:
    """The page; every text in it is escaped."""
    import jinja2

    made: Any = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = made.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    page: str = template.render(sections=sections, version=loqa.__version__)
    return page


def _section(path: Path) -> Section:
    if (path / "sweep.json").is_file():
        return sweep_section(path)
    if (path / "league.json").is_file() and not (path / "config.json").is_file():
        return league_section(path)
    return run_section(path)
