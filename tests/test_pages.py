"""Pages: their links lead somewhere, and their tables are those of the results."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.parse import unquote

import pages
import pytest

FOLDERS = [pages.ROOT / name for name in (".docs", "benchmarks", "csrc", "loqa", "tests")]
PAGES = [*pages.ROOT.glob("*.md"), *(page for folder in FOLDERS for page in folder.rglob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(pages.ROOT)) for page in PAGES])
def test_links_inside_the_tree(page: Path) -> None:
    for link in LINK.findall(without_code(page.read_text())):
        if "://" in link:
            continue
        file, _, heading = unquote(link).partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert target.is_relative_to(pages.ROOT), link
        if heading:
            assert heading in anchors(target.read_text()), link


def test_tables_are_those_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(pages.ROOT / "benchmarks"))
    report = __import__("report")
    try:
        for page in report.PAGES:
            assert report.filled(page.read_text()) == page.read_text(), f"{page}: run report.py"
    finally:
        for name in [one for one in sys.modules if one.startswith(("report", "tables_"))]:
            del sys.modules[name]


def test_the_readme_is_short_and_has_the_two_commands() -> None:
    text = (pages.ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 160
    assert (
        len(re.findall(r"^python -m pip install .*&& (loqa|python -m pytest).*$", text, re.M)) == 2
    )


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def anchors(text: str) -> set[str]:
    """Of a page's headings, as they are made from their text: lower case, no punctuation, hyphens."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}
