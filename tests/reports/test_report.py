"""`loqa report`: a page that parses, needs nothing but itself, and says what the files say."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import loqa
from loqa.cli.main import main

EMPTY = ("meta", "img", "br")  # elements that have no end
ODD = '<img src=x onerror=alert(1)>&"'


class Page(HTMLParser):
    """Sees that elements are closed in order, and keeps attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.text, self._open = "", [""]
        self.feed(text)
        self.close()
        assert self._open == [""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def pictures(self, kind: str) -> list[bytes]:
        sources = [value for _, name, value in self.attributes if name == "src"]
        wanted = [one.partition("base64,")[2] for one in sources if one.startswith(f"data:{kind};")]
        return [base64.b64decode(one, validate=True) for one in wanted]


def page_of(file: Path) -> Page:
    text = file.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    page = Page(text)
    for tag, name, value in page.attributes:
        assert name not in ("href", "srcset", "style", "action") or tag == "meta"
        assert not name.startswith("on")
        assert name != "src" or value.startswith("data:image/")
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    assert "<script" not in text
    return page


def ipd(path: Path, **fields: Any) -> dict[str, Any]:
    config = loqa.IPDConfig.of_preset(iterations=2, batch_size=4, log_every=1, **fields)
    return loqa.train(config, path)


def test_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its directory's name is text, whatever it looks like."""
    run = tmp_path / ODD
    summary = ipd(run, seed=3)
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    page = page_of(run / "report.html")
    assert ODD in page.text
    assert f"Strategy learned: {summary['strategy']}" in page.text
    assert "changed" in page.text
    assert f"{summary['p_cooperate']['CC']:.6g}" in page.text
    figures = page.pictures("image/svg+xml")
    assert len(figures) == 3
    assert all(b"<svg" in one for one in figures)
    assert not list(run.glob(".*"))


def test_a_run_with_films(tmp_path: Path) -> None:
    small = {
        "batch_size": 2,
        "opponents": 2,
        "evaluation_episodes": 2,
        "actor_hidden": 2,
        "critic_hidden": 2,
    }
    config = loqa.CoinConfig.of_preset(iterations=1, episode_length=3, evaluate_every=1, **small)
    loqa.train(config, tmp_path / "run")
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "new" / "a.html")]) == 0
    page = page_of(tmp_path / "new" / "a.html")
    films = page.pictures("image/gif")
    assert [one[:6] for one in films] == [b"GIF89a"] * 3
    assert "agent against always-defect" in page.text


def test_a_film_of_actions_that_are_numbers(tmp_path: Path) -> None:
    small = {"batch_size": 4, "episode_length": 3, "num_players": 3}
    loqa.train(loqa.CournotConfig.of_preset(iterations=1, log_every=1, **small), tmp_path / "run")
    assert main(["report", str(tmp_path / "run")]) == 0
    (film,) = page_of(tmp_path / "run" / "report.html").pictures("image/gif")
    with Image.open(io.BytesIO(film)) as shown:
        assert shown.size == (420, 24 + 3 * 32)  # a row of as many pixels as a cell of a board


def test_a_league_of_a_run_and_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A league that lies in a run's directory is shown with it."""
    monkeypatch.chdir(tmp_path)
    ipd(tmp_path / "one")
    ipd(tmp_path / "other", algo="naive")
    loqa.league(["one", "tit-for-tat", "always-defect"], episodes=4, out="one")
    assert main(["report", "one", "other"]) == 0
    page = page_of(Path("report.html"))
    assert page.text.count("League: mean reward per step") == 1
    assert "tit-for-tat" in page.text
    loqa.league(["tit-for-tat", "always-defect"], episodes=4, out="league")
    assert main(["report", "league"]) == 0
    matrix = json.loads(Path("league/league.json").read_text())["matrix"]
    assert f"{matrix[0][1]:.3f}" in page_of(Path("league/report.html")).text


def test_a_sweep(tmp_path: Path) -> None:
    """Of which one run has not come to its end."""
    grid = loqa.Grid(
        "ipd", [0, 1], {"shaping_weight": [1, 3], "iterations": [1], "batch_size": [4]}
    )
    loqa.sweep(grid, tmp_path / "out")
    (tmp_path / "out" / "shaping_weight=3-seed1" / "summary.json").unlink()
    assert main(["report", str(tmp_path / "out")]) == 0
    page = page_of(tmp_path / "out" / "report.html")
    assert "3 runs ended" in page.text
    assert "not ended: shaping_weight=3-seed1" in page.text
    assert "Probability that a run of the row earns more than one of the column" in page.text
    assert "0.500 [0.500, 0.500]" in page.text
    assert len(page.pictures("image/svg+xml")) == 2


def test_a_damaged_run_leaves_the_page_that_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ipd(tmp_path / "run")
    (tmp_path / "run" / "report.html").write_text("old")
    (tmp_path / "run" / "metrics.jsonl").write_text("{}\n")
    assert main(["report", str(tmp_path / "run")]) == 2
    assert "metrics.jsonl is damaged: line 1, iteration" in capsys.readouterr().err
    assert (tmp_path / "run" / "report.html").read_text() == "old"
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert "nothing is no run directory" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()
