"""Figures can be read: no name leaves the figure or lies on another, and every dotted line is explained."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from test_plot import coin_run, ipd_run, lines_of

from loqa.cli.main import main
from loqa.plotting import coin_game as plot_coin
from loqa.plotting import league as plot_league
from loqa.plotting import plot
from loqa.plotting.runs import group_runs, label_groups, read_run
from loqa.plotting.style import series

LONG = "runs/ipd-default-loqa-payoff=0,-1,1,-10-actor=gru-exploration=0.125-seed12345"
NAMES = ["always-cooperate", "always-defect", "tit-for-tat", "win-stay-lose-shift", LONG,
         "random", "stochastic-win-stay-lose-shift", "_a", "zd-extort-2"]  # fmt: skip


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """What would be saved."""
    kept: list[Figure] = []
    for module in (plot, plot_league):
        monkeypatch.setattr(module, "save", lambda figure, path: kept.append(figure) or path)
    return kept


def check_texts(figure: Figure) -> list[str]:
    """All texts; fails where one leaves the figure or lies on another."""
    drawn: list[Text] = []
    draw = Text.draw

    def record(text: Text, renderer: object) -> None:  # ticks outside of the view are not drawn
        drawn.append(text)
        draw(text, renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", record)
        figure.draw_without_rendering()  # twice: the layout is found in the first
        drawn.clear()
        figure.draw_without_rendering()
    shown = [(text.get_text(), text.get_window_extent()) for text in drawn
             if text.get_text().strip() and text.get_visible()]  # fmt: skip
    width, height = figure.get_size_inches() * figure.dpi
    for said, box in shown:
        assert -1 <= box.x0 <= box.x1 <= width + 1, said
        assert -1 <= box.y0 <= box.y1 <= height + 1, said
    for (one, a), (two, b) in itertools.combinations(shown, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        down = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across <= 1 or down <= 1, (one, two)
    return [said for said, _ in shown]


@pytest.mark.parametrize("count", [2, 5, 9])
def test_names_of_a_heatmap(figures: list[Figure], count: int) -> None:
    rng = np.random.default_rng(0)
    plot_league.plot_heatmap(NAMES[:count], -3 * rng.random((count, count)), Path("a.png"))
    texts = [text.replace("\n", "") for text in check_texts(figures[0])]
    for name in NAMES[:count]:
        assert texts.count(name) == 2
    assert sum(text.startswith("-") and text[2] == "." for text in texts) == count**2


def test_the_colours_of_a_heatmap_span_its_numbers(figures: list[Figure]) -> None:
    for matrix, limits in (
        ([[-1.0, -3.0], [-0.25, -2.0]], (-3, -0.25)),
        ([[3.0, 0.0], [5.0, 1.0]], (0, 5)),
        ([[0.3, -0.5], [0.6, 0.0]], (-0.6, 0.6)),
        ([[-2.0, -2.0], [-2.0, -2.0]], (-2.01, -1.99)),
    ):
        plot_league.plot_heatmap(["a", "b"], np.array(matrix), Path("a.png"))
        assert figures[-1].axes[0].images[0].get_clim() == pytest.approx(limits)


def test_a_comparison_of_the_dilemma(tmp_path: Path, figures: list[Figure]) -> None:
    paths = [
        ipd_run(tmp_path / "a", iterations=10),
        ipd_run(tmp_path / "b", iterations=10, algo="naive", payoff=(3, 0, 5, 1), exploration=0.1,
                actor="gru", critic="gru", actor_lr=0.015),
        ipd_run(tmp_path / "c", iterations=5, seed=7),
    ]  # fmt: skip
    for some in (paths, paths[:1]):
        plot.plot_comparison(some, tmp_path / "c.png")
        texts = check_texts(figures[-1])
        assert texts.count("cooperates\nfrom 0.9") == len(some)
        assert texts.count("defects\nup to 0.2") == len(some)
    plot.plot_run(paths[1])
    plot.plot_run(paths[1], tmp_path / "one.png")
    for figure in figures[-4:]:
        titles = " ".join(check_texts(figure)).replace("\n", " ")
        assert "payoff 3,0,5,1" in titles
        assert "actor gru" in titles


def test_a_comparison_of_nine_coin_configurations(tmp_path: Path) -> None:
    paths = [coin_run(tmp_path / f"{n}", n, gamma=0.9 + n / 128, actor_lr=0.001, batch_size=512 + 32 * n)
             for n in range(9)]  # fmt: skip
    groups = group_runs([read_run(path) for path in paths])
    figure = plot_coin.draw_comparison(groups)
    texts = " ".join(
        text.replace("\n", " ") for text in check_texts(figure) if "learner" not in text
    )
    for number, group in enumerate(groups, start=1):
        assert f"{number}  {group.label}" in texts
    assert "strong threshold" in texts
    assert len({series(number) for number in range(21)}) == 21


def test_a_seed_without_an_evaluation_hides_no_other(tmp_path: Path) -> None:
    early, late = coin_run(tmp_path / "a"), coin_run(tmp_path / "b", 1)
    (early / "metrics.jsonl").write_text('{"iteration": 1, "env_steps": 1, "seconds": 1.0}\n')
    groups = group_runs([read_run(early), read_run(late)])
    (bar,) = plot_coin.draw_comparison(groups).axes[4].patches
    final = [np.mean(line["self_play"]) for line in read_run(late).metrics if "self_play" in line][
        -1
    ]
    assert bar.get_height() == pytest.approx(final)
    texts = check_texts(plot_coin.draw_run(group_runs([read_run(early)])[0])["learning"])
    assert texts.count("not evaluated yet") == 4


def test_labels_name_configurations(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    paths = [coin_run(tmp_path / "a"), coin_run(tmp_path / "b", 1),
             coin_run(tmp_path / "n", 0, algo="naive")]  # fmt: skip
    groups = group_runs([read_run(path) for path in paths])
    figure = plot_coin.draw_comparison(label_groups(groups, ["ours", "_theirs"]))
    assert "ours, 2 seeds" in lines_of(figure.axes[0])
    texts = check_texts(figure)
    assert "1  ours, 2 seeds" in texts
    assert "2  _theirs" in texts
    command = ["plot", *map(str, paths), "--out", str(tmp_path / "c.png")]
    assert main([*command, "--label", "ours", "--label", "theirs"]) == 0
    capsys.readouterr()
    for labels in (["--label", "a"], ["--label", "a", "--label", "b", "--label", "c"]):
        assert main([*command, *labels]) == 2
        error = capsys.readouterr().err
        assert "2 times" in error
        assert "1. LOQA; 2. naive learner" in error
    assert main(["plot", str(paths[0]), "--label", "mine", "--out", str(tmp_path / "d.png")]) == 0
    assert main([*command, "--wall-clock", "--label", "a"]) == 2
