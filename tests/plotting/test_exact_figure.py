"""The figure of tit-for-tat against the factor of public goods."""

from __future__ import annotations

import json

import pytest
from matplotlib.figure import Figure

from loqa.plotting import exact
from loqa.storage.reading import FileError


def results(path, **changed):
    rows = {
        "POLA, table": {"1.1": {"found": 4}, "1.6": {"found": 3}},
        "LOLA, preconditioned, rates 1, 1": {"1.1": {"found": 1}, "1.6": {"found": 0}},
        "LOLA, preconditioned, rates 3, 25": {"1.1": {"found": 0}, "1.6": {"found": 2}},
    }
    found = {"runs": 4, "factors": [1.1, 1.6], "rows": rows, **changed}
    path.write_text(json.dumps({"tit-for-tat": found}))
    return path


def test_shares_are_drawn_and_tries_share_a_line(tmp_path, monkeypatch):
    drawn = {}

    def save(figure: Figure, out):
        for line in figure.axes[0].get_lines():
            drawn[line.get_label()] = (list(line.get_xdata()), list(line.get_ydata()))
        return out

    monkeypatch.setattr(exact, "save", save)
    exact.plot_tit_for_tat(results(tmp_path / "a.json"), tmp_path / "a.png")
    assert drawn == {
        "POLA, table": ([1.1, 1.6], [1.0, 0.75]),
        "LOLA, preconditioned": ([1.1, 1.6], [0.25, 0.5]),
    }


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_file_is_written(suffix, tmp_path):
    out = tmp_path / f"figure.{suffix}"
    assert exact.plot_tit_for_tat(results(tmp_path / "a.json"), out) == out
    assert out.stat().st_size > 1000


def test_what_cannot_be_drawn(tmp_path):
    with pytest.raises(ValueError, match="must end in one of"):
        exact.plot_tit_for_tat(results(tmp_path / "a.json"), tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError):
        exact.plot_tit_for_tat(tmp_path / "none.json", tmp_path / "a.png")
    for changed in ({"factors": [1.2]}, {"runs": 0}, {"rows": 3}):
        with pytest.raises(FileError, match="has no results of tit-for-tat"):
            exact.plot_tit_for_tat(results(tmp_path / "b.json", **changed), tmp_path / "a.png")
    assert not list(tmp_path.glob("*.png"))
