"""Figures: what is read from run directories, how seeds are joined, and that the ink is there."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

import loqa
from loqa.cli.main import main
from loqa.envs.coin_game.thresholds import THRESHOLDS
from loqa.games.base import Game
from loqa.games.matrix_game import IPD
from loqa.plotting import coin_game as plot_coin
from loqa.plotting import coin_wall_clock as plot_wall_clock
from loqa.plotting import rewards
from loqa.plotting.plot import plot_comparison, plot_run
from loqa.plotting.runs import group_runs, read_run
from loqa.storage.reading import FileError


def coin_run(path: Path, seed: int = 0, size: int = 3, **config: object) -> Path:
    """A run directory as the Coin Game trainer writes it, of made-up numbers; every second line is an
    evaluation."""
    (path / "figures").mkdir(parents=True)
    settings = {"game": "coin", "preset": "default", "algo": "loqa", "shared_reward": False,
                "seed": seed, "height": size, "width": size, **config}  # fmt: skip
    (path / "config.json").write_text(json.dumps(settings))
    shaped = settings["algo"] == "loqa"
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(1, 41):
        line = {"iteration": 10 * number, "env_steps": 256_000 * number, "seconds": 5.0 * number}
        if number % 2 == 0:
            grown = 1 / (1 + math.exp(-(number - 16 - 2 * seed) / 4))
            noise = 0.01 * rng.normal(size=7)
            own = 0.3 * grown if shaped else 0.01
            line |= {
                "self_play": [own + noise[0], own + noise[1]],
                "vs_always_cooperate": [0.5 - 0.16 * grown, 0.1 + 0.2 * grown],
                "vs_always_defect": [-0.5 + 0.45 * grown + noise[2], 0.6 - 0.5 * grown],
                "own_coin_share": 0.5 + (0.45 * grown if shaped else 0),
            }
        lines.append(json.dumps(line))
    (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    times = {"weak": 60.0 * size + 10 * seed, "medium": 90.0 * size, "strong": 150.0 * size}
    if seed == 2:
        times["strong"] = None  # type: ignore[assignment]
    if not shaped:
        times = dict.fromkeys(times)  # type: ignore[arg-type]
    summary = {
        "seconds_to_threshold": times,
        "seconds_to_threshold_for_good": times,
        "device": "cpu",
        "seconds": 200.0,
    }
    (path / "summary.json").write_text(json.dumps(summary))
    return path


def ipd_run(path: Path, **config: object) -> Path:
    settings = {"iterations": 20, "batch_size": 8, "log_every": 5, **config}
    loqa.train(loqa.IPDConfig.of_preset("default", **settings), path)
    return path


@pytest.mark.parametrize(
    ("game", "key", "value", "message"),
    [
        ("ipd", "p_cooperate", None, "p_cooperate: expected a number for each state, got None"),
        ("ipd", "p_cooperate", {"start": 1.0}, "p_cooperate: expected a number for each state"),
        ("ipd", "p_cooperate", [1, 2], "p_cooperate: expected a number for each state"),
        ("ipd", "reward", [1.0], "reward: expected two numbers, got [1.0]"),
        ("ipd", "self_play", "high", "self_play: expected two numbers, got high"),
        ("coin", "self_play", [1.0, None], "self_play: expected numbers, got [1.0, None]"),
        ("coin", "vs_always_defect", 3, "vs_always_defect: expected numbers, got 3"),
        ("coin", "own_coin_share", True, "own_coin_share: expected a number, got True"),
    ],
)
def test_metrics_that_figures_cannot_be_drawn_from(
    tmp_path: Path, capsys, game: str, key: str, value: object, message: str
) -> None:
    run = (coin_run if game == "coin" else ipd_run)(tmp_path / "run")
    metrics = run / "metrics.jsonl"
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    lines[1][key] = value
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for more in ([], [str(run)]):  # alone, and side by side
        assert main(["plot", str(run), *more, "--out", str(tmp_path / "x.png")]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"loqa: error: {metrics} is damaged: line 2, {message}")
    assert not (tmp_path / "x.png").exists()


def test_metrics_that_lack_what_figures_can_do_without(tmp_path: Path) -> None:
    run = ipd_run(tmp_path / "run")
    metrics = run / "metrics.jsonl"
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    for number, line in enumerate(lines):
        if number % 2:
            line["self_play"] = None
        else:
            del line["self_play"]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert is_picture(plot_run(run, tmp_path / "x.png")[0])


@pytest.mark.parametrize(
    ("key", "value"), [("strategy", ["tft"]), ("seconds_to_threshold", {"weak": "soon"})]
)
def test_a_summary_that_figures_cannot_be_drawn_from(
    tmp_path: Path, key: str, value: object
) -> None:
    run = coin_run(tmp_path / "run")
    (run / "summary.json").write_text(json.dumps({key: value}))
    with pytest.raises(FileError, match=rf"summary.json is damaged: {key}: expected"):
        plot_run(run)


def is_picture(path: Path, wider_than: int = 500) -> bool:
    with Image.open(path) as image:
        return image.width > wider_than and len(np.unique(np.asarray(image))) > 20


def test_seeds_are_joined_and_other_settings_told_apart(tmp_path: Path) -> None:
    runs = [
        coin_run(tmp_path / "a", 0, time_limit=5),
        coin_run(tmp_path / "b", 1),
        coin_run(tmp_path / "c", 0, preset="paper"),
        coin_run(tmp_path / "d", 0, algo="naive"),
        coin_run(tmp_path / "e", 3, algo="naive", shared_reward=True),
    ]
    groups = group_runs([read_run(run) for run in runs])
    assert [group.label for group in groups] == [
        "LOQA (preset default)",
        "LOQA (preset paper)",
        "naive learner (preset default)",
        "naive learner, shared reward (preset default)",
    ]
    assert [run.config["seed"] for run in groups[0].runs] == [0, 1]


def test_a_learner_of_another_game_is_told_apart(tmp_path: Path) -> None:
    """No other learner shares its name, but its payoffs are others."""
    ours = ipd_run(tmp_path / "a", iterations=1)
    theirs = ipd_run(tmp_path / "b", iterations=1, algo="naive", payoff=(3, 0, 5, 1))
    labels = [group.label for group in group_runs([read_run(ours), read_run(theirs)])]
    assert labels == ["LOQA (payoff -1,-3,0,-2)", "naive learner (payoff 3,0,5,1)"]


def test_a_seed_counts_once(tmp_path: Path) -> None:
    first, again = coin_run(tmp_path / "a", 4), coin_run(tmp_path / "b", 4, num_threads=2)
    longer, other = coin_run(tmp_path / "c", 4), coin_run(tmp_path / "d", 5)
    lines = (longer / "metrics.jsonl").read_text().splitlines()
    (longer / "metrics.jsonl").write_text("\n".join(lines[:7]) + "\n")
    runs = [read_run(path) for path in (first, first, again, longer, other)]
    groups = group_runs(runs)
    assert [group.label for group in groups] == ["LOQA", "LOQA (c)"]
    assert [[run.path.name for run in group.runs] for group in groups] == [["a", "d"], ["c"]]


def test_curves_meet_on_one_axis(tmp_path: Path) -> None:
    """Seeds with lines at different places, one shorter than the other."""
    for name, points in (("a", [(0, 0.0), (2, 2.0), (4, 0.0)]), ("b", [(1, 5.0), (3, 7.0)])):
        coin_run(tmp_path / name, seed=ord(name))
        known = {"iteration": 1, "seconds": 1.0}
        lines = [{**known, "env_steps": x, "own_coin_share": y} for x, y in points]
        lines.append({**known, "env_steps": 9})  # no evaluation
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / name / "metrics.jsonl").write_text(text)
    (group,) = group_runs([read_run(tmp_path / name) for name in "ab"])
    x, values = group.curves(lambda line: line.get("own_coin_share"), "env_steps")
    assert x.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(values[0], [0, 1, 2, 1, 0])
    np.testing.assert_array_equal(values[1], [np.nan, 5, 6, 7, np.nan])
    assert group.last(lambda line: line.get("own_coin_share")).tolist() == [0, 7]


def test_runs_without_evaluations_so_far(tmp_path: Path) -> None:
    early, late = coin_run(tmp_path / "a"), coin_run(tmp_path / "b", 1)
    line = {"iteration": 1, "env_steps": 1, "seconds": 1.0}
    (early / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    assert is_picture(plot_run(early)[0])
    assert is_picture(plot_comparison([early, late], tmp_path / "c.png"))


def lines_of(axes: Axes) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_ydata() for line in axes.lines if line.get_label()[0] != "_"}


def test_coin_comparison_shows_median_and_range(tmp_path: Path) -> None:
    paths = [coin_run(tmp_path / f"{seed}", seed) for seed in range(3)]
    paths += [coin_run(tmp_path / "n", 0, algo="naive")]
    groups = group_runs([read_run(path) for path in paths])
    figure = plot_coin.draw_comparison(groups)
    first = figure.axes[0]
    drawn = lines_of(first)
    assert set(drawn) == {"LOQA, 3 seeds", "naive learner"}
    each = np.array([[np.mean(line["self_play"]) for line in read_run(path).metrics
                      if "self_play" in line] for path in paths[:3]])  # fmt: skip
    np.testing.assert_allclose(drawn["LOQA, 3 seeds"], np.median(each, 0))
    (band,) = first.collections
    corners = band.get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == pytest.approx((each.min(), each.max()))
    # Thresholds of self-play and of always-defect as rewards on 3 x 3, half of the scores.
    for axes, which in ((first, 0), (figure.axes[2], 1)):
        levels = {line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"}
        assert levels == {values[which] / 2 for values in THRESHOLDS.values()}
    heights = [bar.get_height() for bar in figure.axes[4].patches]
    assert heights == pytest.approx([np.median(each[:, -1]), lines_of(first)["naive learner"][-1]])


def test_pictures_of_coin_runs(tmp_path: Path, capsys) -> None:
    paths = [coin_run(tmp_path / f"{seed}", seed) for seed in range(3)]
    (figure,) = plot_run(paths[0])
    assert figure == paths[0] / "figures" / "learning.png"
    assert is_picture(figure)
    assert main(["plot", *map(str, paths), "--out", str(tmp_path / "c.png")]) == 0
    assert is_picture(tmp_path / "c.png")
    out = tmp_path / "w.png"
    assert main(["plot", "--wall-clock", *map(str, paths), "--out", str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "c.png"), str(out)]
    assert is_picture(out)


def test_wall_clock_shows_own_and_published_times(tmp_path: Path, monkeypatch) -> None:
    paths = [coin_run(tmp_path / f"{size}-{seed}", seed, size)
             for size in (3, 5, 8) for seed in (0, 1, 2)]  # fmt: skip
    kept = []
    monkeypatch.setattr(plot_wall_clock, "save", lambda figure, out: kept.append(figure) or out)
    plot_wall_clock.plot_wall_clock(paths, tmp_path / "w.png")
    (axes,) = kept[0].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "3 x 3", "4 x 4", "5 x 5", "6 x 6", "7 x 7", "8 x 8"]  # fmt: skip
    drawn = [tuple(line.get_ydata()) for line in axes.lines]
    assert set(drawn) >= set(plot_wall_clock.PUBLISHED.values())
    # weak: 60 s a side, 10 more for each seed; the median is seed 1's
    assert (190.0, 310.0, 490.0) in drawn
    assert (450.0, 750.0, 1200.0) in drawn
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("2/3") == 3  # strong, which seed 2 reached nowhere


def test_wall_clock_draws_each_device_and_view(tmp_path: Path, monkeypatch) -> None:
    kept = []
    monkeypatch.setattr(plot_wall_clock, "save", lambda figure, out: kept.append(figure) or out)
    times = [plot_wall_clock.Times(name, (3, 3), {"weak": 1.0, "medium": 2.0, "strong": 3.0}, held)
             for name, held in (("CPU", 4.0), ("CUDA", 5.0), ("CPU, absolute planes", 6.0),
                                ("CUDA, absolute planes", None))]  # fmt: skip
    plot_wall_clock.draw_wall_clock(times, tmp_path / "w.png")
    (legend,) = kept[0].legends
    said = [text.get_text() for text in legend.get_texts()]
    assert all(f"loqa, {one.series}" in said for one in times)
    drawn = [tuple(line.get_ydata()) for line in kept[0].axes[0].lines]
    assert all(((one.held,) if one.held else ()) in drawn for one in times)
    other = plot_wall_clock.Times("TPU", (3, 3), times[0].first, None)
    with pytest.raises(ValueError, match="draws 4 series at most, got CPU, CUDA"):
        plot_wall_clock.draw_wall_clock([*times, other], tmp_path / "w.png")


def test_ipd_seeds_share_a_column(tmp_path: Path) -> None:
    paths = [ipd_run(tmp_path / f"{seed}", seed=seed) for seed in (0, 1)]
    paths.append(ipd_run(tmp_path / "naive", algo="naive"))
    out = plot_comparison(paths, tmp_path / "c.png")
    with Image.open(out) as image:
        assert image.width == pytest.approx(2 * 5.6 * 120, abs=2)  # two columns of three runs


def test_one_directory_goes_where_out_says(tmp_path: Path, capsys) -> None:
    """A run of either game and a league, in the format of the suffix; nothing is drawn elsewhere."""
    coin, ipd, played = coin_run(tmp_path / "coin"), ipd_run(tmp_path / "ipd"), tmp_path / "league"
    loqa.league(["ac", "ad"], episodes=4, episode_length=5, out=played)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    starts = {"png": b"\x89PNG", "PDF": b"%PDF", "svg": b"<?xml", "jpg": b"\xff\xd8"}
    for directory in (coin, ipd, played):
        for suffix, start in starts.items():
            out = tmp_path / "new" / f"{directory.name}.{suffix}"
            assert main(["plot", str(directory), "--out", str(out)]) == 0
            assert capsys.readouterr().out.split() == [str(out)]
            assert out.read_bytes().startswith(start)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == len(before) + 12


@pytest.mark.parametrize("name", ["figure.mp4", "figure"])
def test_a_suffix_that_cannot_be_drawn_is_refused(tmp_path: Path, capsys, name: str) -> None:
    one, two = str(coin_run(tmp_path / "a")), str(coin_run(tmp_path / "b", 1))
    out = tmp_path / name
    for arguments in ([one], [one, two], ["--wall-clock", one]):
        assert main(["plot", *arguments, "--out", str(out)]) == 2
        message = capsys.readouterr().err
        assert ".png" in message
        assert name in message
    assert not out.exists()


def test_league_is_drawn_again(tmp_path: Path) -> None:
    loqa.league(["ac", "ad", "random"], episodes=4, episode_length=5, out=tmp_path)
    (tmp_path / "agents.png").unlink()
    assert plot_run(tmp_path) == [tmp_path / "agents.png", tmp_path / "agents.svg"]
    assert is_picture(tmp_path / "agents.png", 300)
    (tmp_path / "league.json").write_text('{"names": ["a"], "groups": ["a"], "matrix": [[1, 2]]}')
    with pytest.raises(ValueError, match="its matrix must be 1 x 1"):
        plot_run(tmp_path)


def test_refused(tmp_path: Path) -> None:
    coin, ipd = coin_run(tmp_path / "coin"), ipd_run(tmp_path / "ipd")
    with pytest.raises(ValueError, match="one game"):
        plot_comparison([coin, ipd], tmp_path / "c.png")
    with pytest.raises(ValueError, match="needs Coin Game runs"):
        plot_wall_clock.plot_wall_clock([ipd], tmp_path / "w.png")
    (coin / "summary.json").write_text("{}")
    with pytest.raises(ValueError, match="no seconds_to_threshold"):
        plot_wall_clock.plot_wall_clock([coin], tmp_path / "w.png")
    (coin / "summary.json").write_text("[]")
    with pytest.raises(ValueError, match="holds no JSON object"):
        plot_run(coin)
    (coin / "config.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        plot_run(coin)
    (coin / "config.json").write_text('{"game": "chess"}')
    with pytest.raises(ValueError, match="names no game"):
        plot_run(coin)
    with pytest.raises(FileNotFoundError, match="no run directory"):
        plot_run(tmp_path / "nowhere")
    assert not list(tmp_path.glob("*.png"))


def test_figures_of_any_game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a game that draws nothing itself gets: the reward of each player."""
    paths = [ipd_run(tmp_path / f"run{seed}", seed=seed) for seed in (1, 2)]
    plain = dataclasses.replace(IPD, figures=Game.figures)
    monkeypatch.setattr("loqa.plotting.runs.records.game", lambda _: plain)
    assert [file.name for file in plot_run(paths[0])] == ["reward.png"]
    assert is_picture(plot_comparison(paths, tmp_path / "c.png"))
    (group,) = group_runs([read_run(path) for path in paths])
    (axes,) = rewards.draw_run(group, together=True)["reward"].axes
    assert [line.get_label() for line in axes.lines] == ["player 0", "player 1"]
    lines = group.runs[0].metrics
    assert axes.lines[0].get_xdata().tolist() == [line["iteration"] for line in lines]
